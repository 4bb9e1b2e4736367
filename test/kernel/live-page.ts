/** A page as the kernel sees it: a comm of `fpdt.runs`, and what came over it. */
import { randomUUID } from 'node:crypto'
import { decodeTable } from '../../kernel/src/trace/codec.js'
import { linesOf, MOST_LINES } from '../../kernel/src/trace/lines.js'
import { CREDIT, type KernelMessage, LIVE_TARGET, LIVE_VERSION, type RunStatus } from '../../kernel/src/trace/live/messages.js'
import type { PlanTables, SpanColumns, StepSummary } from '../../kernel/src/trace/schema.js'
import { joinColumns } from '../../kernel/src/trace/spans.js'
import { eventually, type TestKernel } from './client.js'

const PATIENCE_MS = 20_000

type Op = KernelMessage['op']
type Of<O extends Op> = Extract<KernelMessage, { op: O }>
interface Heard<O extends Op = Op> {
  readonly data: Of<O>
  readonly buffers: readonly Uint8Array[]
}

export class LivePage {
  readonly id = randomUUID()
  /** Acknowledges after half of the credit, as the protocol has it. */
  acknowledges = true
  #request = 0

  constructor(private readonly kernel: TestKernel) {
    kernel.send('shell', 'comm_open', { comm_id: this.id, target_name: LIVE_TARGET, data: { version: LIVE_VERSION } })
  }

  follow(run_id: string): void {
    this.#acknowledged.clear()
    this.tell({ op: 'follow', run_id })
    const acknowledge = (): void => {
      if (this.isClosed) return
      const [last = 0] = this.seqs(run_id).slice(-1)
      if (this.acknowledges && last - (this.#acknowledged.get(run_id) ?? 0) >= CREDIT / 2) this.acknowledge(run_id)
    }
    clearInterval(this.#timer)
    this.#timer = setInterval(acknowledge, 20)
  }
  #timer: NodeJS.Timeout | undefined
  readonly #acknowledged = new Map<string, number>()
  acknowledge(run_id: string): void {
    const seq = this.seqs(run_id).at(-1) ?? 0
    this.#acknowledged.set(run_id, seq)
    this.tell({ op: 'ack', run_id, seq })
  }
  control(run_id: string, what: object): Promise<{ words: string }> {
    const request = ++this.#request
    this.tell({ op: 'control', run_id, request, do: what })
    return this.#answer(request).then(({ data }) => data as { words: string })
  }
  peek(run_id: string, name: string, rank: number, most: number): Promise<Heard> {
    const request = ++this.#request
    this.tell({ op: 'peek', run_id, request, name, rank, most })
    return this.#answer(request)
  }
  async #answer(request: number): Promise<Heard> {
    const answers = (): Heard[] => this.heard().filter(({ data }) => 'request' in data && data.request === request)
    await eventually(() => answers().length > 0, PATIENCE_MS)
    return answers()[0]
  }
  tell(data: object): void {
    this.kernel.send('shell', 'comm_msg', { comm_id: this.id, data })
  }
  /** Says something, and waits for the next message of that kind. */
  async ask<O extends Op>(data: object, op: O): Promise<Heard<O>> {
    const before = this.of(op).length
    this.tell(data)
    await eventually(() => this.of(op).length > before, PATIENCE_MS)
    return this.of(op)[before]
  }
  /** The first message of a kind. */
  async next<O extends Op>(op: O): Promise<Heard<O>> {
    await eventually(() => this.of(op).length > 0, PATIENCE_MS)
    return this.of(op)[0]
  }
  close(): void {
    clearInterval(this.#timer)
    if (!this.isClosed) this.kernel.send('shell', 'comm_close', { comm_id: this.id, data: {} })
  }
  get isClosed(): boolean {
    return this.kernel.received.some(({ header, content }) => header.msg_type === 'comm_close' && content.comm_id === this.id)
  }

  heard(): Heard[] {
    return this.kernel.received
      .filter(({ header, content }) => header.msg_type === 'comm_msg' && content.comm_id === this.id)
      .map(({ content, buffers }) => ({ data: content.data as KernelMessage, buffers: buffers as Uint8Array[] }))
  }
  of<O extends Op>(op: O): Heard<O>[] {
    return this.heard().filter(({ data }) => data.op === op) as unknown as Heard<O>[]
  }
  /** From the last plan on: with it all begins anew. */
  #followed(run_id: string): Heard<'plan' | 'spans' | 'step'>[] {
    const heard = this.heard().filter(({ data }) => 'seq' in data && data.run_id === run_id) as Heard<'plan' | 'spans' | 'step'>[]
    return heard.slice(heard.findLastIndex(({ data }) => data.op === 'plan'))
  }
  #ofRun<O extends 'plan' | 'spans' | 'step'>(op: O, run_id: string): Heard<O>[] {
    return this.#followed(run_id).filter(({ data }) => data.op === op) as unknown as Heard<O>[]
  }
  seqs(run_id: string): number[] {
    return this.#followed(run_id).map(({ data }) => data.seq)
  }
  lastList(): readonly RunStatus[] {
    return this.of('runs').at(-1)?.data.runs ?? []
  }
  status(run_id: string): RunStatus | undefined {
    return this.lastList().find((status) => status.run_id === run_id)
  }
  /** Steps that are over, as they were last said. */
  steps(run_id: string): StepSummary[] {
    const heads = [...this.#ofRun('plan', run_id), ...this.#ofRun('step', run_id)].map(({ data }) => data.head)
    return [...new Map(heads.flatMap(({ steps }) => steps.map((step) => [step.step, step] as const))).values()]
  }
  spans(run_id: string): SpanColumns {
    const attempts = new Map<number, number>()
    const heard = this.#ofRun('spans', run_id)
    for (const { data } of heard) attempts.set(data.step, Math.max(data.attempt, attempts.get(data.step) ?? 0))
    const kept = heard.filter(({ data }) => attempts.get(data.step) === data.attempt)
    return joinColumns(kept.map(({ buffers }) => decoded(buffers[0])))
  }
  rows(run_id: string): number {
    return this.#ofRun('spans', run_id).length === 0 ? 0 : this.spans(run_id).op.length
  }
  plan(run_id: string): PlanTables {
    const [{ buffers }] = this.#ofRun('plan', run_id)
    const [listing, names] = buffers.slice(0, 2).map((bytes) => linesOf(new TextDecoder().decode(bytes), MOST_LINES) ?? [])
    const [buffersTable, uses, waits] = buffers.slice(2).map((bytes) => Uint8Array.from(bytes))
    return { listing, names, buffers: decodeTable('buffers', buffersTable), uses: decodeTable('uses', uses), waits: decodeTable('waits', waits) }
  }
}

const tables = new WeakMap<Uint8Array, SpanColumns>()
function decoded(bytes: Uint8Array): SpanColumns {
  const known = tables.get(bytes) ?? decodeTable('spans', Uint8Array.from(bytes))
  tables.set(bytes, known)
  return known
}
