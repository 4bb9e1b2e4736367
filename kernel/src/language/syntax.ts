/** The parser and the walk over its tree that every rewrite and question about cell source shares. */
import { type ParseResult, parseSync, visitorKeys } from 'oxc-parser'

/** Any node of the ESTree that oxc-parser gives; offsets are UTF-16 code units. */
export interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [key: string]: unknown
}

/** `showSemanticErrors`: also mistakes that the grammar lets pass, such as a name declared twice. */
export function parse(source: string, lang: 'ts' | 'tsx' | 'js' = 'ts', showSemanticErrors = lang === 'ts'): ParseResult {
  return parseSync(`cell.${lang}`, source, { lang, sourceType: 'module', showSemanticErrors })
}

/**
 * Whether a text is a whole program, or could become one when more is written behind it: then its first error stands at the end, or at an open
 * template or comment.
 */
export function completeness(source: string): 'complete' | 'incomplete' | 'invalid' {
  const error = parse(source).errors[0]
  if (error === undefined) return 'complete'
  const at = error.labels[0]?.start ?? 0
  const isOpen = (error.message.startsWith('Unterminated string') && source[at] === '`') || error.message === 'Unterminated multiline comment'
  // `a?.` is reported at the operator, not behind it.
  return isOpen || NO_CODE.test(source.slice(at)) || source.trimEnd().endsWith('?.') ? 'incomplete' : 'invalid'
}

/** Blanks and comments. The parser reports a missing token behind those. A line comment takes its whole line: one way to match, no backtracking. */
export const NO_CODE = /^(?:\s|\/\/[^\n]*(?:\n|$)|\/\*(?:[^*]|\*(?!\/))*\*\/)*$/

/**
 * Calls `enter` on every node, parents first; children of a node are left out when it returns false. Does not recurse: V8 runs sums of thousands of
 * terms, and each term is a level deeper.
 */
export function walk(root: Node, enter: (node: Node) => unknown): void {
  const left = [root]
  while (left.length > 0) {
    const node = left.pop() as Node
    if (enter(node) === false) continue
    // Backwards, so that what is entered next lies on top; with indices, for every cell is walked several times before it runs.
    const keys = visitorKeys[node.type] ?? []
    for (let key = keys.length; key-- > 0; ) {
      const child = node[keys[key] as string]
      if (Array.isArray(child))
        for (let at = child.length; at-- > 0; ) {
          if (isNode(child[at])) left.push(child[at])
        }
      else if (isNode(child)) left.push(child)
    }
  }
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value
}

export function isFunction(node: Node): boolean {
  return node.type === 'FunctionDeclaration' || node.type === 'FunctionExpression' || node.type === 'ArrowFunctionExpression'
}

/** The names a statement declares at its level; those of an import are its local ones. */
export function declaredBy(statement: Node): string[] {
  const declaration = (statement.declaration as Node | null | undefined) ?? statement
  if (declaration.type === 'VariableDeclaration') return (declaration.declarations as Node[]).flatMap(({ id }) => boundNames(id as Node))
  if (declaration.type === 'ImportDeclaration') return (declaration.specifiers as Node[]).map(({ local }) => (local as Node).name as string)
  const id = declaration.id as Node | null | undefined
  return id?.type === 'Identifier' ? [id.name as string] : []
}

/** The names a declaration's pattern binds: `{ a, b: [c = 1, ...d] }` binds a, c and d. */
export function boundNames(pattern: Node): string[] {
  switch (pattern.type) {
    case 'Identifier':
      return [pattern.name as string]
    case 'ObjectPattern':
      return (pattern.properties as Node[]).flatMap((property) => boundNames((property.value ?? property.argument) as Node))
    case 'ArrayPattern':
      return (pattern.elements as (Node | null)[]).flatMap((element) => (element === null ? [] : boundNames(element)))
    case 'AssignmentPattern':
      return boundNames(pattern.left as Node)
    case 'RestElement':
      return boundNames(pattern.argument as Node)
    default:
      return []
  }
}

/** 1-based line and column of an offset. */
export function position(source: string, offset: number): { readonly line: number; readonly column: number } {
  const before = source.slice(0, offset)
  const lineStart = before.lastIndexOf('\n') + 1
  return { line: before.split('\n').length, column: offset - lineStart + 1 }
}

/** The offset of a 1-based line and column. */
export function offsetOf(source: string, { line, column }: { readonly line: number; readonly column: number }): number {
  let start = 0
  for (let skipped = 1; skipped < line; skipped++) start = source.indexOf('\n', start) + 1
  return start + column - 1
}

interface Mistake {
  readonly message: string
  readonly helpMessage: string | null
  readonly labels: readonly { readonly start: number }[]
}

/** A mistake in the text of a cell or of a local module, found before anything runs. */
export class SourceError extends SyntaxError {
  override readonly name = 'SyntaxError'

  constructor(
    message: string,
    /** Where: a cell's name or a path. */
    readonly file: string,
    readonly source: string,
    readonly line: number,
    readonly column: number,
  ) {
    super(message)
  }

  static at(offset: number, message: string, file: string, source: string): SourceError {
    const { line, column } = position(source, offset)
    return new SourceError(message, file, source, line, column)
  }

  /** Of an error that oxc-parser or oxc-transform reports; `locate` finds its offset in `source`. */
  static from(error: Mistake, file: string, source: string, locate = (offset: number) => offset): SourceError {
    return SourceError.at(
      locate(error.labels[0]?.start ?? 0),
      error.helpMessage === null ? error.message : `${error.message} (${error.helpMessage})`,
      file,
      source,
    )
  }
}
