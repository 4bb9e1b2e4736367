/** One page on its comm: what it asks, and whom it follows. */
import type { Comm } from '../../comm/index.js'
import { FpdtError } from '../../errors.js'
import { type Control, type KernelMessage, LIVE_VERSION, type PageMessage, type RunStatus } from '../../trace/live/messages.js'
import type { RunControl } from '../run/control.js'
import type { FollowedRun } from './followed-run.js'
import { Follower } from './follower.js'
import { thinned } from './peeked.js'
import { readPageMessage, requestOf } from './requests.js'

/** Least time between two plans of a run, which no credit holds back. Pages that miss something ask again after 250 ms. */
const PLAN_MS = 200

export class Page {
  readonly #followed = new Map<string, Follower>()
  /** Runs whose plan was asked for and not sent since. */
  readonly #wanted = new Map<string, FollowedRun>()
  /** When the plan of a run was last sent. */
  readonly #planned_ms = new Map<string, number>()

  /** `runs`: those that there are, by id. `wake`: there is something to send. */
  constructor(
    private readonly comm: Comm,
    private readonly runs: ReadonlyMap<string, FollowedRun>,
    private readonly wake: () => void,
  ) {}

  /** Answers in words whatever comes, and never throws. What takes longer is answered later: the kernel is not busy with it. */
  receive(data: Readonly<Record<string, unknown>>): void {
    const request = requestOf(data)
    const refuse = (error: unknown): void => {
      if (!(error instanceof FpdtError)) setImmediate(() => Promise.reject(error)) // ours: shown, and answered all the same
      this.#send({ op: 'refused', request, words: error instanceof Error ? error.message : String(error) })
    }
    try {
      this.#answer(readPageMessage(data))?.then((words) => this.#send({ op: 'done', request, words }), refuse)
    } catch (error) {
      refuse(error)
    }
  }
  tell(runs: readonly RunStatus[]): void {
    this.#send({ op: 'runs', version: LIVE_VERSION, runs })
  }
  /** Sends what followed runs have for it. Says whether there is more. */
  send(): boolean {
    let more = false
    this.#sendPlans()
    for (const [id, follower] of this.#followed) {
      if (this.comm.isClosed) return false
      more = follower.send() || more
      if (!this.runs.has(id) && follower.isDone) this.#followed.delete(id)
    }
    for (const id of this.#planned_ms.keys()) if (!this.runs.has(id)) this.#planned_ms.delete(id)
    return more || this.#wanted.size > 0
  }
  /** Some run that it follows has ops under way. */
  get isWatching(): boolean {
    return [...this.#followed.values()].some(({ run }) => run.control.activity === 'running')
  }

  #answer(message: PageMessage): Promise<string> | undefined {
    switch (message.op) {
      case 'follow':
        this.#wanted.set(message.run_id, this.#run(message))
        this.#sendPlans()
        this.wake()
        return undefined
      case 'unfollow':
        this.#wanted.delete(message.run_id)
        this.#followed.delete(message.run_id)
        return undefined
      case 'ack':
        this.#followed.get(message.run_id)?.acknowledge(message.seq)
        this.wake()
        return undefined
      case 'control':
        return perform(this.#run(message).control, message.do)
      case 'peek': {
        const run = this.#run(message)
        if (!run.control.standsInStep) throw new FpdtError('control', 'values can be looked at while a step is paused or a stepper is held; pause it first.')
        const { values, ...rest } = thinned(run.peek(message.name, message.rank), message.most)
        this.#send({ op: 'peeked', request: message.request, ...rest }, [values])
        return undefined
      }
    }
  }
  /** Begins to follow what was asked for, as soon as its plan may be sent. */
  #sendPlans(): void {
    const now_ms = performance.now()
    for (const [id, run] of this.#wanted) {
      if (now_ms - (this.#planned_ms.get(id) ?? Number.NEGATIVE_INFINITY) < PLAN_MS) continue
      this.#wanted.delete(id)
      this.#planned_ms.set(id, now_ms)
      this.#followed.set(id, new Follower(run, this.comm))
    }
  }
  #run({ run_id }: { readonly run_id: string }): FollowedRun {
    const run = this.runs.get(run_id)
    if (!run) throw new FpdtError('request', `no run ${JSON.stringify(run_id).slice(0, 60)} is open in this kernel.`)
    return run
  }
  #send(message: KernelMessage, buffers: readonly Uint8Array[] = []): void {
    if (!this.comm.isClosed) this.comm.send({ ...message }, { buffers })
  }
}

async function perform(control: RunControl, asked: Control): Promise<string> {
  switch (asked.verb) {
    case 'pause':
      return control.pause()
    case 'resume':
      return control.resume()
    case 'stop':
      return control.stop()
    case 'step':
      return control.step(asked.unit)
    case 'until':
      return control.until(asked.place)
  }
}
