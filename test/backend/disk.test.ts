/** The disk tier: what its file is, that every byte comes back, and what happens when the disk is full or fails. */
import { execFileSync } from 'node:child_process'
import { constants, existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmSync, statfsSync, statSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Executor, openDevice, type RunError } from '@fpdt/native'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { FpdtError } from '../../kernel/src/errors.js'
import { NativeStep } from '../../kernel/src/execute/native.js'
import { plan } from '../../kernel/src/plan/plan.js'
import { at, fetch, free, load, offload, spill } from '../../kernel/src/schedule/emit.js'
import type { Op } from '../../kernel/src/schedule/ops.js'
import { bytesOf, type Value } from '../../kernel/src/schedule/values.js'
import { TIERS } from '../../kernel/src/trace/schema.js'
import { copy, type Entry, interpret, type Naive, program, STEP, withWaits } from './programs.js'

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'fpdt-disk-')))
const disk = openDevice({ backend: 'cpu', threads: 1, diskFolder: folder })
afterAll(() => {
  disk.close()
  rmSync(folder, { recursive: true })
})

const coded = (code: string, message: RegExp): unknown => expect.objectContaining({ code, message: expect.stringMatching(message) })
const BLOCK = 4096

/** Descriptors of this process for files of a folder, as paths that can be read, measured and cut. */
function filesIn(folder: string): string[] {
  return readdirSync('/proc/self/fd')
    .map((fd) => `/proc/self/fd/${fd}`)
    .filter((path) => existsSync(path) && readlinkSync(path).startsWith(`${folder}/fpdt-rank-`))
}
const flagsOf = (path: string): number => Number.parseInt(/flags:\s*(\d+)/.exec(readFileSync(path.replace('/fd/', '/fdinfo/'), 'utf8'))?.[1] as string, 8)

describe('a disk arena', () => {
  it('is one file per rank, exactly as large as the plan says, reserved, without a name, gone with its program', () => {
    const executor = disk.load(program(2, { disk: 3 * BLOCK + 100 }, []))
    expect(executor.memory().allocatedBytes).toEqual({ device: 0, host: 0, disk: 3 * BLOCK + 100 })
    const files = filesIn(folder)
    const stats = files.map((path) => statSync(path))
    expect(new Set(stats.map(({ ino }) => ino)).size).toBe(2)
    for (const { size, blocks } of stats) {
      expect(size).toBe(3 * BLOCK + 100)
      expect(blocks * 512).toBeGreaterThanOrEqual(size)
    }
    expect(readdirSync(folder)).toEqual([])
    executor.close()
    expect(filesIn(folder)).toEqual([])
  })

  it('begins as zeros', () => {
    const executor = disk.load(program(1, { disk: 10_000 }, []))
    expect(executor.read('disk', 0, 0, 10_000)).toEqual(new Uint8Array(10_000))
    executor.close()
  })

  it('says whether it is past the page cache', () => {
    const executor = disk.load(program(1, { disk: 2 * BLOCK }, []))
    const direct = filesIn(folder).some((path) => (flagsOf(path) & constants.O_DIRECT) !== 0)
    expect(executor.memory().diskMedium === 'disk').toBe(direct)
    executor.close()
    const without = disk.load(program(1, { device: 8 }, []))
    expect(without.memory().diskMedium).toBe('memory')
    without.close()
  })
  it.runIf(existsSync('/dev/shm'))('says that it lies in memory, where its folder does', () => {
    const inMemory = openDevice({ backend: 'cpu', threads: 1, diskFolder: '/dev/shm' })
    const executor = inMemory.load(program(1, { disk: 2 * BLOCK }, []))
    expect(executor.memory().diskMedium).toBe('memory')
    inMemory.close()
  })
})

describe('spill and load', () => {
  const ARENA = 5 * BLOCK + 123
  const contents = (seed: number): Uint8Array => Uint8Array.from({ length: ARENA }, (_, i) => (i * 31 + (i >> 8) * 7 + seed) & 0xff)
  /** Whole blocks, parts of one, and ranges across several, at any address in memory. */
  const range = fc.record({
    name: fc.constantFrom('spill', 'load'),
    disk: fc.oneof(
      fc.nat(ARENA),
      fc.nat(5).map((block) => block * BLOCK),
    ),
    host: fc.oneof(
      fc.nat(ARENA),
      fc.nat(5).map((block) => block * BLOCK),
    ),
    bytes: fc.oneof(
      fc.nat(ARENA),
      fc.nat(5).map((blocks) => blocks * BLOCK),
    ),
  })
  const entries = fc.array(range, { minLength: 1, maxLength: 20 }).map((ranges): Entry[] =>
    withWaits(
      ranges.map(({ name, disk, host, bytes }) => {
        const fitting = Math.min(bytes, ARENA - disk, ARENA - host)
        return name === 'spill' ? copy('spill', host, disk, fitting) : copy('load', disk, host, fitting)
      }),
    ),
  )

  it('move exactly the bytes they name, at every alignment', async () => {
    await fc.assert(
      fc.asyncProperty(entries, async (entries) => {
        const ranks: Naive[] = [0, 1].map((rank) => ({ device: new Uint8Array(), host: contents(rank * 3), disk: contents(rank * 5 + 91) }))
        const executor = disk.load(program(2, { host: ARENA, disk: ARENA }, entries))
        for (const [rank, arenas] of ranks.entries()) for (const tier of ['host', 'disk'] as const) executor.write(tier, rank, 0, arenas[tier])
        await executor.run(undefined, STEP)
        interpret(entries, ranks)
        for (const [rank, arenas] of ranks.entries())
          for (const tier of ['host', 'disk'] as const) expect(Buffer.compare(executor.read(tier, rank, 0, ARENA), arenas[tier])).toBe(0)
        executor.close()
      }),
      { numRuns: 100 },
    )
  })

  it('move more than fits the buffer for memory that is not aligned', async () => {
    const bytes = (5 << 20) + 4321
    const executor = disk.load(
      program(1, { host: 2 * bytes + 256, disk: bytes }, withWaits([copy('spill', 256, 0, bytes), copy('load', 0, bytes + 256, bytes)])),
    )
    const data = Uint8Array.from({ length: bytes }, (_, i) => (i ^ (i >> 12)) & 0xff)
    executor.write('host', 0, 256, data)
    await executor.run(undefined, STEP)
    expect(Buffer.compare(executor.read('host', 0, bytes + 256, bytes), data)).toBe(0)
    executor.close()
  })

  it('touch the arena exactly as far as they write', async () => {
    const executor = disk.load(program(2, { host: BLOCK, disk: 3 * BLOCK }, [copy('spill', 0, BLOCK, 1000)]))
    executor.poison()
    expect(executor.touched('disk', 1)).toBe(0)
    await executor.run(undefined, STEP)
    expect([0, 1].map((rank) => executor.touched('disk', rank))).toEqual([BLOCK + 1000, BLOCK + 1000])
    executor.close()
  })
})

describe('a planned step', () => {
  /** A chunk that waits on disk: device, host, disk, and back, as a store on the disk tier moves it. */
  const chunks = [100, 3000, 1 << 20].map((count, i): Value => ({ name: `x[${i}]`, dtype: 'f32', shape: [count], category: 'hidden' }))
  function* ops(): Generator<Op> {
    const place = at('forward')
    for (const chunk of chunks) {
      yield offload(place, chunk)
      yield spill(place, chunk)
      yield* free(place, 'host', chunk)
    }
    for (const chunk of chunks) {
      yield load(place, chunk)
      yield fetch(place, chunk)
      yield* free(place, 'host', chunk)
    }
  }
  const initial = chunks.flatMap((value) => (['device', 'disk'] as const).map((tier) => ({ value, tier, written: true })))
  const planned = plan(ops(), { ranks: 2, initial, workspace: () => 0 })

  it('has predicted, allocated and touched one number of bytes on every tier, and the file has them too', async () => {
    const step = new NativeStep(disk, planned)
    step.poison()
    for (const chunk of chunks) for (const rank of [0, 1]) step.write(chunk, 'device', rank, new Float32Array(bytesOf(chunk) / 4).fill(rank + 0.5), -1)
    await step.run(STEP)
    for (const tier of TIERS) {
      expect(step.allocated(tier)).toBe(planned.arenaBytes[tier])
      expect(step.touched(tier)).toBe(planned.arenaBytes[tier])
    }
    expect(filesIn(folder).map((path) => statSync(path).size)).toContain(planned.arenaBytes.disk)
    expect(planned.arenaBytes.disk).toBeGreaterThan(2 ** 22)
    step.close()
  })

  it('brings every chunk back as it was, from blocks of its own, and finds where one is no number', async () => {
    for (const chunk of chunks) expect(planned.offsetOf(chunk.name, 'disk') % BLOCK).toBe(0)
    const step = new NativeStep(disk, planned)
    const values = chunks.map((chunk, c) => Float32Array.from({ length: bytesOf(chunk) / 4 }, (_, i) => i + c))
    for (const [c, chunk] of chunks.entries()) for (const rank of [0, 1]) step.write(chunk, 'device', rank, values[c] as Float32Array, -1)
    step.write(chunks[1] as Value, 'device', 1, (values[1] as Float32Array).with(2999, Number.NaN), -1)
    const half = planned.listing.findIndex((line) => line.startsWith('load'))
    await step.run(STEP, half - 1)
    for (const chunk of chunks) for (const rank of [0, 1]) step.write(chunk, 'device', rank, new Float32Array(bytesOf(chunk) / 4))
    await step.run(STEP)
    for (const [c, chunk] of chunks.entries()) expect(Buffer.compare(step.read(chunk, 'device', 0), new Uint8Array((values[c] as Float32Array).buffer))).toBe(0)
    for (const tier of ['device', 'disk'] as const)
      expect(chunks.map((chunk) => [0, 1].map((rank) => step.firstNotFinite(chunk, tier, rank)))).toEqual([
        [-1, -1],
        [-1, 2999],
        [-1, -1],
      ])
    step.close()
  })

  it('is refused in the words of the device', () => {
    const none = openDevice({ backend: 'cpu', threads: 1, diskFolder: join(folder, 'none') })
    expect(() => new NativeStep(none, planned)).toThrow(FpdtError)
    expect(() => new NativeStep(none, planned)).toThrow(coded('disk', /no file for the disk tier/))
    none.close()
  })
})

describe('a disk that does not do its part', () => {
  const script = fileURLToPath(new URL('disk.mjs', import.meta.url))
  /** Runs disk.mjs in a shell that has prepared its limits; `$0` is the folder. */
  const under = (shell: string, ...args: (string | number)[]): string =>
    execFileSync('sh', ['-c', `${shell}; exec "$@"`, folder, process.execPath, script, folder, ...args.map(String)], { encoding: 'utf8' })
  const outside = (command: string, ...args: string[]): boolean => {
    try {
      execFileSync(command, args, { stdio: 'ignore' })
      return true
    } catch {
      return false
    }
  }

  it('has too little free: refused before the run, and nothing is taken meanwhile', () => {
    const { bavail, bsize } = statfsSync(folder)
    const bytes = (bavail + 2 ** 20) * bsize
    expect(() => disk.load(program(1, { disk: bytes }, []))).toThrow(
      coded('disk_full', new RegExp(`^the disk arena of rank 0 needs ${bytes} bytes in ${folder}, which has \\d+ free: No space left on device .*diskFolder`)),
    )
    expect(filesIn(folder)).toEqual([])
  })
  const mount = 'mount -t tmpfs -o size=1m tmpfs "$0"'
  it.runIf(outside('unshare', '-rm', 'sh', '-c', mount, folder))('is a megabyte: one rank of 600 KB fits, the second does not', () => {
    const inside = (...numbers: number[]): string =>
      execFileSync('unshare', ['-rm', 'sh', '-c', `${mount} && exec "$@"`, folder, process.execPath, script, folder, ...numbers.map(String)], {
        encoding: 'utf8',
      })
    expect(inside(1, 600_000)).toBe('ran\n')
    expect(inside(2, 600_000)).toMatch(/^disk_full: the disk arena of rank 1 needs 600000 bytes in .*, which has \d{6} free: No space left on device/)
  })
  it('permits no file that large: refused when it is reserved', () => {
    expect(under('ulimit -f 64', 1, 1_000_000)).toMatch(/^disk_full: the disk arena of rank 0 needs 1000000 bytes .*: File too large \(errno 27\)/)
    expect(under('ulimit -f 2048', 1, 1_000_000)).toBe('ran\n')
  })
  it.runIf(outside('prlimit', '--version'))('fails while it is written to: the run says which op, which bytes and why', () => {
    expect(under(':', 1, 1 << 20, 1 << 18)).toMatch(
      /^disk_full: entry 0 \(spill, op 0\) on rank 0: writing bytes 262144 \.\. 1048576 of rank 0's disk arena in .* failed: File too large \(errno 27\)/,
    )
  })
  it('loses what was written: a short read is an error, and reset makes the program usable again', async () => {
    const executor: Executor = disk.load(program(1, { host: BLOCK * 2, disk: BLOCK * 2 }, [copy('load', 0, 0, BLOCK * 2)]))
    for (const file of filesIn(folder)) truncateSync(file, BLOCK)
    const error = (await executor.run(undefined, STEP).catch((error) => error)) as RunError
    expect(error).toMatchObject({ code: 'disk', entry: 0, rank: 0, reached: -1 })
    expect(error.message).toMatch(
      /^entry 0 \(load, op 0\) on rank 0: reading bytes 4096 \.\. 8192 of rank 0's disk arena in .* failed: the file ends before them/,
    )
    executor.write('disk', 0, 0, new Uint8Array(2 * BLOCK).fill(7))
    executor.reset()
    await executor.run(undefined, STEP)
    expect(executor.read('host', 0, 0, 2 * BLOCK)).toEqual(new Uint8Array(2 * BLOCK).fill(7))
    executor.close()
  })
  it('has no such folder, or one that cannot be written to', () => {
    for (const diskFolder of [join(folder, 'none'), '/proc']) {
      const other = openDevice({ backend: 'cpu', threads: 1, diskFolder })
      expect(() => other.load(program(1, { disk: 8 }, []))).toThrow(
        coded('disk', new RegExp(`no file for the disk tier can be made in ${diskFolder}: .*diskFolder`)),
      )
      other.close()
    }
  })
})
