/** Where a value's bytes mean something at a point of a schedule. */
import type { Tier } from '../trace/schema.js'
import { accesses, isCopy, type Op } from './ops.js'
import type { Standing } from './standing.js'
import { whole } from './values.js'

/** Tiers on which each value, by name, holds what it means after the ops so far: a write elsewhere makes a copy stale. */
export function validTiers(ops: Iterable<Op>, standing: Iterable<Standing>): Map<string, Set<Tier>> {
  const valid = new Map<string, Set<Tier>>()
  for (const { value, tier, written } of standing) if (written) valid.set(whole(value).name, new Set([tier]))
  for (const op of ops) {
    if (op.kind === 'free') valid.get(whole(op.value).name)?.delete(op.tier)
    for (const { value, tier, writes } of accesses(op)) {
      if (!writes) continue
      const there = valid.get(value.name)
      if (isCopy(op) && there) there.add(tier)
      else valid.set(value.name, new Set([tier]))
    }
  }
  return valid
}
