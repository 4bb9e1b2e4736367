/**
 * Which attention runs on the tensor cores of a GPU; all other takes a general kernel, far slower. As `takes_tensor_cores` of
 * native/cuda/attention.cc has it: workspaces go by it, and plans warn of it. `test/cuda/attention-choice.test.ts` compares. The native
 * side also asks for fewer than 2^30 rows and columns (`kMostAttentionRows`), which no chunk has: q of one head would take 128 GiB.
 */
import type { BackendName } from './workspace.js'

/** Of bf16. */
const HEAD_SIZES: readonly number[] = [64, 128]

export function onTensorCores(dtype: 'bf16' | 'f32', headSize: number): boolean {
  return dtype === 'bf16' && HEAD_SIZES.includes(headSize)
}

/**
 * Why attention will be slow on a GPU, and what to do; undefined where it is not. The CPU has four kernels (native/cpu/attention.cc), chosen by
 * its instructions too, which a plan made elsewhere does not know: nothing is said of them.
 */
export function slowAttention(backend: BackendName, dtype: 'bf16' | 'f32', headSize: number): string | undefined {
  if (backend !== 'cuda' || onTensorCores(dtype, headSize)) return undefined
  const heads = HEAD_SIZES.includes(headSize) ? undefined : `a model with heads of ${HEAD_SIZES.join(' or ')}`
  const remedies = [...(dtype === 'bf16' ? [] : ["dtype 'bf16'"]), ...(heads ? [heads] : [])]
  return `attention in ${dtype} with heads of ${headSize} takes the general kernel, which has no tensor cores and is far slower: choose ${remedies.join(' and ')} for tensor cores, where you may`
}
