/**
 * Workspace of the attention kernels on the CPU: the one place that says how much, for every path (native/cpu/attention*).
 * All of it is tiles of a thread plus a few numbers per block, so it does not grow with the chunk but for those. The native
 * side lays the same tiles out and throws if they need more than this.
 */
import type { Kernel } from '../schedule/kernels.js'

// In rows, as attention.h, attention_avx512bf16.h and attention_f32.h have them.
const PANEL = 48
const MAX_PANELS = 4
const TILE_BF16 = 192
const TILE_F32 = 96
/** Extent of the smallest block of a backward pass, which has a counter of its own. */
const MIN_BLOCK = 96
/** Widest vector, in elements of f32: rows of packed f32 tiles are whole vectors. */
const LANES = 16
const ALIGNMENT = 64

/**
 * Upper bound over paths, in bytes. `parameters` in the order of `KERNELS[kernel].parameterNames`; 0 for kernels that need none.
 */
export function attentionWorkspaceBytes(kernel: Kernel, parameters: readonly number[], threads: number): number {
  const [rows = 0, columns = 0, , kvHeads = 0, headSize = 0, , , bf16 = 0] = parameters
  switch (kernel) {
    case 'attend':
      return ALIGNMENT + threads * forwardTiles(headSize)
    case 'attendBackward': {
      const [qBlocks, kvBlocks] = [Math.ceil(rows / MIN_BLOCK), Math.ceil(columns / MIN_BLOCK)]
      // a counter of every block, and where every q block begins to see
      const blocks = 4 * kvHeads * (qBlocks + kvBlocks) + ALIGNMENT + 4 * qBlocks
      return ALIGNMENT + threads * backwardTiles(headSize, bf16 !== 0) + blocks
    }
    default:
      return 0
  }
}

/** k and v tile, scores of one panel; per panel q transposed and acc, and one panel of q rows. The bf16 path packs k, v and q smaller. */
function forwardTiles(headSize: number): number {
  const row = 4 * roundUp(headSize, LANES)
  const k = TILE_F32 * row
  return 2 * k + 4 * TILE_F32 * PANEL + (2 * MAX_PANELS + 1) * PANEL * row
}

/** Two kv tiles, one q tile, and what lies between them. */
function backwardTiles(headSize: number, bf16: boolean): number {
  const row = 4 * roundUp(headSize, LANES)
  // twice: k, v, dk, dv; then q and dO, both as rows and transposed, dq; p, ds; lse, delta and the two ends of a row's mask
  const f32 = (2 * 4 + 5) * TILE_F32 * row + 2 * 4 * TILE_F32 * TILE_F32 + 4 * 4 * TILE_F32
  if (!bf16 || (headSize !== 64 && headSize !== 128)) return f32
  // bf16: twice k and v as rows and k as pairs of rows, q and dO transposed and as pairs; f32: twice dk and dv, dq; bf16: p, ds, ds as pairs
  const packed = (2 * 3 + 4) * TILE_BF16 * 2 * headSize
  const dotProducts = packed + (2 * 2 + 1) * TILE_BF16 * 4 * headSize + 3 * TILE_BF16 * 2 * TILE_BF16 + 4 * 4 * TILE_BF16
  return Math.max(f32, dotProducts)
}

function roundUp(x: number, multiple: number): number {
  return Math.ceil(x / multiple) * multiple
}
