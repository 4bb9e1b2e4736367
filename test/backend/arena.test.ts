/** Memory of a loaded program: exact sizes, budgets, bounds, and how far it was written. */

import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { copy, device, onCuda, open, program, STEP, zero } from './programs.js'

afterAll(() => device().close())

const coded = (code: string, message: RegExp): unknown => expect.objectContaining({ code, message: expect.stringMatching(message) })

describe('arenas', () => {
  it('have exactly the bytes of the program, per rank and tier, and start as zeros', () => {
    const executor = device().load(program(3, { device: 1001, host: 77 }, []))
    expect(executor.memory().allocatedBytes).toEqual({ device: 1001, host: 77, disk: 0 })
    for (let rank = 0; rank < 3; rank++) expect(executor.read('device', rank, 0, 1001)).toEqual(new Uint8Array(1001))
    executor.close()
  })

  it('of different ranks and tiers are different memory', () => {
    const executor = device().load(program(2, { device: 8, host: 8 }, []))
    const places = [
      ['device', 0],
      ['device', 1],
      ['host', 0],
      ['host', 1],
    ] as const
    for (const [i, [tier, rank]] of places.entries())
      executor.write(
        tier,
        rank,
        0,
        Uint8Array.from({ length: 8 }, () => i + 1),
      )
    for (const [i, [tier, rank]] of places.entries()) expect(executor.read(tier, rank, 0, 8)).toEqual(Uint8Array.from({ length: 8 }, () => i + 1))
    executor.close()
  })

  it.skipIf(onCuda)('commit on touch: a host pool larger than what is used costs no memory', () => {
    const before = process.memoryUsage.rss()
    const executor = device().load(program(1, { host: 4 * 2 ** 30 }, []))
    executor.write('host', 0, 4 * 2 ** 30 - 8, Float64Array.of(1))
    expect(executor.read('host', 0, 4 * 2 ** 30 - 8, 8)).toEqual(new Uint8Array(Float64Array.of(1).buffer))
    expect(process.memoryUsage.rss() - before).toBeLessThan(256 * 2 ** 20)
    executor.close()
  })

  it.skipIf(onCuda)('are given back by close', () => {
    const bytes = 128 * 2 ** 20
    const before = process.memoryUsage.rss()
    const executor = device().load(program(1, { device: bytes }, []))
    executor.poison()
    expect(process.memoryUsage.rss() - before).toBeGreaterThan(bytes * 0.9)
    executor.close()
    expect(process.memoryUsage.rss() - before).toBeLessThan(bytes * 0.5)
  })

  it('are not read or written outside their bounds', () => {
    const executor = device().load(program(2, { device: 100 }, []))
    const range = coded('range', /do not lie in the (device|host) arenas, which have/)
    for (const [offset, bytes] of [
      [93, 8],
      [-1, 8],
      [101, 0],
      [2 ** 53, 8],
      [0.5, 8],
      [Number.NaN, 8],
      [Number.POSITIVE_INFINITY, 8],
    ] as const) {
      expect(() => executor.read('device', 0, offset, bytes)).toThrow(range)
      expect(() => executor.write('device', 0, offset, new Uint8Array(bytes))).toThrow(range)
    }
    expect(() => executor.read('device', 2, 0, 8)).toThrow(range)
    expect(() => executor.read('host', 0, 0, 0)).toThrow(range)
    expect(() => executor.read('device', 0, 0, 2 ** 40)).toThrow(coded('argument', /bytes is/))
    expect(() => executor.write('device', 0, 0, new Uint8Array(101))).toThrow(range)
    executor.close()
  })
})

describe('budgets', () => {
  it('refuse a program that needs more, before anything is allocated, and name both figures', () => {
    const before = device().allocations()
    expect(() => device().load(program(1, { device: 1001 }, []), { device: 1000 })).toThrow(
      coded('out_of_memory', /1001 bytes of device memory per rank; the budget is 1000/),
    )
    expect(() => device().load(program(1, { device: 10, host: 1001 }, []), { device: 10, host: 1000 })).toThrow(coded('out_of_memory', /of host memory/))
    expect(device().allocations()).toBe(before)
  })
  it('are per rank, and may be met exactly', () => {
    device()
      .load(program(4, { device: 1000 }, []), { device: 1000, host: null })
      .close()
  })
  it('end at the memory of the machine', () => {
    const { memoryBytes } = device().info()
    if (onCuda) {
      expect(() => device().load(program(2, { host: 2 ** 50 }, []))).toThrow(
        coded('out_of_memory', /the host arenas of 2 ranks need .* bytes; this machine has/),
      )
      const ranks = 2 * (process.env.FPDT_TEST_DEVICES ?? '0').split(',').length // two on a GPU
      const bytes = Math.ceil(memoryBytes * 0.6)
      expect(() => device().load(program(ranks, { device: bytes }, []))).toThrow(
        coded('out_of_memory', /the device arenas of 2 ranks need .* bytes; the GPU has/),
      )
      return
    }
    expect(() => device().load(program(2, { host: Math.ceil(memoryBytes * 0.6) }, []))).toThrow(coded('out_of_memory', /this machine has/))
    expect(() => device().load(program(1, { device: 2 ** 52 }, []))).toThrow(coded('out_of_memory', /this machine has/))
  })
  it("hold for the disk tier too, which takes none of the machine's memory", () => {
    expect(() => device().load(program(1, { disk: 1001 }, []), { disk: 1000 })).toThrow(
      coded('out_of_memory', /1001 bytes of disk space per rank; the budget is 1000/),
    )
    device()
      .load(program(2, { disk: 1000 }, []), { disk: 1000 })
      .close()
  })
})

describe('firstNotFinite', () => {
  const arrays = { f32: Float32Array, f64: Float64Array }
  it('is the index of the first NaN or infinity among the elements asked for, on every tier', () => {
    const bytes = 3 << 20
    const executor = device().load(program(2, { device: bytes, host: bytes, disk: bytes }, []))
    const bad = fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY)
    const places = fc.uniqueArray(fc.integer({ min: 0, max: 5000 }), { maxLength: 3 })
    const large = fc.record({
      dtype: fc.constantFrom('f32', 'f64'),
      tier: fc.constantFrom('device', 'host', 'disk'),
      offset: fc.nat(100),
      places,
      bad,
      count: fc.nat(5001),
    })
    fc.assert(
      fc.property(large, ({ dtype, tier, offset, places, bad, count }) => {
        const values = new arrays[dtype](5001).fill(dtype === 'f32' ? 3.4028234663852886e38 : Number.MAX_VALUE) // the exponent next to infinity's
        for (const place of places) values[place] = bad
        executor.write(tier, 1, offset, values)
        const wanted = values.subarray(0, count).findIndex((value) => !Number.isFinite(value))
        expect(executor.firstNotFinite(tier, 1, offset, count * values.BYTES_PER_ELEMENT, dtype)).toBe(wanted)
      }),
    )
    executor.write('disk', 0, bytes - 4, Float32Array.of(Number.NaN)) // beyond the first piece that is looked at
    expect(executor.firstNotFinite('disk', 0, 0, bytes, 'f32')).toBe(bytes / 4 - 1)
    expect(executor.firstNotFinite('disk', 0, 4, bytes - 8, 'f32')).toBe(-1)
    executor.close()
  })
  it('knows every bf16', () => {
    const executor = device().load(program(1, { device: 2 }, []))
    for (let bits = 0; bits < 0x10000; bits++) {
      executor.write('device', 0, 0, Uint16Array.of(bits))
      const value = new Float32Array(Uint32Array.of(bits * 0x10000).buffer)[0] as number
      if (executor.firstNotFinite('device', 0, 0, 2, 'bf16') !== (Number.isFinite(value) ? -1 : 0)) expect(bits).toBe('told right')
    }
    executor.close()
  })
  it('refuses bytes outside the arena, parts of an element and other dtypes', () => {
    const executor = device().load(program(1, { device: 64 }, []))
    expect(() => executor.firstNotFinite('device', 0, 60, 8, 'f32')).toThrow(coded('range', /do not lie in the device arenas/))
    expect(() => executor.firstNotFinite('device', 0, 0, Number.NaN, 'f32')).toThrow(coded('range', /do not lie/))
    expect(() => executor.firstNotFinite('device', 0, 0, -8, 'f32')).toThrow(coded('range', /do not lie/))
    expect(() => executor.firstNotFinite('device', 0, 0, 6, 'f32')).toThrow(coded('range', /no whole number of elements of 4 bytes/))
    expect(() => executor.firstNotFinite('device', 0, 0, 8, 'i32' as 'f32')).toThrow(coded('argument', /dtype must be/))
    executor.close()
  })
})

describe('touched', () => {
  it('is the end of the highest 8-byte word written, or of the arena', async () => {
    const write = fc.record({ offset: fc.nat(600_000), bytes: fc.integer({ min: 4, max: 5000 }) })
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 700_000 }), fc.array(write, { maxLength: 4 }), async (arena, writes) => {
        const inside = writes.map(({ offset, bytes }) => ({ offset: offset - (offset % 4), bytes })).filter(({ offset, bytes }) => offset + bytes <= arena)
        const executor = device().load(
          program(
            2,
            { device: arena },
            inside.map(({ offset, bytes }) => zero(offset, bytes)),
          ),
        )
        executor.poison('device')
        expect(executor.touched('device', 1)).toBe(0)
        await executor.run(undefined, STEP)
        const end = Math.max(0, ...inside.map(({ offset, bytes }) => offset + bytes))
        // A last piece of one to three bytes of a word equals the pattern now and then; four do once in 2^32.
        if (end % 8 === 0 || end % 8 >= 4) expect(executor.touched('device', 1)).toBe(Math.min(arena, Math.ceil(end / 8) * 8))
        executor.close()
      }),
      { numRuns: onCuda ? 15 : 60 },
    )
  })

  it('sees copies into the host arena, and every rank by itself', async () => {
    const executor = device().load(program(2, { device: 4096, host: 4096 }, [copy('offload', 0, 1000, 2000)]))
    executor.poison()
    executor.write('device', 1, 3000, Float64Array.of(1))
    await executor.run(undefined, STEP)
    expect([executor.touched('device', 0), executor.touched('device', 1)]).toEqual([0, 3008])
    expect([executor.touched('host', 0), executor.touched('host', 1)]).toEqual([3000, 3000])
    executor.close()
  })

  it('needs a poison, and is 0 for a tier with no bytes', () => {
    const executor = device().load(program(1, { device: 64 }, []))
    expect(() => executor.touched('device', 0)).toThrow(coded('range', /never poisoned/))
    expect(executor.touched('host', 0)).toBe(0)
    executor.close()
  })
})

describe('a device that is closed', () => {
  it('closes its executors and refuses further use', () => {
    const other = open()
    const executor = other.load(program(1, { device: 64 }, []))
    const stays = device().load(program(1, { device: 64 }, []))
    other.close()
    other.close()
    const closed = coded('closed', /closed/)
    expect(() => executor.read('device', 0, 0, 8)).toThrow(closed)
    expect(() => other.info()).toThrow(closed)
    expect(() => other.load(program(1, {}, []))).toThrow(closed)
    expect(stays.read('device', 0, 0, 8)).toEqual(new Uint8Array(8))
    stays.close()
  })
})
