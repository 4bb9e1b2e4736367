/** A run as others see it: a MIME bundle for notebooks, lines of text for terminals. */
import type { MimeBundle } from '../display.js'
import type { Program } from '../plan/program.js'
import { figure } from '../trace/figure.js'
import { memoryColumns, peaksOf } from '../trace/memory.js'
import { keepNewest, saveRun } from '../trace/saved.js'
import { RUN_MIME, type RunHead } from '../trace/schema.js'
import { type StepSpans, spanTable } from '../trace/spans.js'
import { formatBytes } from './sizes.js'
import type { TrainingPlan } from './training-plan.js'

/** `application/vnd.fpdt.run.v1+json`, `image/png` and `text/plain` of a run; spans of the newest steps that fit a saved notebook. */
export async function runBundle(training: TrainingPlan, program: Program, head: RunHead, records: readonly StepSpans[]): Promise<MimeBundle> {
  const spans = spanTable(program, records)
  const memory = memoryColumns(training.plan, records)
  const complete: RunHead = { ...head, peaks: peaksOf(training.plan, records) }
  const tables = { head: complete, listing: training.plan.listing, spans, memory }
  const saved = await saveRun(tables)
  const { png } = figure(keepNewest(tables))
  return { [RUN_MIME]: saved, 'image/png': Buffer.from(png).toString('base64'), 'text/plain': runInWords(complete) }
}

export function runInWords(head: RunHead): string {
  const steps = head.steps.slice(-8).map((s) => {
    const loss = s.loss === null ? 'not finite' : s.loss.toFixed(4)
    const share = s.mfu === null ? '' : `, MFU ${(100 * s.mfu).toFixed(1)} %`
    return `step ${s.step}: loss ${loss}, ${Math.round(s.tokens_per_second)} tokens/s${share}, ${(s.duration_ns / 1e9).toFixed(2)} s`
  })
  const tiers = head.tiers.map((t) => {
    const measured = t.measured_bytes === null ? '' : `, measured ${formatBytes(t.measured_bytes)}${t.measured_bytes === t.predicted_bytes ? ' (equal)' : ''}`
    return `${t.tier} ${formatBytes(t.predicted_bytes)} a rank predicted${measured}${t.budget_bytes === null ? '' : `, of ${formatBytes(t.budget_bytes)}`}`
  })
  return [`${head.title} · ${head.state}`, ...tiers, ...steps, ...(head.message ? [head.message] : [])].join('\n')
}
