/** Words for the terminal of the server. Anybody who can reach a port can cause them, so after the first of a kind they are counted and summed up. */

/** How often the same is said again. */
const REPEAT_MS = 10_000
/** Kinds that are told apart at a time; what comes beyond is counted together. */
const KINDS = 100
const OTHERS = 'other complaints'

export class Complaints {
  readonly #counts = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined

  constructor(private readonly write: (text: string) => void = (text) => void process.stderr.write(text)) {}

  /** At once the first time; further ones of the same words go into the next sum. */
  say(words: string): void {
    const count = this.#counts.get(words)
    if (count !== undefined) this.#counts.set(words, count + 1)
    else if (this.#counts.size >= KINDS) this.#counts.set(OTHERS, (this.#counts.get(OTHERS) ?? 0) + 1)
    else {
      this.#counts.set(words, 0)
      this.#print(words)
    }
    this.#timer ??= setTimeout(() => this.sum(), REPEAT_MS).unref()
  }

  /** Says how often everything came since it was last said, and begins anew. */
  sum(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const [words, count] of this.#counts) if (count > 0) this.#print(`${words} (${count} more times)`)
    this.#counts.clear()
  }

  #print(words: string): void {
    this.write(`fpdt kernel: ${words}\n`)
  }
}
