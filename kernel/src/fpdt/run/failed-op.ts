/** A native error of a run, in words. */
import type { RunError } from '@fpdt/native'
import { FpdtError } from '../../errors.js'
import type { NativeStep } from '../../execute/native.js'

/** The error with the op that failed and what became of the step (`end`, a sentence); one that names no op stays as it is. */
export function failedOp(error: unknown, { plan, program }: NativeStep, end: string): unknown {
  if (!(error instanceof Error) || typeof (error as RunError).entry !== 'number') return error
  const { code, entry, message } = error as RunError
  return new FpdtError(code, `${plan.words(program.op[entry])}: ${message}. ${end}`, { cause: error })
}
