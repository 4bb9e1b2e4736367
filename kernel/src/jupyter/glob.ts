/** Whether a pattern of a shell, `*` any text and `?` any character, is the whole of a text. */
export function matchesGlob(pattern: string, text: string): boolean {
  // A regular expression would try every way to share the text among many stars; only the last one ever needs another try.
  let [at, star, starAt] = [0, -1, 0]
  let next = 0
  while (at < text.length) {
    if (pattern[next] === '*') {
      star = next++
      starAt = at
    } else if (pattern[next] === '?' || pattern[next] === text[at]) {
      next++
      at++
    } else if (star >= 0) {
      next = star + 1
      at = ++starAt
    } else return false
  }
  while (pattern[next] === '*') next++
  return next === pattern.length
}
