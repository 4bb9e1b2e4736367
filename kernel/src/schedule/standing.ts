/** What is there before the first op of a schedule: the one thing a list of ops does not say itself. */
import type { Tier } from '../trace/schema.js'
import type { Value } from './values.js'

export interface Standing {
  readonly value: Value
  readonly tier: Tier
  /** Its bytes mean something before the first op. */
  readonly written: boolean
  /** It is there after the last op too, at the same place; false: the ops end it. Default true. */
  readonly persistent?: boolean
}
