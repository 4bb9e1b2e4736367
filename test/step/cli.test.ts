/** The shell command, run as a stranger runs it: the built `bin/fpdt.mjs` in a process of its own. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { loadHuggingFace, saveHuggingFace } from '../../kernel/src/files/huggingface.js'
import { openSafetensors, readPieces } from '../../kernel/src/files/safetensors.js'
import { Device } from '../../kernel/src/fpdt/device.js'
import { adamW } from '../../kernel/src/fpdt/plan/optimizer.js'
import type { TrainOptions } from '../../kernel/src/fpdt/plan/training-plan.js'
import { load } from '../../kernel/src/fpdt/run/load.js'
import type { ModelConfig } from '../../kernel/src/model/config.js'
import { gpt } from '../../kernel/src/model/gpt.js'
import { initialGroup } from '../../kernel/src/model/initialise.js'
import { llama } from '../../kernel/src/model/llama.js'
import { groupsOf, parameterLayout } from '../../kernel/src/model/parameters.js'
import { longText } from '../../kernel/src/text/tokens.js'
import { randomTokens } from './harness.js'
import { unmeasured } from './unmeasured.mjs'

unmeasured(Device)
const fpdt = fileURLToPath(new URL('../../kernel/bin/fpdt.mjs', import.meta.url))
/** Before the command, but where its very words are compared: rates take as long to measure as all else that it does here. */
const UNMEASURED = ['--import', new URL('./cli/unmeasured.mjs', import.meta.url).href]
const VOCABULARY = 97
const sizes = { layers: 2, width: 32, heads: 4, kvHeads: 2, headSize: 16, feedForward: 40, vocab: VOCABULARY }
const model = llama(sizes)
const tokens = randomTokens(4000, VOCABULARY, 2)
const device = await Device.cpu({ memory: '256 MiB', host: '256 MiB', threads: 2 })
afterAll(() => device.close())

let folder: string
const children = new Set<ChildProcess>()
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fpdt-cli-'))
  writeFileSync(join(folder, 'tokens.bin'), tokens)
})
afterEach(() => {
  for (const child of children) child.kill('SIGKILL')
  rmSync(folder, { recursive: true })
})

interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: string
  readonly err: string
}
/** Runs a command in the folder of the test; `follow` is told all of stdout so far whenever there is more. */
async function run(
  args: readonly string[],
  follow: (out: string, child: ChildProcess) => void = () => {},
  node: readonly string[] = UNMEASURED,
): Promise<Ended> {
  const child = spawn(process.execPath, [...node, fpdt, ...args], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  children.add(child)
  let [out, err] = ['', '']
  child.stderr.setEncoding('utf8').on('data', (text) => {
    err += text
  })
  child.stdout.setEncoding('utf8').on('data', (text) => {
    out += text
    follow(out, child)
  })
  const [code, signal] = await once(child, 'close')
  children.delete(child)
  return { code, signal, out, err }
}

const TRAINING = { sequence: 61, chunk: 16, ranks: 2, dtype: 'f32', seed: 7 } as const
const OPTIMIZER = { rate: 3e-3, warmup: 2, maxNorm: 0.5 }
const options: TrainOptions = { ...TRAINING, optimizer: adamW(OPTIMIZER) }
function writeConfig(more: object = {}): void {
  const config = {
    model: { family: 'llama', ...sizes },
    text: { file: 'tokens.bin', dtype: 'uint32' },
    ...TRAINING,
    optimizer: OPTIMIZER,
    device: { memory: '256 MiB', host: '256 MiB', threads: 2 },
    ...more,
  }
  writeFileSync(join(folder, 'run.json'), JSON.stringify(config))
}
const linesOf = (out: string): Record<string, unknown>[] =>
  out
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
/** What was left in a folder that nobody asked for: files on their way, hidden folders. */
const leftIn = (dir: string): string[] => readdirSync(dir, { recursive: true, encoding: 'utf8' }).filter((name) => /\.part$|(^|\/)\./.test(name))

/** The same steps in this process. */
async function inProcess(count: number): Promise<{ loss: number | null; gradient_norm: number | null }[]> {
  const same = await device.train(model, options)
  const text = longText(tokens)
  const found = []
  for await (const { loss, gradient_norm } of same.steps(text, count)) found.push({ loss, gradient_norm })
  await same.close()
  return found
}

describe('fpdt train --json', () => {
  it('prints one object a step and nothing else, bit for bit what the library gives', async () => {
    writeConfig({ steps: 4, evaluation: { text: { file: 'tokens.bin', dtype: 'uint32' }, every: 3 } })
    const { code, out } = await run(['train', 'run.json', '--json'], undefined, [])
    expect(code).toBe(0)
    const lines = linesOf(out)
    const same = await device.train(model, options)
    const text = longText(tokens)
    for (const [i, line] of lines.entries()) {
      const { step, loss, gradient_norm, tokens, mfu_formula } = await same.step(text)
      expect(line).toMatchObject({
        step,
        backend: 'cpu',
        device: `${device.description.name} (${device.description.path})`,
        loss,
        gradient_norm,
        tokens,
        mfu_formula,
      })
      const measured = step === 3 || step === 4 ? (await same.evaluate(text)).loss : undefined
      expect(line.evaluation_loss, `step ${i + 1}`).toBe(measured)
      const { predicted, touched } = same.memory('device')
      expect((line.peaks as { device: object }).device).toEqual({ predicted, measured: touched })
      expect(Object.keys(line.peaks as object)).toEqual(['device', 'host'])
      expect(line.rate).toBe(step === 1 ? OPTIMIZER.rate / 2 : OPTIMIZER.rate)
      expect((line.tokens_per_second as number) * (line.seconds as number)).toBeCloseTo(61, 6)
      expect(line.mfu).toBeGreaterThan(0)
      expect(line.hidden_copy_share).toBeGreaterThanOrEqual(0)
      expect(line.hidden_copy_share).toBeLessThanOrEqual(1)
      expect(line.exposed_copy_seconds).toBeGreaterThanOrEqual(0)
    }
    expect(lines.map(({ step }) => step)).toEqual([1, 2, 3, 4])
    await same.close()
  })

  it('without --json prints a line a step, for people', async () => {
    writeConfig({ steps: 2 })
    const { code, out, err } = await run(['train', 'run.json'], undefined, [])
    expect([code, err]).toEqual([0, ''])
    expect(out).toMatch(
      /^FPDT · Llama 2 × 32 · 61 tokens in 4 chunks · 2 ranks; device .* a rank; on .+ \(\S+\), 2 threads\nstep 1 of 2: loss \d\.\d{4}, .* tokens\/s, MFU [\d.]+\u202f%\nstep 2 of 2: [^\n]*\n$/,
    )
  })
})

describe('a run that lasts', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('%s saves a checkpoint, from which it goes on to the same bits', async (signal) => {
    writeConfig({ steps: 100_000, checkpoint: { folder: 'saved' } })
    let asked = false
    const interrupted = await run(['train', 'run.json', '--json'], (out, child) => {
      if (asked || linesOf(out.slice(0, out.lastIndexOf('\n') + 1)).length < 3) return
      asked = true
      child.kill(signal)
    })
    expect([interrupted.code, interrupted.signal]).toEqual([130, null])
    expect(interrupted.err).toMatch(/saved step \d+: /)
    const before = linesOf(interrupted.out)
    expect(leftIn(folder)).toEqual([])
    const there = await device.resume(join(folder, 'saved'))
    expect(there.stepsDone).toBeGreaterThanOrEqual(before.length)
    const resumedFrom = there.stepsDone
    await there.close()

    const steps = resumedFrom + 3
    const resumed = await run(['train', 'run.json', '--json', '--resume', '--steps', String(steps)])
    expect(resumed.code).toBe(0)
    const after = linesOf(resumed.out)
    expect(after.map(({ step }) => step)).toEqual([resumedFrom + 1, resumedFrom + 2, resumedFrom + 3])
    const whole = await inProcess(steps)
    for (const { step, loss, gradient_norm } of [...before, ...after]) expect({ loss, gradient_norm }).toEqual(whole[(step as number) - 1])
  })

  it('--resume begins where there is nothing yet, says so, and has nothing to do when all is done', async () => {
    writeConfig({ steps: 2, checkpoint: { folder: 'saved', every: 1, keep: 1 } })
    const first = await run(['train', 'run.json', '--json', '--resume'])
    expect(first.err).toMatch(/has no checkpoint, so the run begins/)
    expect(linesOf(first.out)).toHaveLength(2)
    expect(readdirSync(join(folder, 'saved')).sort()).toEqual(['checkpoints.json', 'step-000002'])
    const second = await run(['train', 'run.json', '--json', '--resume'])
    expect([second.code, second.out]).toEqual([0, ''])
    expect(second.err).toMatch(/all 2 steps are done/)
  })

  it('--resume goes on after a kill in the first save, or begins where that left no checkpoint', async () => {
    writeConfig({ steps: 1, checkpoint: { folder: 'saved' } })
    mkdirSync(join(folder, 'saved', '.saving-0123'), { recursive: true })
    writeFileSync(join(folder, 'saved', 'checkpoints.json.123.part'), '{')
    const begun = await run(['train', 'run.json', '--json', '--resume'])
    expect([begun.code, linesOf(begun.out).map(({ step }) => step)]).toEqual([0, [1]])
    expect(begun.err).toMatch(/has no checkpoint, so the run begins/)
    expect(readdirSync(join(folder, 'saved')).sort()).toEqual(['checkpoints.json', 'step-000001'])
    rmSync(join(folder, 'saved', 'checkpoints.json'))
    const resumed = await run(['train', 'run.json', '--json', '--resume', '--steps', '2'])
    expect([resumed.code, linesOf(resumed.out).map(({ step }) => step)]).toEqual([0, [2]])
    expect(resumed.err).toMatch(/goes on after step 1/)
  })

  it('refuses to go on with another model', async () => {
    writeConfig({ checkpoint: { folder: 'saved' } })
    await run(['train', 'run.json'])
    writeConfig({ model: { family: 'llama', ...sizes, layers: 3 }, checkpoint: { folder: 'saved' } })
    const { code, err } = await run(['train', 'run.json', '--resume'])
    expect(code).toBe(1)
    expect(err).toMatch(/^fpdt train: run\.json:1:2: model is not the one of the checkpoint in .*saved; .*\n$/m)
  })

  it('keeps the keys of its optimizer that are left out, and refuses another seed', async () => {
    writeConfig({ checkpoint: { folder: 'saved' } })
    await run(['train', 'run.json'])
    writeConfig({ steps: 2, optimizer: { rate: 1e-3 }, checkpoint: { folder: 'saved' } })
    const { code, out } = await run(['train', 'run.json', '--resume', '--json'])
    expect(code).toBe(0)
    expect(linesOf(out)[0]?.rate).toBe(1e-3) // the second of two steps of warmup
    const there = await device.resume(join(folder, 'saved'))
    expect(there.training.optimizer).toEqual(adamW({ ...OPTIMIZER, rate: 1e-3 }))
    await there.close()

    writeConfig({ steps: 3, seed: 8, checkpoint: { folder: 'saved' } })
    const refused = await run(['train', 'run.json', '--resume'])
    expect(refused.code).toBe(1)
    expect(refused.err).toMatch(/^fpdt train: run\.json:1:\d+: seed 8 cannot be given to the run in .*saved, which began with 7 /m)
  })

  it('refuses before its first step what its evaluation or its model would fail with at the end', async () => {
    const text = { file: 'tokens.bin', dtype: 'uint32' }
    const refusals: [more: object, words: RegExp][] = [
      [{ batch: 3, evaluation: { text, sequences: 2 } }, /run\.json:1:\d+: sequences 2 is not a multiple of this run's batch of 3/],
      [
        { evaluation: { text: { file: 'tokens.bin', dtype: 'uint16' }, sequences: 1 }, model: { family: 'llama', ...sizes, vocab: 50 }, text: 'zeros' },
        /token \d+ at/,
      ],
      [
        { model: { family: 'gpt', layers: 1, width: 32, heads: 4, headSize: 16, vocab: VOCABULARY, positions: 64 }, save: { folder: 'hf' } },
        /no Hugging Face layout/,
      ],
    ]
    writeFileSync(join(folder, 'zeros.bin'), new Uint32Array(100))
    for (const [more, words] of refusals) {
      const held = 'text' in more ? { ...more, text: { file: 'zeros.bin', dtype: 'uint32' } } : more
      writeConfig({ steps: 2, checkpoint: { folder: 'saved' }, ...held })
      const { code, out, err } = await run(['train', 'run.json', '--json'])
      expect([code, out]).toEqual([1, ''])
      expect(err).toMatch(words)
    }
  })

  it('saves the steps that are done when its evaluation fails, and prints the last of them', async () => {
    writeConfig({ steps: 3, evaluation: { text: { file: 'held.bin', dtype: 'uint32' }, sequences: 60, every: 2 }, checkpoint: { folder: 'saved' } })
    const held = join(folder, 'held.bin')
    writeFileSync(held, tokens)
    // Whoever cuts the file short while it is read has spoilt the evaluation after step 2, and not steps 1 and 2.
    const { code, out, err } = await run(['train', 'run.json', '--json'], () => truncateSync(held, 400))
    expect(code).toBe(1)
    expect(linesOf(out).map(({ step, evaluation_loss }) => [step, evaluation_loss])).toEqual([
      [1, undefined],
      [2, undefined],
    ])
    expect(err).toMatch(/saved step 2: .*\nfpdt train: /)
    expect(readdirSync(join(folder, 'saved'))).toContain('step-000002')
  })

  it('says nothing when there is no longer anything to say of its text', async () => {
    writeFileSync(join(folder, 'short.bin'), tokens.subarray(0, 122))
    writeConfig({ checkpoint: { folder: 'saved' } })
    await run(['train', 'run.json'])
    writeConfig({ steps: 3, text: { file: 'short.bin', dtype: 'uint32' }, checkpoint: { folder: 'saved' } })
    const { code, out } = await run(['train', 'run.json', '--resume'])
    expect(code).toBe(0)
    expect(out.match(/^note: .*$/gm)).toEqual([expect.stringMatching(/none of the texts that the checkpoint had read/)])
  })

  it('ends when nobody reads its output any more', async () => {
    writeConfig({ steps: 100_000, checkpoint: { folder: 'saved' } })
    const { code } = await run(['train', 'run.json', '--json'], (_, child) => child.stdout?.destroy())
    expect(code).toBe(130)
    const there = await device.resume(join(folder, 'saved'))
    expect(there.stepsDone).toBeGreaterThan(0)
    await there.close()
  })

  it('leaves nothing of its disk tier', async () => {
    writeConfig({ steps: 2, keep: 'disk', device: { memory: '256 MiB', host: '256 MiB', disk: '64 MiB', diskFolder: '.', threads: 2 } })
    const { code, out } = await run(['train', 'run.json', '--json'])
    expect(code).toBe(0)
    expect(Object.keys(linesOf(out)[0]?.peaks as object)).toEqual(['device', 'host', 'disk'])
    expect(readdirSync(folder).sort()).toEqual(['run.json', 'tokens.bin'])
  })
})

/** All tensors of a file. */
async function tensorsIn(path: string): Promise<Map<string, { shape: readonly number[]; values: Float32Array }>> {
  const file = await openSafetensors(path)
  const found = new Map<string, { shape: readonly number[]; values: Float32Array }>()
  for (const tensor of file.tensors.values()) {
    const values = new Float32Array(tensor.shape.reduce((product, extent) => product * extent, 1))
    for await (const piece of readPieces(file, tensor)) values.set(piece.values, piece.first)
    found.set(tensor.name, { shape: tensor.shape, values })
  }
  return found
}

describe('--save-gradients', () => {
  /** Gradients of the engine's first step, read through a stepper, by group. */
  async function gradientsOf(of: ModelConfig): Promise<Map<string, Float32Array>> {
    const same = await device.train(of, options)
    const stepper = await same.stepper(longText(tokens))
    await stepper.to(same.training.gradientsDone)
    const found = new Map(
      same.training.values.groups.map(({ group, gradientPart }) => {
        const ranks = [0, 1].map((rank) => stepper.peek(gradientPart.name, rank).values as Float32Array)
        return [group.name, Float32Array.from(ranks.flatMap((part) => [...part]))]
      }),
    )
    await stepper.close()
    await same.close()
    return found
  }

  it('writes the gradients of the engine under Hugging Face names, and the step counts as ever', async () => {
    writeConfig({ steps: 2 })
    const { code, out } = await run(['train', 'run.json', '--json', '--save-gradients', 'g.safetensors'])
    expect(code).toBe(0)
    expect(linesOf(out).map(({ loss, gradient_norm }) => ({ loss, gradient_norm }))).toEqual(await inProcess(2))
    const found = await tensorsIn(join(folder, 'g.safetensors'))
    const expected = await gradientsOf(model)
    const layer = groupsOf(parameterLayout(model, 1)).find(({ name }) => name === 'layer 1')
    const qkv = layer?.parts.find(({ name }) => name === 'qkv')
    const k = found.get('model.layers.1.self_attn.k_proj.weight')
    expect(k?.shape).toEqual([32, 32])
    const from = (qkv?.offset as number) + 64 * 32 // below the query's 64 rows
    expect(k?.values).toEqual(expected.get('layer 1')?.subarray(from, from + 32 * 32))
    expect(found.get('model.embed_tokens.weight')?.values).toEqual(expected.get('embedding')?.subarray(0, VOCABULARY * 32))
    expect(Math.max(...(k?.values ?? [0]))).toBeGreaterThan(0)
    expect([...found.keys()].filter((name) => name.includes('layers.0.'))).toHaveLength(9)
  })

  it('writes those of a model without such a layout as group/part', async () => {
    const rotary = gpt({ layers: 1, width: 32, heads: 2, vocab: VOCABULARY, positions: 'rotary' })
    writeConfig({ model: { family: 'gpt', layers: 1, width: 32, heads: 2, vocab: VOCABULARY, positions: 'rotary' } })
    const { code } = await run(['train', 'run.json', '--save-gradients', 'g.safetensors'])
    expect(code).toBe(0)
    const found = await tensorsIn(join(folder, 'g.safetensors'))
    const expected = await gradientsOf(rotary)
    for (const group of groupsOf(parameterLayout(rotary, 1)))
      for (const { name, offset, shape } of group.parts) {
        const count = shape.reduce((product, extent) => product * extent, 1)
        expect(found.get(`${group.name}/${name}`)?.values, name).toEqual(expected.get(group.name)?.subarray(offset, offset + count))
      }
  })
})

describe('models', () => {
  it('are saved, loaded again with their weights, and converted from a checkpoint and from each other', async () => {
    writeConfig({ steps: 2, checkpoint: { folder: 'saved' }, save: { folder: 'model' } })
    expect((await run(['train', 'run.json'])).code).toBe(0)
    const trained = await device.resume(join(folder, 'saved'))
    const text = longText(tokens)
    const loss = (await trained.evaluate(text)).loss
    await trained.close()

    const saved = await load(join(folder, 'model'))
    writeConfig({ model: { load: 'model' }, optimizer: { rate: 0 }, evaluation: { text: { file: 'tokens.bin', dtype: 'uint32' } } })
    const again = await run(['train', 'run.json', '--json'])
    expect(linesOf(again.out)[0]?.evaluation_loss).toBe(loss)

    const converted = await run(['convert', 'saved', 'from-checkpoint'])
    expect([converted.code, converted.out]).toEqual([0, 'from-checkpoint: Llama, 23,232 parameters\n'])
    expect(readFileSync(join(folder, 'from-checkpoint/model.safetensors'))).toEqual(readFileSync(join(folder, 'model/model.safetensors')))
    expect((await run(['convert', 'model', 'small', '--dtype', 'bf16', '--shard', '20KB'])).code).toBe(0)
    const small = await loadHuggingFace(join(folder, 'small'))
    expect([small.dtype, small.model]).toEqual(['bf16', saved.model])
    expect(existsSync(join(folder, 'small/model.safetensors.index.json'))).toBe(true)
    expect(leftIn(folder)).toEqual([])
  })

  it('with words of their own are trained on a text only when that is said', async () => {
    const theirs = llama({ ...sizes, vocab: 50400 })
    await saveHuggingFace(join(folder, 'model'), theirs, (group) => initialGroup(theirs, group, 3))
    writeFileSync(join(folder, 'book.txt'), 'a text that is long enough. '.repeat(40))
    const train = async (text: unknown, held: unknown): Promise<Ended> => {
      writeConfig({ model: { load: 'model' }, text, evaluation: { text: held } })
      return run(['train', 'run.json', '--json'])
    }
    const ids = { file: 'tokens.bin', dtype: 'uint32' }
    for (const [text, held, key] of [
      ['book.txt', ids, 'text'],
      [ids, ['book.txt'], 'evaluation.text'],
    ]) {
      const { code, out, err } = await train(text, held)
      expect([code, out]).toEqual([1, ''])
      expect(err).toMatch(/^fpdt train: run\.json:1:\d+: .* is cut into GPT-2's tokens, and the model of .*\{ "gpt2": .*"book\.txt"/m)
      expect(err, String(key)).toContain('write { "gpt2"')
    }
    const { code, out, err } = await train({ gpt2: 'book.txt' }, { gpt2: ['book.txt'] })
    expect([code, linesOf(out).length]).toEqual([0, 1])
    expect(err).toMatch(/^note: .* is cut into GPT-2's tokens/m)
  })

  it('are converted only from what is one, to somewhere else', async () => {
    const refusals: [args: string[], code: number, message: RegExp][] = [
      [['convert', 'nix', 'to'], 1, /^fpdt convert: there is no folder nix; .*\n$/],
      [['convert', '.', 'to'], 1, /^fpdt convert: \. has no config\.json; .*\n$/],
      [['convert', 'one'], 2, /needs two folders, FROM and TO\nusage: fpdt convert FROM TO/],
      [['convert', 'a', 'b', '--dtype', 'f16'], 2, /--dtype f16 is neither bf16 nor f32/],
    ]
    const all = await Promise.all(refusals.map(([args]) => run(args)))
    for (const [i, [, code, message]] of refusals.entries()) {
      expect([all[i]!.code, all[i]!.out]).toEqual([code, ''])
      expect(all[i]!.err).toMatch(message)
    }
  })
})

describe('mistakes', () => {
  it.each([
    [{ rank: 2 }, [], 1, /^fpdt train: run\.json:1:\d+: there is no key rank; the nearest is ranks\n$/],
    [{ ranks: 3 }, [], 3, /^fpdt train: run\.json:1:\d+: ranks 3 does not divide the 4 query heads/],
    [{ device: { memory: '10 KiB' } }, [], 3, /^fpdt train: the device tier needs .*\n$/],
    [{ optimizer: { rate: 1e30, warmup: 0 }, steps: 9 }, [], 1, /^fpdt train: .* is not finite.*\n$/m],
    [
      { device: { threads: 2, devices: [0, 1] } },
      [],
      1,
      /^fpdt train: run\.json:1:\d+: device\.devices names GPUs, .*write \{ "backend": "cuda", "devices": \[0,1\] \}/,
    ],
    [{ device: { backend: 'cuda', threads: 2 } }, [], 1, /^fpdt train: run\.json:1:\d+: device\.threads is of the CPU, .*leave it out/],
    [{ device: { backend: 'gpu' } }, [], 1, /^fpdt train: run\.json:1:\d+: device\.backend "gpu" is not "cpu" or "cuda"/],
    [{ device: { backend: 'cuda', devices: [-1] } }, [], 1, /^fpdt train: run\.json:1:\d+: devices -1 is not a GPU's number; write 0, or \[0, 1\]/],
    [{ device: { path: 'avx9' } }, [], 1, /^fpdt train: run\.json:1:\d+: instruction path "avx9" is not one that this processor has; it has /],
    [{}, ['--jsno'], 2, /^fpdt train: there is no option --jsno; the nearest is --json\nusage: fpdt train CONFIG\.json/],
  ])('%j %j: exit code %i, one message', async (more, args, code, message) => {
    writeConfig(more)
    const ended = await run(['train', 'run.json', '--json', ...args])
    expect(ended.err).toMatch(message)
    expect(ended.err).not.toMatch(/\n {4}at /) // a stack is for faults of ours
    expect(ended.code).toBe(code)
  })
})

it('where there is no GPU, training on one fails with the sentence of Device.list', async () => {
  writeConfig({ device: { backend: 'cuda', devices: [0] } })
  const program = `import { Device } from 'fpdt'; console.log(Device.list().at(-1).reason)`
  const env = { ...process.env, CUDA_VISIBLE_DEVICES: '' } // so it is on every machine
  const cwd = fileURLToPath(new URL('../..', import.meta.url))
  const reason = spawnSync(process.execPath, ['--input-type=module', '-e', program], { cwd, env, encoding: 'utf8' }).stdout.trim()
  const { status, stdout, stderr } = spawnSync(process.execPath, [fpdt, 'train', 'run.json'], { cwd: folder, env, encoding: 'utf8' })
  expect(reason).not.toBe('')
  expect({ status, stdout, stderr }).toEqual({ status: 1, stdout: '', stderr: expect.stringMatching(/^fpdt train: run\.json:1:\d+: no GPU can be used: /) })
  expect(stderr.trimEnd().endsWith(reason), `${stderr}${reason}`).toBe(true)
})

it('explains itself', async () => {
  const { version } = JSON.parse(readFileSync(fileURLToPath(new URL('../../kernel/package.json', import.meta.url)), 'utf8'))
  expect(await run(['--version'])).toMatchObject({ code: 0, out: `${version}\n`, err: '' })
})

it('the library does in a plain program of Node what it does in a cell', async () => {
  const program = `
    import { adamW, Device, llama, longText } from 'fpdt'
    const device = await Device.cpu({ memory: '256 MiB', host: '256 MiB', threads: 2 })
    const run = await device.train(llama(${JSON.stringify(sizes)}), { ...${JSON.stringify(TRAINING)}, optimizer: adamW(${JSON.stringify(OPTIMIZER)}) })
    const { loss, gradient_norm } = await run.step(longText(Uint32Array.from(JSON.parse(process.argv[1]))))
    console.log(JSON.stringify({ loss, gradient_norm }))
    await device.close()`
  const args = ['--input-type=module', '-e', program, JSON.stringify([...tokens.subarray(0, 100)])]
  const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: fileURLToPath(new URL('../..', import.meta.url)), encoding: 'utf8' })
  expect(stderr).toBe('')
  expect(JSON.parse(stdout)).toEqual((await inProcess(1))[0])
})
