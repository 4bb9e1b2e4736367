/** The error of a cell, with a hint where its author seems to have meant a magic. */
import { SourceError } from '../../language/syntax.js'

/** `text`: the cell as it was parsed; its lines are those of the cell. */
export async function hinted(error: unknown, file: string, text: string): Promise<unknown> {
  const hint = await hintOf(error, file, text)
  if (hint !== undefined) (error as Error).message += `. ${hint[0]?.toUpperCase()}${hint.slice(1)}`
  return error
}

async function hintOf(error: unknown, file: string, text: string): Promise<string | undefined> {
  if (error instanceof SourceError) {
    if (error.file !== file) return undefined
    return (await import('../../language/magics/hints.js')).hintOfSyntax(text.split('\n')[error.line - 1] ?? '')
  }
  const name = error instanceof ReferenceError ? /^(\w+) is not defined$/.exec(error.message)?.[1] : undefined
  return name === undefined ? undefined : (await import('../../language/magics/hints.js')).hintOfName(name, text)
}
