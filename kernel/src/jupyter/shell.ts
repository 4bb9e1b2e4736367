/** The main shell or a subshell (JEP 91): a sequence of executions, one after another. Other shells run beside it, on the executor's one event loop. */
import type { Message } from './message.js'

interface Queued {
  readonly request: Message
  /** Why it must not run. */
  aborted?: string
}

type Execute = (request: Message, shell: Shell, aborted: string | undefined) => Promise<void>

export class Shell {
  /** The number beside its last cell that was stored. */
  count = 0
  readonly #queue: Queued[] = []
  #isBusy = false
  #follow = () => {}

  /** `id` and `ordinal` are undefined for the main shell; `execute` never rejects. */
  constructor(
    readonly id: string | undefined,
    readonly ordinal: number | undefined,
    private readonly execute: Execute,
  ) {}

  push(request: Message): void {
    this.#queue.push({ request })
    this.#follow()
    void this.#pump()
  }

  /** Resolves when a request waits behind the one that runs. */
  followed(): Promise<void> {
    return this.#queue.length > 0 ? Promise.resolve() : new Promise((resolve) => (this.#follow = resolve))
  }

  /** What waits is answered, but does not run. */
  abort(why: string): void {
    for (const queued of this.#queue) queued.aborted ??= why
  }

  async #pump(): Promise<void> {
    if (this.#isBusy) return
    this.#isBusy = true
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) await this.execute(next.request, this, next.aborted)
    this.#isBusy = false
  }
}
