/** Whether what a step has wrong is rounding alone. */
import { square } from './errors.js'
import { type Given, type Outcome, oracle } from './harness.js'
import { type Dtypes, randomRounding } from './reference/rounding.js'

/** A number for 'loss', for 'gradient' as one long vector, and for each tensor of it by its name. */
export type Parts = ReadonlyMap<string, number>

/**
 * Bounds of the largest part. Seen of 2,100 steps in bf16: the gradient 0.68 in the middle (rounding to the nearest errs 1/√2 as far as
 * rounding at random), 1.0 at 99 %, 1.4 at worst; the worst tensor 0.87, 1.5 and 1.9; the loss, one number and no sum of many, 2.7 at worst.
 * Of 5,500 in f32, where sums round too: the worst tensor 1.9, 3.8 and 7.7.
 */
export const MOST_ROUNDINGS = { bf16: 4, f32: 16 }

/**
 * Errors of a step, each in units of what rounding does to that very step. So where a gradient is a small difference of large numbers it
 * may err as far as rounding must take it, and elsewhere no further than that. One rounded reference tells enough of nearly every
 * step; those of an ill-conditioned one may by chance be near the exact one, so more are asked while an error is above its bound.
 */
export function inRoundings(found: Outcome, exact: Outcome, step: Given, dtypes: Dtypes): Parts {
  const rounded: Parts[] = []
  for (let references = 1; ; references *= 4) {
    while (rounded.length < references) rounded.push(roundedOnce(exact, step, dtypes, rounded.length))
    const errors = inUnits(found, exact, dtypes, rootMeanSquare(rounded))
    if (references === 64 || worstOf(errors).error <= MOST_ROUNDINGS[dtypes.dtype]) return errors
  }
}
/** The part that errs most. */
export function worstOf(parts: Parts): { readonly part: string; readonly error: number } {
  const all = [...parts].map(([part, error]) => ({ part, error }))
  return all.find(({ error }) => Number.isNaN(error)) ?? all.reduce((worst, each) => (each.error > worst.error ? each : worst))
}

/** What rounding alone does to a step: the root mean square error of references that are rounded at random. */
export function roundingErrors(exact: Outcome, step: Given, dtypes: Dtypes, references: number): Parts {
  return rootMeanSquare(Array.from({ length: references }, (_, seed) => roundedOnce(exact, step, dtypes, seed)))
}
/** Errors of one reference. */
function roundedOnce(exact: Outcome, step: Given, dtypes: Dtypes, seed: number): Parts {
  return errorsOf(oracle(step, randomRounding(dtypes, seed)), exact)
}
function rootMeanSquare(all: readonly Parts[]): Parts {
  return new Map([...all[0]!.keys()].map((part) => [part, Math.sqrt(all.reduce((sum, errors) => sum + errors.get(part)! ** 2, 0) / all.length)]))
}
export function inUnits(found: Outcome, exact: Outcome, dtypes: Dtypes, rounding: Parts): Parts {
  return new Map([...errorsOf(found, exact)].map(([part, error]) => [part, error / (rounding.get(part)! + floorOf(part, exact, dtypes))]))
}

function errorsOf(found: Outcome, exact: Outcome): Parts {
  const tensors = [...exact.gradients].map(
    ([name, values]) => [name, Math.sqrt(square(values.map((value, i) => value - found.gradients.get(name)![i]!)))] as const,
  )
  return new Map([['loss', Math.abs(found.loss - exact.loss)], ['gradient', Math.hypot(...tensors.map(([, error]) => error))], ...tensors])
}
/** What is left where rounding of results moves nothing, as when softmax is over one key: in f32 a last bit, in bf16 what sums in f32 leave. */
function floorOf(part: string, { loss, gradients, gradientNorm }: Outcome, { dtype }: Dtypes): number {
  if (part === 'loss') return 2 ** -23 * Math.max(1, loss)
  return ((dtype === 'f32' ? 2 ** -23 : 2e-5) * gradientNorm) / Math.sqrt(gradients.size)
}
