/**
 * A cell as the language server sees it: a virtual module, beside the notebook so that relative imports work. It takes each name from the module
 * that last declared it and exports its own, so `const x` may be declared again as anything. (One document of all cells gives stale types and
 * error 2451 after a redeclaration.)
 *
 *     import { f } from './__fpdt_cell1__.ts'                            what cannot be assigned
 *     declare let x: typeof import('./__fpdt_cell1__.ts').x              what can: an import could not
 *     x = null! as typeof import('./__fpdt_cell2__.ts').$$x              and what type it had when cell 2, which assigned it, ended
 *     declare let x: any                                                 or, where a cell failed that would have set it, what it is nobody knows
 *
 * All of that stands on one line, so line n of the cell is line n + 1 of the module, and columns are the same.
 */
import { boundNames, isFunction, type Node, parse, walk } from '../language/syntax.js'

/** What a cell says about names, in its outermost scope. */
export interface Names {
  readonly declared: ReadonlySet<string>
  /** Those of them that are declared by `let` or `var`. */
  readonly variables: ReadonlySet<string>
  /** Those that get their value, and nothing but one, when their statement runs: by `let`, `var` or `const`. */
  readonly values: ReadonlySet<string>
  /** Those that are imported. */
  readonly imported: ReadonlySet<string>
  /** Declared here or in an earlier cell. */
  readonly assigned: ReadonlySet<string>
  /** Exported by the cell itself. */
  readonly exported: ReadonlySet<string>
  /** The cell adds to types of others: `declare global`, `declare module`. */
  readonly augments: boolean
}

/** Where a name comes from. */
export interface Definer {
  readonly module: string
  readonly isVariable: boolean
  /** It is a value and nothing else, which any cell may replace: no import, class or type. */
  readonly isValue: boolean
  /** A cell failed that would have given it another value, or a constant was assigned: its type is but a guess. */
  readonly isUncertain?: true
  /** The module at whose end its type is known best; the one that declared it, or a later one that assigned it. */
  readonly assignedBy: string
}

export type Definers = ReadonlyMap<string, Definer>

export interface CellModule {
  readonly source: string
  readonly names: Names
  /** Names that the cell takes from others, as they were when it ran. */
  readonly definers: Definers
  /** How messages name the cell. */
  readonly file: string
}

/** No file of that name exists; it is told from the user's own by its look. */
export function moduleName(module: string): string {
  return `__fpdt_${module}__`
}

export function isOwnModuleName(name: string): boolean {
  return name.includes('__fpdt_')
}

/** A cell that ran, as a module that others import. */
export function exportingModule({ source, names, definers }: Omit<CellModule, 'file'>): string {
  const exports = [...names.declared].filter((name) => !names.exported.has(name))
  const assigned = [...names.assigned].filter((name) => names.variables.has(name) || definers.get(name)?.isVariable === true)
  const ends = assigned.map((name) => `export const ${atEnd(name)} = ${name};`)
  return `${headOf(definers, true)}\n${source}\n;export { ${exports.join(', ')} };${ends.join('')}\n`
}

/** A cell that is typed, or that is about to run: nobody imports it. While it is typed a guess is better than nothing; an error must not rest on one. */
export function workingModule(source: string, definers: Definers, augmenting: readonly string[], isChecked: boolean): string {
  const augments = augmenting.map((module) => `import './${moduleName(module)}.ts';`).join('')
  return `${headOf(definers, isChecked)}${augments}\n${source}\n;export {}\n`
}

/** A module begins with one line of ours. */
export const LINES_BEFORE = 1

function headOf(definers: Definers, isChecked: boolean): string {
  const imports: string[] = []
  const variables: string[] = []
  for (const [name, { module, isVariable, isUncertain, assignedBy }] of definers) {
    const from = `'./${moduleName(module)}.ts'`
    const declared = `typeof import(${from}).${name}`
    if (isUncertain) variables.push(`declare let ${name}: ${isChecked ? 'any' : declared};`)
    else if (isVariable) variables.push(`declare let ${name}: ${declared};${name} = null! as typeof import('./${moduleName(assignedBy)}.ts').${atEnd(name)};`)
    else imports.push(`import { ${name} } from ${from};`)
  }
  return [...imports, ...variables].join('')
}

/** The export that has a variable's type at the end of a cell: of `string | undefined` what is left after an assignment. */
function atEnd(name: string): string {
  return `$$${name}`
}

/** Undefined for a cell that does not parse: it cannot have run. */
export function namesOf(source: string): Names | undefined {
  const { program, errors } = parse(source)
  if (errors.length > 0) return undefined
  const body = program.body as unknown as Node[]
  const set = () => new Set<string>()
  const names = { declared: set(), variables: set(), values: set(), imported: set(), assigned: set(), exported: set(), augments: false }
  for (const statement of body) declare(statement, names)
  walk(program as unknown as Node, (node) => {
    if (node.type === 'AssignmentExpression') for (const name of targets(node.left as Node)) names.assigned.add(name)
    if (node.type === 'UpdateExpression') for (const name of targets(node.argument as Node)) names.assigned.add(name)
    if (node.type === 'ForOfStatement' || node.type === 'ForInStatement') for (const name of targets(node.left as Node)) names.assigned.add(name)
  })
  // `var` in blocks and loop heads is the cell's too.
  for (const statement of body) {
    walk(statement, (node) => {
      if (isFunction(node) || node.type === 'StaticBlock') return false
      if (node.type === 'VariableDeclaration' && node.kind === 'var') declare(node, names)
    })
  }
  for (const name of names.variables) names.assigned.add(name)
  return names
}

type Gathered = { -readonly [Key in keyof Names]: Names[Key] extends ReadonlySet<string> ? Set<string> : Names[Key] }

function declare(statement: Node, names: Gathered): void {
  switch (statement.type) {
    case 'VariableDeclaration':
      for (const name of (statement.declarations as Node[]).flatMap(({ id }) => boundNames(id as Node))) {
        const isVariable = statement.kind === 'let' || statement.kind === 'var'
        // A name that is a type too can only be imported.
        if (isVariable && (!names.declared.has(name) || names.variables.has(name))) names.variables.add(name)
        if (!names.declared.has(name) || names.values.has(name)) names.values.add(name)
        names.declared.add(name)
      }
      return
    case 'ImportDeclaration':
      for (const { local } of statement.specifiers as Node[]) {
        names.declared.add((local as Node).name as string)
        names.imported.add((local as Node).name as string)
      }
      return
    case 'ExportNamedDeclaration': {
      const inner = statement.declaration as Node | null
      const before = new Set(names.declared)
      if (inner !== null) declare(inner, names)
      for (const name of names.declared) if (!before.has(name)) names.exported.add(name)
      for (const { exported } of statement.specifiers as Node[]) names.exported.add((exported as Node).name as string)
      return
    }
    case 'ExportDefaultDeclaration':
      declare(statement.declaration as Node, names)
      return
    default: {
      const id = statement.id as Node | null | undefined
      if (id?.type === 'Literal' || statement.kind === 'global') names.augments = true
      else if (id?.type === 'Identifier') {
        names.declared.add(id.name as string)
        names.variables.delete(id.name as string)
        names.values.delete(id.name as string)
      }
    }
  }
}

/** Names that an assignment sets. */
function targets(node: Node): string[] {
  if (node.type === 'VariableDeclaration') return []
  return boundNames(node)
}

/** Names that a cell seems to declare while it is being typed: it need not parse. */
export function typedNames(source: string): ReadonlySet<string> {
  const known = namesOf(source)
  if (known !== undefined) return known.declared
  const names = new Set<string>()
  for (const [, name] of source.matchAll(
    /^(?:export\s+)?(?:declare\s+)?(?:const|let|var|(?:async\s+)?function\*?|(?:abstract\s+)?class|interface|type|(?:const\s+)?enum|namespace)\s+([\p{ID_Start}$_][\p{ID_Continue}$]*)/gmu,
  ))
    names.add(name as string)
  // `const { a, b: c } = ...` and `import a, { b as c } from ...`: in either the name that is bound comes last.
  for (const [, pattern] of source.matchAll(/^(?:(?:export\s+)?(?:const|let|var)\s*[{[]|import\s+(?:type\s+)?)([^'";()]{0,2000}?)(?:[}\]]\s*=|\bfrom\b)/gm)) {
    for (const part of (pattern as string).split(/[,{}]/)) {
      const name = part
        .replace(/=.*$/s, '')
        .trimEnd()
        .split(/[^\p{ID_Continue}$]/u)
        .at(-1) as string
      if (/^[\p{ID_Start}$_]/u.test(name)) names.add(name)
    }
  }
  return names
}

/** Everything in a text that could be a name. */
export function wordsOf(source: string): ReadonlySet<string> {
  return new Set(source.match(/[\p{ID_Start}$_][\p{ID_Continue}$]*/gu))
}
