/** The kernel of one open notebook, as far as live runs go: a client for the connection that the notebook has, while anything on the page wants one. */
import type { LiveClient } from './client.js'
import type { LiveRun } from './live-run.js'
import type { KernelLike, SignalLike } from './page-comm.js'

/** The context of a document as JupyterLab has it. */
export interface NotebookContext {
  readonly path: string
  readonly sessionContext: {
    readonly session: { readonly kernel: KernelLike | null } | null
    readonly kernelChanged: SignalLike<unknown>
  }
}
export type RunsClient = LiveClient<LiveRun>

export class NotebookKernel {
  #users = 0
  #make: ((kernel: KernelLike) => RunsClient) | null = null
  #client: { readonly kernel: KernelLike; readonly runs: RunsClient; readonly ends: { dispose(): void } } | null = null
  readonly #listeners = new Set<() => void>()

  /** `tell` hears of every change of what the kernel says. */
  constructor(
    private readonly context: NotebookContext,
    private readonly tell: (path: string, runs: RunsClient | null) => void,
  ) {
    context.sessionContext.kernelChanged.connect(this.#look)
  }

  /** Null where the notebook has no kernel. */
  get runs(): RunsClient | null {
    return this.#client?.runs ?? null
  }
  /** When there is another client, or none, or what it knows has changed. */
  onChange(listener: () => void): { dispose(): void } {
    this.#listeners.add(listener)
    return { dispose: () => this.#listeners.delete(listener) }
  }
  /** Keeps a client open until disposed. The code of clients comes with the first picture, so who draws brings it along. */
  use(make: (kernel: KernelLike) => RunsClient): { dispose(): void } {
    this.#make = make
    this.#users++
    this.#look()
    let isOver = false
    return {
      dispose: () => {
        if (isOver) return
        isOver = true
        this.#users--
        this.#look()
      },
    }
  }
  /** The page is left, or the notebook closed. */
  dispose(): void {
    this.context.sessionContext.kernelChanged.disconnect(this.#look)
    this.#users = 0
    this.#look()
    this.#listeners.clear()
  }

  readonly #look = (): void => {
    const kernel = this.#users > 0 ? (this.context.sessionContext.session?.kernel ?? null) : null
    if (kernel === (this.#client?.kernel ?? null)) return
    this.#client?.ends.dispose()
    this.#client?.runs.dispose()
    this.#client = null
    if (kernel && this.#make) {
      const runs = this.#make(kernel)
      this.#client = { kernel, runs, ends: runs.onChange(this.#changed) }
      runs.wake()
    }
    this.#changed()
  }

  readonly #changed = (): void => {
    this.tell(this.context.path, this.runs)
    for (const listener of [...this.#listeners]) listener()
  }
}

/** Of the notebooks that hold a run: the one whose kernel has it too, else the first. A copy of a notebook holds its runs, and has another kernel. */
export function kernelOfRun(run_id: string, holders: readonly NotebookKernel[]): NotebookKernel | null {
  return holders.find(({ runs }) => runs?.statuses.has(run_id)) ?? holders[0] ?? null
}
