/** The cells that ran, as modules that take names from each other. Pure: knows no server. */

import { expandWords } from '../language/magics/expand.js'
import type { Expansion } from '../language/magics/expansion.js'
import { isParsable } from '../language/parsable.js'
import { type CellModule, type Definer, type Definers, namesOf, wordsOf } from './cell-module.js'
import type { Executed } from './executed.js'

/** What a cell can refer to. */
export interface Surroundings {
  readonly definers: Definers
  /** Modules that add to types of others. */
  readonly augmenting: readonly string[]
}

/** A cell that runs: it may fail yet. */
interface Pending {
  readonly cell: Executed
  readonly module: string
  /** Who defined the names that it sets. */
  readonly former: Definers
}

export class Notebook {
  /** By module, in the order they ran; those that nothing depends on any more are left out. */
  readonly #cells = new Map<string, CellModule>()
  readonly #definers = new Map<string, Definer>()
  readonly #augmenting: string[] = []
  #pending: Pending[] = []
  #read = 0
  #made = 0

  /** `executed`: the cells that ran, in order; the owner appends to it. */
  constructor(private readonly executed: readonly Executed[]) {}

  /** What the cells that ran by now have left; `count` leaves out those that began later. */
  surroundings(count = this.executed.length): Surroundings {
    const before = this.#read
    while (this.#read < Math.min(count, this.executed.length)) {
      const cell = this.executed[this.#read++] as Executed
      try {
        this.#add(cell)
      } catch {
        // Nothing is known of that cell, and no later one is to suffer from it.
      }
    }
    const running = this.#pending.filter(({ cell }) => cell.hasFailed === undefined)
    const isChanged = this.#read > before || running.length < this.#pending.length
    for (const pending of this.#pending) if (pending.cell.hasFailed === true) this.#fail(pending)
    this.#pending = running
    if (isChanged) this.#prune()
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

  /** How messages name the cell of a module. */
  fileOf(module: string): string | undefined {
    return this.#cells.get(module)?.file
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
    this.#pending = []
    this.#read = 0
  }

  #prune(): void {
    const needed = new Set(this.modulesOf({ definers: this.#definers, augmenting: this.#augmenting }).keys())
    for (const { former } of this.#pending) for (const module of this.modulesOf({ definers: former, augmenting: [] }).keys()) needed.add(module)
    for (const module of [...this.#cells.keys()]) if (!needed.has(module)) this.#cells.delete(module)
  }

  #add(cell: Executed): void {
    const { text: source } = this.expanded(cell.code)
    const names = namesOf(source)
    if (names === undefined) return
    const mentioned = wordsOf(source)
    const taken = new Map([...this.#definers].filter(([name]) => !names.declared.has(name) && mentioned.has(name)))
    const assigned = [...taken].filter(([name, { isVariable, isValue }]) => (isVariable || isValue) && names.assigned.has(name))
    if (names.declared.size === 0 && assigned.length === 0 && !names.augments) return
    const module = `cell${++this.#made}`
    this.#cells.set(module, { source, names, definers: taken, file: cell.file })
    const set = [...names.declared, ...assigned.map(([name]) => name)]
    const former = new Map([...this.#definers].filter(([name]) => set.includes(name)))
    this.#pending.push({ cell, module, former })
    for (const name of names.declared)
      this.#definers.set(name, { module, isVariable: names.variables.has(name), isValue: names.values.has(name), assignedBy: module })
    // A constant of another cell that is assigned runs, and is something else from then on.
    for (const [name, definer] of assigned)
      this.#definers.set(name, definer.isVariable ? { ...definer, assignedBy: module } : { ...definer, isUncertain: true })
    if (names.augments) this.#augmenting.push(module)
  }

  /** Nobody knows how far the cell came: its values may be the old ones or the new. Its types, classes and functions are taken for declared. */
  #fail({ module, former }: Pending): void {
    const names = this.#cells.get(module)?.names
    if (names === undefined) return
    for (const [name, definer] of [...this.#definers]) {
      if (definer.module !== module && definer.assignedBy !== module) continue
      const old = former.get(name)
      if (names.values.has(name)) this.#definers.set(name, { ...(old?.isValue === true ? old : definer), isUncertain: true })
      // What is imported comes first: most likely it is that which failed.
      else if (names.imported.has(name) && old !== undefined) this.#definers.set(name, old.isValue ? { ...old, isUncertain: true } : old)
      else if (!names.declared.has(name)) this.#definers.set(name, { ...(old ?? definer), isUncertain: true })
    }
  }
}
