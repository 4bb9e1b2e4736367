/** The parser and the walk over its tree that every rewrite and question about cell source shares. */
import { type ParseResult, parseSync, visitorKeys } from 'oxc-parser'

/** Any node of the ESTree that oxc-parser gives; offsets are UTF-16 code units. */
export interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [key: string]: unknown
}

export function parse(source: string, lang: 'ts' | 'js' = 'ts'): ParseResult {
  return parseSync(`cell.${lang}`, source, { lang, sourceType: 'module', showSemanticErrors: lang === 'ts' })
}

/** Calls `enter` on every node, parents first; children of a node are left out when it returns false. */
export function walk(node: Node, enter: (node: Node) => unknown): void {
  if (enter(node) === false) return
  for (const key of visitorKeys[node.type] ?? []) {
    const child = node[key]
    for (const each of Array.isArray(child) ? child : [child]) if (isNode(each)) walk(each, enter)
  }
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value
}

export function isFunction(node: Node): boolean {
  return node.type === 'FunctionDeclaration' || node.type === 'FunctionExpression' || node.type === 'ArrowFunctionExpression'
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
function position(source: string, offset: number): { readonly line: number; readonly column: number } {
  const before = source.slice(0, offset)
  const lineStart = before.lastIndexOf('\n') + 1
  return { line: before.split('\n').length, column: offset - lineStart + 1 }
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

  /** Of an error that oxc-parser or oxc-transform reports. */
  static from(error: { message: string; helpMessage: string | null; labels: { start: number }[] }, file: string, source: string): SourceError {
    return SourceError.at(error.labels[0]?.start ?? 0, error.helpMessage === null ? error.message : `${error.message} (${error.helpMessage})`, file, source)
  }
}
