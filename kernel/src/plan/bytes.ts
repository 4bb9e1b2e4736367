/**
 * Bytes of a step and nothing else: a walk that keeps the lives of residencies alone, in a sixth of the time of `plan`. For
 * steps too long to be held, and for searches through many. What is walked is not checked.
 */
import { kernelSpec } from '../schedule/kernels.js'
import { accesses, type Op, type Place } from '../schedule/ops.js'
import type { Standing } from '../schedule/standing.js'
import { TIERS, type Tier } from '../trace/schema.js'
import { ALIGNMENT, layOut } from './arena.js'
import type { WorkspaceBytes } from './entries.js'
import { Lifetimes, type Unplaced } from './lifetimes.js'

export interface WalkedBytes {
  /** Of each tier's arena, per rank: `arenaBytes` of the plan of the same ops. */
  readonly arena: Readonly<Record<Tier, number>>
  /** Most bytes alive at once, alignment counted, in each stretch of the step. */
  readonly alive: Readonly<Record<Tier, ReadonlyMap<string, number>>>
}

/** `stretchOf`: by which name an op's stretch of the step goes. */
export function bytesOfOps(ops: Iterable<Op>, initial: Iterable<Standing>, workspace: WorkspaceBytes, stretchOf: (place: Place) => string): WalkedBytes {
  const lifetimes = new Lifetimes(initial)
  const { residencies } = lifetimes
  const stretches: string[] = residencies.map(() => BEFORE) // where each residency was born
  let line = 0
  for (const op of ops) {
    if (op.kind === 'free') lifetimes.free(op.value, op.tier, line)
    for (const { value, tier } of accesses(op)) lifetimes.touch(value, tier, line)
    if (op.kind === 'compute') {
      const bytes = workspace(op.kernel, kernelSpec(op.kernel).parameters(op.operands, op.flags))
      if (bytes > 0) lifetimes.workspace(op.kernel, bytes, line)
    }
    while (stretches.length < residencies.length) stretches.push(stretchOf(op.place))
    line++
  }
  lifetimes.close(line)
  const arena = { device: 0, host: 0, disk: 0 }
  const alive = { device: new Map<string, number>(), host: new Map<string, number>(), disk: new Map<string, number>() }
  for (const tier of TIERS) {
    const here = residencies.flatMap((residency, i) => (residency.tier === tier ? [i] : []))
    mostAlive(residencies, here, stretches, ALIGNMENT[tier], alive[tier])
    arena[tier] = layOut(
      here.map((i) => residencies[i]),
      ALIGNMENT[tier],
    )
  }
  return { arena, alive }
}

/** Where what stands before the first op is born. */
const BEFORE = 'before'

/** Raises `most` of each stretch to the bytes alive in it. `here`: indices of residencies in order of birth. */
function mostAlive(
  residencies: readonly Unplaced[],
  here: readonly number[],
  stretches: readonly string[],
  alignment: number,
  most: Map<string, number>,
): void {
  const byDeath = here.toSorted((a, b) => residencies[a].death - residencies[b].death)
  const size = (i: number): number => Math.ceil(residencies[i].bytes / alignment) * alignment
  let [live, dead] = [0, 0]
  for (const i of here) {
    for (; dead < byDeath.length && residencies[byDeath[dead]].death <= residencies[i].birth; dead++) live -= size(byDeath[dead])
    live += size(i)
    if (live > (most.get(stretches[i]) ?? 0)) most.set(stretches[i], live)
  }
}
