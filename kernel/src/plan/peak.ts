/**
 * The live peak of each tier in op order: how many bytes of residencies are alive at once, at which op, and which they are.
 * For display: streams run ahead of each other, so what is alive at an instant of a run depends on timing
 * (`trace/memory.ts`); what must be allocated is the arena's extent.
 */
import type { Tier } from '../trace/schema.js'
import type { Residency } from './lifetimes.js'

export interface Peak {
  readonly tier: Tier
  readonly bytes: number
  /** Line of the op at which it is reached, -1 before the first op. */
  readonly line: number
  /** What is alive then, largest first. */
  readonly residencies: readonly Residency[]
}

/** The peak of one tier; `residencies` are all of it, in order of birth. */
export function peakOf(tier: Tier, residencies: readonly Residency[]): Peak {
  const byDeath = [...residencies].sort((a, b) => a.death - b.death)
  let [live, bytes, line, dead] = [0, 0, -1, 0]
  for (const residency of residencies) {
    for (; dead < byDeath.length && byDeath[dead].death <= residency.birth; dead++) live -= byDeath[dead].bytes
    live += residency.bytes
    if (live > bytes) [bytes, line] = [live, residency.birth]
  }
  const alive = residencies.filter(({ birth, death }) => birth <= line && death > line)
  return { tier, bytes, line, residencies: alive.sort((a, b) => b.bytes - a.bytes) }
}
