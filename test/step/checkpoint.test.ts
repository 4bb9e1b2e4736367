/** Checkpoints: what is resumed is the run that was interrupted, to the bit, whatever happened meanwhile. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { addCheckpoint, isBegun, listCheckpoints } from '../../kernel/src/checkpoint/folder.js'
import { type Manifest, readManifest, writeManifest } from '../../kernel/src/checkpoint/manifest.js'
import { DISPLAY_HOST, type DisplayHost } from '../../kernel/src/display.js'
import { Device } from '../../kernel/src/fpdt/device.js'
import { adamW, type Optimizer } from '../../kernel/src/fpdt/plan/optimizer.js'
import type { TrainOptions } from '../../kernel/src/fpdt/plan/training-plan.js'
import { load } from '../../kernel/src/fpdt/run/load.js'
import type { TrainingRun } from '../../kernel/src/fpdt/run/training-run.js'
import { gpt } from '../../kernel/src/model/gpt.js'
import { llama } from '../../kernel/src/model/llama.js'
import { optimizer, options, sizes, tokens } from './checkpoint/sizes.mjs'
import { draws } from './draws.js'
import { randomTokens } from './harness.js'
import { unmeasured } from './unmeasured.mjs'

unmeasured(Device)
const program = (name: string): string => fileURLToPath(new URL(`./checkpoint/${name}.mjs`, import.meta.url))
const root = mkdtempSync(join(tmpdir(), 'fpdt-checkpoint-'))
let folders = 0
let dir = ''
beforeEach(() => {
  dir = join(root, String(folders++))
})
const device = await Device.cpu({ memory: '256 MiB', host: '256 MiB', threads: 2 })
afterAll(async () => {
  await device.close()
  rmSync(root, { recursive: true })
})

const model = llama(sizes)
const small: TrainOptions = { ...options, optimizer: adamW(optimizer as Partial<Optimizer>) }

/** All that a run is made of, as checksums: every parameter and moment, step and texts. */
async function markOf(run: TrainingRun): Promise<Pick<Manifest, 'step' | 'texts' | 'files'>> {
  const folder = join(root, 'mark')
  const { step, texts, files } = await readManifest(await run.save(folder, { keep: 1 }))
  return { step, texts, files }
}
const losses = async (run: TrainingRun, count: number, ...texts: Int32Array[] | Uint32Array[]): Promise<number[]> => {
  const found: number[] = []
  for (let i = 0; i < count; i++) found.push((await run.step(texts[run.stepsDone % texts.length]!)).loss!)
  return found
}
const failure = async (attempt: () => Promise<unknown>): Promise<string> => {
  try {
    await attempt()
    return 'no error'
  } catch (error) {
    const { name, code, message } = error as Error & { code: string }
    return `${name} ${code}: ${message}`
  }
}

describe('a resumed run', () => {
  const anyRun = fc.record({
    dtype: fc.constantFrom('f32' as const, 'bf16' as const),
    ranks: fc.constantFrom(1, 2),
    tier: fc.constantFrom('device' as const, 'host' as const, 'disk' as const),
    parameters: fc.constantFrom('device' as const, 'host' as const),
    accumulate: fc.constantFrom(1, 2),
    batch: fc.constantFrom(1, 2),
    maxNorm: fc.constantFrom(1, Infinity),
    family: fc.constantFrom(model, gpt({ layers: 1, width: 32, heads: 2, feedForward: 56, vocab: 97, positions: 64 })),
    saveAfter: fc.integer({ min: 0, max: 3 }),
    more: fc.integer({ min: 1, max: 3 }),
  })
  it('goes on as if there had been no interruption, to the bit: after any step, in both dtypes, with states on any tier', async () => {
    const [a, b] = [randomTokens(700, 97, 1), randomTokens(90, 97, 2)]
    await fc.assert(
      fc.asyncProperty(anyRun, async ({ family, saveAfter, more, tier, maxNorm, ...sizes }) => {
        const one = join(root, String(folders++))
        const optimizer = adamW({ rate: 1e-2, warmup: 2, steps: 5, tier, maxNorm })
        const whole = await device.train(family, { sequence: 60, chunk: 16, ...sizes, optimizer, seed: 5 })
        await losses(whole, saveAfter, a, b)
        await whole.save(one)
        const expected = await losses(whole, more, a, b)
        const run = await device.resume(one)
        expect(run.stepsDone).toBe(saveAfter)
        expect(await losses(run, more, a, b)).toEqual(expected)
        expect(await markOf(run)).toEqual(await markOf(whole))
        await Promise.all([run.close(), whole.close()])
      }),
      { numRuns: draws(12, 25) },
    )
  })

  it('may have other ranks and tiers: values are the same to the bit, and so are steps on other tiers', async () => {
    const begun = await device.train(model, { ...small, dtype: 'f32' })
    await losses(begun, 2, tokens)
    await begun.save(dir)
    const saved = await markOf(begun)
    const expected = await losses(begun, 3, tokens)
    const onOtherTiers: Partial<TrainOptions>[] = [
      { optimizer: adamW({ ...(optimizer as Partial<Optimizer>), tier: 'device' }) },
      { parameters: 'host' },
      { checkpoints: 'disk', keep: 'host', offload: 'device' },
    ]
    for (const overrides of onOtherTiers) {
      const run = await device.resume(dir, overrides)
      expect(await markOf(run)).toEqual(saved)
      expect(await losses(run, 3, tokens)).toEqual(expected)
      await run.close()
    }
    const alone = await device.resume(dir, { ranks: 1 })
    expect(await markOf(alone)).toEqual(saved)
    const found = await losses(alone, 3, tokens)
    for (const [i, loss] of found.entries()) expect(Math.abs(loss / expected[i]! - 1)).toBeLessThan(1e-6)
    // And back: what one rank saved, two go on with.
    const again = join(dir, 'alone')
    await alone.save(again)
    const two = await device.resume(again, { ranks: 2 })
    expect(await markOf(two)).toEqual(await markOf(alone))
    for (const run of [begun, alone, two]) await run.close()
  })

  it('goes on with a text where it was, under any name, and says when a text is none of those', async () => {
    const text = randomTokens(500, 97, 4)
    const run = await device.train(model, small)
    await losses(run, 3, text)
    await run.save(dir)
    const resumed = await device.resume(dir)
    const copy: Uint32Array = text.slice()
    expect((await resumed.step({ source: 'moved.txt', length: 500, read: (at, count) => copy.subarray(at, at + count) })).loss).toBe(
      (await run.step(text)).loss,
    )
    expect(resumed.head.message).toBe('')
    const other = randomTokens(500, 97, 5)
    await resumed.step(other)
    expect(resumed.head.message).toBe('500 tokens is none of the texts that the checkpoint had read (500 tokens to token 144), so it is read from its start')
    await resumed.step(other)
    expect(resumed.head.message).toBe('')
    await Promise.all([run.close(), resumed.close()])
  })

  it('may go on under another system, whose only chunk is the sequence', async () => {
    const run = await device.train(model, { ...small, dtype: 'f32', lookAhead: 0, prefetch: 1, feedForwardRows: 4, backwardOrder: 'q' })
    await losses(run, 1, tokens)
    await run.save(dir)
    const expected = await losses(run, 2, tokens)
    for (const system of ['ulysses', 'ulysses-checkpoint', 'fpdt-device'] as const) {
      const other = await device.resume(dir, { system })
      expect(other.training.system).toBe(system)
      const found = await losses(other, 2, tokens)
      for (const [i, loss] of found.entries()) expect(Math.abs(loss / expected[i]! - 1)).toBeLessThan(1e-5)
      await other.save(join(dir, system))
      const back = await device.resume(join(dir, system), { system: 'fpdt' })
      expect(back.stepsDone).toBe(3)
      await Promise.all([other.close(), back.close()])
    }
    expect(await failure(() => device.resume(dir, { system: 'ulysses', chunk: 16 }))).toMatch(/^FpdtError config: chunk cannot be given with system 'ulysses'/)
    await run.close()
  })

  it('of a data loader that gives another array at every step is known by its last texts', async () => {
    const loader = (n: number): Uint32Array => randomTokens(50, 97, n)
    const run = await device.train(model, small)
    for (let n = 0; n < 6; n++) await run.step(loader(n))
    await run.save(dir)
    const resumed = await device.resume(dir)
    await resumed.step(loader(9))
    expect(resumed.head.message).toMatch(/\(50 tokens to token \d+, 50 tokens to token \d+, 50 tokens to token \d+ and 3 before\)/)
    await Promise.all([run.close(), resumed.close()])
  })

  it('has what shapes its parameters from the checkpoint alone', async () => {
    const run = await device.train(model, small)
    await run.save(dir)
    expect(await failure(() => device.resume(dir, { seed: 3 } as never))).toMatch(/^FpdtError config: resume\(\{ seed \}\) cannot be given/)
    expect(await failure(() => device.resume(dir, { rank: 2 } as never))).toMatch(/^FpdtError config: train\(\{ rank \}\) is not known/)
    expect(await failure(() => device.resume(dir, { chunk: 15 }))).toMatch(/^FpdtError config: chunk 15 is not a multiple of the 2 ranks/)
    expect(await failure(() => run.save(dir, { keep: 0 }))).toMatch(/^FpdtError config: keep 0 is not a whole number of checkpoints/)
    await run.close()
  })
})

describe('a folder of checkpoints', () => {
  it('keeps the last of a run, leaves those of other runs and all else alone, and takes away what a kill left', async () => {
    const [first, second] = [await device.train(model, small), await device.train(model, { ...small, seed: 12 })]
    expect(await first.save(dir)).toBe(join(dir, 'step-000000'))
    await losses(first, 1, tokens)
    for (const left of ['.saving-0123', '.removing-step-000009']) mkdirSync(join(dir, left, 'half'), { recursive: true })
    writeFileSync(join(dir, 'notes.txt'), 'mine')
    await first.save(dir)
    await losses(first, 1, tokens)
    await first.save(dir)
    expect(readdirSync(dir).sort()).toEqual(['checkpoints.json', 'notes.txt', 'step-000001', 'step-000002'])
    await losses(second, 2, tokens)
    await second.save(dir, { keep: 1 })
    expect((await listCheckpoints(dir)).map(({ name }) => name)).toEqual(['step-000002.2', 'step-000002', 'step-000001'])
    // The same step of the same run again takes its place.
    await first.save(dir)
    expect((await listCheckpoints(dir)).map(({ name }) => name)).toEqual(['step-000002.3', 'step-000002.2', 'step-000001'])
    expect(readdirSync(dir).sort()).toEqual(['checkpoints.json', 'notes.txt', 'step-000001', 'step-000002.2', 'step-000002.3'])
    await Promise.all([first.close(), second.close()])
  })

  it('refuses a checkpoint.json that it would not read again', async () => {
    mkdirSync(dir)
    const source = 'x'.repeat(2 ** 26)
    const manifest = { run: 'a', step: 0, created: '', model: {}, options: {}, texts: [{ source, length: 2, sha256: '', position: 0 }], files: [] }
    expect(await failure(() => writeManifest(dir, manifest))).toMatch(/^FpdtError checkpoint: \S+checkpoint\.json would have \d+ bytes/)
    expect(readdirSync(dir)).toEqual([])
  })

  it('is that of the run also after a step back: what was saved last is the newest', async () => {
    const run = await device.train(model, small)
    for (let i = 0; i < 3; i++) {
      await losses(run, 1, tokens)
      await run.save(dir)
    }
    const back = await device.resume(join(dir, 'step-000002'), { optimizer: adamW({ rate: 0 }) })
    expect(back.stepsDone).toBe(2)
    await losses(back, 1, tokens)
    await back.save(dir)
    expect((await listCheckpoints(dir)).map(({ name }) => name)).toEqual(['step-000003.2', 'step-000002'])
    const newest = await device.resume(dir)
    expect(await markOf(newest)).toEqual(await markOf(back))
    for (const one of [run, back, newest]) await one.close()
  })

  it('that a kill left with checkpoints and no list is gone on with from the newest whole one, and cleaned by the next save', async () => {
    const run = await device.train(model, small)
    for (let i = 0; i < 3; i++) {
      await losses(run, 1, tokens)
      await run.save(dir, { keep: 3 })
    }
    rmSync(join(dir, 'checkpoints.json'))
    writeFileSync(join(dir, 'checkpoints.json.123.part'), '{')
    truncateSync(join(dir, 'step-000003', 'head.safetensors'), 100)
    expect(isBegun(dir)).toBe(true)
    const resumed = await device.resume(dir)
    expect(resumed.stepsDone).toBe(2)
    await losses(resumed, 2, tokens)
    await resumed.save(dir)
    expect(readdirSync(dir).sort()).toEqual(['checkpoints.json', 'step-000002', 'step-000004'])
    await Promise.all([run.close(), resumed.close()])
  })

  it('that a kill left without a checkpoint is not begun', async () => {
    mkdirSync(join(dir, '.saving-0123'), { recursive: true })
    writeFileSync(join(dir, 'checkpoints.json.123.part'), '{')
    expect(isBegun(dir)).toBe(false)
    expect(isBegun(join(dir, 'nowhere'))).toBe(false)
  })

  it('loses the checkpoints of the run that no list names, and no others', async () => {
    const [run, other] = [await device.train(model, small), await device.train(model, { ...small, seed: 12 })]
    await run.save(dir)
    await other.save(dir)
    cpSync(join(dir, 'step-000000'), join(dir, 'step-000007'), { recursive: true })
    cpSync(join(dir, 'step-000000.2'), join(dir, 'step-000008'), { recursive: true })
    await losses(run, 1, tokens)
    await run.save(dir)
    expect(readdirSync(dir).sort()).toEqual(['checkpoints.json', 'step-000000', 'step-000000.2', 'step-000001', 'step-000008'])
    await Promise.all([run.close(), other.close()])
  })

  it('has nothing of a checkpoint whose files are written and that cannot be named', async () => {
    const write = async (): Promise<void> => void mkdirSync(join(dir, 'checkpoints.json')) // where the list is to be
    expect(await failure(() => addCheckpoint(dir, { run: 'a', step: 3 }, 2, write))).toMatch(/^FpdtError disk: \S+\/checkpoints\.json could not be written/)
    expect(readdirSync(dir)).toEqual(['checkpoints.json'])
  })

  it('is whole when a save is interrupted or its run closed', async () => {
    let interrupt = (): void => {}
    const host: DisplayHost = {
      display: () => {},
      onInterrupt: (callback) => {
        interrupt = callback
        return () => {}
      },
    }
    const run = await device.train(model, small)
    await run.save(dir)
    ;(globalThis as { [DISPLAY_HOST]?: DisplayHost })[DISPLAY_HOST] = host
    const before = await run.parameters()
    await losses(run, 1, tokens)
    const saving = failure(() => run.save(dir))
    await setTimeout(1)
    interrupt()
    expect(await saving).toMatch(/^FpdtError stopped: stopped during a save/)
    delete (globalThis as { [DISPLAY_HOST]?: DisplayHost })[DISPLAY_HOST]
    await losses(run, 1, tokens) // the run goes on, once the save has ended
    expect(readdirSync(dir).sort()).toEqual(['checkpoints.json', 'step-000000'])
    const closing = failure(() => run.save(dir))
    expect(await failure(() => run.step(tokens))).toMatch(/^(no error|FpdtError busy)/)
    await run.close()
    expect(await closing).toMatch(/^FpdtError stopped|^no error/)
    const resumed = await device.resume(join(dir, 'step-000000'))
    expect(await resumed.parameters()).toEqual(before)
    await resumed.close()
  })
})

/** Its second line is said after the first save. */
async function saved(child: ChildProcess): Promise<void> {
  for await (const said of child.stdout!) if (String(said).includes('saved')) return
}

describe('a process that is killed', () => {
  const KILLS = draws(6, 20)
  it(`leaves a checkpoint of an uninterrupted run's step, ${KILLS} times`, async () => {
    const reference = await device.train(model, small)
    const steps = new Set<number>()
    for (let kill = 0; kill < KILLS; kill++) {
      const child = spawn(process.execPath, [program('train-for-ever'), dir], { stdio: ['ignore', 'pipe', 'inherit'] })
      const exit = once(child, 'exit')
      await Promise.race([saved(child), exit])
      await setTimeout(Math.random() * 60)
      child.kill('SIGKILL')
      expect((await exit)[1]).toBe('SIGKILL') // and not because of an error of its own
      const run = await device.resume(dir)
      while (reference.stepsDone < run.stepsDone) await reference.step(tokens)
      expect(await markOf(run)).toEqual(await markOf(reference))
      steps.add(run.stepsDone)
      await run.close()
    }
    expect(steps.size).toBe(KILLS) // each child went on from where the one before it was killed
    const run = await device.resume(dir)
    await losses(run, 1, tokens)
    await run.save(dir)
    expect(readdirSync(dir)).toHaveLength(3) // the list and two checkpoints: nothing that kills left
    await Promise.all([run.close(), reference.close()])
  }, 240_000)

  const FIRST_KILLS = draws(4, 8)
  it('in its first save leaves nothing, or what can be gone on from', async () => {
    for (let kill = 0; kill < FIRST_KILLS; kill++) {
      const folder = join(dir, String(kill))
      const child = spawn(process.execPath, [program('train-for-ever'), folder], { stdio: ['ignore', 'pipe', 'inherit'] })
      const exit = once(child, 'exit')
      await Promise.race([once(child.stdout, 'data'), exit])
      await setTimeout((kill * 16) / FIRST_KILLS)
      child.kill('SIGKILL')
      expect((await exit)[1]).toBe('SIGKILL')
      if (!isBegun(folder)) continue
      const run = await device.resume(folder)
      expect(run.stepsDone).toBeGreaterThan(0)
      await run.close()
    }
  }, 120_000)
})

describe('a full disk', () => {
  const fullDisk = (...args: string[]): string[] =>
    JSON.parse(execFileSync(process.execPath, [program('full-disk'), ...args], { encoding: 'utf8' })) as string[]

  it.each([0, 5000, 60_000])('of files of at most %i bytes is an error in words, and leaves the former checkpoint alone', async (limit) => {
    const [first, second, left] = fullDisk(dir, 'limit', String(limit))
    expect(first).toBe('done')
    expect(second).toMatch(
      /^FpdtError disk_full: \S+ could not be written.*: a file may not grow that large here \(`ulimit -f`, or the file system\); raise the limit/,
    )
    expect(left).toBe('checkpoints.json step-000001')
    const run = await device.resume(dir)
    expect(run.stepsDone).toBe(1)
    await run.close()
  })

  const mounts = spawnSync('unshare', ['--mount', '--map-root-user', 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()]).status === 0
  it.skipIf(!mounts)('that really is full, too', () => {
    mkdirSync(dir)
    // A file system of its own, which ends with the process.
    const script = `mount -t tmpfs -o size=2M tmpfs ${dir} && exec ${process.execPath} ${program('full-disk')} ${dir} fill`
    const results = JSON.parse(execFileSync('unshare', ['--mount', '--map-root-user', 'sh', '-c', script], { encoding: 'utf8' })) as string[]
    const saved = results.filter((result) => result === 'done').length
    expect(saved).toBeGreaterThan(1)
    expect(results[saved]).toMatch(/^FpdtError disk_full: \S+ could not be written.*: the disk is full; free some space or give another folder/)
    expect(results[saved + 1]).toBe(['checkpoints.json', ...Array.from({ length: saved }, (_, i) => `step-00000${i + 1}`)].join(' '))
  })

  it('in the middle of an update ends the run, which says so, and the checkpoint goes on', async () => {
    const [step, ...others] = fullDisk(dir, 'step', '4096')
    expect(step).toMatch(/^FpdtError disk_full: spill \S+ @spill \(optimizer\): .*This run cannot go on: step 2 failed in the middle of its update/)
    for (const other of others) expect(other).toMatch(/^FpdtError half_updated: .* cannot begin: step 2 failed in the middle .* await device\.resume\(dir\)\.$/)
    const run = await device.resume(dir)
    expect((await run.step(tokens)).step).toBe(2)
    await run.close()
  })

  it('of the disk tier refuses a run before it begins', () => {
    mkdirSync(dir)
    expect(fullDisk(dir, 'train', '4096')[0]).toMatch(
      /^FpdtError disk_full: the disk arena of rank 0 needs \d+ bytes in \S+, which has \d+ free: .*; free some space, name another folder \(diskFolder\), or plan for less on the disk tier/,
    )
  })
})

describe('a damaged checkpoint', () => {
  let whole = ''
  beforeAll(async () => {
    whole = join(root, 'whole')
    const run = await device.train(model, small)
    await losses(run, 1, tokens)
    await run.save(whole)
    await losses(run, 1, tokens)
    await run.save(whole)
    await run.close()
  })
  const advice = / The one saved before it, of step 1, is \S+\/step-000001: resume from that path to go on from there\.$/
  const flip = (path: string, at: number): void => {
    const bytes = readFileSync(path)
    bytes[at < 0 ? bytes.length + at : at]! ^= 1
    writeFileSync(path, bytes)
  }
  const edit = (path: string, from: string | RegExp, to: string): void => writeFileSync(path, readFileSync(path, 'utf8').replace(from, to))

  it.each<[string, (folder: string) => void, RegExp]>([
    ['a file that is missing', (at) => rmSync(join(at, 'layer-1.safetensors')), /\/step-000002\/layer-1\.safetensors is missing; the checkpoint is not whole/],
    ['a file that was cut', (at) => truncateSync(join(at, 'head.safetensors'), 100), /\/head\.safetensors has 100 bytes, and \d+ were saved/],
    ['one bit of the last value', (at) => flip(join(at, 'embedding.safetensors'), -1), /\/embedding\.safetensors is not what was saved: its SHA-256 is/],
    ['one bit of a header', (at) => flip(join(at, 'layer-0.safetensors'), 30), /\/layer-0\.safetensors is not what was saved/],
    ['no checkpoint.json', (at) => rmSync(join(at, 'checkpoint.json')), /\/checkpoint\.json is missing, so this is no checkpoint/],
    ['half a checkpoint.json', (at) => truncateSync(join(at, 'checkpoint.json'), 300), /\/checkpoint\.json is not JSON/],
    ['another step', (at) => edit(join(at, 'checkpoint.json'), '"step": 2', '"step": 3'), /\/checkpoint\.json was changed after it was written/],
    ['another format', (at) => edit(join(at, 'checkpoint.json'), 'fpdt checkpoint', 'x'), /\/checkpoint\.json is not of a checkpoint: it says format "x"/],
    [
      'a later version',
      (at) => edit(join(at, 'checkpoint.json'), '"version": 1', '"version": 9'),
      /is of version 9 of the format, and this program reads version 1/,
    ],
    ['an array', (at) => writeFileSync(join(at, 'checkpoint.json'), '[]'), /\/checkpoint\.json is not of a checkpoint/],
  ])('with %s is refused, naming it and the one before, which is whole', async (_, damage, words) => {
    cpSync(whole, dir, { recursive: true })
    damage(join(dir, 'step-000002'))
    const error = await failure(() => device.resume(dir))
    expect(error).toMatch(/^FpdtError checkpoint: /)
    expect(error).toMatch(words)
    expect(error).toMatch(advice)
    const run = await device.resume(join(dir, 'step-000001'))
    expect(run.stepsDone).toBe(1)
    await run.close()
    // A later save is whole again.
    const on = await device.resume(join(dir, 'step-000001'))
    await losses(on, 1, tokens)
    await on.save(dir)
    const resumed = await device.resume(dir)
    expect(resumed.stepsDone).toBe(2)
    await Promise.all([on.close(), resumed.close()])
  })

  it.each<[string, (at: string) => void, RegExp]>([
    [
      'no list and nothing whole',
      (at) => {
        rmSync(join(at, 'checkpoints.json'))
        truncateSync(join(at, 'step-000001/layer-0.safetensors'), 100)
        rmSync(join(at, 'step-000002/checkpoint.json'))
      },
      /has no checkpoints\.json, and none of step-000001, step-000002 is whole/,
    ],
    [
      'no list and no checkpoint',
      (at) => {
        rmSync(at, { recursive: true })
        mkdirSync(at)
      },
      /has no checkpoints\.json, and no checkpoint was saved there/,
    ],
    ['a list that is none', (at) => writeFileSync(join(at, 'checkpoints.json'), 'null'), /checkpoints\.json says format undefined/],
    ['half a list', (at) => truncateSync(join(at, 'checkpoints.json'), 40), /checkpoints\.json is not JSON/],
    ['a path out of it', (at) => edit(join(at, 'checkpoints.json'), 'step-000002', '../whole/step-000002'), /does not name steps by name, run and step/],
    [
      'a step that is not there',
      (at) => rmSync(join(at, 'step-000002'), { recursive: true }),
      /step-000002\/checkpoint\.json is missing.* The one saved before it/,
    ],
    ['nothing', (at) => rmSync(at, { recursive: true }), /there is no folder .*; give the one that run\.save\(\) was given\.$/],
  ])('folder with %s is refused in words', async (_, damage, words) => {
    cpSync(whole, dir, { recursive: true })
    damage(dir)
    expect(await failure(() => device.resume(dir))).toMatch(words)
  })

  it('with a checksum that was made for it is no more than options of a user: refused in words', async () => {
    cpSync(whole, dir, { recursive: true })
    const path = join(dir, 'step-000002')
    const manifest = await readManifest(path)
    for (const [what, wrong, words] of [
      ['model', {}, /^FpdtError config: family undefined of the model is not a string/],
      ['model', { ...manifest.model, layers: 1e9 }, /^FpdtError config: layers 1000000000 is not a whole number from 1 to 1000/],
      ['model', { ...manifest.model, bias: null }, /^FpdtError config: bias null of the model is not an object/],
      ['model', { ...manifest.model, layers: 3 }, /^FpdtError checkpoint: \S+checkpoint\.json names no file for layer 2; it is of another model/],
      [
        'model',
        { ...manifest.model, feedForward: 48 },
        /^FpdtError checkpoint: \S+layer-0\.safetensors has master\/gateUp as F32 \[80, 32\]; F32 \[96, 32\] is wanted/,
      ],
      ['options', {}, /^FpdtError config: /],
      ['options', { ...manifest.options, surprise: 1 }, /^FpdtError config: train\(\{ surprise \}\) is not known/],
      ['files', [{ name: '../../x', bytes: 1, sha256: '' }], /^FpdtError checkpoint: \S+checkpoint\.json does not have run, step/],
    ] as const) {
      await writeManifest(path, { ...manifest, [what]: wrong })
      expect(await failure(() => device.resume(dir))).toMatch(words)
    }
  })

  it('of any bytes is an error in words', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('checkpoints.json', 'step-000002/checkpoint.json', 'step-000002/head.safetensors'),
        fc.nat(),
        fc.nat(255),
        async (file, at, byte) => {
          const copy = join(root, String(folders++))
          cpSync(whole, copy, { recursive: true })
          const path = join(copy, file)
          const bytes = readFileSync(path)
          if (bytes[at % bytes.length] === byte) return
          bytes[at % bytes.length] = byte
          writeFileSync(path, bytes)
          // White space, and in the list the id of a run and the number of a step, may change without harm.
          expect(await failure(async () => (await device.resume(copy)).close())).toMatch(
            file.endsWith('json') ? /^no error|^FpdtError checkpoint: / : /^FpdtError checkpoint: /,
          )
        },
      ),
      { numRuns: draws(30, 60) },
    )
  })
})

describe('a model in Hugging Face layout', () => {
  it.each([
    ['Llama', model],
    ['GPT-2', gpt({ layers: 2, width: 32, heads: 2, feedForward: 56, vocab: 97, positions: 64 })],
  ])('of %s is saved from a run and trained on with: the same parameters, on any ranks', async (_, model) => {
    const run = await device.train(model, { sequence: 48, chunk: 16, dtype: 'f32', optimizer: adamW({ rate: 1e-2 }) })
    await losses(run, 2, tokens)
    await run.saveModel(dir)
    const { loss } = await run.evaluate(tokens)
    const { model: loaded, weights, dtype } = await load(dir)
    expect([loaded, dtype]).toEqual([model, 'f32'])
    const on = await device.train(loaded, { sequence: 48, chunk: 16, dtype: 'f32', weights })
    expect(await on.parameters()).toEqual(await run.parameters())
    expect((await on.evaluate(tokens)).loss).toBe(loss)
    expect((await markOf(on)).step).toBe(0)
    const two = await device.train(loaded, { sequence: 48, chunk: 16, ranks: 2, weights })
    expect(Math.abs((await two.evaluate(tokens)).loss / loss - 1)).toBeLessThan(0.01)
    for (const one of [run, on, two]) await one.close()
    await device.plan(loaded, { sequence: 48, chunk: 16, weights })
    expect(existsSync(join(dir, 'model.safetensors'))).toBe(true)
  })
  it('is refused where it is of another model', async () => {
    const run = await device.train(model, small)
    await run.saveModel(dir, { dtype: 'bf16' })
    await run.close()
    const { weights } = await load(dir)
    expect(await failure(() => device.train(llama({ ...sizes, width: 64 }), { ...small, weights }))).toMatch(/^FpdtError checkpoint: .* for another model/)
    expect(await failure(() => device.train(model, { ...small, weights: new Float32Array(3) as never }))).toMatch(/^FpdtError config: weights are no function/)
    expect(await failure(() => device.train(model, { ...small, weights: () => new Float32Array(3) }))).toMatch(
      /^FpdtError config: weights gave 3 values for embedding/,
    )
  })
})
