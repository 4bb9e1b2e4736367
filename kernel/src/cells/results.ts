/**
 * What cells were and gave, by number, as in IPython.
 *
 *     _  __  ___        the last three results; undefined is none
 *     Out[3]  _3        the result of cell 3
 *     In[3]             its text
 *     _i  _ii  _iii     the texts of the cells before this one
 *
 * `Out` keeps every result alive, tensors too: `delete Out[3]` or `%reset out` lets go of them. A semicolon behind the last expression does not
 * hide its result, for in TypeScript it says nothing. A name that a cell declares or assigns is the user's from then on and is left alone.
 * Cells of subshells count for themselves and are not kept.
 */
import type { UserNames } from './user-names.js'

export class Results {
  In: string[] = ['']
  Out: Record<number, unknown> = {}
  /** Newest first. */
  #inputs: string[] = []
  #results: unknown[] = []
  readonly #given = new Map<string, unknown>()

  constructor(private readonly names: UserNames) {
    this.#share()
  }

  /** The texts of cells that ran in an earlier process. */
  recall(inputs: Readonly<Record<number, string>>): void {
    for (const [count, source] of Object.entries(inputs)) this.In[Number(count)] ??= source
  }

  /** Cell `count` begins. */
  begin(count: number, source: string): void {
    this.#inputs = [this.In.at(-1) ?? '', ...this.#inputs].slice(0, 3)
    this.In[count] = source
    for (const [index, input] of this.#inputs.entries()) this.#give(`_${'i'.repeat(index + 1)}`, input)
  }

  /** It gave `value`. */
  keep(count: number, value: unknown): void {
    this.Out[count] = value
    this.#results = [value, ...this.#results].slice(0, 3)
    for (const [index, result] of this.#results.entries()) this.#give('_'.repeat(index + 1), result)
    const name = `_${count}`
    if (this.names.has(name)) return
    // Reads `Out`, so that what is deleted there is held nowhere.
    Object.defineProperty(globalThis, name, {
      get: () => this.Out[count],
      set: (own) => Object.defineProperty(globalThis, name, { value: own, writable: true, configurable: true }),
      configurable: true,
    })
  }

  forget(what: 'in' | 'out'): void {
    if (what === 'in') {
      this.In = ['']
      this.#inputs = []
    } else {
      for (const count of Object.keys(this.Out)) if (!this.names.has(`_${count}`)) delete (globalThis as Record<string, unknown>)[`_${count}`]
      this.Out = {}
      this.#results = []
    }
    for (const name of this.#given.keys()) if (name.includes('i') === (what === 'in')) this.#give(name, undefined)
    this.#share()
  }

  /** Lets go of a value wherever it is held here. */
  drop(value: unknown): void {
    for (const [count, kept] of Object.entries(this.Out)) if (kept === value) delete this.Out[Number(count)]
    this.#results = this.#results.filter((result) => result !== value)
    for (const [name, given] of this.#given) if (given === value) this.#give(name, undefined)
  }

  #share(): void {
    for (const name of ['In', 'Out'] as const) this.#give(name, this[name])
  }

  #give(name: string, value: unknown): void {
    this.#given.set(name, value)
    this.names.offer(name, value)
  }
}
