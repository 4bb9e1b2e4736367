/** The fields of a request's content, as they should be. What a client sends wrong is told to it in the reply, by name, and is no fault of the kernel. */
import { FpdtError } from '../errors.js'
import { isParsable, MAX_LENGTH } from '../language/parsable.js'
import type { Content, Message } from './message.js'

/** Throws FpdtError 'content'. */
export function codeOf({ header, content: { code } }: Message): string {
  if (typeof code !== 'string') throw wrong(header.msg_type, 'code', code, 'a string')
  return code
}

/** Code that this process may parse. Throws FpdtError 'content'. */
export function parsableCodeOf(request: Message): string {
  const code = codeOf(request)
  if (!isParsable(code))
    throw new FpdtError(
      'content',
      `${request.header.msg_type}: code nests too deep to be parsed, or is longer than ${MAX_LENGTH} characters without a declaration`,
    )
  return code
}

/** In code points, from 0; the end of the code when it is missing or beyond. Throws FpdtError 'content'. */
export function cursorOf({ header, content: { cursor_pos = Number.MAX_SAFE_INTEGER } }: Message): number {
  if (!Number.isSafeInteger(cursor_pos) || (cursor_pos as number) < 0) throw wrong(header.msg_type, 'cursor_pos', cursor_pos, 'a whole number from 0')
  return cursor_pos as number
}

/** How much an inspection should tell. Throws FpdtError 'content'. */
export function detailOf({ header, content: { detail_level } }: Message): number {
  if (detail_level !== undefined && detail_level !== 0 && detail_level !== 1) throw wrong(header.msg_type, 'detail_level', detail_level, '0 or 1')
  return detail_level ?? 0
}

/** What is asked of the history; fields may be null. Throws FpdtError 'content'. */
export function historyOf({ header, content }: Message): Content {
  const { hist_access_type, pattern } = content
  if (!['tail', 'range', 'search'].includes(hist_access_type as string))
    throw wrong(header.msg_type, 'hist_access_type', hist_access_type, '"tail", "range" or "search"')
  for (const field of ['n', 'session', 'start', 'stop']) {
    if (!Number.isSafeInteger(content[field] ?? 0)) throw wrong(header.msg_type, field, content[field], 'a whole number')
  }
  if (typeof (pattern ?? '') !== 'string') throw wrong(header.msg_type, 'pattern', pattern, 'a string')
  return content
}

/** Name -> code; none when it is missing. Throws FpdtError 'content'. */
export function expressionsOf({ header, content: { user_expressions } }: Message): Record<string, string> {
  const entries = Object.entries(user_expressions ?? {})
  const isRight = typeof (user_expressions ?? {}) === 'object' && !Array.isArray(user_expressions) && entries.every(([, code]) => typeof code === 'string')
  if (!isRight) throw wrong(header.msg_type, 'user_expressions', user_expressions, 'an object of strings')
  return Object.fromEntries(entries)
}

function wrong(type: string, field: string, value: unknown, expected: string): FpdtError {
  return new FpdtError('content', `${type}: ${field} is ${(JSON.stringify(value) ?? 'missing').slice(0, 80)}, not ${expected}`)
}
