/** Names that code puts on the global object by itself (`globalThis.x = 1`, packages, `%run`): cells may use them, and no declaration tells of them. */
export class NewGlobals {
  readonly #told = new Set(Object.getOwnPropertyNames(globalThis))

  /** Those that came since the last call. */
  tell(): string[] {
    return Object.getOwnPropertyNames(globalThis).filter((name) => !this.#told.has(name) && this.#told.add(name))
  }
}
