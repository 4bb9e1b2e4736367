/** Answers that are kept with their run: a reader goes to and fro between few. */

const KEPT = 24

/** The answer of `key`, made when it is first asked for; with too many, the oldest goes. An answer ends with `owner`. */
export function cached<Answer>(caches: WeakMap<object, Map<string, Answer>>, owner: object, key: string, make: () => Answer): Answer {
  const cache = caches.get(owner) ?? new Map<string, Answer>()
  caches.set(owner, cache)
  const known = cache.get(key)
  if (known !== undefined) return known
  const answer = make()
  if (cache.size >= KEPT) cache.delete(cache.keys().next().value as string)
  cache.set(key, answer)
  return answer
}
