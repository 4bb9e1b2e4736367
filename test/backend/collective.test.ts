/** Collectives of the CPU backend, through the executor, against naive ones. Letters as in native/cpu/collective.cc. */
import { afterAll, describe, expect, it } from 'vitest'
import { collective, device, type Entry, f32, f64, onDevice, type Place, program, STEP, toHeads, zero } from './programs.js'
import { numbers as numbersIn, tensor } from './reference/tensor.js'

afterAll(() => device().close())

/** Bytes that differ in every place and rank. */
const pattern = (rank: number, bytes: number): Uint8Array => Uint8Array.from({ length: bytes }, (_, i) => (i * 31 + rank * 97 + 7) & 0xff)

/** Runs entries on `ranks` ranks whose device arenas start with `initial(rank)`; the arenas afterwards. */
async function run(ranks: number, bytes: number, entries: Entry[], initial: (rank: number) => ArrayBufferView): Promise<Uint8Array[]> {
  const executor = device().load(program(ranks, { device: bytes }, entries))
  for (let rank = 0; rank < ranks; rank++) executor.write('device', rank, 0, initial(rank))
  await executor.run(undefined, STEP)
  const arenas = Array.from({ length: ranks }, (_, rank) => executor.read('device', rank, 0, bytes))
  executor.close()
  return arenas
}

describe.each([1, 2, 3, 4])('on %d ranks', (ranks) => {
  const tokens = 5
  const headSize = 8
  const elementBytes = 2
  const headBytes = headSize * elementBytes
  const partHeads = [2 * ranks, ranks, ranks] // q, k, v of a model with two query heads for each key head
  const allHeads = 4 * ranks
  const local = onDevice(0, tokens * allHeads * headBytes)
  let end = local.bytes
  const parts = partHeads.map((heads) => {
    const place = onDevice(end, tokens * heads * headBytes)
    end += place.bytes
    return place
  })
  const back = onDevice(end, local.bytes)
  const arena = end + local.bytes

  it('allToAll toHeads gives every rank all tokens of its share of the heads of each part', async () => {
    const arenas = await run(ranks, arena, [collective('allToAll', [local, ...parts], [tokens, headSize, elementBytes, 0, ...partHeads])], (rank) =>
      pattern(rank, local.bytes),
    )
    for (let rank = 0; rank < ranks; rank++) {
      let firstHead = 0
      parts.forEach((part, p) => {
        const heads = partHeads[p] as number
        // The part's columns of `local`, as if it stood alone.
        const alone = Array.from({ length: ranks }, (_, peer) => {
          const whole = pattern(peer, local.bytes)
          return Uint8Array.from({ length: tokens * heads * headBytes }, (_, i) => {
            const token = Math.floor(i / (heads * headBytes))
            return whole[(token * allHeads + firstHead) * headBytes + (i % (heads * headBytes))] as number
          })
        })
        expect(arenas[rank]?.subarray(part.offset, part.offset + part.bytes)).toEqual(toHeads(alone, rank, tokens, heads, headBytes))
        firstHead += heads
      })
    }
  })

  it('allToAll toTokens undoes toHeads', async () => {
    const numbers = (direction: number): number[] => [tokens, headSize, elementBytes, direction, ...partHeads]
    const entries = [collective('allToAll', [local, ...parts], numbers(0)), collective('allToAll', [back, ...parts], numbers(1))]
    const arenas = await run(ranks, arena, entries, (rank) => pattern(rank, local.bytes))
    for (const [rank, found] of arenas.entries()) expect(found.subarray(back.offset, back.offset + back.bytes)).toEqual(pattern(rank, local.bytes))
  })

  it('gather lays the partitions end to end in rank order', async () => {
    const bytes = 1000
    const arenas = await run(ranks, bytes * (ranks + 1), [collective('gather', [onDevice(0, bytes), onDevice(bytes, bytes * ranks)], [bytes])], (rank) =>
      pattern(rank, bytes),
    )
    const full = Uint8Array.from(Array.from({ length: ranks }, (_, rank) => [...pattern(rank, bytes)]).flat())
    for (const arena of arenas) expect(arena.subarray(bytes)).toEqual(full)
  })

  it.each([1, 0])('reduceScatter sums in rank order (first = %d)', async (first) => {
    const count = 2500 // not a multiple of any block
    const value = (rank: number, i: number): number => Math.fround(Math.sin(i + 1) * 10 ** ((rank * 5 + i) % 9)) // sums depend on their order
    const before = 0.25
    const initial = (rank: number): Float32Array => Float32Array.from({ length: count * (ranks + 1) }, (_, i) => (i < count * ranks ? value(rank, i) : before))
    const entries = [collective('reduceScatter', [onDevice(0, 4 * count * ranks), onDevice(4 * count * ranks, 4 * count)], [count, first])]
    const arenas = await run(ranks, 4 * count * (ranks + 1), entries, initial)
    arenas.forEach((arena, rank) => {
      const wanted = Array.from({ length: count }, (_, i) => {
        let sum = value(0, rank * count + i)
        for (let peer = 1; peer < ranks; peer++) sum = Math.fround(sum + value(peer, rank * count + i))
        return first ? sum : Math.fround(before + sum)
      })
      expect(f32(arena).slice(count * ranks)).toEqual(wanted)
    })
  })

  it('allReduce leaves the same sum, taken in rank order, on every rank', async () => {
    const values = [1e16, 1, -1e16, 3.5] // 1e16 + 1 is 1e16: the order shows
    const arenas = await run(ranks, 16, [collective('allReduce', [onDevice(0, 16)], [2])], (rank) => Float64Array.of(values[rank] as number, rank))
    const sum = values.slice(0, ranks).reduce((left, right) => left + right)
    for (const arena of arenas) expect(f64(arena)).toEqual([sum, (ranks * (ranks - 1)) / 2])
  })
})

describe.each([
  [2, 1],
  [4, 1],
  [4, 2],
  [6, 3],
])('on %d ranks that share %d key/value heads', (ranks, shared) => {
  const [tokens, headSize, queryHeads] = [3, 24, 2 * ranks]
  const allHeads = queryHeads + 2 * shared // q, k, v
  const partHeads = [queryHeads, shared, shared]
  const copies = ranks / shared

  it.each([2, 4])('toHeads gives each head to ranks in a row, all tokens of it (%d bytes an element)', async (elementBytes) => {
    const headBytes = headSize * elementBytes
    const local = onDevice(0, tokens * allHeads * headBytes)
    let end = local.bytes
    const parts = partHeads.map((heads) => {
      const place = onDevice(end, ranks * tokens * Math.max(1, heads / ranks) * headBytes)
      end += place.bytes
      return place
    })
    const numbers = [tokens, headSize, elementBytes, 0, ...partHeads]
    const arenas = await run(ranks, end, [collective('allToAll', [local, ...parts], numbers)], (rank) => pattern(rank, local.bytes))
    for (const [rank, arena] of arenas.entries()) {
      for (const p of [1, 2]) {
        const head = queryHeads + (p - 1) * shared + Math.floor(rank / copies)
        const wanted = Array.from({ length: ranks * tokens }, (_, row) => {
          const from = ((row % tokens) * allHeads + head) * headBytes
          return [...pattern(Math.floor(row / tokens), local.bytes).subarray(from, from + headBytes)]
        })
        const { offset, bytes } = parts[p] as Place
        expect(arena.subarray(offset, offset + bytes)).toEqual(Uint8Array.from(wanted.flat()))
      }
    }
  })

  it.each(['bf16', 'f32'] as const)('toTokens adds what the ranks of a head hold, in rank order, and rounds once (%s)', async (dtype) => {
    const elementBytes = dtype === 'bf16' ? 2 : 4
    const round = (x: number): number => numbersIn(tensor([x], dtype))[0] as number
    const counts = partHeads.map((heads) => ranks * tokens * Math.max(1, heads / ranks) * headSize)
    const localCount = tokens * allHeads * headSize
    // Sums depend on their order and on when they are rounded.
    const value = (rank: number, part: number, i: number): number => round(Math.sin(i * 1.7 + part + rank * 11) * 2 ** ((rank * 5 + i) % 13))
    let end = localCount
    const parts = counts.map((count) => {
      const place = onDevice(end * elementBytes, count * elementBytes)
      end += count
      return place
    })
    const initial = (rank: number): ArrayBufferView => {
      const values = [...Array<number>(localCount).fill(7), ...counts.flatMap((count, part) => Array.from({ length: count }, (_, i) => value(rank, part, i)))]
      return tensor(values, dtype)
    }
    const numbers = [tokens, headSize, elementBytes, 1, ...partHeads]
    const arenas = await run(ranks, end * elementBytes, [collective('allToAll', [onDevice(0, localCount * elementBytes), ...parts], numbers)], initial)
    for (const [rank, arena] of arenas.entries()) {
      const bytes = arena.slice(0, localCount * elementBytes)
      const found = [...numbersIn(dtype === 'bf16' ? new Uint16Array(bytes.buffer) : new Float32Array(bytes.buffer))]
      const wanted = Array.from({ length: localCount }, (_, i) => {
        const [token, head, d] = [Math.floor(i / (allHeads * headSize)), Math.floor(i / headSize) % allHeads, i % headSize]
        const row = rank * tokens + token
        if (head < queryHeads) {
          const share = queryHeads / ranks
          return value(Math.floor(head / share), 0, (row * share + (head % share)) * headSize + d)
        }
        const [part, own] = [head < queryHeads + shared ? 1 : 2, (head - queryHeads) % shared]
        let sum = value(own * copies, part, row * headSize + d)
        for (let copy = 1; copy < copies; copy++) sum = Math.fround(sum + value(own * copies + copy, part, row * headSize + d))
        return round(sum)
      })
      expect(found).toEqual(wanted)
    }
  })
})

it('is over on a rank only when no peer reads its bytes any more', async () => {
  // Back and forth between two buffers, and each is zeroed by its own rank as soon as the exchange out of it is over there.
  const [ranks, piece, rounds] = [4, 1 << 16, 20]
  const [a, b] = [onDevice(0, piece * ranks), onDevice(piece * ranks, piece * ranks)]
  const entries: Entry[] = []
  for (let round = 0; round < rounds; round++) {
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const before = entries.length
      entries.push(collective('allToAll', [from, to], [1, piece, 1, 0, ranks], before ? [before - 1] : []), zero(from.offset, from.bytes, [before]))
    }
  }
  const arenas = await run(ranks, 2 * piece * ranks, entries, (rank) => pattern(rank, a.bytes))
  for (const [rank, arena] of arenas.entries()) expect(Buffer.compare(arena.subarray(0, a.bytes), pattern(rank, a.bytes))).toBe(0)
})
