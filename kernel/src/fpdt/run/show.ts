/** A run as others see it: a MIME bundle for notebooks, lines of text for terminals. */
import type { MimeBundle } from '../../display.js'
import type { Plan } from '../../plan/plan.js'
import type { Program } from '../../plan/program.js'
import { timesOf } from '../../trace/ask/accounts.js'
import { figure } from '../../trace/figure.js'
import { memoryOf, peaksOf } from '../../trace/memory.js'
import { planTables } from '../../trace/plan-tables.js'
import { keepNewest, MAX_SAVED, saveRun } from '../../trace/saved.js'
import { RUN_MIME, type RunHead, type RunTables, type StepSummary } from '../../trace/schema.js'
import { type Spans, type StepSpans, spanTable } from '../../trace/spans.js'
import { duration, percent } from '../../trace/words/format.js'
import { formatBytes } from '../sizes.js'
import { stepInWords } from './words.js'

/** Bytes of a picture, beyond which it has half the pixels: an output with `MAX_SAVED` of data stays below 5 MB. */
const MOST_PNG = 2 ** 20

/** `application/vnd.fpdt.run.v1+json`, `image/png` and `text/plain` of a run; spans of the newest steps that fit a saved notebook. */
export async function runBundle(tables: RunTables): Promise<MimeBundle> {
  const { head } = tables
  const kept = keepNewest(tables)
  const saved = await saveRun(tables, MAX_SAVED, kept)
  const last = head.steps.at(-1)
  const sharp = figure(kept)
  const png = sharp.png.length <= MOST_PNG ? sharp.png : figure(kept, { scale: 1 }).png
  return {
    [RUN_MIME]: saved,
    'image/png': Buffer.from(png).toString('base64'),
    'text/plain': last ? `${runInWords(head)}\n${copiesInWords(last)}` : runInWords(head),
  }
}

/** A run as tables: its plan, what is recorded of it, and `predicted`: spans of the same program, where the run is measured and was foretold. */
export function runTables(plan: Plan, program: Program, head: RunHead, records: readonly StepSpans[], predicted: Spans | null = null): RunTables {
  const fixed = planTables(plan)
  const spans = spanTable(program, records)
  const memory = memoryOf(fixed, spans)
  const predicted_ns = predicted && Math.round(predicted.end_ns.reduce((last, time) => Math.max(last, time), 0))
  return {
    ...fixed,
    head: { ...head, peaks: peaksOf(fixed, memory, plan.words), predicted_ns, kept: keptOf(head, records) },
    spans,
    memory,
    predicted: predicted && spanTable(program, [{ step: 1, spans: predicted }]),
  }
}

/** Of all steps: each has as many spans as any other. */
function keptOf({ steps }: RunHead, records: readonly StepSpans[]): RunHead['kept'] {
  const spans = records.reduce((sum, record) => sum + record.spans.entry.length, 0)
  const gone = Math.max(0, steps.length - records.length)
  const reason = gone > 0 ? `the newest ${records.length} of ${steps.length} steps: of earlier ones the kernel keeps the figures alone` : 'everything'
  return { spans, of: spans + gone * (records[0]?.spans.entry.length ?? 0), steps: records.map(({ step }) => step), reason }
}

/** `copies between device and host take 1.20 s a rank; compute waits 20.0 ms for them, 0.1 % of the time`. The rest lies under compute, this rank's or, on the CPU, another's. */
export function copiesInWords(step: Pick<StepSummary, 'start_ns' | 'duration_ns' | 'accounts'>): string {
  const { duration_ns, exposedCopy_ns, ranks } = timesOf(step)
  const busy_ns = ranks.reduce((sum, { busy_ns }) => sum + busy_ns.fetch + busy_ns.offload, 0) / ranks.length
  return `copies between device and host take ${duration(busy_ns)} a rank; compute waits ${duration(exposedCopy_ns)} for them, ${percent(exposedCopy_ns / duration_ns)} of the time`
}

export function runInWords(head: RunHead): string {
  // Those of a schedule of the user's own have no tokens.
  const steps = head.steps.slice(-8).map((step) => (step.tokens === 0 ? `run ${step.step}: ${duration(step.duration_ns)}` : stepInWords(step)))
  const tiers = head.tiers.map((t) => {
    const measured = t.measured_bytes === null ? '' : `, measured ${formatBytes(t.measured_bytes)}${t.measured_bytes === t.predicted_bytes ? ' (equal)' : ''}`
    return `${t.tier} ${formatBytes(t.predicted_bytes)} a rank predicted${measured}${t.budget_bytes === null ? '' : `, of ${formatBytes(t.budget_bytes)}`}`
  })
  return [`${head.title} · ${head.state}`, ...tiers, ...steps, ...(head.message ? [head.message] : [])].join('\n')
}

/** The head by itself: as the run, with the names that it has for a program. */
export function headInWords(head: RunHead): string {
  return `${runInWords(head)}\n{ ${Object.keys(head).join(', ')} }`
}
