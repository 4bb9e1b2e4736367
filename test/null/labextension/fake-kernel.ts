/**
 * The kernel's end of live runs without a kernel: it keeps the rules of `trace/live/messages.ts` over one comm at a time, and what
 * it says goes through a channel that tests may make lose, repeat and reorder messages.
 */
import { encodeTable } from '../../../kernel/src/trace/codec.js'
import { textOf } from '../../../kernel/src/trace/lines.js'
import { CREDIT, type KernelMessage, LIVE_VERSION, type PageMessage, type RunStatus } from '../../../kernel/src/trace/live/messages.js'
import type { RunTables } from '../../../kernel/src/trace/schema.js'
import { selectRows } from '../../../kernel/src/trace/spans.js'
import type { CommLike, KernelLike } from '../../../labextension/src/live/client.js'

type Sent = { readonly data: unknown; readonly buffers: DataView[] }
/** What becomes of a message on its way to the page: the messages that arrive for it, now. */
export type Channel = (message: Sent) => readonly Sent[]
export const wire: Channel = (message) => [message]

class FakeSignal<T> {
  readonly slots = new Set<(sender: unknown, value: T) => void>()
  connect(slot: (sender: unknown, value: T) => void): boolean {
    return this.slots.add(slot) !== undefined
  }
  disconnect(slot: (sender: unknown, value: T) => void): boolean {
    return this.slots.delete(slot)
  }
  emit(value: T): void {
    for (const slot of [...this.slots]) slot(this, value)
  }
}

class FakeComm implements CommLike {
  onMsg: CommLike['onMsg'] = () => {}
  onClose: CommLike['onClose'] = () => {}
  isOpen = false
  constructor(private readonly kernel: FakeKernel) {}

  open(data: object): void {
    this.isOpen = true
    this.kernel.opened(this, data)
  }
  send(data: object): void {
    if (!this.isOpen) throw new Error('Cannot send')
    this.kernel.received(this, data as PageMessage)
  }
  close(): void {
    this.isOpen = false
    this.kernel.hungUp(this)
    ;(this.onClose as () => void)()
  }
}

/** Spans of a run that are there to be sent: `ran` of them are done. */
interface FakeRun {
  readonly tables: RunTables
  ran: number
  activity: RunStatus['activity']
  /** Of the page that follows it, null when none does. */
  page: { seq: number; acknowledged: number; sent: number } | null
}

export class FakeKernel implements KernelLike {
  isDisposed = false
  handleComms = true
  /** Whether an fpdt was imported. */
  isThere = true
  channel: Channel = wire
  readonly statusChanged = new FakeSignal<string>()
  readonly connectionStatusChanged = new FakeSignal<string>()
  readonly runs = new Map<string, FakeRun>()
  readonly received_: PageMessage[] = []
  /** Answers to what pages ask for. */
  answer: (message: PageMessage) => KernelMessage | null = () => null
  comms = 0
  #comm: FakeComm | null = null

  get openComms(): number {
    return this.#comm ? 1 : 0
  }
  get listeners(): number {
    return this.statusChanged.slots.size + this.connectionStatusChanged.slots.size
  }

  createComm(): FakeComm {
    this.comms++
    return new FakeComm(this)
  }

  add(tables: RunTables): FakeRun {
    const run: FakeRun = { tables, ran: 0, activity: 'running', page: null }
    this.runs.set(tables.head.run_id, run)
    this.tell()
    return run
  }
  /** Runs `count` more ops, and says so. */
  run(run_id: string, count: number): void {
    const run = this.runs.get(run_id) as FakeRun
    run.ran = Math.min(run.tables.spans.op.length, run.ran + count)
    if (run.ran === run.tables.spans.op.length) run.activity = 'idle'
    this.flush(run_id)
    this.tell()
  }
  flush(run_id: string): void {
    const run = this.runs.get(run_id) as FakeRun
    const { page, tables } = run
    while (page && page.sent < run.ran && page.seq - page.acknowledged < CREDIT) {
      const step = tables.spans.step[page.sent]
      const from = page.sent
      let to = from
      while (to < run.ran && tables.spans.step[to] === step) to++
      page.sent = to
      const of = to - tables.spans.step.indexOf(step)
      const spans = selectRows(tables.spans, (row) => row >= from && row < to)
      this.say({ op: 'spans', run_id, seq: ++page.seq, step, attempt: 1, of, status: this.status(run_id) }, [encodeTable('spans', spans)])
    }
  }
  tell(): void {
    this.say({ op: 'runs', version: LIVE_VERSION, runs: [...this.runs.keys()].map((run_id) => this.status(run_id)) })
  }
  status(run_id: string): RunStatus {
    const { tables, ran, activity } = this.runs.get(run_id) as FakeRun
    const { step, op } = tables.spans
    return {
      run_id,
      title: tables.head.title,
      state: 'running',
      activity,
      step: ran > 0 ? step[ran - 1] : 1,
      line: ran > 0 ? op[ran - 1] : -1,
      words: 'attend',
      tokens_per_second: null,
      device_bytes: null,
      can: activity === 'running' ? ['pause', 'stop', 'until'] : ['resume', 'step'],
    }
  }
  /** A process that begins anew: comms are gone without a word, as JupyterLab does it. */
  restart(): void {
    this.statusChanged.emit('restarting')
    if (this.#comm) this.#comm.isOpen = false
    this.#comm = null
    this.runs.clear()
    this.isThere = false
  }
  closeFromHere(): void {
    const comm = this.#comm
    this.#comm = null
    if (comm) comm.isOpen = false
    ;(comm?.onClose as (() => void) | undefined)?.()
  }

  say(message: KernelMessage, buffers: readonly Uint8Array[] = []): void {
    this.sayAnything(message, buffers)
  }
  sayAnything(message: unknown, buffers: readonly Uint8Array[] = []): void {
    const comm = this.#comm
    if (!comm) return
    const views = buffers.map((bytes) => new DataView(bytes.slice().buffer))
    for (const { data, buffers } of this.channel({ data: JSON.parse(JSON.stringify(message)), buffers: views })) comm.onMsg({ content: { data }, buffers })
  }

  opened(comm: FakeComm, _data: object): void {
    if (!this.isThere) {
      comm.isOpen = false
      queueMicrotask(() => (comm.onClose as () => void)())
      return
    }
    this.#comm = comm
    for (const run of this.runs.values()) run.page = null
    this.tell()
  }
  hungUp(comm: FakeComm): void {
    if (comm === this.#comm) this.#comm = null
  }
  received(comm: FakeComm, message: PageMessage): void {
    if (comm !== this.#comm) return
    this.received_.push(message)
    const run = this.runs.get(message.run_id)
    if (!run) return
    const { tables } = run
    if (message.op === 'follow') {
      run.page = { seq: 1, acknowledged: 0, sent: 0 }
      const text = (lines: readonly string[]): Uint8Array => new TextEncoder().encode(textOf(lines))
      this.say({ op: 'plan', run_id: message.run_id, seq: 1, head: { ...tables.head, peaks: [], steps: [] }, predicted: false }, [
        text(tables.listing),
        text(tables.names),
        encodeTable('buffers', tables.buffers),
        encodeTable('uses', tables.uses),
        encodeTable('waits', tables.waits),
      ])
      this.flush(message.run_id)
    } else if (message.op === 'unfollow') run.page = null
    else if (message.op === 'ack' && run.page) {
      run.page.acknowledged = Math.max(run.page.acknowledged, message.seq)
      this.flush(message.run_id)
    } else {
      const answer = this.answer(message)
      if (answer) this.say(answer)
    }
  }
}
