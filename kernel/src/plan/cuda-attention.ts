/**
 * Which attention runs on the tensor cores of a GPU; all other takes a general kernel, far slower. As `takes_tensor_cores` of
 * native/cuda/attention.cc has it: workspaces go by it, and plans warn of it. `test/cuda/attention-choice.test.ts` compares.
 */
import type { BackendName } from './workspace.js'

/** Head sizes of bf16. The words follow "heads of". */
const HEADS = { has: (size: number): boolean => size === 64 || size === 128, words: '64 or 128' }

export function onTensorCores(dtype: 'bf16' | 'f32', headSize: number): boolean {
  return dtype === 'bf16' && HEADS.has(headSize)
}

/** Why attention will be slow, and what to do; undefined where it is not. The CPU has one kernel for all. */
export function slowAttention(backend: BackendName, dtype: 'bf16' | 'f32', headSize: number): string | undefined {
  if (backend !== 'cuda' || onTensorCores(dtype, headSize)) return undefined
  const heads = HEADS.has(headSize) ? undefined : `a model with heads of ${HEADS.words}`
  const remedies = [...(dtype === 'bf16' ? [] : ["dtype 'bf16'"]), ...(heads ? [heads] : [])]
  return `attention in ${dtype} with heads of ${headSize} takes the general kernel, which has no tensor cores and is far slower: choose ${remedies.join(' and ')} for tensor cores, where you may`
}
