/**
 * Loss curves of 300 steps on real text beside PyTorch's, from the same weights on the same batches: ours in chunks with offload on
 * two ranks, PyTorch whole. AdamW with warm-up, cosine and clipping. Fails when a curve is further off than rounding explains.
 *
 * What rounding does grows from step to step: each update moves the weights on which the next gradient is taken. So the yardstick of
 * each precision is PyTorch's own distance from its fp64 curve in that precision, which has grown over the same steps.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import encoding from 'gpt-tokenizer/encoding/r50k_base'
import { root, TaskError } from '../../.ci/task.mjs'
import { adamW, rateAt } from '../../kernel/lib/fpdt/plan/optimizer.js'
import { gpt } from '../../kernel/lib/model/gpt.js'
import { initialGroup } from '../../kernel/lib/model/initialise.js'
import { llama } from '../../kernel/lib/model/llama.js'
import { groupsOf, parameterLayout } from '../../kernel/lib/model/parameters.js'
import { longText } from '../../kernel/lib/text/tokens.js'
import { drawCurves } from './curve-figure.mjs'
import { printTable } from './measure.mjs'
import { intoReadme, markdown } from './readme.mjs'
import { openSystem } from './system.mjs'

const STEPS = 300
const SEQUENCE = 512
/** Words are bytes: a head of 256 leaves the time to the layers. */
const sizes = { layers: 2, width: 128, heads: 4, vocab: 256 }
const MODELS = { Llama: llama({ ...sizes, kvHeads: 2 }), 'GPT-2': gpt({ ...sizes, positions: SEQUENCE }) }
const OPTIONS = { sequence: SEQUENCE, chunk: 128, ranks: 2, optimizer: adamW({ rate: 3e-3, warmup: 30, steps: STEPS }) }
const SEEDS = [1, 2, 3]
/**
 * Most that our mean distance from the fp64 curve may be, as a multiple of PyTorch's in the same precision. Two f32 runs that round
 * differently leave fp64 by amounts of the same size, but in directions of their own, so that either may be twice the other.
 */
const BOUNDS = { f32: 3, bf16: 1.5 }
/** And in f32, as a share of the distance between seeds, whatever PyTorch does: rounding must not be seen in a curve. */
const OF_SEEDS = 0.05

export async function curve() {
  const text = bytesOfText()
  const rows = [['model', 'dtype', 'mean distance', 'PyTorch', 'of it', 'largest', 'PyTorch', 'of what another seed makes', 'last loss', 'PyTorch']]
  const panels = []
  const failures = []
  for (const [name, model] of Object.entries(MODELS)) {
    const fp64 = await theirs(model, text, 'fp64', name)
    const seeds = []
    for (const seed of SEEDS) seeds.push(await ours(model, text, { dtype: 'f32', seed }, name))
    const spread = mean(SEEDS.flatMap((_, a) => SEEDS.slice(a + 1).map((_, b) => mean(distances(seeds[a], seeds[a + 1 + b])))))
    const panel = { name, fp64, spread, curves: [] }
    for (const [dtype, torch] of [
      ['f32', 'fp32'],
      ['bf16', 'bf16'],
    ]) {
      const [our, their] = [dtype === 'f32' ? seeds[0] : await ours(model, text, { dtype, seed: SEEDS[0] }, name), await theirs(model, text, torch, name)]
      const [ourDistance, theirDistance] = [distances(our, fp64), distances(their, fp64)]
      const ratio = mean(ourDistance) / mean(theirDistance)
      const ofSeeds = mean(ourDistance) / spread
      rows.push([
        name,
        dtype,
        ...[mean(ourDistance), mean(theirDistance)].map(scientific),
        ratio.toFixed(2),
        ...[Math.max(...ourDistance), Math.max(...theirDistance)].map(scientific),
        `${(100 * ofSeeds).toFixed(ofSeeds < 0.001 ? 4 : 2)} %`,
        ...[our, their].map((losses) => losses.at(-1).toFixed(4)),
      ])
      panel.curves.push({ dtype, our, their })
      if (!(ratio <= BOUNDS[dtype])) failures.push(`${name} in ${dtype} is ${ratio.toFixed(2)} times as far from fp64 as PyTorch, more than ${BOUNDS[dtype]}`)
      if (dtype === 'f32' && !(ofSeeds <= OF_SEEDS)) failures.push(`${name} in f32 is ${ofSeeds.toFixed(3)} of the seed-to-seed distance from fp64`)
    }
    panels.push(panel)
  }
  const [{ spread }] = panels
  printTable(`Loss curves of ${STEPS} steps, distance from PyTorch in fp64; two seeds are ${scientific(spread)} apart (Llama)`, rows, 2)
  if (failures.length > 0) throw new TaskError(`curves that do not lie on PyTorch's:\n  ${failures.join('\n  ')}`)
  const figure = join(root, 'notebooks/loss-curve.png')
  mkdirSync(dirname(figure), { recursive: true })
  writeFileSync(figure, drawCurves(panels))
  console.log(`  notebooks/loss-curve.png shows them`)
  const words = `${STEPS} steps from the same weights on the same text, ${SEQUENCE} bytes each, of models with ${sizes.layers} layers of width ${sizes.width}: ours in chunks of ${OPTIONS.chunk} with offload on ${OPTIONS.ranks} ranks, distances in loss from PyTorch in fp64. The bench fails when ours is more than ${BOUNDS.f32} (f32) or ${BOUNDS.bf16} (bf16) times as far as PyTorch in the same precision.`
  intoReadme('curve', ['![Loss curves beside those of PyTorch](notebooks/loss-curve.png)', words, markdown(rows, 2)])
}

/** Losses of our steps. */
async function ours(model, text, options, name) {
  const system = openSystem(model, { ...OPTIONS, ...options }, text)
  const tell = progress(`${name}, ours in ${options.dtype}, seed ${options.seed}`)
  const losses = []
  try {
    for (let n = 1; n <= STEPS; n++) {
      losses.push(await system.step(n))
      tell(n)
    }
  } finally {
    system.close()
  }
  return losses
}

/** Losses of PyTorch's steps on the same tokens from the same weights. */
async function theirs(model, text, precision, name) {
  const folder = mkdtempSync(join(tmpdir(), 'fpdt-curve-'))
  try {
    const groups = groupsOf(parameterLayout(model, 1))
    const weights = groups.flatMap((group) => group.parts.map(({ name: part, shape }) => ({ name: `${group.name}/${part}`, shape })))
    const { optimizer } = OPTIONS
    const rates = Array.from({ length: STEPS }, (_, n) => rateAt(optimizer, n + 1))
    const { beta1, beta2, eps, decay, maxNorm } = optimizer
    const spec = { model, weights, sequence: SEQUENCE, rates, betas: [beta1, beta2], eps, decay, maxNorm }
    writeFileSync(join(folder, 'curve.json'), JSON.stringify(spec))
    writeFileSync(join(folder, 'weights'), Buffer.concat(groups.map((group) => bytes(initialGroup(model, group, SEEDS[0]).subarray(0, group.count)))))
    writeFileSync(join(folder, 'tokens'), bytes(Int32Array.from(text.read(0, STEPS * SEQUENCE))))
    const script = fileURLToPath(new URL('curve.py', import.meta.url))
    const child = spawn(join(root, '.venv/bin/python'), [script, folder, precision], { stdio: ['ignore', 'pipe', 'inherit'] })
    const tell = progress(`${name}, PyTorch in ${precision}`)
    const losses = []
    for await (const line of createInterface(child.stdout)) tell(losses.push(Number(line)))
    if (losses.length !== STEPS) throw new TaskError(`${script} ended after ${losses.length} of ${STEPS} steps; what it said stands above`)
    return losses
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** The built-in text, byte by byte. */
function bytesOfText() {
  const text = longText('lib.dom.d.ts')
  const bytesThere = Buffer.from(encoding.decode(text.read(0, Math.min(text.length, STEPS * SEQUENCE))))
  return longText(Int32Array.from(bytesThere.subarray(0, STEPS * SEQUENCE + 1)))
}

/** Says every hundredth step. */
function progress(what) {
  const begin = performance.now()
  return (step) => {
    if (step % 100 === 0) console.log(`  ${what}: step ${step} of ${STEPS}, ${((performance.now() - begin) / 1e3).toFixed(0)} s`)
  }
}

const distances = (a, b) => a.map((loss, step) => Math.abs(loss - b[step]))
const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length
const scientific = (number) => number.toExponential(1)
const bytes = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
