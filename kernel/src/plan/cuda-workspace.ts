/**
 * Workspace of every kernel on CUDA: what the plan reserves as an operand of the op. The native side says the same beside each
 * kernel (native/cuda) and throws if it needs more; `test/backend/workspace.test.ts` compares.
 */
import type { Kernel } from '../schedule/kernels.js'
import { onTensorCores } from './cuda-attention.js'

// As native/cuda/gemm.cc has it: what cuBLASLt may ask for.
const MOST_GEMM_BYTES = 32 * 2 ** 20
// As column_sums.cuh, sort_rows.cuh and optimizer.cu have them.
const SLICE_ROWS = 16
const MOST_SLICES = 256
const SORT_ROWS = 1024
const DIGITS = 256
const SQUARES = 4096
const MOST_SQUARES = 1024
// As attention.h has it.
const ORDER_ROWS = 64

/** In bytes; 0 = the kernel needs none. `parameters` in the order of `KERNELS[kernel].parameterNames`. */
export function cudaWorkspaceBytes(kernel: Kernel, parameters: readonly number[]): number {
  const [first = 0, second = 0, third = 0] = parameters
  switch (kernel) {
    case 'project':
      return gemm(first, second)
    case 'projectBackward':
      return gemm(first, third)
    case 'weightGradient':
      return gemm(second, third)
    case 'normBackward':
    case 'biasGradient':
      return columnSums(first, second)
    case 'layerNormBackward': // of dweight and of dbias
      return columnSums(first, 2 * second)
    case 'crossEntropy': // loss of each row, f64
      return 8 * first
    case 'squaredNorm': // sum of each tile, f64
      return 8 * Math.min(MOST_SQUARES, Math.ceil(first / SQUARES))
    case 'attendBackward': {
      // On tensor cores: which block of keys adds to dq next, for every 64 rows of a head.
      const [rows = 0, , heads = 0, , headSize = 0, , , bf16 = 0] = parameters
      return onTensorCores(bf16 === 0 ? 'f32' : 'bf16', headSize) ? roundUp(4 * (heads * Math.ceil(rows / ORDER_ROWS) + 2)) : 0
    }
    case 'embedBackward':
      return sortedRows(first)
    case 'embed':
    case 'norm':
    case 'layerNorm':
    case 'rotary':
    case 'rotaryBackward':
    case 'attend':
    case 'finish':
    case 'merge':
    case 'delta':
    case 'swiglu':
    case 'swigluBackward':
    case 'gelu':
    case 'geluBackward':
    case 'round':
    case 'zero':
    case 'clip':
    case 'adamW':
      return 0
    default:
      return kernel satisfies never
  }
}

/** C (rows, columns): parts of a sum that is split over depth, which only a small C needs to fill a GPU. */
function gemm(rows: number, columns: number): number {
  return Math.min(MOST_GEMM_BYTES, roundUp(4 * rows * columns))
}

/** Sums over rows, f32: of each slice of them. */
function columnSums(rows: number, columns: number): number {
  return 4 * Math.min(MOST_SLICES, Math.ceil(rows / SLICE_ROWS)) * columns
}

/** Rows in the order of their tokens, u32: how often a digit of a token occurs in each tile and in all, and two lists of rows in whole sectors. */
function sortedRows(rows: number): number {
  return 4 * (DIGITS * (Math.ceil(rows / SORT_ROWS) + 1) + 2 * 8 * Math.ceil(rows / 8))
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / 256) * 256
}
