/** The cells that ran, as modules that take names from each other. Pure: knows no server. */

import { expandWords } from '../language/magics/expand.js'
import type { Expansion } from '../language/magics/expansion.js'
import { isParsable } from '../language/parsable.js'
import { type CellModule, type Definer, type Definers, namesOf, wordsOf } from './cell-module.js'

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
    const before = this.#read
    while (this.#read < Math.min(count, this.executed.length)) {
      const source = this.executed[this.#read++] as string
      try {
        this.#add(this.expanded(source).text)
      } catch {
        // Nothing is known of that cell, and no later one is to suffer from it.
      }
    }
    if (this.#read > before) this.#prune()
    return { definers: new Map(this.#definers), augmenting: [...this.#augmenting] }
  }

  /** Words of the notebook, such as `!ls`, as TypeScript. What no parser may see counts as empty. */
  expanded(source: string): Expansion {
    return expandWords(isParsable(source) ? source : '', (name) => this.#definers.has(name))
  }

  /** The modules that names depend on, each after those it takes names from. */
  modulesOf({ definers, augmenting }: Surroundings): Map<string, CellModule> {
    const needed = new Map<string, CellModule>()
    const seen = new Set<string>()
    const need = (module: string): void => {
      const cell = this.#cells.get(module)
      if (seen.has(module) || cell === undefined) return
      seen.add(module)
      needAll(cell.definers)
      needed.set(module, cell)
    }
    const needAll = (from: Definers): void => {
      for (const { module, assignedBy } of from.values()) {
        need(module)
        need(assignedBy)
      }
    }
    needAll(definers)
    for (const module of augmenting) need(module)
    return needed
  }

  /** The text of the cell that last declared a name. */
  sourceOf(name: string): string | undefined {
    const module = this.#definers.get(name)?.module
    return module === undefined ? undefined : this.#cells.get(module)?.source
  }

  /** Whether a module has been left out, because no name depends on it any more. */
  isGone(module: string): boolean {
    return !this.#cells.has(module)
  }

  /** To be called when the owner has emptied `executed`. */
  forget(): void {
    this.#cells.clear()
    this.#definers.clear()
    this.#augmenting.length = 0
    this.#read = 0
  }

  #prune(): void {
    const needed = this.modulesOf({ definers: this.#definers, augmenting: this.#augmenting })
    for (const module of [...this.#cells.keys()]) if (!needed.has(module)) this.#cells.delete(module)
  }

  #add(source: string): void {
    const names = namesOf(source)
    if (names === undefined) return
    const mentioned = wordsOf(source)
    const taken = [...this.#definers].filter(([name]) => !names.declared.has(name) && mentioned.has(name))
    const assigned = taken.filter(([name, { isVariable }]) => isVariable && names.assigned.has(name))
    if (names.declared.size === 0 && assigned.length === 0 && !names.augments) return
    const module = `cell${++this.#made}`
    this.#cells.set(module, { source, names, definers: new Map(taken) })
    for (const name of names.declared) this.#definers.set(name, { module, isVariable: names.variables.has(name), assignedBy: module })
    for (const [name, definer] of assigned) this.#definers.set(name, { ...definer, assignedBy: module })
    if (names.augments) this.#augmenting.push(module)
  }
}
