/**
 * The kernel's end of live runs without a kernel: it keeps the rules of `trace/live/messages.ts` over each comm, and what it says
 * goes through a channel that tests may make lose, repeat and reorder messages.
 */
import { encodeTable } from '../../../kernel/src/trace/codec.js'
import { textOf } from '../../../kernel/src/trace/lines.js'
import { CREDIT, type KernelMessage, LIVE_VERSION, type PageMessage, type RunStatus } from '../../../kernel/src/trace/live/messages.js'
import type { RunTables } from '../../../kernel/src/trace/schema.js'
import { selectRows } from '../../../kernel/src/trace/spans.js'
import type { CommMessage, KernelLike, Published } from '../../../labextension/src/live/page-comm.js'

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

/** Spans of a run that are there to be sent: `ran` of them are done. */
interface FakeRun {
  readonly tables: RunTables
  ran: number
  activity: RunStatus['activity']
}
/** How far a page is that follows a run. */
interface FakeFollower {
  seq: number
  acknowledged: number
  sent: number
}

export class FakeKernel implements KernelLike {
  readonly isDisposed = false
  readonly clientId = 'page'
  readonly username = 'reader'
  /** JupyterLab sends nothing more, and throws. */
  isDead = false
  /** Whether an fpdt was imported. */
  isThere = true
  channel: Channel = wire
  readonly statusChanged = new FakeSignal<string>()
  readonly connectionStatusChanged = new FakeSignal<string>()
  readonly iopubMessage = new FakeSignal<Published>()
  readonly runs = new Map<string, FakeRun>()
  readonly received_: PageMessage[] = []
  /** Answers to what pages ask for. */
  answer: (message: PageMessage) => KernelMessage | null = () => null
  comms = 0
  /** Those that are open, by id: whom they follow. */
  readonly #pages = new Map<string, Map<string, FakeFollower>>()

  get openComms(): number {
    return this.#pages.size
  }
  get listeners(): number {
    return this.statusChanged.slots.size + this.connectionStatusChanged.slots.size + this.iopubMessage.slots.size
  }

  sendShellMessage({ header: { msg_type }, content: { comm_id, data } }: CommMessage): void {
    if (this.isDead) throw new Error('Kernel is dead')
    if (msg_type === 'comm_open') this.#opened(comm_id)
    else if (msg_type === 'comm_close') this.#pages.delete(comm_id)
    else this.#received(comm_id, data as PageMessage)
  }

  add(tables: RunTables): FakeRun {
    const run: FakeRun = { tables, ran: 0, activity: 'running' }
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
    const { tables } = run
    for (const [comm_id, followers] of this.#pages) {
      const page = followers.get(run_id)
      while (page && page.sent < run.ran && page.seq - page.acknowledged < CREDIT) {
        const step = tables.spans.step[page.sent]
        const from = page.sent
        let to = from
        while (to < run.ran && tables.spans.step[to] === step) to++
        page.sent = to
        const of = to - tables.spans.step.indexOf(step)
        const spans = selectRows(tables.spans, (row) => row >= from && row < to)
        this.#say(comm_id, { op: 'spans', run_id, seq: ++page.seq, step, attempt: 1, of, status: this.status(run_id) }, [encodeTable('spans', spans)])
      }
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
    this.#pages.clear()
    this.runs.clear()
    this.isThere = false
  }
  closeFromHere(): void {
    const open = [...this.#pages.keys()]
    this.#pages.clear()
    for (const comm_id of open) this.#close(comm_id)
  }

  say(message: KernelMessage, buffers: readonly Uint8Array[] = []): void {
    this.sayAnything(message, buffers)
  }
  /** To every page. */
  sayAnything(message: unknown, buffers: readonly Uint8Array[] = []): void {
    for (const comm_id of [...this.#pages.keys()]) this.#say(comm_id, message, buffers)
  }

  #say(comm_id: string, message: unknown, buffers: readonly Uint8Array[] = []): void {
    const views = buffers.map((bytes) => new DataView(bytes.slice().buffer))
    for (const { data, buffers } of this.channel({ data: JSON.parse(JSON.stringify(message)), buffers: views }))
      this.iopubMessage.emit({ header: { msg_type: 'comm_msg' }, content: { comm_id, data }, buffers })
  }
  #close(comm_id: string): void {
    this.iopubMessage.emit({ header: { msg_type: 'comm_close' }, content: { comm_id, data: {} } })
  }
  #opened(comm_id: string): void {
    this.comms++
    if (!this.isThere) {
      queueMicrotask(() => this.#close(comm_id))
      return
    }
    this.#pages.set(comm_id, new Map())
    this.tell()
  }
  #received(comm_id: string, message: PageMessage): void {
    const followers = this.#pages.get(comm_id)
    if (!followers) return
    this.received_.push(message)
    const run = this.runs.get(message.run_id)
    if (!run) return
    const { tables } = run
    if (message.op === 'follow') {
      followers.set(message.run_id, { seq: 1, acknowledged: 0, sent: 0 })
      const text = (lines: readonly string[]): Uint8Array => new TextEncoder().encode(textOf(lines))
      this.#say(comm_id, { op: 'plan', run_id: message.run_id, seq: 1, head: { ...tables.head, peaks: [], steps: [] }, predicted: false }, [
        text(tables.listing),
        text(tables.names),
        encodeTable('buffers', tables.buffers),
        encodeTable('uses', tables.uses),
        encodeTable('waits', tables.waits),
      ])
      this.flush(message.run_id)
    } else if (message.op === 'unfollow') followers.delete(message.run_id)
    else if (message.op === 'ack') {
      const page = followers.get(message.run_id)
      if (page) page.acknowledged = Math.max(page.acknowledged, message.seq)
      this.flush(message.run_id)
    } else {
      const answer = this.answer(message)
      if (answer) this.#say(comm_id, answer)
    }
  }
}
