/** Tiny hand-made programs, and what they do written naively: the executor is held against this. */
import { type Device, openDevice } from '@fpdt/native'
import { NO_TIER, OPCODES, type Program } from '../../kernel/src/plan/program.js'
import { KERNEL_NAMES, KERNELS, type Kernel } from '../../kernel/src/schedule/kernels.js'
import { KINDS, STREAMS, type Stream, TIERS, type Tier } from '../../kernel/src/trace/schema.js'

export interface Place {
  readonly tier: Tier
  readonly offset: number
  readonly bytes: number
}
export interface Entry {
  readonly name: Kernel | keyof typeof OPCODES
  readonly operands: readonly (Place | null)[]
  readonly numbers: readonly number[]
  /** Indices of earlier entries. */
  readonly waits: readonly number[]
}

export const onDevice = (offset: number, bytes: number): Place => ({ tier: 'device', offset, bytes })
export const onHost = (offset: number, bytes: number): Place => ({ tier: 'host', offset, bytes })
export function kernel(
  name: Kernel,
  operands: readonly (Place | null)[],
  numbers: readonly number[],
  waits: readonly number[] = [],
  workspace: Place | null = null,
): Entry {
  return { name, operands: [...operands, workspace], numbers, waits }
}
type Copy = 'offload' | 'fetch' | 'spill' | 'load'
const COPIES: Readonly<Record<Copy, readonly [from: Tier, to: Tier]>> = {
  offload: ['device', 'host'],
  fetch: ['host', 'device'],
  spill: ['host', 'disk'],
  load: ['disk', 'host'],
}
export function copy(name: Copy, from: number, to: number, bytes: number, waits: readonly number[] = []): Entry {
  const [source, target] = COPIES[name]
  const operands = [
    { tier: source, offset: from, bytes },
    { tier: target, offset: to, bytes },
  ]
  return { name, operands, numbers: [], waits }
}
export function collective(
  name: 'allToAll' | 'gather' | 'reduceScatter' | 'allReduce',
  operands: readonly Place[],
  numbers: readonly number[],
  waits: readonly number[] = [],
): Entry {
  return { name, operands, numbers, waits }
}
export const zero = (offset: number, bytes: number, waits: readonly number[] = []): Entry => kernel('zero', [onDevice(offset, bytes)], [bytes], waits)

export const isCollective = (name: string): boolean => ['allToAll', 'gather', 'reduceScatter', 'allReduce'].includes(name)
const isCopy = (name: string): name is Copy => name in COPIES
export function streamOf({ name }: Entry): Stream {
  return isCollective(name) ? 'collective' : isCopy(name) ? name : 'compute'
}

/** The flat arrays of a list of entries. Tags are what they must be; sizes that nobody reads are 0. */
export function program(ranks: number, arenaBytes: Partial<Record<Tier, number>>, entries: readonly Entry[]): Program {
  const operands = entries.flatMap((entry) => entry.operands)
  const codeOf = ({ name }: Entry): number => (name in OPCODES ? OPCODES[name as keyof typeof OPCODES] : KERNELS[name as Kernel].code)
  const length = entries.length
  return {
    ranks,
    length,
    op: Uint32Array.from(entries, (_, i) => i),
    code: Uint16Array.from(entries, codeOf),
    stream: Uint8Array.from(entries, (entry) => STREAMS.indexOf(streamOf(entry))),
    operandStart: rowStarts(entries, ({ operands }) => operands.length),
    operandTier: Uint8Array.from(operands, (place) => (place ? TIERS.indexOf(place.tier) : NO_TIER)),
    operandOffset: Float64Array.from(operands, (place) => place?.offset ?? 0),
    operandBytes: Float64Array.from(operands, (place) => place?.bytes ?? 0),
    parameterStart: rowStarts(entries, ({ numbers }) => numbers.length),
    parameters: Float64Array.from(entries.flatMap((entry) => entry.numbers)),
    waitStart: rowStarts(entries, ({ waits }) => waits.length),
    waitEntry: Uint32Array.from(entries.flatMap((entry) => entry.waits)),
    kind: Uint8Array.from(entries, ({ name }) => KINDS.indexOf((name in OPCODES ? name : 'compute') as (typeof KINDS)[number])),
    kernel: Uint8Array.from(entries, ({ name }) => (name in OPCODES ? 0xff : KERNEL_NAMES.indexOf(name as Kernel))),
    phase: new Uint8Array(length),
    layer: new Uint16Array(length),
    q: new Uint16Array(length),
    kv: new Uint16Array(length),
    flops: new Float64Array(length),
    bytes: new Float64Array(length),
    arenaBytes: { device: 0, host: 0, disk: 0, ...arenaBytes },
  }
}

/** Compressed rows: 0, then the running sum of `count`. */
function rowStarts(entries: readonly Entry[], count: (entry: Entry) => number): Uint32Array {
  const starts = new Uint32Array(entries.length + 1)
  for (const [i, entry] of entries.entries()) starts[i + 1] = (starts[i] as number) + count(entry)
  return starts
}

/** What an entry reads and writes. */
export function touches({ name, operands }: Entry): { place: Place; writes: boolean }[] {
  const places = operands.filter((place) => place !== null)
  if (name === 'zero' || name === 'allReduce') return places.map((place) => ({ place, writes: true }))
  if (isCopy(name) || name === 'gather' || name === 'allToAll') return places.map((place, i) => ({ place, writes: i > 0 }))
  throw new Error(`${name} has no naive version here`)
}

export const overlap = (a: Place, b: Place): boolean => a.tier === b.tier && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes

/** Adds to every entry the waits that its reads and writes ask for: the last conflicting entry of each stream. */
export function withWaits(entries: readonly Entry[]): Entry[] {
  return entries.map((entry, i) => {
    const last = new Map<Stream, number>()
    for (let earlier = 0; earlier < i; earlier++) {
      const other = entries[earlier] as Entry
      const conflict = touches(entry).some((a) => touches(other).some((b) => (a.writes || b.writes) && overlap(a.place, b.place)))
      if (conflict) last.set(streamOf(other), earlier)
    }
    last.delete(streamOf(entry))
    return { ...entry, waits: [...last.values()] }
  })
}

/** Arenas of one rank, as plain memory. */
export type Naive = Record<Tier, Uint8Array>

/** Runs entries one after the other on all ranks. allToAll is toHeads with one part. */
export function interpret(entries: readonly Entry[], ranks: Naive[]): void {
  const at = (rank: number, place: Place): Uint8Array => (ranks[rank] as Naive)[place.tier].subarray(place.offset, place.offset + place.bytes)
  const numbersAt = (rank: number, place: Place): Float64Array => new Float64Array(at(rank, place).slice().buffer)
  for (const { name, operands, numbers } of entries) {
    const [a, b] = operands as [Place, Place]
    const everyRank = ranks.map((_, rank) => rank)
    if (name === 'zero') for (const rank of everyRank) at(rank, a).fill(0)
    else if (isCopy(name)) for (const rank of everyRank) at(rank, b).set(at(rank, a))
    else if (name === 'gather') for (const rank of everyRank) for (const peer of everyRank) at(rank, b).set(at(peer, a), peer * a.bytes)
    else if (name === 'allReduce') {
      const sum = everyRank.map((rank) => numbersAt(rank, a)).reduce((left, right) => left.map((value, i) => value + (right[i] as number)))
      for (const rank of everyRank) at(rank, a).set(new Uint8Array(sum.buffer))
    } else if (name === 'allToAll') {
      const [tokens, headSize, elementBytes, , heads] = numbers as [number, number, number, number, number]
      const results = everyRank.map((rank) => {
        const locals = everyRank.map((peer) => at(peer, a))
        return toHeads(locals, rank, tokens, heads, headSize * elementBytes)
      })
      for (const rank of everyRank) at(rank, b).set(results[rank] as Uint8Array)
    } else throw new Error(`${name} has no naive version here`)
  }
}

/** parts[r·c + t, h] on `rank` = local[t, rank·heads/P + h] of rank r; a head is `headBytes` long. */
export function toHeads(locals: readonly Uint8Array[], rank: number, tokens: number, heads: number, headBytes: number): Uint8Array {
  const share = heads / locals.length
  const out = new Uint8Array(locals.length * tokens * share * headBytes)
  locals.forEach((local, peer) => {
    for (let t = 0; t < tokens; t++) {
      for (let h = 0; h < share; h++) {
        const from = (t * heads + rank * share + h) * headBytes
        out.set(local.subarray(from, from + headBytes), ((peer * tokens + t) * share + h) * headBytes)
      }
    }
  })
  return out
}

export interface SpanRow {
  readonly rank: number
  readonly entry: number
  readonly start: number
  readonly end: number
}
/** Rows of `takeSpans` as objects. */
export function spanRows(flat: Float64Array): SpanRow[] {
  return Array.from({ length: flat.length / 4 }, (_, i) => {
    const [rank, entry, start, end] = flat.subarray(4 * i, 4 * i + 4) as unknown as [number, number, number, number]
    return { rank, entry, start, end }
  })
}

export const STEP = Float64Array.of(0, 1, 1, 1)
export const f64 = (bytes: Uint8Array): number[] => [...new Float64Array(bytes.slice().buffer)]
export const f32 = (bytes: Uint8Array): number[] => [...new Float32Array(bytes.slice().buffer)]

/** What the suites run on: the CPU, or with FPDT_TEST_BACKEND=cuda the GPUs of FPDT_TEST_DEVICES ("0,1"; default "0"), of the machine or emulated ones. */
export const backend = process.env.FPDT_TEST_BACKEND === 'cuda' ? 'cuda' : 'cpu'
export const onCuda = backend === 'cuda'
const gpus = (process.env.FPDT_TEST_DEVICES ?? '0').split(',').map(Number)
export function open(): Device {
  return onCuda ? openDevice({ backend: 'cuda', devices: gpus }) : openDevice({ backend: 'cpu', threads: 2 })
}

let shared: Device | undefined
/** One device for a test file. */
export function device(): Device {
  shared ??= open()
  return shared
}
