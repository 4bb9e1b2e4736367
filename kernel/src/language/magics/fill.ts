/**
 * The text behind a word as a template literal: `{expression}`, `${expression}` and `$name` of the notebook are filled in, everything else is
 * left to the shell. So `{print $1}`, `[0-9]{3}` and `$HOME` stay as they are: they name nothing that the notebook knows.
 */
import { boundNames, isFunction, type Node, parse, walk } from '../syntax.js'
import type { Rewriting } from './rewriting.js'

/** Whether the notebook has declared a name. */
export type IsDeclared = (name: string) => boolean

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
    } else if (source[at] === '$' && !isQuoted(source.slice(at, end))) {
      const [name = '', first = ''] = /^([\p{ID_Start}_][\p{ID_Continue}$]*)(?:\.[\p{ID_Start}_][\p{ID_Continue}$]*)*/u.exec(source.slice(at + 1, end)) ?? []
      if (first !== '' && isDeclared(first)) fill(at, at + 1 + name.length, [at + 1, at + 1 + name.length])
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

/** Where the brace ends that opens at `at`, if an expression of known names stands in it. */
function closing(source: string, at: number, end: number, isDeclared: IsDeclared): number | undefined {
  for (let close = source.indexOf('}', at); close >= 0 && close < end; close = source.indexOf('}', close + 1)) {
    if (isKnownExpression(source.slice(at + 1, close), isDeclared)) return close
  }
  return undefined
}

function isKnownExpression(text: string, isDeclared: IsDeclared): boolean {
  const { errors, program } = parse(`(${text}\n)`)
  const [statement, ...more] = program.body as unknown as Node[]
  if (errors.length > 0 || statement?.type !== 'ExpressionStatement' || more.length > 0) return false
  const outer = statement.expression as Node
  const inner = outer.type === 'ParenthesizedExpression' ? (outer.expression as Node) : outer
  // `{a,b}` is the shell's, and of `{{a}}` the inner pair is ours.
  if (inner.type === 'SequenceExpression' || inner.type === 'ObjectExpression') return false
  const [own, used, notNames] = [new Set<string>(), new Set<string>(), new Set<unknown>()]
  walk(inner, (node) => {
    if (isFunction(node)) for (const param of node.params as Node[]) for (const name of boundNames(param)) own.add(name)
    if (node.type === 'MemberExpression' && node.computed !== true) notNames.add(node.property)
    if (node.type === 'Property' && node.computed !== true) notNames.add(node.key)
    if (node.type === 'Identifier' && !notNames.has(node)) used.add(node.name as string)
  })
  const names = [...used].filter((name) => !own.has(name))
  return names.length > 0 && names.every((name) => isDeclared(name) || name in globalThis)
}
