/** Names that code puts on the global object by itself (`globalThis.x = 1`, packages, `%run`): cells may use them, and no declaration tells of them. Enumerable ones: V8 has their list. */
export class NewGlobals {
  readonly #ofNode = Object.keys(globalThis)
  #told = new Set(this.#ofNode)

  /** Those that came since the last call; with `anew` all there are. */
  tell(anew = false): string[] {
    if (anew) this.#told = new Set(this.#ofNode)
    return Object.keys(globalThis).filter((name) => !this.#told.has(name) && this.#told.add(name))
  }
}
