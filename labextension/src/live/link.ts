/**
 * Between a panel and the kernel that runs what it shows: what arrives goes into the panel, unless the reader holds the view;
 * what a saved output brings is put to it; what the reader asks of the training goes to the kernel.
 */
import type { Control, Run, RunStatus, RunTables } from 'fpdt/trace'
import { settings } from '../lab/settings.js'
import { LiveClient } from './client.js'
import type { Peeked } from './incoming.js'
import { LIMITS, LiveRun } from './live-run.js'
import type { NotebookKernel } from './notebook-kernel.js'
import type { KernelLike } from './page-comm.js'

/** What draws a run. */
export interface RunDisplay {
  /** Newer data, asked for when it is drawn; null: nothing newer than what is shown. */
  setRun(newest: () => Run | null): void
  readonly session: { readonly placeStep: number | null }
}

const newClient = (kernel: KernelLike): LiveClient<LiveRun> =>
  new LiveClient(kernel, () => new LiveRun(() => ({ ...LIMITS, frames: settings().framesPerSecond })))
const NO_KERNEL = 'This notebook has no kernel: this is what was saved.'

export class LiveLink {
  #notebook: NotebookKernel | null = null
  #ends: { dispose(): void }[] = []
  #followed: { readonly sink: LiveRun; dispose(): void } | null = null
  #heard: { dispose(): void } | null = null
  #saved: RunTables
  #open: () => Run
  #failure = ''
  #heldAt: number | null = null
  #isPlaceKept = false
  readonly #listeners = new Set<() => void>()

  constructor(
    private readonly display: RunDisplay,
    saved: RunTables,
    open: () => Run,
  ) {
    this.#saved = saved
    this.#open = open
  }

  get run_id(): string {
    return this.#saved.head.run_id
  }
  /** Whether the page knows of a notebook that the run is in. */
  get isBound(): boolean {
    return this.#notebook !== null
  }
  /** What the kernel said last of the run; null where it does not have it. */
  get status(): RunStatus | null {
    return this.#notebook?.runs?.reach(this.run_id).status ?? null
  }
  /** Why nothing can be asked of the training, in words; empty when it can. */
  get reason(): string {
    return this.#failure || (this.#notebook?.runs?.reach(this.run_id).reason ?? NO_KERNEL)
  }
  /** The kernel cannot be understood by this page, as `reason` says. */
  get isForeign(): boolean {
    return this.#notebook?.runs?.reach(this.run_id).isForeign ?? false
  }
  /** Spans that came since the view was held; null while it is not. */
  get behind(): number | null {
    return this.#heldAt === null ? null : (this.#followed?.sink.arrived ?? this.#heldAt) - this.#heldAt
  }
  /** Whether the view is held because newer data no longer has the place that the reader looks at. */
  get isPlaceKept(): boolean {
    return this.#isPlaceKept
  }
  onChange(listener: () => void): { dispose(): void } {
    this.#listeners.add(listener)
    return { dispose: () => this.#listeners.delete(listener) }
  }

  /** The notebook that the panel stands in, once it stands somewhere. */
  bind(notebook: NotebookKernel | null): void {
    if (notebook === this.#notebook) return
    this.#unbind()
    this.#notebook = notebook
    if (notebook) this.#ends = [notebook.onChange(() => this.#look()), notebook.use(newClient)]
    this.#look()
  }

  /** Newer data of a saved output. */
  take(saved: RunTables, open: () => Run): void {
    this.#saved = saved
    this.#open = open
    if (this.#followed) this.#followed.sink.saved(saved)
    else this.display.setRun(open)
    // Its kernel may have begun to answer since it was asked.
    if (!this.status) this.#notebook?.runs?.wake()
    this.#look()
  }

  hold(isHeld: boolean): void {
    this.#heldAt = isHeld ? (this.#followed?.sink.arrived ?? 0) : null
    this.#isPlaceKept = false
    if (!isHeld) this.#show()
    this.#tell()
  }

  control(what: Control): Promise<string> {
    return this.#asked((runs) => runs.control(this.run_id, what))
  }
  peek(name: string, rank: number, most: number): Promise<Peeked> {
    return this.#asked((runs) => runs.peek(this.run_id, name, rank, most))
  }

  dispose(): void {
    this.#unbind()
    this.#notebook = null
    this.#listeners.clear()
  }

  #asked<T>(ask: (runs: LiveClient<LiveRun>) => Promise<T>): Promise<T> {
    const runs = this.#notebook?.runs
    return runs ? ask(runs) : Promise.reject(new Error(this.reason))
  }

  #unbind(): void {
    for (const end of this.#ends.splice(0)) end.dispose()
    this.#unfollow()
  }
  #unfollow(): void {
    this.#heard?.dispose()
    this.#followed?.dispose()
    this.#heard = this.#followed = null
  }

  /** Follows a run that the kernel has and that may go on. */
  #look(): void {
    const runs = this.#notebook?.runs
    if (!runs) this.#unfollow()
    else if (!this.#followed && !this.#failure && this.status && this.status.activity !== 'closed') {
      this.#followed = runs.follow(this.run_id)
      const { sink } = this.#followed
      sink.saved(this.#saved)
      this.#heard = sink.onChange(() => {
        this.#failure = sink.failure
        if (this.#failure) this.#unfollow()
        else this.#show()
        this.#tell()
      })
      this.#show()
    }
    this.#tell()
  }

  #show(): void {
    const sink = this.#followed?.sink
    if (sink && this.#heldAt === null) this.display.setRun(() => this.#newest(sink))
  }

  /** Steps that go must not take the reader's place with them: the view is held before. */
  #newest(sink: LiveRun): Run | null {
    if (this.#heldAt !== null) return null
    const place = this.display.session.placeStep
    if (place === null || sink.oldest === null || sink.oldest <= place) return sink.run ?? this.#open()
    this.#heldAt = sink.arrived
    this.#isPlaceKept = true
    this.#tell()
    return null
  }
  #tell(): void {
    for (const listener of [...this.#listeners]) listener()
  }
}
