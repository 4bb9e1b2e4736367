/** PyTorch as a second opinion: the same models by `transformer.py`, all cases of a test file in one process. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ModelConfig } from '../../../kernel/src/model/config.js'
import type { Sequence, Weights } from '../reference/transformer.js'

const python = fileURLToPath(new URL('../../../.venv/bin/python', import.meta.url))
const script = fileURLToPath(new URL('./cases.py', import.meta.url))

/** Whether the repository's Python environment has PyTorch; `npm test` installs it. To import it takes seconds, to ask for its version does not. */
export const hasPyTorch = spawnSync(python, ['-c', 'from importlib.metadata import version; version("torch")'], { timeout: 60_000 }).status === 0

/** A tensor of the product, by its name in `Weights`. */
export interface NamedTensor {
  readonly name: string
  readonly shape: readonly number[]
  readonly values: Float32Array
}
export interface Case {
  readonly model: ModelConfig
  readonly weights: readonly NamedTensor[]
  /** All in float64; all in float32; float32 weights under bfloat16 autocast; all in bfloat16. */
  readonly run: 'fp64' | 'fp32' | 'autocast' | 'bf16'
  /** Sequences of each step. */
  readonly steps: readonly (readonly Sequence[])[]
  /** AdamW with the rate of each step; without it there is one step, and its gradient is the result. */
  readonly optimizer?: { readonly beta1: number; readonly beta2: number; readonly eps: number; readonly decay: number; readonly maxNorm: number }
  readonly rates?: readonly number[]
}
export interface CaseResult {
  /** Of every step. */
  readonly losses: readonly number[]
  /** Of every step's gradient before it was clipped; with an optimizer. */
  readonly norms: readonly number[]
  /** Gradient of the only step or, with an optimizer, parameters after the last. */
  readonly result: Weights
}

export function pytorch(cases: readonly Case[]): CaseResult[] {
  const folder = mkdtempSync(join(tmpdir(), 'fpdt-pytorch-'))
  try {
    const written = cases.map(({ weights, steps, ...rest }, i) => {
      writeFileSync(
        join(folder, `${i}.weights`),
        Buffer.concat(weights.map(({ values }) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength))),
      )
      return { ...rest, weights: weights.map(({ name, shape }) => ({ name, shape })), steps: steps.map((sequences) => sequences.map(plain)) }
    })
    writeFileSync(join(folder, 'cases.json'), JSON.stringify(written))
    const { status, stderr } = spawnSync(python, [script, folder], { encoding: 'utf8', timeout: 300_000 })
    if (status !== 0) throw new Error(`${script} failed:\n${stderr}`)
    const results = JSON.parse(readFileSync(join(folder, 'results.json'), 'utf8')) as Omit<CaseResult, 'result'>[]
    return results.map((result, i) => ({ ...result, result: split(cases[i]!, readFileSync(join(folder, `${i}.result`))) }))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const plain = ({ tokens, labels, starts }: Sequence) => ({
  tokens: Array.from(tokens),
  labels: Array.from(labels),
  starts: Array.from(tokens, (_, t) => starts?.[t] ?? 0),
})

function split({ weights }: Case, bytes: Buffer): Weights {
  const all = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
  let at = 0
  const next = (count: number): Float64Array => {
    at += count
    return all.slice(at - count, at)
  }
  return new Map(weights.map(({ name, values }) => [name, next(values.length)]))
}
