/** How far a step is, in an output of its own: shown when a step takes longer than a person waits without asking. */
import { displayHost } from '../../display.js'
import type { Program } from '../../plan/program.js'
import { Progress, ProgressOutput } from '../../progress.js'
import type { Spans } from '../../trace/spans.js'

/** First shown after this long, and then this often. */
const FIRST_MS = 2000
const EVERY_MS = 1000

export class StepProgress {
  #output: ProgressOutput | undefined

  /** `displayId` names the one output that all steps of a run share. */
  constructor(
    private readonly program: Program,
    private readonly displayId: string,
  ) {}

  /**
   * Watches `step 3`, or what else takes long, until the returned function is called. `done` gives the share of its operations
   * that is done, 0 to 1. Shows nothing where there is no notebook.
   */
  watch(what: string, done: () => number): () => void {
    if (!displayHost()) return () => {}
    const begin = performance.now()
    let bar: Progress | undefined
    const report = (): void => {
      this.#output ??= new ProgressOutput(this.displayId)
      bar ??= new Progress({ label: what, total: 1, begin }, this.#output)
      bar.set(done())
    }
    let timer = setTimeout(() => {
      report()
      timer = setInterval(report, EVERY_MS)
    }, FIRST_MS)
    return () => {
      clearTimeout(timer)
      if (bar !== undefined) report()
      bar?.end()
    }
  }

  /** Share of a step's floating-point operations in these spans. */
  share(spans: readonly Spans[]): number {
    const { flops, ranks } = this.program
    const total = ranks * flops.reduce((sum, one) => sum + one, 0)
    return spans.reduce((sum, { entry }) => sum + entry.reduce((part, e) => part + flops[e], 0), 0) / total
  }
}
