/** The cells that ran, as modules that take names from each other. Pure: knows no server. */
import { type CellModule, type Definer, type Definers, namesOf } from './cell-module.js'
import { isParsable } from './parsable.js'
import { type Expansion, expandWords } from './words/expand.js'

/** What a cell can refer to. */
export interface Surroundings {
  readonly definers: Definers
  /** Modules that add to types of others. */
  readonly augmenting: readonly string[]
}

export class Notebook {
  /** By module, in the order they ran; those that nothing depends on any more are left out. */
  readonly #cells = new Map<string, CellModule>()
  readonly #definers = new Map<string, Definer>()
  readonly #augmenting: string[] = []
  #read = 0
  #made = 0

  /** `executed`: the cells that ran, in order; the owner appends to it. */
  constructor(private readonly executed: readonly string[]) {}

  /** What the cells that ran by now have left; `count` leaves out those that began later. */
  surroundings(count = this.executed.length): Surroundings {
    for (; this.#read < Math.min(count, this.executed.length); this.#read++) this.#add(this.expanded(this.executed[this.#read] as string).text)
    return { definers: new Map(this.#definers), augmenting: [...this.#augmenting] }
  }

  /** Words of the notebook, such as `!ls`, as TypeScript. What no parser may see counts as empty. */
  expanded(source: string): Expansion {
    return expandWords(isParsable(source) ? source : '', (name) => this.#definers.has(name))
  }

  /** The modules that names of now depend on. */
  get modules(): ReadonlyMap<string, CellModule> {
    const needed = new Set<string>()
    const need = (module: string): void => {
      if (needed.has(module)) return
      needed.add(module)
      needAll(this.#cells.get(module)?.definers)
    }
    const needAll = (definers: Definers = new Map()): void => {
      for (const { module, assignedBy } of definers.values()) {
        need(module)
        need(assignedBy)
      }
    }
    needAll(this.#definers)
    for (const module of this.#augmenting) need(module)
    for (const module of [...this.#cells.keys()]) if (!needed.has(module)) this.#cells.delete(module)
    return this.#cells
  }

  /** To be called when the owner has emptied `executed`. */
  forget(): void {
    this.#cells.clear()
    this.#definers.clear()
    this.#augmenting.length = 0
    this.#read = 0
  }

  #add(source: string): void {
    const names = namesOf(source)
    if (names === undefined) return
    const taken = [...this.#definers].filter(([name]) => !names.declared.has(name) && source.includes(name))
    const assigned = taken.filter(([name, { isVariable }]) => isVariable && names.assigned.has(name))
    if (names.declared.size === 0 && assigned.length === 0 && !names.augments) return
    const module = `cell${++this.#made}`
    this.#cells.set(module, { source, names, definers: new Map(taken) })
    for (const name of names.declared) this.#definers.set(name, { module, isVariable: names.variables.has(name), assignedBy: module })
    for (const [name, definer] of assigned) this.#definers.set(name, { ...definer, assignedBy: module })
    if (names.augments) this.#augmenting.push(module)
  }
}
