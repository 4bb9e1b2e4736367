/** Whether Enter should run what is typed so far, or open another line. */
import { parse } from './syntax.js'

type Completeness = { readonly status: 'complete' | 'invalid' } | { readonly status: 'incomplete'; readonly indent: string }

/** Incomplete is what a longer text could still make valid: the first error stands at the end, or at an open template or comment. */
export function isComplete(source: string): Completeness {
  const error = parse(source).errors[0]
  if (error === undefined) return { status: 'complete' }
  const at = error.labels[0]?.start ?? 0
  const isOpen = (error.message.startsWith('Unterminated string') && source[at] === '`') || error.message === 'Unterminated multiline comment'
  // `a?.` is reported at the operator, not behind it.
  if (isOpen || at >= endOfCode(source) || source.trimEnd().endsWith('?.')) return { status: 'incomplete', indent: indentAfter(source) }
  return { status: 'invalid' }
}

/** Where code ends and only blanks and comments follow. The parser reports a missing token behind those. */
function endOfCode(source: string): number {
  return source.replace(/(?:\s|\/\/[^\n]*|\/\*(?:[^*]|\*(?!\/))*\*\/)+$/, '').length
}

/** The last line's indent, two spaces more when it opens a bracket. */
function indentAfter(source: string): string {
  const line = source.trimEnd().split('\n').at(-1) ?? ''
  const indent = /^\s*/.exec(line)?.[0] ?? ''
  return /[([{]$|=>$/.test(line) ? `${indent}  ` : indent
}
