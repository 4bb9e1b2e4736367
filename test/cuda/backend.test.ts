/**
 * What the CUDA backend alone has, on emulated GPUs: devices that are missing or refused, memory that runs out, a device that is lost, faults that are found
 * late, several GPUs, clocks that run apart, and queues that lag in any order. What it has in common with the CPU is in test/backend, which runs on either.
 */
import './emulated.js'
import { cudaDevices, type Device, type Executor, openDevice, type RunError } from '@fpdt/native'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  collective,
  copy,
  type Entry,
  f32,
  f64,
  interpret,
  kernel,
  type Naive,
  onDevice,
  program,
  STEP,
  spanRows,
  withWaits,
  zero,
} from '../backend/programs.js'
import { emulator } from './emulated.js'

const coded = (code: string, message: RegExp): unknown => expect.objectContaining({ code, message: expect.stringMatching(message) })
const MB = 2 ** 20

let device: Device | undefined
const open = (devices = [0]): Device => {
  device = openDevice({ backend: 'cuda', devices })
  return device
}
beforeEach(() => emulator.configure({ seed: 0, policy: null, driver: 13000, devices: 1 }))
afterEach(() => {
  device?.close()
  device = undefined
  emulator.reset()
})

describe('cudaDevices', () => {
  const only = (configuration: Parameters<typeof emulator.configure>[0]) => {
    emulator.configure(configuration)
    return cudaDevices()
  }
  it('lists the GPUs, and makes no context on them', () => {
    const found = only({ devices: [{ name: 'A' }, { name: 'B', major: 9, minor: 0, memory: 512 * MB }] })
    expect(found).toMatchObject({ built: true, available: true, reason: '' })
    expect(found.devices).toMatchObject([
      { index: 0, name: 'A', capability: '8.0', usable: true, reason: '' },
      { index: 1, name: 'B', capability: '9.0', memoryBytes: 512 * MB, usable: true, reason: '' },
    ])
    expect(emulator.report().devices.every(({ used }) => used === 0)).toBe(true)
  })
  it('says that there is no driver, that it is too old, and that there is no GPU', () => {
    expect(only({ driver: 0 })).toMatchObject({ available: false, devices: [], reason: expect.stringMatching(/^No NVIDIA driver was found/) })
    expect(only({ driver: 12020 })).toMatchObject({
      available: false,
      reason: 'The NVIDIA driver has CUDA 12.2; this build needs 13.0: update the driver.',
    })
    expect(only({ driver: 13000, devices: 0 })).toMatchObject({ available: false, reason: expect.stringMatching(/a driver but no GPU|driver but no GPU/) })
  })
  it('refuses GPUs before sm_80, with what they lack', () => {
    const found = only({ devices: [{ name: 'Old', major: 7, minor: 5 }, { name: 'New' }] })
    expect(found.available).toBe(true)
    expect(found.devices).toMatchObject([
      { usable: false, reason: expect.stringMatching(/compute capability 7\.5; bf16 tensor cores .* begin at 8\.0/) },
      { usable: true },
    ])
    expect(only({ devices: [{ name: 'Old', major: 7, minor: 5 }] })).toMatchObject({
      available: false,
      reason: expect.stringMatching(/^None of the GPUs can be used: Old: /),
    })
  })
})

describe('openDevice', () => {
  it('tells the GPUs in words', () => {
    emulator.configure({ devices: [{ name: 'A' }, { name: 'A' }, { name: 'B', major: 9 }] })
    expect(open([0]).info()).toMatchObject({ backend: 'cuda', name: 'A', path: 'sm_80', threads: 1 })
    device?.close()
    expect(open([0, 1]).info()).toMatchObject({ name: '2 x A' })
    device?.close()
    expect(open([2, 0]).info()).toMatchObject({ name: 'B, A', path: 'sm_80' })
  })
  it('refuses GPUs that are not there, that are too old, named twice, or apart', () => {
    emulator.configure({ devices: [{ name: 'A' }, { name: 'Old', major: 7, minor: 0 }, { name: 'Alone', peer: false }] })
    expect(() => open([3])).toThrow(coded('native', /GPU 3 does not exist; there are GPU 0 \(A\), GPU 1 \(Old\), GPU 2 \(Alone\)/))
    expect(() => open([1])).toThrow(coded('native', /GPU 1 \(Old\) cannot be used: it is of compute capability 7\.0/))
    expect(() => open([0, 0])).toThrow(coded('native', /GPU 0 \(A\) is named twice/))
    expect(() => open([0, 2])).toThrow(coded('native', /cannot read the memory of/))
    expect(open([2]).info().name).toBe('Alone')
  })
  it('says what is missing where no GPU can be used', () => {
    emulator.configure({ driver: 0 })
    expect(() => open()).toThrow(coded('native', /^no GPU can be used\. No NVIDIA driver was found/))
  })
})

describe('memory', () => {
  it('that runs out is told with what was asked for and what there is; what had it gives it back', async () => {
    emulator.configure({ devices: [{ memory: 96 * MB }] })
    const first = open().load(program(1, { device: 64 * MB }, [zero(0, 256)]))
    const second = program(1, { device: 48 * MB }, [zero(0, 256)])
    expect(() => device?.load(second)).toThrow(
      coded('out_of_memory', /an arena of 50331648 bytes on .*; the GPU has \d+ bytes free of 100663296: use a smaller chunk/),
    )
    expect(await first.run(undefined, STEP)).toEqual({ reached: 0, stopped: false }) // nothing is broken by it
    first.close()
    const again = (device as Device).load(second)
    expect(await again.run(undefined, STEP)).toEqual({ reached: 0, stopped: false })
    expect(() => device?.load(program(2, { device: 49 * MB }, []))).toThrow(
      coded('out_of_memory', /the device arenas of 2 ranks need .*; the GPU has 100663296/),
    )
  })
  it('of the host that cannot be pinned is told in words', () => {
    open()
    emulator.plant({ call: 'cudaHostRegister', nth: 1, what: 'fail' })
    expect(() => device?.load(program(1, { host: 4096 }, []))).toThrow(
      coded('out_of_memory', /a pinned arena of 4096 bytes of the host's memory could not be had: the driver could not pin it.*; use a smaller chunk/),
    )
    expect(emulator.report().pinned).toBe(0)
  })
  it('of the host is zeros to its last byte, however many threads took it, and pinned as a whole', async () => {
    const bytes = 200 * MB + 4099 // four pieces of 64 MiB, the last one no whole page
    const before = open() && emulator.report().pinned
    const executor = device?.load(
      program(1, { device: 256, host: bytes }, withWaits([copy('fetch', bytes - 256, 0, 256), copy('offload', 0, bytes - 256, 256)])),
    )
    expect(emulator.report().pinned - before).toBe(bytes)
    for (let at = 0; at < bytes; at += 32 * MB) {
      const part = executor?.read('host', 0, at, Math.min(32 * MB, bytes - at)) as Uint8Array
      expect(Buffer.from(part).equals(Buffer.alloc(part.length))).toBe(true)
    }
    emulator.reset()
    await executor?.run(undefined, STEP)
    expect(emulator.report().pageable_copies).toBe(0)
    executor?.close()
    expect(emulator.report().pinned).toBe(before)
  })
  it('is all given back by close: arenas, and what streams hold', () => {
    const executor = open().load(
      program(
        2,
        { device: MB, host: MB, disk: MB },
        withWaits([copy('offload', 0, 0, 64), copy('spill', 0, 0, 64), collective('allReduce', [onDevice(0, 8)], [1])]),
      ),
    )
    expect(emulator.report().devices[0]?.used).toBeGreaterThanOrEqual(2 * MB)
    expect(emulator.report().pinned).toBeGreaterThanOrEqual(2 * MB)
    executor.close()
    expect(emulator.report()).toMatchObject({ devices: [{ used: 0 }], pinned: 0 })
  })
})

describe('a fault of the data', () => {
  const [vocabulary, width, rows] = [4, 8, 3]
  const table = onDevice(1024, vocabulary * width * 4)
  /** Token lookups of three rows each, one after the other; ids at 256 i. */
  const embeds = (n: number): Entry[] =>
    Array.from({ length: n }, (_, i) =>
      kernel('embed', [onDevice(65536 + 256 * i, rows * width * 4), onDevice(4096 + 256 * i, 4 * rows), table, null, null], [rows, width, vocabulary, 0, 1, 0]),
    )
  const failing = async (executor: Executor, faulty: readonly number[]): Promise<RunError> => {
    for (let i = 0; i < 20; i++) executor.write('device', 1, 4096 + 256 * i, Int32Array.of(0, 1, faulty.includes(i) ? 9 : 2))
    return (await executor.run(undefined, STEP).catch((error) => error)) as RunError
  }

  it.each([0, 1, 2, 3, 4, 5])('is told of the op that has it, however far the queue has gone on (seed %d)', async (seed) => {
    emulator.configure({ seed })
    const executor = open().load(program(2, { device: 1 << 17 }, embeds(20)))
    expect(await failing(executor, [13, 17])).toMatchObject({
      code: 'token',
      entry: 13,
      rank: 1,
      message: expect.stringMatching(/^entry 13 \(embed, op 13\) on rank 1: token 9 in row 2/),
    })
    executor.reset()
    expect(await failing(executor, [])).toEqual({ reached: 19, stopped: false }) // that of op 17 is forgotten with the run
    executor.reset()
    expect(await failing(executor, [2])).toMatchObject({ entry: 2 })
  })

  it('has the words of the CPU: tokens, positions, labels', async () => {
    const cpu = openDevice({ backend: 'cpu', threads: 1 })
    open()
    const [ids, x, t, loss, gradient] = [
      onDevice(0, 4 * rows),
      onDevice(256, rows * width * 4),
      onDevice(1024, vocabulary * width * 4),
      onDevice(2048, 8),
      onDevice(4096, rows * vocabulary * 4),
    ]
    const cases: [Entry, Int32Array][] = [
      [kernel('embed', [x, ids, t, null, null], [rows, width, vocabulary, 0, 1, 0]), Int32Array.of(0, -1, 2)],
      [kernel('embed', [x, onDevice(512, 4 * rows), t, ids, t], [rows, width, vocabulary, vocabulary, 1, 0]), Int32Array.of(0, 1, 4)],
      [kernel('embedBackward', [t, x, ids], [rows, width, vocabulary, 0, 1], [], onDevice(8192, 4096)), Int32Array.of(0, 2, 7)],
      [kernel('crossEntropy', [gradient, loss, ids], [rows, vocabulary, 1, 0], [], onDevice(8192, 4096)), Int32Array.of(-1, 3, -2)],
    ]
    for (const [entry, data] of cases) {
      const messages: string[] = []
      for (const on of [cpu, device as Device]) {
        const executor = on.load(program(1, { device: 1 << 14 }, [entry]))
        executor.write('device', 0, 0, data)
        const error = (await executor.run(undefined, STEP).catch((error) => error)) as RunError
        expect(error).toMatchObject({ code: 'token', entry: 0 })
        messages.push(error.message)
        executor.close()
      }
      expect(messages[1]).toBe(messages[0])
    }
    cpu.close()
  })
})

/** Random lists of ops over slots of all tiers. */
const SLOT = 256
const SLOTS = 8
const ARENAS = { device: SLOT * SLOTS, host: SLOT * SLOTS, disk: SLOT * SLOTS }
const slot = fc.integer({ min: 0, max: SLOTS - 1 })
const two = fc.uniqueArray(slot, { minLength: 2, maxLength: 2 }) as fc.Arbitrary<[number, number]>
const entriesOf = (ranks: number): fc.Arbitrary<Entry[]> => {
  const entry = fc.oneof(
    slot.map((a) => zero(a * SLOT, SLOT / 2)),
    two.map(([a, b]) => copy('offload', a * SLOT, b * SLOT, SLOT)),
    two.map(([a, b]) => copy('fetch', a * SLOT, b * SLOT, SLOT)),
    two.map(([a, b]) => copy('spill', a * SLOT, b * SLOT, SLOT)),
    two.map(([a, b]) => copy('load', a * SLOT, b * SLOT, SLOT)),
    two.map(([a, b]) => collective('gather', [onDevice(a * SLOT, 64), onDevice(b * SLOT, 64 * ranks)], [64])),
    two.map(([a, b]) => collective('allToAll', [onDevice(a * SLOT, 192), onDevice(b * SLOT, 192)], [2, 1, 8, 0, 12])),
    slot.map((a) => collective('allReduce', [onDevice(a * SLOT, 64)], [8])),
  )
  return fc.array(entry, { minLength: 5, maxLength: 40 }).map(withWaits)
}
function initial(ranks: number): Naive[] {
  const arena = (seed: number): Uint8Array => new Uint8Array(Float64Array.from({ length: (SLOT * SLOTS) / 8 }, (_, i) => (i * 7 + seed) % 101).buffer)
  return Array.from({ length: ranks }, (_, rank) => ({ device: arena(rank * 3), host: arena(rank * 3 + 51), disk: arena(rank * 3 + 77) }))
}
async function contents(ranks: number, entries: Entry[]): Promise<Naive[]> {
  const executor = (device as Device).load(program(ranks, ARENAS, entries))
  initial(ranks).forEach((arenas, rank) => {
    for (const tier of ['device', 'host', 'disk'] as const) executor.write(tier, rank, 0, arenas[tier])
  })
  await executor.run(undefined, STEP)
  const found = Array.from({ length: ranks }, (_, rank) => ({
    device: executor.read('device', rank, 0, ARENAS.device),
    host: executor.read('host', rank, 0, ARENAS.host),
    disk: executor.read('disk', rank, 0, ARENAS.disk),
  }))
  executor.close()
  return found
}

describe('queues that lag', () => {
  it.each([
    [2, 1],
    [3, 2],
    [4, 3],
  ])('give the bytes of sequential execution in every order, %d ranks on %d GPUs, and no two ops meet that nothing orders', async (ranks, gpus) => {
    emulator.configure({ devices: gpus })
    open(Array.from({ length: gpus }, (_, i) => i))
    await fc.assert(
      fc.asyncProperty(entriesOf(ranks), fc.integer({ min: 0, max: 1000 }), async (entries, seed) => {
        emulator.configure({ seed })
        const wanted = initial(ranks)
        interpret(entries, wanted)
        expect(await contents(ranks, entries)).toEqual(wanted)
      }),
      { numRuns: 25 },
    )
    expect(emulator.report()).toMatchObject({ unordered: [], faults: [], default_stream_ops: 0, timed_waits: 0 })
  })

  it('show an order that was left out: a wait that the backend does not put on its stream', async () => {
    const entries = withWaits([
      zero(0, 256),
      copy('offload', 0, 0, 256),
      copy('fetch', 0, 256, 256),
      collective('gather', [onDevice(256, 64), onDevice(512, 128)], [64]),
      zero(256, 256),
    ])
    open()
    let waits = 0
    emulator.configure({ policy: 'lazy' })
    await contents(2, entries)
    waits = emulator.report().calls.cudaStreamWaitEvent ?? 0
    expect(waits).toBeGreaterThan(3) // what is done when its follower is issued needs none
    let seen = 0
    for (let nth = 1; nth <= 3; nth++) {
      emulator.reset()
      emulator.plant({ call: 'cudaStreamWaitEvent', nth, what: 'drop' })
      await contents(2, entries)
      if (emulator.report().unordered.length > 0) seen++
    }
    expect(seen).toBeGreaterThan(0) // a wait may be implied by others
  })
})

describe('cancel', () => {
  it('waits for as much as was issued ahead: 64 ops the first time, later for some 50 ms of them', async () => {
    emulator.configure({ policy: 'lazy' })
    const elements = 1 << 18
    const long = kernel('round', [onDevice(0, 2 * elements), onDevice(2 * elements, 4 * elements)], [elements]) // some ms each
    const executor = open().load(
      program(
        1,
        { device: 6 * elements },
        Array.from({ length: 100 }, () => long),
      ),
    )
    const stopped: number[] = []
    for (let step = 0; step < 2; step++) {
      executor.reset()
      const run = executor.run(undefined, STEP)
      await new Promise((resolve) => setTimeout(resolve, 20))
      executor.cancel()
      stopped.push((await run).reached)
      await executor.run(undefined, STEP)
    }
    expect(stopped[0]).toBeGreaterThanOrEqual(63)
    expect(stopped[1]).toBeLessThan(50)
  })
})

describe('several GPUs', () => {
  it('sum what their peers hold in rank order, as the CPU does', async () => {
    emulator.configure({ devices: 2 })
    const ranks = 3
    const count = 1001
    const value = (rank: number, i: number): number => Math.fround(Math.sin(i + 1) * 10 ** ((rank * 5 + i) % 9))
    const entries = [
      collective('reduceScatter', [onDevice(0, 4 * count * ranks), onDevice(4 * count * ranks, 4 * count)], [count, 0]),
      collective('allReduce', [onDevice(16384, 16)], [2]),
    ]
    const results = [openDevice({ backend: 'cpu', threads: 1 }), open([0, 1])].map(async (on) => {
      const executor = on.load(program(ranks, { device: 20000 }, entries))
      for (let rank = 0; rank < ranks; rank++) {
        executor.write(
          'device',
          rank,
          0,
          Float32Array.from({ length: count * (ranks + 1) }, (_, i) => value(rank, i)),
        )
        executor.write('device', rank, 16384, Float64Array.of(10 ** (rank * 8), -0))
      }
      await executor.run(undefined, STEP)
      const found = Array.from({ length: ranks }, (_, rank) => [
        f32(executor.read('device', rank, 4 * count * ranks, 4 * count)),
        f64(executor.read('device', rank, 16384, 16)),
      ])
      executor.close()
      return found
    })
    const [onCpu, onGpus] = await Promise.all(results)
    expect(onGpus).toEqual(onCpu)
  })
})

describe('times', () => {
  it('of GPUs whose clocks run apart are told on the clock of the host, work after work', { timeout: 30_000 }, async () => {
    emulator.configure({ devices: 2, seed: 45, policy: 'prompt' }) // with this seed the clocks are 39 millionths off, one to each side
    const executor = open([0, 1]).load(program(2, { device: 4096 }, [zero(0, 256), collective('gather', [onDevice(0, 64), onDevice(256, 128)], [64], [0])]))
    const SLACK = 150_000 // a clock that is not followed is off by 270 us at the end
    let worst = 0
    for (const begun = Date.now(); Date.now() - begun < 7000; ) {
      executor.reset()
      const before = Number(process.hrtime.bigint()) - executor.originNs
      await executor.run(undefined, STEP)
      const after = Number(process.hrtime.bigint()) - executor.originNs
      for (const { start, end } of spanRows(executor.takeSpans())) worst = Math.max(worst, before - start, end - after)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    expect(worst <= SLACK).toBe(true)
  })
})

/** The last tests of the file: what a lost device held cannot be freed, and the emulator then keeps its number of devices. */
describe('a device that is lost', () => {
  /** A kernel that is one launch. */
  const round = kernel('round', [onDevice(1024, 128), onDevice(2048, 256)], [64])

  it('ends the run with the first op that may have failed, what to do, and no crash; nothing works on it any more', async () => {
    const executor = open().load(
      program(
        2,
        { device: 4096, host: 4096 },
        Array.from({ length: 30 }, (_, i) => (i % 3 === 2 ? copy('offload', 1024, 0, 64, [i - 1]) : round)).map((entry, i) =>
          i % 3 === 0 && i > 0 ? { ...entry, waits: [i - 1] } : entry,
        ),
      ),
    )
    emulator.plant({ call: 'cudaLaunchKernel', nth: 9, what: 'fail' })
    const error = (await executor.run(undefined, STEP).catch((error) => error)) as RunError
    expect(error).toMatchObject({
      code: 'device_lost',
      message: expect.stringMatching(/context in this process is lost.*restart the kernel.*CUDA_LAUNCH_BLOCKING=1/),
    })
    expect(error.entry).toBeLessThanOrEqual(12) // the ninth launch, where one rank makes them all
    expect(() => executor.read('device', 0, 0, 8)).toThrow(coded('device_lost', /lost/))
    expect(() => device?.load(program(1, { device: 64 }, []))).toThrow(coded('device_lost', /lost/))
    executor.close()
    device?.close()
    expect(cudaDevices().built).toBe(true)
  })

  it('is the named op exactly with CUDA_LAUNCH_BLOCKING=1', async () => {
    process.env.CUDA_LAUNCH_BLOCKING = '1'
    try {
      const executor = open().load(
        program(
          1,
          { device: 4096 },
          Array.from({ length: 20 }, () => round),
        ),
      )
      emulator.plant({ call: 'cudaLaunchKernel', nth: 7, what: 'fail' })
      await expect(executor.run(undefined, STEP)).rejects.toMatchObject({
        code: 'device_lost',
        entry: 6,
        message: expect.stringMatching(/^entry 6 \(round, op 6\) on rank 0: /),
      })
    } finally {
      delete process.env.CUDA_LAUNCH_BLOCKING
    }
  })
})
