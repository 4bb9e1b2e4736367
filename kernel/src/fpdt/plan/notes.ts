/** What a reader of a plan should know of its choices: a sentence each, with what to do. Plans, runs and `fpdt plan` say the same. */
import { slowAttention } from '../../plan/cuda-attention.js'
import type { BackendName } from '../../plan/workspace.js'
import type { StepConfig } from '../../schedule/config.js'

/** Where tokens and chunks do not divide: `4 of 16 tokens; the last holds 13, …`. Undefined where they do. */
export function paddingInWords({ tokens, chunk, chunks, ranks }: StepConfig): string | undefined {
  const last = tokens - chunk * (chunks - 1)
  if (last === chunk) return undefined
  const padding = `the rest of it is padding that counts for nothing`
  if (chunks > 1) return `${chunks} of ${chunk} tokens; the last holds ${last}, ${padding}`
  const whole = Math.ceil(tokens / ranks) * ranks
  return `1 of ${chunk} tokens; it holds ${tokens}, ${padding}${whole < chunk ? ` and takes memory: chunk ${whole} holds the sequence` : ''}`
}

/** What makes a step slow on this backend though another choice would not. */
export function slowInWords({ dtype, model }: StepConfig, backend: BackendName): string | undefined {
  return slowAttention(backend, dtype, model.headSize)
}
