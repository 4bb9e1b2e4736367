/** Lists of short texts as one text: each ends with a line feed, so that none and one empty text differ. */

/** Ops and buffers that are listed: more than are ever planned op by op, and fewer than would fill a page's memory with empty lines. */
export const MOST_LINES = 2 ** 22

/** Line feeds within an entry become spaces. */
export function textOf(lines: readonly string[]): string {
  return lines.map((line) => `${line.includes('\n') ? line.replaceAll('\n', ' ') : line}\n`).join('')
}

/** Null where there are more than `most`: then the rest was not looked at. */
export function linesOf(text: string, most: number): readonly string[] | null {
  const lines = text.split('\n', most + 2)
  if (lines.at(-1) === '') lines.pop()
  return lines.length > most ? null : lines
}
