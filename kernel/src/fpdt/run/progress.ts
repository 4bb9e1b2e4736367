/** How far a step is, in an output of its own: shown when a step takes longer than a person waits without asking. */
import { displayHost } from '../../display.js'
import type { Program } from '../../plan/program.js'
import type { Spans } from '../../trace/spans.js'

/** First shown after this long, and then this often. */
const FIRST_MS = 2000
const EVERY_MS = 1000

export class Progress {
  #shown = false

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
    const begin = Date.now()
    const report = (): void => {
      const share = done()
      const seconds = (Date.now() - begin) / 1000
      const left = share > 0.02 ? `, about ${Math.max(1, Math.round((seconds / share) * (1 - share)))} s left` : ''
      this.#show(`${what}: ${Math.floor(100 * share)} % of its operations in ${Math.round(seconds)} s${left}`)
    }
    let timer = setTimeout(() => {
      report()
      timer = setInterval(report, EVERY_MS)
    }, FIRST_MS)
    return () => {
      clearTimeout(timer)
      if (this.#shown) this.#show(`${what} ended after ${((Date.now() - begin) / 1000).toFixed(1)} s`)
    }
  }

  /** Share of a step's floating-point operations in these spans. */
  share(spans: readonly Spans[]): number {
    const { flops, ranks } = this.program
    const total = ranks * flops.reduce((sum, one) => sum + one, 0)
    return spans.reduce((sum, { entry }) => sum + entry.reduce((part, e) => part + flops[e], 0), 0) / total
  }

  #show(text: string): void {
    displayHost()?.display({ 'text/plain': text }, { displayId: this.displayId, update: this.#shown })
    this.#shown = true
  }
}
