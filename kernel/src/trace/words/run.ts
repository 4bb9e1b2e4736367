/** A run in plain words: what a reader sees on hover, above the picture, and what a screen reader says instead of it. */

import { opLine, verbOf, withoutStream } from '../ask/op-text.js'
import type { Extent, Run } from '../model/run.js'
import { levelsAfter, type Stack } from '../model/stack.js'
import { KINDS, NONE, type RunHead, type StepSummary } from '../schema.js'
import { byteRate, bytes, count, counted, duration, flopRate, flops, instant, percent } from './format.js'
import { CATEGORY_WORDS, placeWords } from './names.js'
import { phraseOf } from './phrase.js'

/** One op: what it is in words and in the listing, where in the algorithm, when and how much. */
export interface OpWords {
  /** The op's notation where it has no other words. */
  readonly phrase: string
  readonly op: string
  readonly place: string
  readonly cost: string
}

/** `window`: what is in view, which says how exact its beginning is to be. */
export function opWords(run: Run, row: number, window: Extent = run.extent): OpWords {
  const { spans } = run
  const length = spans.duration_ns[row]
  const parts = [`starts at ${instant(spans.start_ns[row], window.end_ns - window.start_ns)}`, `takes ${duration(length)}`]
  if (spans.flops[row] > 0) parts.push(length > 0 ? `${flops(spans.flops[row])} at ${flopRate(spans.flops[row], length)}` : flops(spans.flops[row]))
  if (spans.bytes[row] > 0) {
    const moves = KINDS[spans.kind[row]] !== 'compute'
    parts.push(
      moves ? `moves ${bytes(spans.bytes[row])}${length > 0 ? ` at ${byteRate(spans.bytes[row], length)}` : ''}` : `touches ${bytes(spans.bytes[row])}`,
    )
  }
  return { phrase: phraseOf(run, spans.op[row]), op: opLine(run, spans.op[row]), place: placeWords(run, row), cost: parts.join(' · ') }
}

/** For the inside of a bar, longest first: the printed op without its stream; its verb and chunks; the chunks, or the verb. */
export function barWords(run: Run, row: number): string[] {
  const { spans } = run
  const line = withoutStream(opLine(run, spans.op[row]))
  const verb = verbOf(line)
  const chunks = [spans.q[row] === NONE ? '' : `q${spans.q[row]}`, spans.kv[row] === NONE ? '' : `kv${spans.kv[row]}`].filter(Boolean).join(' ')
  return chunks ? [line, `${verb} ${chunks}`, chunks] : [line, verb]
}

/** What stands in one stack at an instant: `312 MiB: parameters 200 MiB, attention 112 MiB`. */
export function levelWords(stack: Stack, level: number): string {
  const levels = levelsAfter(stack, level)
  const parts = stack.categories
    .map((category, c) => ({ name: CATEGORY_WORDS[category], size: levels[c] }))
    .filter(({ size }) => size > 0)
    .sort((a, b) => b.size - a.size)
    .map(({ name, size }) => `${name} ${bytes(size)}`)
  return `${stack.tier} memory of rank ${stack.rank}: ${bytes(stack.totals[level])}${parts.length > 0 ? ` (${parts.join(', ')})` : ''}`
}

/** A figure of the header, with the sentence that explains it. */
export interface Fact {
  readonly name: string
  readonly value: string
  readonly hint: string
}

/** Loss, speed, MFU and peaks, in the order of reading. What is not known is left out, not invented. */
export function facts(head: RunHead): Fact[] {
  const list: Fact[] = []
  const losses = head.steps.filter((step): step is StepSummary & { loss: number } => step.loss !== null)
  if (losses.length > 0) {
    list.push({
      name: losses.length > 1 ? `loss, steps ${losses[0].step}–${losses[losses.length - 1].step}` : `loss, step ${losses[0].step}`,
      value: abridged(losses.map(({ loss }) => loss.toFixed(loss < 1 ? 4 : 3))).join(' → '),
      hint: losses.map(({ step, loss }) => `step ${step}: ${loss}`).join('\n'),
    })
  }
  const last = head.steps.at(-1)
  // A schedule of the user's own has no tokens: its time is what there is to say.
  if (last?.tokens === 0) list.push({ name: 'time', value: duration(last.duration_ns), hint: `run ${last.step}, from its first op to its last` })
  else if (last) {
    list.push({
      name: 'speed',
      value: `${count(last.tokens_per_second)} tokens/s`,
      hint: `step ${last.step}: ${count(last.tokens)} tokens in ${duration(last.duration_ns)}`,
    })
    if (last.mfu !== null) list.push({ name: 'MFU', value: percent(last.mfu), hint: last.mfu_formula })
  }
  for (const { tier, predicted_bytes, allocated_bytes, measured_bytes, budget_bytes } of head.tiers) {
    if (predicted_bytes === 0 && !measured_bytes) continue
    const exact = [ARENA_HINT, `predicted: planned ${count(predicted_bytes)} bytes`]
    if (allocated_bytes !== null) exact.push(`allocated: ${count(allocated_bytes)} bytes`)
    exact.push(measured_bytes === null ? 'not measured' : `measured: highest byte touched ${count(measured_bytes)}`)
    if (budget_bytes !== null) exact.push(`budget: ${count(budget_bytes)} bytes`)
    list.push({ name: `${tier} memory, per rank`, value: agreement(predicted_bytes, measured_bytes), hint: exact.join('\n') })
  }
  return list
}

/** Why the peak of a chart may be lower than the figure of the header. */
const ARENA_HINT = 'Bytes of the arena, in which every buffer has its place. The curve shows what was alive in it, which may be less: places can leave gaps.'

function agreement(predicted: number, measured: number | null): string {
  if (measured === null) return `${bytes(predicted)} predicted`
  if (measured === predicted) return `${bytes(measured)} predicted = measured`
  return `${bytes(predicted)} predicted, ${bytes(measured)} measured`
}

/** Four values at most stand as they are; of more, the first and the last two. */
function abridged(values: readonly string[]): string[] {
  return values.length <= 4 ? [...values] : [values[0], '…', ...values.slice(-2)]
}

/** What of the run this payload holds, or '' when that is all of it. */
export function keptWords(head: RunHead): string {
  const { spans, of, steps, reason } = head.kept
  if (spans >= of) return ''
  const inRow = steps.length > 2 && steps.every((step, i) => step === steps[0] + i)
  const which =
    steps.length === 0 ? '' : steps.length === 1 ? ` of step ${steps[0]}` : ` of steps ${inRow ? `${steps[0]}–${steps[steps.length - 1]}` : steps.join(', ')}`
  return `Shows ${count(spans)} of ${count(of)} ops${which ? `, those${which}` : ''}.${reason ? ` ${sentence(reason)}` : ''}`
}

/** How the run ended, where that is not simply `done`. */
export function stateWords(head: RunHead): string {
  const states: Record<RunHead['state'], string> = {
    planned: '',
    done: '',
    running: 'Saved while running.',
    stopped: 'Stopped.',
    failed: 'Failed.',
    lost: 'The process that ran it is gone; this is what was saved.',
  }
  const [state, message] = [states[head.state] ?? '', head.message ? sentence(head.message) : '']
  // "Stopped during step 3." says that it is stopped.
  return [message.toLowerCase().startsWith(state.toLowerCase().slice(0, -1)) ? '' : state, message].filter(Boolean).join(' ')
}

/** What made a peak; a line that was cut away still has the words it was saved with. */
export function peakWords(run: Run, { op, words }: RunHead['peaks'][number]): string {
  return run.listing[op]?.trim() ? phraseOf(run, op) : words
}

/** The picture in a few sentences. */
export function summaryWords(run: Run): string {
  const { head } = run
  const streams = [...new Set(run.lanes.map(({ stream }) => stream))]
  const sentences = [
    `${head.origin === 'predicted' ? 'Predicted' : 'Measured'} run. ${head.title}.`,
    `Timeline of ${counted(run.ranks.length, 'rank')}, streams ${streams.join(', ')}: ${counted(run.spans.op.length, 'op')} in ${duration(run.extent.end_ns - run.extent.start_ns)}.`,
    ...facts(head).map(({ name, value }) => `${name}: ${value}.`),
    ...head.peaks.map((peak) => `${peak.tier} memory is highest with ${bytes(peak.bytes)}, at ${duration(peak.time_ns)}: ${peakWords(run, peak)}.`),
    keptWords(head),
    stateWords(head),
  ]
  return sentences.filter(Boolean).join(' ')
}

function sentence(text: string): string {
  const trimmed = text.trim()
  return trimmed.charAt(0).toUpperCase() + trimmed.slice(1) + (/[.!?…]$/.test(trimmed) ? '' : '.')
}
