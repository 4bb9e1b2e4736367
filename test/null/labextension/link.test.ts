import { describe, expect, it } from 'vitest'
import type { Run } from '../../../kernel/src/trace/model/run.js'
import { selectRows } from '../../../kernel/src/trace/spans.js'
import { Session, type Shown } from '../../../labextension/src/lab/session.js'
import { LiveLink } from '../../../labextension/src/live/link.js'
import { LIMITS, LiveRun } from '../../../labextension/src/live/live-run.js'
import type { NotebookKernel } from '../../../labextension/src/live/notebook-kernel.js'
import { fixture } from '../trace/fixture.js'

const STEPS = LIMITS.steps + 3
const TABLES = fixture({ ranks: 1, layers: 1, chunks: 2, steps: STEPS })
const HEAD = { ...TABLES.head, steps: [], peaks: [], state: 'running' as const }

/** A reader looks at what there is before running the next cell. */
const PAUSE_NS = 60e9

/** A page that follows a run of which steps come, without a page. Before step `paused` it stands still. */
function following(paused = Number.POSITIVE_INFINITY) {
  const sink = new LiveRun(() => ({ ...LIMITS, frames: 1e6 }))
  const comes = (step: number): void => {
    const spans = selectRows(TABLES.spans, (row) => TABLES.spans.step[row] === step)
    const later_ns = (of: number): number => (of < paused ? 0 : PAUSE_NS)
    sink.spans(step, 1, spans.op.length, { ...spans, start_ns: spans.start_ns.map((time_ns) => time_ns + later_ns(step)) })
    sink.step({ ...HEAD, steps: TABLES.head.steps.slice(0, step).map((of) => ({ ...of, start_ns: of.start_ns + later_ns(of.step) })) })
  }
  sink.plan(HEAD, TABLES)
  for (let step = 1; step <= LIMITS.steps; step++) comes(step)
  const run = sink.run as Run
  const session = new Session({ run, window: { ...run.extent, rank: 0 }, follow: true, hover: null, pinned: null } as unknown as Shown)
  let newest: () => Run | null = () => null
  const display = { session, setRun: (of: () => Run | null) => (newest = of) }
  const runs = { reach: () => ({ status: { activity: 'running' }, reason: '' }), follow: () => ({ sink, dispose: () => {} }), wake: () => {} }
  const link = new LiveLink(display, { ...TABLES, head: HEAD }, () => run)
  link.bind({ runs, onChange: () => ({ dispose: () => {} }), use: () => ({ dispose: () => {} }) } as unknown as NotebookKernel)
  /** What the page does in a frame. */
  const draw = (): void => {
    const newer = newest()
    if (newer) session.setRun(newer)
  }
  return { session, link, comes, draw }
}
const first = (run: Run): number => run.spans.step[0]

describe('the place that a reader looks at while the run goes on', () => {
  it('moves on with a window that shows all of the run, or its end', () => {
    const { session, link, comes, draw } = following()
    for (const start_ns of [session.shown.run.extent.start_ns, session.shown.run.extent.end_ns - 1e6]) {
      session.change({ window: { ...session.shown.window, start_ns } })
      comes(first(session.shown.run) + LIMITS.steps)
      draw()
      expect(link.behind).toBeNull()
    }
    expect(first(session.shown.run)).toBe(3)
    expect(session.shown.window.end_ns).toBe(session.shown.run.extent.end_ns)
  })

  it('stays where it was zoomed to: the view is held before its step goes, and counts what came since', () => {
    const { session, link, comes, draw } = following()
    const { steps } = session.shown.run
    const window = { rank: 0, start_ns: steps[1].start_ns, end_ns: steps[1].start_ns + 1e6 }
    session.change({ window })
    comes(LIMITS.steps + 1)
    draw() // step 1 goes, which is not in view
    expect([link.behind, first(session.shown.run)]).toEqual([null, 2])
    comes(LIMITS.steps + 2)
    draw()
    comes(LIMITS.steps + 3)
    draw()
    expect(link.isPlaceKept).toBe(true)
    expect(link.behind).toBe(TABLES.spans.op.length / STEPS)
    expect(first(session.shown.run)).toBe(2)
    expect(session.shown.window).toEqual(window)
  })

  it('goes to the step after a pause, of which a picture of all would be full; who wants to see all still does', () => {
    const { session, link, comes, draw } = following(LIMITS.steps + 1)
    const shows = (): number => session.shown.window.end_ns - session.shown.window.start_ns
    const before = shows()
    comes(LIMITS.steps + 1)
    draw()
    const { extent, steps } = session.shown.run
    expect(session.shown.window).toMatchObject({ start_ns: steps[LIMITS.steps].start_ns, end_ns: extent.end_ns })
    expect([shows() < before, link.behind]).toEqual([true, null])
    comes(LIMITS.steps + 2)
    draw()
    expect(session.shown.window.start_ns).toBe(steps[LIMITS.steps].start_ns)
    session.change({ window: { ...session.shown.run.extent, rank: 0 } })
    comes(LIMITS.steps + 3)
    draw()
    expect(session.shown.window).toMatchObject(session.shown.run.extent)
    expect([shows() > PAUSE_NS, link.behind]).toEqual([true, null])
  })

  it('keeps a picked op until the reader follows again', () => {
    const { session, link, comes, draw } = following()
    const pinned = { kind: 'span', row: 3 } as const
    session.change({ pinned })
    comes(LIMITS.steps + 1)
    draw()
    expect(link.isPlaceKept).toBe(true)
    expect(session.shown.pinned).toEqual(pinned)
    link.hold(false)
    session.change({ pinned: null })
    draw()
    expect([link.isPlaceKept, link.behind, first(session.shown.run)]).toEqual([false, null, 2])
  })
})
