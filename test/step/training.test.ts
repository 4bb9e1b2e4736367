import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { DISPLAY_HOST, type DisplayHost } from '../../kernel/src/display.js'
import { FpdtError } from '../../kernel/src/errors.js'
import { Device } from '../../kernel/src/fpdt/device.js'
import { adamW } from '../../kernel/src/fpdt/plan/optimizer.js'
import { llama } from '../../kernel/src/model/llama.js'
import { longText } from '../../kernel/src/text/tokens.js'
import { byTensor, randomTokens } from './harness.js'

const model = llama({ layers: 2, width: 32, heads: 4, kvHeads: 2, headSize: 16, feedForward: 40, vocab: 97 })
const text = randomTokens(4000, 97, 2)
const device = await Device.cpu({ memory: '256 MiB', host: '256 MiB', threads: 2 })
afterAll(() => device.close())
afterEach(() => {
  delete (globalThis as { [DISPLAY_HOST]?: DisplayHost })[DISPLAY_HOST]
})

const code = async (attempt: () => unknown): Promise<string> => {
  try {
    await attempt()
    return 'no error'
  } catch (error) {
    return error instanceof FpdtError ? `${error.code}: ${error.message}` : String(error)
  }
}

describe('steps', () => {
  it('learn: the loss of a repeated text falls, in bf16, the same on 1 and 2 ranks', async () => {
    const losses = async (ranks: number): Promise<number[]> => {
      const run = await device.train(model, { sequence: 200, chunk: 50, ranks, optimizer: adamW({ rate: 1e-2 }) })
      const found: number[] = []
      for await (const { loss } of run.steps(text.subarray(0, 200), 8)) found.push(loss!)
      expect(run.head.message).toMatch(/repeated/)
      await run.close()
      return found
    }
    const [one, two] = [await losses(1), await losses(2)]
    expect(one.at(-1)!).toBeLessThan(one[0]! - 0.5)
    for (const [i, loss] of one.entries()) expect(Math.abs(two[i]! / loss - 1)).toBeLessThan(0.01)
  })
})

describe('a stepper', () => {
  it('stops where it is told to, shows values where they stand, and its step counts like any other', async () => {
    const options = { sequence: 64, chunk: 16, ranks: 2, dtype: 'f32' as const, seed: 3 }
    const whole = await device.train(model, options)
    const { loss } = await whole.step(text)
    const run = await device.train(model, options)
    const at = await run.stepper(text)
    expect(await code(() => at.peek('gradientNorm'))).toMatch(/^not_resident: gradientNorm is not in memory now, before the first op: it /)
    expect(await at.until({ phase: 'forward', layer: 1, q: 2, kv: 1 })).toMatch(/attend state\[1,2\] \+= q\[1,2\] k\[1,1\] v\[1,1\]/)
    const q = at.peek('q[1,2]')
    expect([q.tier, q.shape, q.values.length]).toEqual(['device', [16, 2, 16], 512])
    expect(q.values.every((value) => Number.isFinite(value))).toBe(true)
    expect(at.peek('k[1,0]').tier).toBe('host')
    expect(await code(() => at.peek('dq[0,0]'))).toMatch(/^not_resident: dq\[0,0\] is not in memory now, after op \d+: it is made by op \d+, .*dq\[0,0\]/)
    expect(await code(() => at.until({ phase: 'bakward' } as never))).toMatch(/^config: phase "bakward" is not one of embedding, forward/)
    expect(await code(() => at.until({ layr: 0 } as never))).toMatch(/^config: until\(\{ layr \}\) is not known; known are phase, layer, q, kv/)
    expect(await code(() => at.peek('q[1,2]', 5))).toMatch(/^config: rank 5 is not one of the 2 ranks/)
    expect(await code(() => at.peek('w[1].qkv'))).toMatch(/^not_resident: w\[1\].qkv is a part of w\[1\]; peek at that/)
    expect(await code(() => at.peek('nonsense'))).toMatch(/^not_resident: no value is called nonsense/)
    expect(await code(() => run.step(text))).toMatch(/^busy: a step cannot begin while a stepper is under way; close it/)
    expect(await code(() => at.to(0))).toMatch(/^config: op 0 is not ahead/)
    const summary = await at.complete()
    expect(summary.loss).toBe(loss)
    expect(byTensor(run.training, await run.parameters())).toEqual(byTensor(whole.training, await whole.parameters()))
    await run.close()
    await whole.close()
  })

  it('goes past everything computed at a place: dk of a row is final, and no later op writes it', async () => {
    for (const lookAhead of [0, 1] as const) {
      const run = await device.train(model, { sequence: 64, chunk: 16, ranks: 2, lookAhead, backwardOrder: 'kv' })
      const at = await run.stepper(text)
      expect(await at.until({ phase: 'backward', layer: 1, q: 3, kv: 2 })).toMatch(/^attendBackward .*dk\[1,2\] dv\[1,2\].* q\[1,3\]/)
      const later = run.training.plan.listing.slice(at.line + 1).filter((line) => /dk\[1,2\][^=]*=/.test(line) && !line.startsWith('rotaryBackward'))
      expect(later).toEqual([])
      expect(at.peek('dk[1,2]').values.some((value) => value !== 0)).toBe(true)
      expect(await at.until({ phase: 'backward', layer: 1, kv: 2 })).toMatch(/^normBackward dx\[1,2\]/)
      await at.close()
      await run.close()
    }
  })

  it('counts its step once, however often it is completed or closed', async () => {
    const run = await device.train(model, { sequence: 64, chunk: 16, ranks: 2 })
    const at = await run.stepper(text)
    await at.complete()
    expect(await code(() => at.complete())).toMatch(/^closed: this stepper is closed/)
    await at.close()
    expect([run.stepsDone, run.head.steps.length]).toEqual([1, 1])
    await run.close()
  })

  it('closed while it runs drops its step whole: the next one is that of its own text', async () => {
    const other = randomTokens(300, 97, 8)
    const options = { sequence: 256, chunk: 32, ranks: 2, seed: 4 }
    const alone = await device.train(model, options)
    const expected = await alone.step(other)
    const run = await device.train(model, options)
    const at = await run.stepper(text)
    const going = code(() => at.to(run.training.firstUpdate - 10))
    await at.close()
    await going
    expect(await run.step(other)).toMatchObject({ step: 1, loss: expected.loss })
    await run.close()
    await alone.close()
  })

  it('drops its step when it is closed', async () => {
    const run = await device.train(model, { sequence: 64, chunk: 16, ranks: 2 })
    const before = await run.parameters()
    const at = await run.stepper(text)
    await at.until({ phase: 'backward', layer: 0 })
    await at.close()
    expect(await run.parameters()).toEqual(before)
    expect(run.stepsDone).toBe(0)
    expect((await run.step(text)).step).toBe(1)
    await run.close()
  })
})

describe('a run before its first step', () => {
  it('shows its plan, marked as predicted', async () => {
    const run = await device.train(model, { sequence: 64, chunk: 16, ranks: 2 })
    const bundle = await run.bundle()
    expect((bundle['application/vnd.fpdt.run.v1+json'] as { head: { origin: string } }).head.origin).toBe('predicted')
    expect(bundle['text/plain']).toMatch(/FPDT · Llama 2 × 32 · 64 tokens in 4 chunks · 2 ranks \(predicted\)/)
    await run.close()
  })
})

describe('a run that is closed while it steps', () => {
  it('rejects with stopped, and never reports an older step as this one', async () => {
    const run = await device.train(model, { sequence: 4000, chunk: 500, ranks: 2 })
    await run.step(text)
    const running = code(() => run.step(text))
    await new Promise((resolve) => setImmediate(resolve))
    await run.close()
    expect(await running).toMatch(/^stopped: stopped during step 2/)
    expect(run.stepsDone).toBe(1)
  })
})

describe('texts', () => {
  it('are each read on from where the run left them', async () => {
    const [a, b] = [randomTokens(200, 97, 3), randomTokens(200, 97, 4)]
    const options = { sequence: 64, chunk: 16, optimizer: adamW({ rate: 0 }), dtype: 'f32' as const }
    const run = await device.train(model, options)
    const losses: number[] = []
    for (const one of [a, b, a, b]) losses.push((await run.step(one)).loss!)
    const fresh = await device.train(model, options)
    const expected: number[] = []
    for (const one of [a.slice(0, 64), b.slice(0, 64), a.slice(64, 128), b.slice(64, 128)]) expected.push((await fresh.step(one)).loss!)
    expect(losses).toEqual(expected)
    await run.close()
    await fresh.close()
  })
})

describe('the picture', () => {
  it('shows the last step in the end, also when steps follow each other quickly, and a failure', async () => {
    const shown: { steps: unknown[]; state: string }[] = []
    const host: DisplayHost = {
      display: (bundle) => shown.push(structuredClone((bundle['application/vnd.fpdt.run.v1+json'] as { head: { steps: unknown[]; state: string } }).head)),
      onInterrupt: () => () => {},
    }
    ;(globalThis as { [DISPLAY_HOST]?: DisplayHost })[DISPLAY_HOST] = host
    const run = await device.train(model, { sequence: 64, chunk: 16, ranks: 2 })
    for (let i = 0; i < 3; i++) await run.step(text)
    await expect.poll(() => shown.at(-1)?.steps.length, { timeout: 10_000 }).toBe(3)
    // A first step that takes longer shows its plan meanwhile.
    expect(shown.filter(({ state }) => state !== 'running').length).toBe(2)
    await run.close()
    expect(shown.at(-1)?.state).toBe('done')
  })
})

describe('an interrupt', () => {
  it('rejects before the step could end, keeps whole steps, and the next step works', async () => {
    let interrupt = (): void => {}
    const host: DisplayHost = {
      display: () => {},
      onInterrupt: (callback) => {
        interrupt = callback
        return () => {}
      },
    }
    ;(globalThis as { [DISPLAY_HOST]?: DisplayHost })[DISPLAY_HOST] = host
    const run = await device.train(model, { sequence: 4000, chunk: 500, ranks: 2, seed: 5 })
    await run.step(text)
    for (let [interrupted, attempts] = [0, 0]; interrupted < 3; attempts++) {
      expect(attempts).toBeLessThan(30)
      const [done, before] = [run.stepsDone, await run.parameters()]
      const running = code(() => run.step(text))
      await new Promise((resolve) => setTimeout(resolve, 50)) // ops of it run
      interrupt()
      const said = await running
      const after = await run.parameters() // waits until nothing of the step runs any more
      // Other work on the machine may hold the interrupt up until the step is over, or in its updates: then it was completed.
      if (run.stepsDone > done) continue
      expect(said).toMatch(new RegExp(`^stopped: stopped during step ${done + 1}`))
      expect(after).toEqual(before)
      interrupted++
    }
    const [done, before] = [run.stepsDone, await run.parameters()]
    const again = await run.step(text)
    expect([again.step, run.stepsDone]).toEqual([done + 1, done + 1])
    expect(await run.parameters()).not.toEqual(before)
    await run.close()
  })
})

describe('bad input', () => {
  it.each([
    [{ sequence: 64, chunk: 15, ranks: 2 }, /^config: chunk 15 is not a multiple of the 2 ranks that share it; try 14 or 16/],
    [{ sequence: 64, chunk: 0 }, /^config: chunk 0 is not a size/],
    [{ sequence: 64, chunk: 16, ranks: 3 }, /^config: ranks 3 does not divide the 4 query heads; .* Try 1 or 2 or 4/],
    [{ sequence: -5, chunk: 16 }, /^config: sequence -5 is not a size/],
    [{ sequence: '64 apples', chunk: 16 }, /^config: sequence "64 apples" is not a size; write '32K'/],
    [{ sequence: 64, chunk: 16, dtype: 'fp8' as never }, /^config: dtype "fp8" is not one of 'bf16', 'f32'/],
    [{ sequence: 64, chunk: 16, hidden: 'f64' as never }, /^config: hidden "f64" is not one of 'bf16', 'f32'/],
    [
      { sequence: 64, chunk: 16, dtype: 'f32' as const, hidden: 'bf16' as const },
      /^config: hidden 'bf16' goes with dtype 'bf16' alone.* Try hidden 'f32', or dtype 'bf16'/,
    ],
    [{ sequence: 64, chunk: 16, chunks: 4 } as never, /^config: train\(\{ chunks \}\) is not known; known are sequence, chunk/],
    [{ sequence: 64, chunk: 16, system: 'ring' as never }, /^config: system "ring" is not one of/],
    [{ sequence: 64, chunk: 16, optimizer: adamW({ eps: 0 }) }, /^config: adamW eps 0 is not a number above 0/],
    [{ sequence: 64, chunk: 16, optimizer: adamW({ beta1: 1 }) }, /^config: adamW beta1 1 is not a number from 0 up to, not with, 1/],
    [{ sequence: 64, chunk: 16, optimizer: adamW({ maxNorm: 0 }) }, /^config: adamW maxNorm 0 is not a number above 0; give Infinity for no clipping/],
    [{ sequence: 64, chunk: 16, optimizer: adamW({ maxNorm: 1e-46 }) }, /^config: adamW maxNorm 1e-46 is below 1.2e-38, where f32 ends/],
    [{ sequence: 64, chunk: 16, optimizer: { ...adamW(), rate: Number.NaN } }, /^config: adamW rate NaN is not a number of 0 or more/],
    [
      { sequence: 64, chunk: 16, optimizer: { ...adamW(), warmupp: 5 } as never },
      /^config: optimizer\(\{ warmupp \}\) is not known; .* The nearest is warmup\.$/,
    ],
    [{ sequence: 64, chunk: 16, documents: 'yes' as never }, /^config: documents "yes" is neither true nor false/],
    [
      { sequence: '4M', chunk: 1024 },
      /^config: 4096 chunks of 1024 tokens in 2 layers make about \d+ million ops, more than a plan holds .* Try chunk \d+ or more/,
    ],
    [{ sequence: 64, chunk: 16, optimizer: 'sgd' as never }, /^config: optimizer "sgd" is not made by adamW/],
    [{ sequence: 64, chunk: 16, seed: 0.5 }, /^config: seed 0.5 is not a whole number/],
    [{ sequence: 64, system: 'ulysses' as const, prefetch: 1 }, /^config: prefetch cannot be given with system 'ulysses'/],
  ])('%o is refused in words', async (options, words) => {
    expect(await code(() => device.train(model, options))).toMatch(words)
  })
  it('a model that cannot be is refused in words', async () => {
    expect(await code(() => device.train({ ...model, headSize: 12 }, { sequence: 64, chunk: 16 }))).toMatch(/^config: headSize 12 is not a multiple of 8/)
    expect(await code(() => device.train({ ...model, kvHeads: 3 }, { sequence: 64, chunk: 16 }))).toMatch(/^config: kvHeads 3 does not divide heads 4/)
    expect(await code(() => adamW({ lr: 1e-3 } as never))).toMatch(/^config: adamW\(\{ lr \}\) is not known; known are rate, warmup/)
    expect(await code(() => Device.cpu({ thread: 1 } as never))).toMatch(
      /^config: Device.cpu\(\{ thread \}\) is not known; known are memory, host, disk, diskFolder, threads, path/,
    )
    expect(await code(() => device.train({ ...model, positions: { kind: 'rotary', theta: 0 } }, { sequence: 64, chunk: 16 }))).toMatch(
      /^config: theta 0 is not a number above 0/,
    )
    expect(await code(() => device.train({ ...model, normEps: -1 }, { sequence: 64, chunk: 16 }))).toMatch(
      /^config: normEps -1 is not a number between 0 and 1/,
    )
    expect(await code(() => llama({ layers: 2, width: 30, heads: 4 }))).toMatch(/^config: width 30 is not a multiple of the 4 heads/)
    expect(await code(() => llama({ layers: 2, width: 32, heads: 4, vocabulary: 5 } as never))).toMatch(
      /^config: llama\(\{ vocabulary \}\) is not a size of the model/,
    )
  })
  it.each<[object, RegExp]>([
    [{ tied: 1 }, /^config: tied 1 of the model is not a boolean/],
    [{ family: 'lama' }, /^config: family "lama" of the model is not one of 'llama', 'gpt2'; the nearest is 'llama'/],
    [{ layer: 3 }, /^config: model \{ layer \} is not known; the nearest is layers/],
    [{ bias: undefined }, /^config: bias undefined of the model is not an object/],
    [{ bias: { attention: true, feedforward: true } }, /^config: bias \{ feedforward \} is not known; the nearest is feedForward/],
    [{ bias: { attention: 'no', feedForward: true } }, /^config: bias attention "no" is neither true nor false/],
    [{ positions: { kind: 'rotary', theta: 1e4, scale: 2 } }, /^config: positions \{ scale \} is not known; the nearest is scaling/],
    [{ positions: { kind: 'alibi' } }, /^config: positions \{"kind":"alibi"\} are of neither kind/],
  ])('a model written by hand with %o is refused in words', async (changes, words) => {
    expect(await code(() => device.train({ ...model, ...changes } as never, { sequence: 64, chunk: 16 }))).toMatch(words)
    expect(await code(() => device.train(undefined as never, { sequence: 64, chunk: 16 }))).toMatch(/^config: the model is undefined; make one with/)
  })
  it('MFU is restated against the better of two measured peaks', async () => {
    const run = await device.train(model, { sequence: 64, chunk: 16 })
    const step = await run.step(text)
    const before = device.rates('bf16').peakFlopsPerSecond
    await run.measurePeak()
    const peak = device.rates('bf16').peakFlopsPerSecond
    expect(peak).toBeGreaterThanOrEqual(before)
    expect(step.mfu).toBeCloseTo(step.model_flops / (step.duration_ns / 1e9) / peak, 12)
    await run.close()
    await expect(run.measurePeak()).rejects.toMatchObject({ code: 'closed' })
  })
  it('an option of a run that is none, and steps without a count, are refused in words', async () => {
    const run = await device.train(model, { sequence: 64, chunk: 16 })
    expect(await code(() => run.saveModel('nowhere', { dtpe: 'bf16' } as never))).toMatch(
      /^config: saveModel\(\{ dtpe \}\) is not known; .* The nearest is dtype/,
    )
    const steps = run.steps('lib.dom.d.ts', undefined as never)
    expect(await code(() => steps.next())).toMatch(/^config: run.steps\(text, undefined\) needs a whole number of steps/)
    await run.close()
  })
  it('a text that is missing, empty or foreign to the vocabulary is refused before anything runs', async () => {
    const run = await device.train(model, { sequence: 64, chunk: 16, ranks: 2 })
    const before = await run.parameters()
    expect(await code(() => run.step('no-such-file.txt'))).toMatch(/^text: longText\('no-such-file.txt'\): there is no file .*no-such-file.txt/)
    const empty = join(tmpdir(), `fpdt-empty-${process.pid}.txt`)
    writeFileSync(empty, '')
    expect(await code(() => run.step(empty))).toMatch(/^text: longText\(\): .* has 0 tokens; training needs at least 2/)
    expect(await code(() => run.step(Uint32Array.of(1, 2, 97, 3)))).toMatch(
      /^token: token 97 at position 2 of 4 tokens is outside the model's vocabulary of 97 words; give the model vocab: 98 or more/,
    )
    expect(await code(() => run.step(undefined as never))).toMatch(/^text: longText\(undefined\) is no text; give the path/)
    expect(await code(() => run.step([1, -2] as never))).toMatch(/^token: token -2 at position 1/)
    expect(await code(() => run.step(''))).toMatch(/^text: longText\(''\) is empty/)
    expect(await run.parameters()).toEqual(before)
    expect((await run.step(text)).step).toBe(1)
    await run.close()
    expect(await code(() => run.step(text))).toMatch(/^closed: this run is closed/)
  })
  it('loss or gradient that is not finite leaves the parameters as they were', async () => {
    const run = await device.train(model, { sequence: 64, chunk: 16, ranks: 2, optimizer: adamW({ rate: 1e30 }) })
    await run.step(text)
    const before = await run.parameters()
    expect(await code(() => run.step(text))).toMatch(
      /^not_finite: the (loss|gradient norm) of step 2 is not finite; parameters keep their values after 1 steps, and the next step reads on/,
    )
    expect(await run.parameters()).toEqual(before)
    await run.close()
  })
})

describe('longText', () => {
  it('cuts the built-in text into GPT-2 tokens', () => {
    expect(longText('lib.dom.d.ts').length).toBe(757_634)
  })
  it('cuts special words like any others, and a text once', () => {
    const text = longText('a<|endoftext|>b\n')
    expect(text.read(0, text.length)).not.toContain(50256)
    expect(longText('a<|endoftext|>b\n')).toBe(text)
  })
  it('takes a text itself and tokens', () => {
    const all = (text: Parameters<typeof longText>[0]): number[] => [...longText(text).read(0, longText(text).length)]
    expect(all('Hello world\n')).toEqual([15496, 995, 198])
    expect(all([7, 8, 9])).toEqual([7, 8, 9])
    expect(all(Int32Array.of(7, 8))).toEqual([7, 8])
    expect(longText(Uint32Array.of(5, 6)).length).toBe(2)
  })
})
