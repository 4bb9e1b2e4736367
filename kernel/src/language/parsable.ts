/**
 * Whether the parser survives a text: it recurses, and where its stack ends the process ends. Alone in a file: it loads no parser.
 *
 * Found by trying: nothing of 60,000 characters kills it but brackets (from 3,000 levels) and chains of assignments, conditions, labels and arrows
 * (from 15,000) or of `<` (from 8,000). A declaration that begins a line begins anew, for without a bracket it stands inside of nothing.
 */
export const MAX_LENGTH = 60_000
const MAX_DEPTH = 1000
const MAX_CHAIN = 10_000

/** Counts strings and comments in, because to tell them apart would be to parse. */
export function isParsable(code: string): boolean {
  let depth = 0
  for (const part of code.length > MAX_CHAIN ? code.split(/\n(?=[ \t]*(?:export[ \t]+)?(?:const|let)[ \t]+[\p{ID_Start}$_])/u) : [code]) {
    if (part.length > MAX_LENGTH) return false
    let chain = 0
    for (const sign of part.match(/[([{)\]}=:?<]/g) ?? []) {
      if ('([{'.includes(sign)) depth++
      else if (')]}'.includes(sign)) depth--
      else chain += sign === '<' ? 2 : 1 // types nest in it
      if (depth > MAX_DEPTH || chain > MAX_CHAIN) return false
    }
  }
  return true
}
