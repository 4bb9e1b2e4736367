/**
 * The names that cells have declared. They are properties of the global object, so every cell and every function of one sees the newest value.
 *
 * What Node has under a name is not replaced: `import { setTimeout } from 'node:timers/promises'` and `const process = spawn(...)` would break
 * every package, and this kernel. Such names live apart, in an object that cells which mention them are run `with`.
 *
 * What the kernel offers, such as `display`, `prompt` and the last result `_`, a cell may take for itself; once forgotten it is the kernel's again.
 */

export class UserNames {
  readonly #declared = new Set<string>()
  /** Those that the failure of their cell has left without a value. */
  readonly #unassigned = new Set<string>()
  readonly #offered = new Map<string, PropertyDescriptor>()
  /** Offered names that a cell has assigned without a declaration. */
  readonly #taken = new Set<string>()
  readonly #ofNode = new Set(Object.getOwnPropertyNames(globalThis))
  readonly #apart: Record<string, unknown> = Object.create(null)

  /** From now on code can assign `name`; what it means is left as it is. */
  declare(name: string): void {
    this.#declared.add(name)
    this.#unassigned.delete(name)
    const home = this.#homeOf(name)
    const existing = Object.getOwnPropertyDescriptor(home, name)
    if (existing?.writable === true) return
    const value = existing?.value ?? this.read(name)
    Object.defineProperty(home, name, { value, writable: true, enumerable: true, configurable: true })
  }

  /** The cell that declares `names` has failed, maybe before it gave them a value. */
  failed(names: readonly string[]): void {
    for (const name of names) if (this.read(name) === undefined) this.#unassigned.add(name)
  }

  /** Gives a name of the kernel's a value, unless the name is the user's by now. `isListed`: `NewGlobals` tells of it. */
  offer(name: string, value: unknown, isListed = false): void {
    const offered = this.#offered.get(name)
    if (offered !== undefined && name in globalThis && !Object.is((globalThis as Record<string, unknown>)[name], offered.value)) this.#taken.add(name)
    this.#offered.set(name, { value, writable: true, enumerable: isListed, configurable: true })
    if (!this.#declared.has(name) && !this.#taken.has(name)) this.#giveBack(name)
  }

  has(name: string): boolean {
    return this.#declared.has(name)
  }

  /** In the order of the alphabet, without those that never got a value. */
  list(): string[] {
    return [...this.#declared].filter((name) => !this.#unassigned.has(name) || this.read(name) !== undefined).sort()
  }

  read(name: string): unknown {
    return (name in this.#apart ? this.#apart : (globalThis as Record<string, unknown>))[name]
  }

  write(name: string, value: unknown): void {
    this.declare(name)
    this.#homeOf(name)[name] = value
  }

  /** False when no cell declared the name. */
  forget(name: string): boolean {
    if (!this.#declared.delete(name)) return false
    delete this.#homeOf(name)[name]
    this.#giveBack(name)
    return true
  }

  forgetAll(): void {
    for (const name of this.#declared) this.forget(name)
    for (const name of this.#offered.keys()) this.#giveBack(name)
  }

  #giveBack(name: string): void {
    this.#taken.delete(name)
    const offered = this.#offered.get(name)
    if (offered !== undefined) Object.defineProperty(globalThis, name, offered)
  }

  /** The code of a cell as an expression in which all names mean what the notebook says. On its first line columns are others. */
  enclose(code: string): { readonly code: string; readonly apart: object | undefined } {
    const isMentioned = Object.keys(this.#apart).some((name) => code.includes(name))
    return isMentioned ? { code: `(($$apart) => { with ($$apart) return ${code} })`, apart: this.#apart } : { code, apart: undefined }
  }

  #homeOf(name: string): Record<string, unknown> {
    return this.#ofNode.has(name) ? this.#apart : (globalThis as Record<string, unknown>)
  }
}
