/** The names that cells have declared. They are properties of the global object, so every cell and every function of one sees the newest value. */

export class UserNames {
  /** Name -> what the global object had before; a global of Node's comes back when the name is forgotten. */
  readonly #before = new Map<string, PropertyDescriptor | undefined>()

  /** Makes `name` an assignable global property; one that is there keeps its value, but not its getter (`crypto` has one and no setter that keeps). */
  declare(name: string): void {
    const existing = Object.getOwnPropertyDescriptor(globalThis, name)
    if (!this.#before.has(name)) this.#before.set(name, existing)
    if (existing?.writable === true) return
    Object.defineProperty(globalThis, name, { value: existing?.value, writable: true, enumerable: true, configurable: true })
  }

  has(name: string): boolean {
    return this.#before.has(name)
  }

  /** In the order of the alphabet. */
  list(): string[] {
    return [...this.#before.keys()].sort()
  }

  /** False when no cell declared the name. */
  forget(name: string): boolean {
    if (!this.#before.has(name)) return false
    const before = this.#before.get(name)
    this.#before.delete(name)
    delete (globalThis as Record<string, unknown>)[name]
    if (before !== undefined) Object.defineProperty(globalThis, name, before)
    return true
  }

  forgetAll(): void {
    for (const name of this.list()) this.forget(name)
  }
}
