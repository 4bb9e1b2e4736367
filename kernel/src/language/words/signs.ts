/** Whether a cell can hold words of a notebook at all. Alone in a file: every cell pays for it (4 us for 30 lines), and it loads nothing. */

/** A line that begins with a sign, or is a name with question marks behind it; or anything that assigns what begins with a sign. */
const SIGN = /^[ \t\uFEFF]*(?:[%!?]|[%\p{ID_Continue}$.]+\?\??[ \t\r;]*$)|=[ \t]*[%!]/mu

export function mayHoldWords(source: string): boolean {
  return SIGN.test(source)
}
