/** The known word that was probably meant by an unknown one. Common ground: every folder may ask. */

/** The candidate of the smallest edit distance (Levenshtein, 1966), capitals not counted; undefined when none is within `most`. */
export function nearest(word: string, candidates: Iterable<string>, most = Infinity): string | undefined {
  let best: string | undefined
  let least = most + 1
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (distance < least) [best, least] = [candidate, distance]
  }
  return best
}

/** Letters to insert, delete or replace. Words are cut at 64 letters: the cost is their product. */
function editDistance(a: string, b: string): number {
  const [x, y] = [a.slice(0, 64), b.slice(0, 64)]
  let row = Array.from({ length: y.length + 1 }, (_, j) => j)
  for (let i = 1; i <= x.length; i++) {
    const next = [i]
    for (let j = 1; j <= y.length; j++)
      next.push(Math.min((row[j] as number) + 1, (next[j - 1] as number) + 1, (row[j - 1] as number) + (x[i - 1] === y[j - 1] ? 0 : 1)))
    row = next
  }
  return row[y.length] as number
}
