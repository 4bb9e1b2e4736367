/** A plan as the run format holds it: buffers, what touches them, and what waits for what, by line of the listing. */
import type { Plan } from '../plan/plan.js'
import { CATEGORIES, NONE_32, type PlanTables, READS, TIERS, WRITES } from './schema.js'

const made = new WeakMap<Plan, PlanTables>()

/** Made once for a plan. */
export function planTables(plan: Plan): PlanTables {
  const known = made.get(plan)
  if (known) return known
  const tables = tablesOf(plan)
  made.set(plan, tables)
  return tables
}

function tablesOf({ listing, residencies, entries, waits }: Plan): PlanTables {
  const uses: { op: number; buffer: number; access: number }[] = []
  for (let e = 0; e < entries.length; e++) {
    for (let o = entries.operandStart[e]; o < entries.operandStart[e + 1]; o++) {
      const buffer = entries.operandResidency[o]
      if (buffer < 0) continue
      const access = entries.operandAccess[o] & (READS | WRITES)
      const last = uses.at(-1)
      if (last?.op === entries.op[e] && last.buffer === buffer) last.access |= access
      else uses.push({ op: entries.op[e], buffer, access })
    }
  }
  const waiting = new Uint32Array(waits.entry.length)
  for (let e = 0; e < entries.length; e++) waiting.fill(entries.op[e], waits.start[e], waits.start[e + 1])
  return {
    listing,
    names: residencies.map(({ name }) => name),
    buffers: {
      tier: Uint8Array.from(residencies, ({ tier }) => TIERS.indexOf(tier)),
      category: Uint8Array.from(residencies, ({ category }) => CATEGORIES.indexOf(category)),
      persistent: Uint8Array.from(residencies, ({ persistent }) => Number(persistent)),
      birth: Uint32Array.from(residencies, ({ birth }) => (birth < 0 ? NONE_32 : birth)),
      death: Uint32Array.from(residencies, ({ death }) => death),
      offset_bytes: Float64Array.from(residencies, ({ offset }) => offset),
      size_bytes: Float64Array.from(residencies, ({ bytes }) => bytes),
    },
    uses: {
      op: Uint32Array.from(uses, ({ op }) => op),
      buffer: Uint32Array.from(uses, ({ buffer }) => buffer),
      access: Uint8Array.from(uses, ({ access }) => access),
    },
    waits: { op: waiting, on: waits.entry.map((entry) => entries.op[entry]) },
  }
}
