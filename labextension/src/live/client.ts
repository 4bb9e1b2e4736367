/**
 * The page's end of live runs: one client per kernel connection, one comm, all runs (`trace/live/messages.ts` has the protocol).
 *
 *   follow ──▶ waiting for the plan ──plan──▶ following ──next seq──▶ following     acknowledged after CREDIT / 2 or a second
 *                    ▲                            │
 *                    └────── follow again ◀── a seq is missing, or it is quiet for too long
 *
 * Knows kernels by the little it needs of them, and nothing of pictures: what arrives goes into a sink per run.
 */
import { type Control, CREDIT, LIVE_TARGET, LIVE_VERSION, type PageMessage, type RunHead, type RunStatus, type SpanColumns } from 'fpdt/trace'
import { type Buffers, type Incoming, type Peeked, type Plan, readMessage } from './incoming.js'
import { type KernelLike, PageComm } from './page-comm.js'

/** Takes what is known of one run. What throws is told to the reader, and the run is followed no further. */
export interface RunSink {
  /** The beginning, or a new one after a gap: spans of steps that follow replace those that were there. */
  plan(head: RunHead, plan: Plan): void
  /** `of`: spans of the step so far, these among them. Those of another attempt at the step count no more. */
  spans(step: number, attempt: number, of: number, spans: SpanColumns): void
  /** `head.steps` holds what is new. */
  step(head: RunHead): void
  /** The process that held the run is gone. */
  lost(): void
}
/** Whether this page can ask anything of a run. */
export interface Reach {
  /** What the kernel said last; null where it does not know the run. */
  readonly status: RunStatus | null
  /** Why nothing can be asked of the run, in words; empty when it can. */
  readonly reason: string
  /** The kernel says what this page cannot read: no run of it can be followed, whatever its state. */
  readonly isForeign: boolean
}

const ACK_MS = 1000
/** A run that is under way and says nothing for so long may have said something that was dropped; then twice as long, and so on. */
const QUIET_MS = 5000
const MOST_QUIET_MS = 60_000
/** Between two tries to reach an fpdt that was not there. */
const AGAIN_MS = 1000
/** Between two times that a run is asked for. */
const ASK_MS = 250
const GONE = 'The process that held the run is gone: this is what has arrived.'

type Timer = ReturnType<typeof setTimeout>
interface Followed<Sink> {
  readonly sink: Sink
  users: number
  /** The last message that was taken; 0 while the plan is waited for. */
  seq: number
  acknowledged: number
  /** Follows that no plan has answered, and when the last was sent. */
  asked: number
  asked_ms: number
  quiet_ms: number
  /** Where the run stood when it was asked for again. */
  askedAt: string
  /** Where it stood by the last message that was taken. */
  takenAt: string
  /** Why it is followed no further. */
  broken: string
  ack: Timer | undefined
  quiet: Timer | undefined
}
interface Request {
  resolve(answer: string | Peeked): void
  reject(error: Error): void
}

export class LiveClient<Sink extends RunSink> {
  #comm: PageComm | null = null
  /** Why there is no talk with an fpdt; empty when there is. */
  #silence = 'The page has not asked this kernel for its runs yet.'
  #isForeign = false
  #isAway = false
  #tried_ms = Number.NEGATIVE_INFINITY
  #again: Timer | undefined
  #statuses = new Map<string, RunStatus>()
  /** Why a run that was here is not any more. */
  readonly #over = new Map<string, string>()
  readonly #followed = new Map<string, Followed<Sink>>()
  readonly #requests = new Map<number, Request>()
  #request = 0
  #queue: { readonly data: unknown; readonly buffers: Buffers }[] = []
  #drain: Timer | undefined
  readonly #listeners = new Set<() => void>()
  #isDisposed = false

  constructor(
    private readonly kernel: KernelLike,
    private readonly makeSink: (run_id: string) => Sink,
  ) {
    kernel.statusChanged.connect(this.#onStatus)
    kernel.connectionStatusChanged.connect(this.#onConnection)
  }

  get statuses(): ReadonlyMap<string, RunStatus> {
    return this.#statuses
  }
  reach(run_id: string): Reach {
    const status = this.#statuses.get(run_id) ?? null
    const reason =
      this.#followed.get(run_id)?.broken ||
      this.#over.get(run_id) ||
      this.#silence ||
      (status === null ? 'The kernel does not have this run: this is what was saved.' : '')
    return { status, reason, isForeign: this.#isForeign }
  }
  /** When a status, or the talk with the kernel, has changed. */
  onChange(listener: () => void): { dispose(): void } {
    this.#listeners.add(listener)
    return { dispose: () => this.#listeners.delete(listener) }
  }

  /** Asks the kernel for its runs, unless that is under way: an fpdt that was not imported may be now. */
  wake(): void {
    if (this.#isDisposed || this.#comm || this.#isAway || this.#again !== undefined) return
    const wait = this.#tried_ms + AGAIN_MS - Date.now()
    if (wait <= 0) this.#open()
    else
      this.#again = setTimeout(() => {
        this.#again = undefined
        this.#open()
      }, wait)
  }

  /** Until disposed; several users of a run share its sink. */
  follow(run_id: string): { readonly sink: Sink; dispose(): void } {
    const followed: Followed<Sink> = this.#followed.get(run_id) ?? {
      sink: this.makeSink(run_id),
      users: 0,
      seq: 0,
      acknowledged: 0,
      asked: 0,
      asked_ms: Number.NEGATIVE_INFINITY,
      quiet_ms: QUIET_MS,
      askedAt: '',
      takenAt: '',
      broken: '',
      ack: undefined,
      quiet: undefined,
    }
    followed.users++
    this.#followed.set(run_id, followed)
    if (followed.users === 1 && this.#statuses.has(run_id)) this.#ask(run_id, followed)
    let isOver = false
    return {
      sink: followed.sink,
      dispose: () => {
        if (isOver) return
        isOver = true
        if (--followed.users > 0) return
        this.#stop(followed)
        this.#followed.delete(run_id)
        if (this.#statuses.has(run_id)) this.#send({ op: 'unfollow', run_id })
      },
    }
  }

  /** Resolves with what the kernel did, in words; rejects with why it did not. */
  control(run_id: string, what: Control): Promise<string> {
    return this.#demand((request) => ({ op: 'control', run_id, request, do: what })) as Promise<string>
  }
  /** At most `most` values of a buffer, where it stands now. */
  peek(run_id: string, name: string, rank: number, most: number): Promise<Peeked> {
    return this.#demand((request) => ({ op: 'peek', run_id, request, name, rank, most })) as Promise<Peeked>
  }

  dispose(): void {
    if (this.#isDisposed) return
    this.#isDisposed = true
    this.kernel.statusChanged.disconnect(this.#onStatus)
    this.kernel.connectionStatusChanged.disconnect(this.#onConnection)
    this.#hangUp('The page follows this kernel no longer.')
    clearTimeout(this.#again)
    this.#followed.clear()
    this.#listeners.clear()
  }

  // ---- the comm ------------------------------------------------------------------------------------------------------

  #open(): void {
    if (this.#isDisposed || this.#comm || this.kernel.isDisposed) return
    this.#tried_ms = Date.now()
    this.#isForeign = false
    try {
      const comm = new PageComm(this.kernel)
      // Long work would hold up all messages of the kernel.
      comm.onMsg = (data, buffers) => {
        this.#queue.push({ data, buffers })
        this.#drain ??= setTimeout(() => this.#takeAll())
      }
      comm.onClose = () => this.#onClose()
      this.#comm = comm
      this.#say('The kernel has not answered yet.')
      comm.open(LIVE_TARGET, { version: LIVE_VERSION })
    } catch (error) {
      this.#comm = null
      this.#say(`The kernel cannot be asked for its runs: ${messageOf(error)}`)
    }
  }

  /** A kernel closes the comms of pages that it takes for left, and all of them when its process ends: to ask again tells which. */
  #onClose(): void {
    if (this.#silence === '') {
      this.#hangUp('the kernel closed the talk before it answered')
      this.#say('The kernel has closed the talk; it is asked again.')
      this.wake()
    } else this.#lose(this.#statuses.size > 0 ? GONE : 'The kernel does not have this run: this is what was saved.')
  }

  readonly #onStatus = (_: unknown, status: string): void => {
    if (status === 'restarting' || status === 'autorestarting') this.#lose('The kernel was restarted, and the run is gone with it: this is what has arrived.')
    else if (status === 'dead') this.#lose('The kernel has died, and the run is gone with it: this is what has arrived.')
  }

  readonly #onConnection = (_: unknown, status: string): void => {
    if (status === 'connecting' && !this.#isAway) {
      this.#isAway = true
      this.#fail('the page lost its connection to the kernel before it answered')
      this.#say('The page has lost its connection to the kernel and tries to get it back.')
    } else if (status === 'connected' && this.#isAway) {
      this.#isAway = false
      // What was said meanwhile may be gone, the kernel too: a new comm finds out.
      this.#reopen()
    } else if (status === 'disconnected') this.#lose('The page is no longer connected to the kernel: this is what has arrived.')
  }

  #reopen(): void {
    this.#hangUp('the page began anew with the kernel')
    this.#open()
  }

  /** Ends the talk, as far as it goes from here. */
  #hangUp(words: string): void {
    const comm = this.#comm
    this.#comm = null
    this.#quieten()
    this.#fail(words)
    try {
      comm?.close()
    } catch {
      // The connection is over: nobody listens at the other end.
    }
  }

  /** The kernel's end is gone, and its runs with it. */
  #lose(words: string): void {
    this.#comm?.dispose()
    this.#comm = null
    this.#isAway = false
    this.#quieten()
    this.#fail(words)
    for (const status of this.#statuses.values()) this.#loseRun(status, words)
    this.#statuses = new Map()
    this.#say(words)
  }

  #loseRun({ run_id, activity }: RunStatus, words: string): void {
    if (activity === 'closed') return // and so it was in its last list
    this.#over.set(run_id, words)
    this.#followed.get(run_id)?.sink.lost()
  }

  /** No timer runs and no message waits. */
  #quieten(): void {
    clearTimeout(this.#drain)
    this.#drain = undefined
    this.#queue = []
    for (const followed of this.#followed.values()) this.#stop(followed)
  }
  #stop(followed: Followed<Sink>): void {
    clearTimeout(followed.ack)
    clearTimeout(followed.quiet)
    followed.ack = followed.quiet = undefined
    followed.seq = followed.acknowledged = followed.asked = 0
  }

  #fail(words: string): void {
    for (const { reject } of this.#requests.values()) reject(new Error(words))
    this.#requests.clear()
  }
  #say(silence: string): void {
    this.#silence = silence
    this.#changed()
  }
  #changed(): void {
    for (const listener of [...this.#listeners]) listener()
  }

  #send(message: PageMessage): boolean {
    try {
      this.#comm?.send(message)
      return this.#comm !== null
    } catch {
      // JupyterLab has ended the connection and says why with its next status.
      return false
    }
  }

  #demand(message: (request: number) => PageMessage): Promise<string | Peeked> {
    return new Promise((resolve, reject) => {
      const request = ++this.#request
      if (this.#silence !== '' || !this.#send(message(request))) reject(new Error(this.#silence || 'the kernel cannot be reached'))
      else this.#requests.set(request, { resolve, reject })
    })
  }

  // ---- messages ------------------------------------------------------------------------------------------------------

  #takeAll(): void {
    this.#drain = undefined
    for (const { data, buffers } of this.#queue.splice(0)) {
      let message: Incoming
      try {
        message = readMessage(data, buffers)
      } catch (error) {
        this.#refuse(data, error)
        continue
      }
      this.#take(message)
      if (!this.#comm) return // the message ended the talk
    }
  }

  #take(message: Incoming): void {
    switch (message.op) {
      case 'runs':
        this.#takeRuns(message.runs)
        break
      case 'plan':
      case 'spans':
      case 'step':
        this.#takeNumbered(message)
        break
      case 'done':
      case 'refused':
      case 'peeked': {
        const request = this.#requests.get(message.request)
        this.#requests.delete(message.request)
        if (message.op === 'peeked') request?.resolve(message)
        else if (message.op === 'done') request?.resolve(message.words)
        else request?.reject(new Error(message.words))
        break
      }
      default:
        message satisfies never
    }
  }

  #takeRuns(runs: readonly RunStatus[]): void {
    const before = this.#statuses
    this.#statuses = new Map(runs.map((status) => [status.run_id, status]))
    for (const status of before.values()) if (!this.#statuses.has(status.run_id)) this.#loseRun(status, GONE)
    for (const { run_id, activity } of runs) if (activity === 'closed') this.#over.set(run_id, 'The run has ended.')
    for (const [run_id, followed] of this.#followed) {
      if (!this.#statuses.has(run_id)) continue
      if (followed.seq === 0 && followed.asked === 0) this.#ask(run_id, followed)
      else if (followed.quiet === undefined) this.#listenFor(run_id, followed)
    }
    this.#say('')
  }

  #takeNumbered(message: Extract<Incoming, { readonly seq: number }>): void {
    const { run_id, seq } = message
    const followed = this.#followed.get(run_id)
    if (!followed || followed.broken) return
    if (message.op === 'plan') {
      // It begins a numbering. One of an earlier numbering that comes late is followed by a gap, which is noticed.
      followed.seq = followed.acknowledged = followed.asked = 0
    } else if (followed.seq === 0 || seq <= followed.seq) return // of an earlier numbering, or twice
    if (seq !== followed.seq + 1) {
      this.#ask(run_id, followed)
      return
    }
    followed.seq = seq
    try {
      if (message.op === 'plan') followed.sink.plan(message.head, message.plan)
      else if (message.op === 'spans') followed.sink.spans(message.step, message.attempt, message.of, message.spans)
      else followed.sink.step(message.head)
    } catch (error) {
      this.#refuse(message, error)
      return
    }
    if (message.op !== 'plan') {
      followed.takenAt = placeOf(message.status)
      this.#statuses.set(run_id, message.status)
      this.#changed()
    }
    this.#acknowledge(run_id, followed)
    this.#listenFor(run_id, followed)
  }

  #acknowledge(run_id: string, followed: Followed<Sink>): void {
    const send = (): void => {
      clearTimeout(followed.ack)
      followed.ack = undefined
      followed.acknowledged = followed.seq
      this.#send({ op: 'ack', run_id, seq: followed.seq })
    }
    if (followed.seq - followed.acknowledged >= CREDIT / 2) send()
    else followed.ack ??= setTimeout(send, ACK_MS)
  }

  #ask(run_id: string, followed: Followed<Sink>): void {
    if (followed.broken) return
    const asked = followed.asked + 1
    this.#stop(followed)
    followed.asked = asked
    const wait_ms = followed.asked_ms + ASK_MS - Date.now()
    if (wait_ms > 0) {
      followed.quiet = setTimeout(() => this.#ask(run_id, followed), wait_ms)
      return
    }
    followed.asked_ms = Date.now()
    this.#send({ op: 'follow', run_id })
    this.#listenFor(run_id, followed)
  }

  /** Servers drop messages silently, the last of a burst too, after which no gap tells. */
  #listenFor(run_id: string, followed: Followed<Sink>): void {
    clearTimeout(followed.quiet)
    followed.quiet = undefined
    const status = this.#statuses.get(run_id)
    if (!status || !mayMiss(status, followed)) return
    if (placeOf(status) !== followed.askedAt) followed.quiet_ms = QUIET_MS
    followed.quiet = setTimeout(() => {
      followed.quiet = undefined
      const now = this.#statuses.get(run_id)
      if (!now || !mayMiss(now, followed)) return
      followed.askedAt = placeOf(now)
      followed.quiet_ms = Math.min(2 * followed.quiet_ms, MOST_QUIET_MS)
      // A kernel that was restarted behind the page's back knows nothing of this comm, and drops what comes over it.
      if (followed.asked > 1) this.#reopen()
      else this.#ask(run_id, followed)
    }, followed.quiet_ms)
  }

  /** A message that makes no sense ends the following of its run; one that is of no run, the talk. */
  #refuse(data: unknown, error: unknown): void {
    const run_id = (data as { run_id?: unknown } | null)?.run_id
    const request = (data as { request?: unknown } | null)?.request
    const followed = this.#followed.get(String(run_id))
    if (followed) {
      followed.broken = sentence(messageOf(error))
      this.#stop(followed)
      this.#send({ op: 'unfollow', run_id: String(run_id) })
      this.#changed()
    } else if (typeof request === 'number') {
      this.#requests.get(request)?.reject(error instanceof Error ? error : new Error(messageOf(error)))
      this.#requests.delete(request)
    } else if (run_id === undefined) {
      this.#isForeign = true
      this.#hangUp(messageOf(error))
      this.#say(sentence(messageOf(error)))
    }
  }
}

function placeOf({ step, line }: RunStatus): string {
  return `${step} ${line}`
}
/** Whether silence is no proof that all has arrived. */
function mayMiss(status: RunStatus, { seq, askedAt, takenAt }: Followed<unknown>): boolean {
  const place = placeOf(status)
  return seq === 0 || status.activity === 'running' || (place !== takenAt && place !== askedAt)
}

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).slice(0, 500)
}
function sentence(words: string): string {
  return `${words.charAt(0).toUpperCase()}${words.slice(1)}${/[.!?]$/.test(words) ? '' : '.'}`
}
