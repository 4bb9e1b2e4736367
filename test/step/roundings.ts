/** Whether what a step in bf16 has wrong is rounding alone. */
import { square } from './errors.js'
import { type Given, type Outcome, oracle } from './harness.js'
import { randomRounding } from './reference/rounding.js'

/** A number for 'loss', for 'gradient' as one long vector, and for each tensor of it by its name. */
export type Parts = ReadonlyMap<string, number>
type Step = Given & { readonly hidden: 'bf16' | 'f32' }

/** What rounding alone does to this very step: the root mean square error of references that are rounded at random. `exact`: the one that is not. */
export function roundingErrors(step: Step, exact: Outcome, samples: number): Parts {
  const all = Array.from({ length: samples }, (_, seed) => errorsOf(oracle(step, randomRounding(step.hidden, seed)), exact))
  return new Map([...all[0]!.keys()].map((part) => [part, Math.sqrt(all.reduce((sum, errors) => sum + errors.get(part)! ** 2, 0) / samples)]))
}

/** Errors of a step, each in units of what rounding does to it. */
export function inRoundings(found: Outcome, exact: Outcome, rounding: Parts): Parts {
  return new Map([...errorsOf(found, exact)].map(([part, error]) => [part, error / (rounding.get(part)! + floorOf(part, exact))]))
}
/** The part that errs most. */
export function worstOf(parts: Parts): { readonly part: string; readonly error: number } {
  const all = [...parts].map(([part, error]) => ({ part, error }))
  return all.find(({ error }) => Number.isNaN(error)) ?? all.reduce((worst, each) => (each.error > worst.error ? each : worst))
}

function errorsOf(found: Outcome, exact: Outcome): Parts {
  const tensors = [...exact.gradients].map(
    ([name, values]) => [name, Math.sqrt(square(values.map((value, i) => value - found.gradients.get(name)![i]!)))] as const,
  )
  return new Map([['loss', Math.abs(found.loss - exact.loss)], ['gradient', Math.hypot(...tensors.map(([, error]) => error))], ...tensors])
}
/** What sums in f32 leave, by the test of a step in f32: for parts that rounding does not move, as when softmax is over one key alone. */
function floorOf(part: string, { loss, gradients, gradientNorm }: Outcome): number {
  return part === 'loss' ? 2e-6 * loss : (2e-5 * gradientNorm) / Math.sqrt(gradients.size)
}
