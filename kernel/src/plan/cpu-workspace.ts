/**
 * Workspace of every kernel on the CPU, an upper bound over instruction paths: what the plan reserves as an operand of the op.
 * The native side lays out the same bytes and throws if it needs more (native/cpu); `test/backend/workspace.test.ts` compares.
 */
import type { Kernel } from '../schedule/kernels.js'
import { attentionWorkspaceBytes } from './cpu-workspace-attention.js'

// As native/cpu/gemm.cc has them.
const TILE = 256
const DEPTH = 256
const ENOUGH_ITEMS = 16
// As column_sums.h and optimizer.cc have them.
const SUM_ROWS = 16
const SUM_TILES = 64
const SQUARES = 16384
const SQUARES_TILES = 1024

/** In bytes, for a pool of `threads`; 0 = the kernel needs none. `parameters` in the order of `KERNELS[kernel].parameterNames`. */
export function cpuWorkspaceBytes(kernel: Kernel, parameters: readonly number[], threads: number): number {
  const [first = 0, second = 0, third = 0] = parameters
  switch (kernel) {
    case 'project':
      return gemm(first, second, third, threads)
    case 'projectBackward':
      return gemm(first, third, second, threads)
    case 'weightGradient':
      return gemm(second, third, first, threads)
    case 'normBackward':
    case 'biasGradient':
      return columnSums(first, second, threads)
    case 'layerNormBackward': // of dweight and of dbias
      return columnSums(first, 2 * second, threads)
    case 'crossEntropy': // loss of each row, f64
      return 8 * first
    case 'squaredNorm': // sum of each tile, f64
      return 8 * Math.ceil(first / Math.max(SQUARES, Math.ceil(first / SQUARES_TILES)))
    case 'embed':
    case 'embedBackward':
    case 'norm':
    case 'layerNorm':
    case 'swiglu':
    case 'swigluBackward':
    case 'gelu':
    case 'geluBackward':
    case 'round':
    case 'zero':
    case 'clip':
    case 'adamW':
      return 0
    case 'rotary':
    case 'rotaryBackward':
    case 'attend':
    case 'attendBackward':
    case 'finish':
    case 'merge':
    case 'delta':
      return attentionWorkspaceBytes(kernel, parameters, threads)
    default:
      return kernel satisfies never
  }
}

/** C (rows, columns) = A (rows, depth) B (depth, columns): the parts of a split sum, and per thread a tile of C, panels of A and B, oneDNN's scratchpad. */
function gemm(rows: number, columns: number, depth: number, threads: number): number {
  const r = Math.min(rows, TILE)
  const c = Math.min(columns, TILE)
  const d = Math.min(depth, DEPTH)
  const tiles = Math.ceil(rows / TILE) * Math.ceil(columns / TILE)
  const parts = Math.max(1, Math.min(Math.floor(Math.ceil(depth / DEPTH) / 2), Math.floor(ENOUGH_ITEMS / tiles)))
  const scratchpad = 4 * (r * c + (r + 128) * (Math.min(depth, 4 * DEPTH) + 64))
  const slot = roundUp(4 * r * c) + roundUp(4 * r * d) + roundUp(4 * c * d) + roundUp(scratchpad)
  return (parts > 1 ? parts * tiles * 4 * TILE * TILE : 0) + threads * slot
}

/** Sums over rows: f64 of each tile, and an f32 line of each thread. */
function columnSums(rows: number, columns: number, threads: number): number {
  const tiles = Math.ceil(rows / Math.max(SUM_ROWS, Math.ceil(rows / SUM_TILES)))
  return columns * (8 * tiles + 4 * threads)
}

/** To whole cache lines. */
function roundUp(bytes: number): number {
  return Math.ceil(bytes / 64) * 64
}
