/** The two GPUs of the arithmetic, from NVIDIA's data sheets (A100 80GB SXM; H100 SXM, dense rates) and architecture papers. */
export interface Gpu {
  readonly name: string
  readonly multiprocessors: number
  /** Boost clock, Hz. */
  readonly clock: number
  /** bf16 products with f32 sums, FLOP/s. */
  readonly tensor: number
  /** f32 outside the tensor cores, FLOP/s. */
  readonly f32: number
  /** Device memory, bytes/s. */
  readonly memory: number
}
export const GPUS: readonly Gpu[] = [
  { name: 'A100', multiprocessors: 108, clock: 1.41e9, tensor: 312e12, f32: 19.5e12, memory: 2.039e12 },
  { name: 'H100', multiprocessors: 132, clock: 1.98e9, tensor: 989e12, f32: 66.9e12, memory: 3.35e12 },
]
/** Special function unit (exponentials, reciprocals): 16 a cycle and multiprocessor, on both (CUDA programming guide, arithmetic throughput). */
export const specialRate = (gpu: Gpu): number => 16 * gpu.multiprocessors * gpu.clock
/** Shared memory: 32 banks of 4 bytes a cycle and multiprocessor. */
export const sharedRate = (gpu: Gpu): number => 128 * gpu.multiprocessors * gpu.clock
