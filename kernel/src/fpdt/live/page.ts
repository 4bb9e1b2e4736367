/** One page on its comm: what it asks, and whom it follows. */
import type { Comm } from '../../comm/index.js'
import { FpdtError } from '../../errors.js'
import { type Control, type KernelMessage, LIVE_VERSION, type PageMessage, type RunStatus } from '../../trace/live/messages.js'
import type { RunControl } from '../run/control.js'
import type { FollowedRun } from './followed-run.js'
import { Follower } from './follower.js'
import { thinned } from './peeked.js'
import { readPageMessage, requestOf } from './requests.js'

export class Page {
  readonly #followed = new Map<string, Follower>()

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
    for (const [id, follower] of this.#followed) {
      if (this.comm.isClosed) return false
      more = follower.send() || more
      if (!this.runs.has(id) && follower.isDone) this.#followed.delete(id)
    }
    return more
  }
  /** Some run that it follows has ops under way. */
  get isWatching(): boolean {
    return [...this.#followed.values()].some(({ run }) => run.control.activity === 'running')
  }

  #answer(message: PageMessage): Promise<string> | undefined {
    switch (message.op) {
      case 'follow':
        this.#followed.set(message.run_id, new Follower(this.#run(message), this.comm))
        this.wake()
        return undefined
      case 'unfollow':
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
