/** What a reader points at or has picked. Every view can show every kind: pointed at in one, it is seen in all. */
import type { Phase, Tier } from '../schema.js'

export type Target =
  /** An op as it ran: a row of the span table. */
  | { readonly kind: 'span'; readonly row: number }
  /** Memory of one rank on a tier at an instant. */
  | { readonly kind: 'instant'; readonly tier: Tier; readonly rank: number; readonly time_ns: number }
  /** A value on a tier: a row of the buffer table. */
  | { readonly kind: 'buffer'; readonly buffer: number; readonly rank: number }
  /** Query chunk q meets key/value chunk kv. */
  | { readonly kind: 'meeting'; readonly phase: Phase; readonly layer: number; readonly q: number; readonly kv: number; readonly rank: number }
  /** A whole step. */
  | { readonly kind: 'step'; readonly step: number }

/** Whether two targets are one thing. */
export function sameTarget(a: Target | null, b: Target | null): boolean {
  if (a === null || b === null) return a === b
  const fields = (target: Target): Map<string, unknown> => new Map(Object.entries(target))
  const other = fields(b)
  return a.kind === b.kind && [...fields(a)].every(([name, value]) => other.get(name) === value)
}
