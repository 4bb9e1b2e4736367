/** Memory of a kernel's operands beside the exact numbers in it, for references that compute in f64. */
export type ComputeDtype = 'bf16' | 'f32'
export type Memory = Uint16Array | Float32Array | Float64Array | Int32Array

/** Relative error of one rounding. bf16 has 8 significant bits, f32 has 24. */
export const UNIT: Record<ComputeDtype, number> = { bf16: 2 ** -8, f32: 2 ** -24 }
export const flagOf = (dtype: ComputeDtype): number => (dtype === 'bf16' ? 1 : 0)

/** The compute dtype T beside that of the hidden state, which is T or f32. */
export interface Dtypes {
  readonly dtype: ComputeDtype
  readonly hidden: ComputeDtype
}
export const DTYPES: readonly Dtypes[] = [
  { dtype: 'bf16', hidden: 'bf16' },
  { dtype: 'bf16', hidden: 'f32' },
  { dtype: 'f32', hidden: 'f32' },
]
/** As kernels are told of both. */
export const flagsOf = ({ dtype, hidden }: Dtypes): { hiddenF32: number; bf16: number } => ({ hiddenF32: hidden === 'f32' ? 1 : 0, bf16: flagOf(dtype) })

/** The numbers in memory; 16-bit words are bf16. */
export function numbers(memory: Memory): Float64Array {
  if (!(memory instanceof Uint16Array)) return Float64Array.from(memory)
  return Float64Array.from(new Float32Array(Uint32Array.from(memory, (bits) => bits << 16).buffer))
}

/** Numbers rounded into memory of a dtype. */
export function tensor(values: ArrayLike<number>, dtype: ComputeDtype): Uint16Array | Float32Array {
  const f32 = Float32Array.from(values)
  return dtype === 'f32' ? f32 : Uint16Array.from(new Uint32Array(f32.buffer), roundToBf16)
}

/** Nearest, ties to even: by the distance to both neighbours, not by the trick of the code under test. */
function roundToBf16(bits: number): number {
  const below = bits >>> 16
  const rest = bits & 0xffff
  if ((bits & 0x7fffffff) > 0x7f800000) return below | 0x40
  return rest > 0x8000 || (rest === 0x8000 && below % 2 === 1) ? below + 1 : below
}

/** Evenly spread over (-scale, scale), the same for the same seed (xorshift32). */
export function random(seed: number, count: number, dtype: ComputeDtype, scale = 1): Uint16Array | Float32Array {
  return tensor(uniform(seed, count, scale), dtype)
}
export function uniform(seed: number, count: number, scale = 1): Float64Array {
  let state = Math.imul(seed + 1, 0x9e3779b1) | 1
  return Float64Array.from({ length: count }, () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state / 2 ** 31) * scale
  })
}
/** Whole numbers 0 .. below - 1. */
export function randomIntegers(seed: number, count: number, below: number): Int32Array {
  return Int32Array.from(uniform(seed, count), (x) => Math.floor(((x + 1) / 2) * below) % below)
}

/** Memory that holds NaN until a kernel writes it: a sum that reads it stays NaN. */
export function poison(count: number, dtype: ComputeDtype): Uint16Array | Float32Array {
  return dtype === 'bf16' ? new Uint16Array(count).fill(0xffff) : new Float32Array(count).fill(Number.NaN)
}
