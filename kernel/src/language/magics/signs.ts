/** Whether a cell can hold words of a notebook at all. Alone in a file: every cell pays for it (4 us for 30 lines), and it loads nothing. */

/** A line that begins with a `%word`; or with question marks right before a name or alone; or is a name with question marks behind it. */
const QUESTION = /^[ \t\uFEFF]*(?:%%?[A-Za-z_]|\?\??(?:[%\p{ID_Start}_$]|[ \t\r;]*$)|[%\p{ID_Continue}$.]+\?\??[ \t\r;]*$)/mu
/** A line that begins with a command, or anything that assigns one or a word. */
const COMMAND = /^[ \t\uFEFF]*!|=[ \t]*[%!]/m

export function mayHoldWords(source: string): boolean {
  return COMMAND.test(source) || QUESTION.test(source)
}

/** Whether one of them can be a question to the supervisor. */
export function mayAsk(source: string): boolean {
  return QUESTION.test(source)
}
