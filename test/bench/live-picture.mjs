/**
 * What a page that follows a training pays to have the run ready to be drawn, each time that more of it has come: the time of the main thread,
 * here in Node, step by step. It must not grow with the steps that were followed: a page keeps the newest.
 */

import { pickRows } from '../../kernel/lib/trace/spans.js'
import { LIMITS, LiveRun } from '../../labextension/lib/live/live-run.js'
import { printTable } from './measure.mjs'
import { longRun } from './widgets.mjs'

const SPANS = 450_000
/** Messages of a step. */
const PIECES = 20

export function livePicture() {
  const tables = longRun(SPANS)
  const { head, spans } = tables
  const run = new LiveRun(() => LIMITS)
  const going = { ...head, origin: 'measured', state: 'running', peaks: [], steps: [] }
  run.plan(going, { ...tables, predicted: null })
  const rows = [['step', 'spans kept', 'median', 'most']]
  for (const summary of head.steps) {
    const inTime = Uint32Array.from(spans.op.keys())
      .filter((row) => spans.step[row] === summary.step)
      .sort((a, b) => spans.start_ns[a] - spans.start_ns[b])
    const times = Array.from({ length: PIECES }, (_, i) => {
      const [from, to] = [i, i + 1].map((piece) => Math.floor((piece * inTime.length) / PIECES))
      run.spans(summary.step, 1, to, pickRows(spans, inTime.subarray(from, to).sort()))
      const begin = performance.now()
      void run.run
      return performance.now() - begin
    }).sort((a, b) => a - b)
    run.step({ ...going, steps: [summary] })
    rows.push([String(summary.step), run.run.spans.op.length.toLocaleString('en'), times[PIECES >> 1].toFixed(1), times[PIECES - 1].toFixed(1)])
  }
  printTable(`A run that a page follows, made ready to be drawn ${PIECES} times a step, in ms; most: with its memory, which is derived less often`, rows)
}
