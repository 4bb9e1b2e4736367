/**
 * The text behind a word as a template literal: `{expression}`, `${expression}` and `$name` of the notebook are filled in, everything else is
 * left to the shell. A brace is ours when an expression stands in it all of whose names the notebook knows. So `{a,b}`, `{1..3}`, `{print $1}`
 * and `$HOME` stay as they are; and so do `[0-9]{3}`, `{/x/}` and `{n++}`, which are expressions, but of other languages too.
 */
import { boundNames, isFunction, type Node, parse, walk } from '../syntax.js'
import type { Rewriting } from './rewriting.js'

/** Whether the notebook has declared a name. */
export type IsDeclared = (name: string) => boolean

/** No expression in a line is longer: each brace of a hostile text costs a parse of so much. */
const EXPRESSION_CHARS = 500

/** Writes the literal for the source from `start` to `end`. */
export function writeFilled(out: Rewriting, source: string, start: number, end: number, isDeclared: IsDeclared): void {
  out.write('`')
  let done = start
  const fill = (from: number, to: number, expression: readonly [number, number]): void => {
    out
      .write(`${escaped(source.slice(done, from))}\${$$words.text(`)
      .copy(...expression)
      .write(')}')
    done = to
  }
  for (let at = start; at < end; at++) {
    if (at < done) continue
    if (source[at] === '{') {
      const close = closing(source, at, end, isDeclared)
      if (close !== undefined) fill(source[at - 1] === '$' && at > start ? at - 1 : at, close + 1, [at + 1, close])
    } else if (source[at] === '$') {
      const [name = '', first = ''] = /^([\p{ID_Start}_][\p{ID_Continue}$]*)(?:\.[\p{ID_Start}_][\p{ID_Continue}$]*)*/u.exec(source.slice(at + 1, end)) ?? []
      if (first !== '' && isDeclared(first) && !isQuoted(source.slice(at, end))) fill(at, at + 1 + name.length, [at + 1, at + 1 + name.length])
    }
  }
  out.write(`${escaped(source.slice(done, end))}\``)
}

/** A text as the inside of a template literal, line by line what it was. */
export function escaped(text: string): string {
  return text.replace(/[\\`]|\$(?=\{)/g, '\\$&').replaceAll('\r', '\\r')
}

/** As in IPython: an odd number of quotes behind a `$` means that it stands between two. */
function isQuoted(rest: string): boolean {
  return rest.split("'").length % 2 === 0
}

/** Where the brace ends that opens at `at`, if an expression of known names stands in it: where the parser, reading on, finds a `}` too many. */
function closing(source: string, at: number, end: number, isDeclared: IsDeclared): number | undefined {
  // In an array, because the parser reads what follows a parenthesis twice; and up to a backslash, which outside of strings is none of TypeScript.
  const [text] = /^[^'"`\\]*(?:['"`][\s\S]*)?/.exec(source.slice(at + 1, Math.min(end, at + EXPRESSION_CHARS))) as RegExpExecArray
  const error = parse(`[${text}`, 'ts', false).errors[0]
  const close = at + (error?.labels[0]?.start ?? 0)
  return source[close] === '}' && isKnownExpression(source.slice(at + 1, close), isDeclared) ? close : undefined
}

function isKnownExpression(text: string, isDeclared: IsDeclared): boolean {
  const { errors, program } = parse(`(${text}\n)`)
  const [statement, ...more] = program.body as unknown as Node[]
  if (errors.length > 0 || statement?.type !== 'ExpressionStatement' || more.length > 0) return false
  const outer = statement.expression as Node
  const inner = outer.type === 'ParenthesizedExpression' ? (outer.expression as Node) : outer
  if (NOT_OURS.has(inner.type) || (inner.type === 'Literal' && typeof inner.value !== 'string')) return false
  const [own, used, notNames] = [new Set<string>(), new Set<string>(), new Set<unknown>()]
  walk(inner, (node) => {
    if (isFunction(node)) for (const param of node.params as Node[]) for (const name of boundNames(param)) own.add(name)
    if (node.type === 'MemberExpression' && node.computed !== true) notNames.add(node.property)
    if (node.type === 'Property' && node.computed !== true) notNames.add(node.key)
    if (node.type === 'Identifier' && !notNames.has(node)) used.add(node.name as string)
  })
  return [...used].every((name) => own.has(name) || isDeclared(name) || name in globalThis)
}

/** `{a,b}` is the shell's, of `{{a}}` the inner pair is ours, and what assigns is awk's. */
const NOT_OURS = new Set(['SequenceExpression', 'ObjectExpression', 'AssignmentExpression', 'UpdateExpression', 'ThisExpression'])
