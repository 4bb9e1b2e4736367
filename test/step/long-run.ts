/** The step that shows at any length what FPDT needs of the device: one layer, one head, chunks of 16 K tokens where nothing else is said. */
import { Device } from '../../kernel/src/fpdt/device.js'
import { bytesOfStep, type StepBytes } from '../../kernel/src/fpdt/plan/step-bytes.js'
import { llama } from '../../kernel/src/model/llama.js'
import { longText } from '../../kernel/src/text/tokens.js'
import type { Tier } from '../../kernel/src/trace/schema.js'
import { unmeasured } from './unmeasured.mjs'

unmeasured(Device)

const VOCABULARY = 512
const MODEL = llama({ layers: 1, width: 64, heads: 1, vocab: VOCABULARY })
const K = 1024
/** Workspaces depend on it. */
const THREADS = 2

export interface LongRun {
  readonly loss: number
  /** Highest byte touched. */
  readonly touched: Readonly<Record<Exclude<Tier, 'disk'>, number | null>>
}

/** A real step on real text; its words are those of GPT-2, modulo the vocabulary. */
export async function longRun(sequence: number, chunk = 16 * K): Promise<LongRun> {
  const device = await Device.cpu({ memory: '64 MiB', host: '2 GiB', threads: THREADS })
  const run = await device.train(MODEL, { sequence, chunk })
  const { loss } = await run.step(
    longText('lib.dom.d.ts')
      .read(0, sequence)
      .map((word) => word % VOCABULARY),
  )
  const touched = { device: run.memory('device').touched, host: run.memory('host').touched }
  await device.close()
  return { loss: loss ?? Number.NaN, touched }
}

/** Bytes of the same step, by a whole walk of the schedule. */
export function longBytes(sequence: number, chunk = 16 * K): StepBytes {
  return bytesOfStep(MODEL, { sequence, chunk }, { threads: THREADS }, Number.POSITIVE_INFINITY)
}
