/** Whether Enter should run what is typed so far, or open another line. */

import { expandWords } from './magics/expand.js'
import { completeness } from './syntax.js'

type Completeness = { readonly status: 'complete' | 'invalid' } | { readonly status: 'incomplete'; readonly indent: string }

export function isComplete(source: string): Completeness {
  const { text, hasBody } = expandWords(source)
  // What stands below a `%%word` has no end of its own: an empty line ends it, as in IPython.
  if (hasBody) return /\n[ \t]*$/.test(source) ? { status: 'complete' } : { status: 'incomplete', indent: '' }
  const status = completeness(text)
  return status === 'incomplete' ? { status, indent: indentAfter(source) } : { status }
}

/** The last line's indent, two spaces more when it opens a bracket. */
function indentAfter(source: string): string {
  const line = source.trimEnd().split('\n').at(-1) ?? ''
  const indent = /^\s*/.exec(line)?.[0] ?? ''
  return /[([{]$|=>$/.test(line) ? `${indent}  ` : indent
}
