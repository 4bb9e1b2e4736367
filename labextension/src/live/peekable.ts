/** Which values can be looked at: those of what a reader picked, as far as they exist where the training stands. */
import { NONE_32, type PlanTables, READS, type Run, type Target, WRITES } from 'fpdt/trace'

export interface Offered {
  readonly name: string
  /** Whether some tier holds it after the op at which the training stands. */
  readonly isAlive: boolean
}

/** What can be asked for comes first, then what a picked op writes before what it reads. `line`: the op that was done last; null: not to be told. */
export function offered(run: Run, pinned: Target | null, line: number | null): Offered[] {
  const names = namesOf(run, pinned)
  const alive = names.length > 0 && line !== null ? aliveAt(run, line) : null
  const offers = names.map((name) => ({ name, isAlive: alive?.has(name) ?? true }))
  return [...offers.filter(({ isAlive }) => isAlive), ...offers.filter(({ isAlive }) => !isAlive)]
}

function namesOf({ names, uses, spans }: Run, pinned: Target | null): string[] {
  if (pinned?.kind === 'buffer') return [withoutTier(names[pinned.buffer])]
  if (pinned?.kind !== 'span') return []
  const of = (access: number): string[] =>
    [...uses.op.keys()].flatMap((use) => (uses.op[use] === spans.op[pinned.row] && uses.access[use] & access ? [names[uses.buffer[use]]] : []))
  return [...new Set([...of(WRITES), ...of(READS)].map(withoutTier))]
}

function aliveAt({ names, buffers }: PlanTables, line: number): Set<string> {
  const isAlive = (buffer: number): boolean =>
    buffers.persistent[buffer] === 1 || ((buffers.birth[buffer] <= line || buffers.birth[buffer] === NONE_32) && buffers.death[buffer] > line)
  return new Set(names.flatMap((name, buffer) => (isAlive(buffer) ? [withoutTier(name)] : [])))
}

/** A value has a name of its own on every tier: `k[0]@host`. */
function withoutTier(name: string): string {
  return name.replace(/@\w+$/, '')
}
