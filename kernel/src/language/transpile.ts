/**
 * Cell TypeScript -> JavaScript that runs as one async function and leaves its top-level names behind for later cells.
 *
 *     import a, { b } from 'x'       a = module.default; b = module.b, module from `await $$cell.import('x', ['default', 'b'], {})`, first of all
 *     function f() {}                f = function () {};             first of all, as JavaScript hoists it
 *     const { a } = o, n = 1         ({ a } = o, n = 1)
 *     class C {}                     C = class C {};
 *     last                           $$cell.value = (last)
 *
 * Top-level names become properties of the global object (`user-names.ts`): every cell sees them, a later cell may declare them again as
 * anything, and functions of earlier cells see the newer value. So `const` is not enforced at run time; the type checker still marks it. Loop
 * variables stay local: a global one costs 50 % in a hot loop. Names with `$$` are ours.
 */
import { LEAST_UPPER_BOUND, originalPositionFor, TraceMap } from '@jridgewell/trace-mapping'
import MagicString from 'magic-string'
import { transformSync } from 'oxc-transform'
import { IMPORT, META, namePlace } from './as-written.js'
import { makeInterruptible } from './interruptible.js'
import { HELPER, lower, lowering } from './lower.js'
import { type Expansion, withoutWords } from './magics/expansion.js'
import { boundNames, isFunction, type Node, offsetOf, parse, position, SourceError, walk } from './syntax.js'

export interface Position {
  readonly line: number
  readonly column: number
}

/** From a position in the emitted JavaScript to the one in the source; both count from 1. */
export type Positions = (line: number, column: number) => Position | undefined

interface CellCode {
  /** An expression whose value is `async ($$stop, $$cell) => void`. */
  readonly code: string
  /** Global names the cell declares; they must exist before it runs, because strict code cannot create them by assignment. */
  readonly names: readonly string[]
  readonly positions: Positions
}

/** Two empty statements before the cell: hoisted ones are moved in between, where no edit of another statement can touch them. */
const HOISTED = ';;\n'
const HOIST_AT = 1

/** Throws SourceError with the cell's name, line and column. `words`: the source without its words, where it may have some (`words/signs.ts`). */
export function transpileCell(source: string, file: string, words: Expansion = withoutWords(source)): CellCode {
  const isLiteral = isObjectLiteral(words.text)
  const stripped = strip(isLiteral ? `(${words.text}\n)` : words.text, file, true, source, words.toSource)
  const script = HOISTED + stripped.code
  const program = parse(script, 'js').program as unknown as Node
  const code = new MagicString(script)
  const names = new Set<string>()
  keepLastValue(program.body as Node[], code)
  const statements = (program.body as Node[]).filter((statement) => !(stripped.isLowered && isHelper(statement)))
  for (const statement of statements) hoist(statement, code, names)
  hoistNestedVars(program, code, names)
  rewriteModuleSyntax(program, code)
  makeInterruptible(program, code)
  // An emitted enum or namespace adds to what its name already holds; run again, it must begin anew. One of types alone is not emitted.
  const resets = stripped.merging.flatMap((name) => (names.has(name) ? `${name}=undefined;` : [])).join('')
  code.prepend(`(async ($$stop, $$cell) => {"use strict";${resets}${words.before}`)
  code.append(`\n${words.after}})`)
  const positions = compose(
    throughMap(() => mapOf(code)),
    ({ line, column }) => (line === 1 ? undefined : { line: line - 1, column }),
    throughMap(() => stripped.map),
    ({ line, column }) => ({ line, column: isLiteral && line === 1 ? column - 1 : column }),
    (at) => (words.text === source ? at : position(source, words.toSource(offsetOf(words.text, at)))),
  )
  return { code: code.toString(), names: [...names], positions }
}

/** A local `.ts` file: types gone, made stoppable; its own imports stay imports. */
export function transpileModule(source: string, file: string): { readonly code: string; readonly positions: Positions } {
  const stripped = strip(source, file, false)
  const code = new MagicString(stripped.code)
  makeInterruptible(parse(stripped.code, 'js').program as unknown as Node, code)
  // Other threads of the process load the same text and have no flag.
  code.prepend("const $$stop=globalThis[Symbol.for('fpdt.stop')]??{wait:(v)=>v,each:(v)=>v};")
  return {
    code: code.toString(),
    positions: compose(
      throughMap(() => mapOf(code)),
      throughMap(() => stripped.map),
    ),
  }
}

/**
 * Types removed, enums and parameter properties emitted; imports that this cell does not use are kept, the next one may use them. Mistakes are
 * those of `shown`, where `locate` finds an offset of `source`.
 */
function strip(
  source: string,
  file: string,
  isCell: boolean,
  shown = source,
  locate = (offset: number) => offset,
): { readonly code: string; readonly map: object; readonly merging: readonly string[]; readonly isLowered: boolean } {
  // The first line of a program that a shell can start.
  const text = source.startsWith('#!') ? `//${source.slice(2)}` : source
  const { errors, program } = parse(text)
  const body = program.body as unknown as Node[]
  if (errors[0] !== undefined)
    throw isJsx(text) ? SourceError.at(locate(errors[0].labels[0]?.start ?? 0), NO_JSX, file, shown) : SourceError.from(errors[0], file, shown, locate)
  const refusal = (node: Node, message: string) => SourceError.at(locate(node.start), message, file, shown)
  const using = body.map(declarationOf).find(({ kind }) => kind === 'using' || kind === 'await using')
  if (isCell && using !== undefined) throw refusal(using, NO_USING)
  const { isNeeded, decoratedParameter } = lowering(text, program as unknown as Node)
  if (decoratedParameter !== undefined) throw refusal(decoratedParameter, NO_PARAMETER_DECORATORS)
  const lowered = isNeeded ? lower(text) : undefined
  const result = lowered ?? transformSync('cell.ts', text, OPTIONS)
  const failure = 'errors' in result ? result.errors[0] : undefined
  if (failure !== undefined) throw SourceError.from(failure, file, shown, locate)
  return { code: result.code, map: result.map as object, merging: body.flatMap(mergingName), isLowered: lowered !== undefined }
}

const OPTIONS = {
  lang: 'ts',
  sourceType: 'module',
  target: 'esnext',
  sourcemap: true,
  typescript: { onlyRemoveTypeImports: true },
} as const

const NO_JSX = 'JSX is not part of cells: show markup with `display.html`, or import a built module that contains it'
const NO_USING =
  'a `using` declaration of a cell would be disposed of before the next cell sees it; put it into a block, or use `const` and dispose of it yourself'
const NO_PARAMETER_DECORATORS = "decorators of parameters are not part of JavaScript's; decorate the method or the class"

function isJsx(source: string): boolean {
  return /<[\w>]/.test(source) && parse(source, 'tsx').errors.length === 0
}

/** An emitted enum or namespace adds to what its name already holds. */
function mergingName(statement: Node): readonly string[] {
  const { type, declare, id } = declarationOf(statement)
  const isMerging = (type === 'TSEnumDeclaration' || type === 'TSModuleDeclaration') && declare !== true && (id as Node).type === 'Identifier'
  return isMerging ? [(id as Node).name as string] : []
}

function declarationOf(statement: Node): Node {
  return (statement.declaration as Node | null | undefined) ?? statement
}

/** `{ a: 1 }` is meant as a value, as in every console, although as a statement it is a block with a label. */
function isObjectLiteral(source: string): boolean {
  if (!/^\s*\{[\s\S]*\}\s*$/.test(source)) return false
  const { errors, program } = parse(`(${source}\n)`)
  return errors.length === 0 && program.body.length === 1
}

function rewriteModuleSyntax(program: Node, code: MagicString): void {
  walk(program, (node) => {
    if (node.type === 'ImportExpression') code.overwrite(node.start, node.start + 'import'.length, IMPORT)
    else if (node.type === 'MetaProperty' && (node.meta as Node).name === 'import') code.overwrite(node.start, node.end, META)
  })
}

function hoist(statement: Node, code: MagicString, names: Set<string>): void {
  switch (statement.type) {
    case 'ImportDeclaration': {
      code.overwrite(statement.start, statement.end, importCall(statement, names))
      code.appendLeft(statement.end, '\n')
      code.move(statement.start, statement.end, HOIST_AT)
      return
    }
    case 'ExportNamedDeclaration':
    case 'ExportDefaultDeclaration': {
      const declaration = statement.declaration as Node | null
      if (declaration !== null && isAnonymous(declaration)) {
        code.remove(statement.start, declaration.start)
        code.appendLeft(declaration.start, '(')
        code.prependRight(declaration.end, ')')
        code.appendRight(declaration.end, ';')
      } else if (declaration === null) code.overwrite(statement.start, statement.end, statement.source === null ? '' : importCall(statement, names))
      else {
        code.remove(statement.start, declaration.start)
        hoist(declaration, code, names)
      }
      return
    }
    case 'ExportAllDeclaration':
      code.overwrite(statement.start, statement.end, importCall(statement, names))
      return
    case 'FunctionDeclaration': {
      const id = statement.id as Node
      names.add(id.name as string)
      // Without a name of its own a recursive call reaches what the name means now; assignment to an identifier still gives it the name.
      code.overwrite(id.start, id.end, namePlace(id.name as string))
      code.appendRight(statement.start, `${id.name} = `)
      code.prependLeft(statement.end, ';')
      code.move(statement.start, statement.end, HOIST_AT)
      return
    }
    case 'ClassDeclaration': {
      const id = statement.id as Node
      names.add(id.name as string)
      code.appendLeft(statement.start, `${id.name} = `)
      code.prependRight(statement.end, ';')
      return
    }
    case 'VariableDeclaration':
      assignInstead(statement, code, names)
  }
}

/** `export default function () {}` declares nothing and is a value. */
function isAnonymous({ type, id }: Node): boolean {
  return (type === 'FunctionDeclaration' || type === 'ClassDeclaration') && id === null
}

function isHelper(statement: Node): boolean {
  return statement.type === 'VariableDeclaration' && (statement.declarations as Node[]).every(({ id }) => HELPER.test(String((id as Node).name)))
}

/** `var` in blocks and loop heads belongs to the cell's top level; `let` and `const` there do not. */
function hoistNestedVars(program: Node, code: MagicString, names: Set<string>): void {
  const heads = new Set<unknown>()
  walk(program, (node) => {
    if (isFunction(node) || node.type === 'StaticBlock') return false
    if (node.type === 'ForInStatement' || node.type === 'ForOfStatement') heads.add(node.left)
    if (node.type !== 'VariableDeclaration' || node.kind !== 'var') return
    if ((program.body as Node[]).some((statement) => statement === node || statement.declaration === node)) return
    if (heads.has(node)) {
      const pattern = (node.declarations as Node[])[0]?.id as Node
      for (const name of boundNames(pattern)) names.add(name)
      if (pattern.name === 'async')
        code.overwrite(node.start, pattern.end, '(async)') // `async of` would be an arrow function
      else code.remove(node.start, pattern.start)
    } else assignInstead(node, code, names)
  })
}

function assignInstead(declaration: Node, code: MagicString, names: Set<string>): void {
  const declarators = declaration.declarations as Node[]
  const [first, last] = [declarators[0] as Node, declarators.at(-1) as Node]
  code.overwrite(declaration.start, first.start, '(')
  code.prependRight(last.end, ')')
  for (const { id, init, end } of declarators) {
    for (const name of boundNames(id as Node)) names.add(name)
    // `let x` makes x undefined; `var x` leaves what it was.
    if (init === null && declaration.kind === 'let') code.appendLeft(end, ' = undefined')
  }
}

function importCall(statement: Node, names: Set<string>): string {
  const source = (statement.source as Node).raw as string
  const attributes = (statement.attributes as Node[]).map((a) => `${JSON.stringify(nameOf(a.key as Node))}: ${(a.value as Node).raw}`)
  const specifiers = statement.type === 'ImportDeclaration' ? (statement.specifiers as Node[]) : []
  const imported: string[] = []
  const targets: string[] = []
  for (const specifier of specifiers) {
    const local = (specifier.local as Node).name as string
    names.add(local)
    if (specifier.type === 'ImportNamespaceSpecifier') {
      targets.push(`${local} = $$module`)
      continue
    }
    const name = specifier.type === 'ImportDefaultSpecifier' ? 'default' : nameOf(specifier.imported as Node)
    imported.push(JSON.stringify(name))
    targets.push(`${local} = $$module[${JSON.stringify(name)}]`)
  }
  const call = `await $$stop.wait($$cell.import(${source}, [${imported.join(', ')}], {${attributes.join(', ')}}))`
  return targets.length === 0 ? `${call};` : `{ const $$module = ${call}; ${targets.join('; ')}; }`
}

function nameOf(node: Node): string {
  return (node.name ?? node.value) as string
}

function keepLastValue(body: readonly Node[], code: MagicString): void {
  const last = body.findLast((statement) => statement.type !== 'EmptyStatement' && !isEmptyExport(statement))
  const value =
    last?.type === 'ExpressionStatement' ? (last.expression as Node) : last?.type === 'ExportDefaultDeclaration' ? (last.declaration as Node) : undefined
  if (value === undefined || ((value.type === 'FunctionDeclaration' || value.type === 'ClassDeclaration') && !isAnonymous(value))) return
  // Kept on the cell, not returned: an async function would wait for a promise it returns.
  code.appendLeft(value.start, '$$cell.value = (')
  code.prependRight(value.end, ')')
}

/** `export {}`, which says no more than that the file is a module; the compiler adds it. */
function isEmptyExport({ type, declaration, specifiers }: Node): boolean {
  return type === 'ExportNamedDeclaration' && declaration === null && (specifiers as Node[]).length === 0
}

type Step = (at: Position) => Position | undefined

function compose(...steps: readonly Step[]): Positions {
  return (line, column) => {
    let at: Position | undefined = { line, column }
    for (const step of steps) at &&= step(at)
    return at
  }
}

/** Made and decoded when the first error needs it: most cells have none. */
function throughMap(map: () => object): Step {
  let trace: TraceMap | undefined
  return ({ line, column }) => {
    trace ??= new TraceMap(map() as never)
    const at = { line, column: column - 1 }
    const exact = originalPositionFor(trace, at)
    // V8 says of `missing()` where its statement begins, which may be text of ours: what follows it is meant.
    const original = exact.line === null ? originalPositionFor(trace, { ...at, bias: LEAST_UPPER_BOUND }) : exact
    return original.line === null ? undefined : { line: original.line, column: original.column + 1 }
  }
}

function mapOf(code: MagicString): object {
  return JSON.parse(code.generateMap({ hires: true }).toString())
}
