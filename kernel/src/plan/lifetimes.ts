/**
 * Residencies and their lives, from a walk over the ops: born by the first op that writes one, ended by its `free`.
 * A workspace is a residency that lives for the one op that uses it.
 */
import type { Standing } from '../schedule/standing.js'
import { bytesOf, type Value, whole } from '../schedule/values.js'
import type { Category, Tier } from '../trace/schema.js'

export interface Residency {
  /** Name of the value, without the tier. */
  readonly name: string
  readonly tier: Tier
  /** null for workspaces. */
  readonly value: Value | null
  readonly category: Category
  readonly bytes: number
  /** Line of the op that makes it, -1 when it is there before the first. */
  readonly birth: number
  /** Line of its free; one past the last line when it stays. Its bytes are taken in lines birth .. death - 1. */
  readonly death: number
  /** There before the first op and after the last. */
  readonly persistent: boolean
  /** First byte in the tier's arena. */
  readonly offset: number
}
export type Unplaced = { -readonly [K in keyof Residency]: Residency[K] }

export class Lifetimes {
  /** In order of birth. Offsets are set by `plan/arena.ts`. */
  readonly residencies: Unplaced[] = []
  /** By tier, then by name: a key of both would have to be made for every op. */
  private readonly alive: Readonly<Record<Tier, Map<string, number>>> = { device: new Map(), host: new Map(), disk: new Map() }

  constructor(initial: Iterable<Standing>) {
    for (const { value, tier, persistent } of initial) this.open(whole(value), tier, -1, persistent ?? true)
  }

  /** Index of the value's residency on a tier; made at `line` when there is none. */
  touch(value: Value, tier: Tier, line: number): number {
    return this.alive[tier].get(value.name) ?? this.open(value, tier, line, false)
  }

  /** A residency for the op at `line` alone. */
  workspace(name: string, bytes: number, line: number): number {
    const made: Unplaced = { name, tier: 'device', value: null, category: 'workspace', bytes, birth: line, death: line + 1, persistent: false, offset: 0 }
    return this.residencies.push(made) - 1
  }

  free(value: Value, tier: Tier, line: number): void {
    const index = this.alive[tier].get(value.name)
    if (index === undefined) throw new Error(`${value.name}@${tier} is freed but not there: an unchecked schedule`)
    this.residencies[index].death = line
    this.alive[tier].delete(value.name)
  }

  /** What was not freed lives to the end. */
  close(lines: number): Unplaced[] {
    for (const alive of Object.values(this.alive)) for (const index of alive.values()) this.residencies[index].death = lines
    return this.residencies
  }

  private open(value: Value, tier: Tier, line: number, persistent: boolean): number {
    const { name, category } = value
    const index = this.residencies.push({ name, tier, value, category, bytes: bytesOf(value), birth: line, death: -1, persistent, offset: 0 }) - 1
    this.alive[tier].set(value.name, index)
    return index
  }
}
