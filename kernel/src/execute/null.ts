/**
 * The executor that computes nothing: it runs a program in order, obeys its waits, and emits spans. Proof that what is above
 * the executors needs no device; tests and lessons run schedules on it.
 */
import type { Program } from '../plan/program.js'
import type { Spans } from '../trace/spans.js'
import { type SimulateOptions, simulate } from './simulate.js'

/** Spans of a run in which every op takes `duration_ns`. */
export function runNothing(program: Program, duration_ns = 1, options: SimulateOptions = {}): Spans {
  return simulate(program, () => duration_ns, options)
}
