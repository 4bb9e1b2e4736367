/**
 * Outputs of cells -> IOPub messages. Text is gathered for a moment: one message a print would run into the server's limit of 1,000 messages a
 * second. Anything else, or text of another cell or stream, sends what was gathered first, so the order stays.
 */

import type { Output } from '../cells/protocol.js'
import type { CommEvent } from '../comm/comms.js'
import type { Message, MessageExtra } from './message.js'

const GATHER_MS = 25
const GATHER_CHARS = 65_536
/** So many cells that have ended can still print, and so many handlers of comm messages: a slider must not make cells forgotten. */
const REMEMBERED = 256

type Publish = (type: string, content: object, parent: Message | undefined, extra?: MessageExtra) => void

interface Shown {
  readonly request: Message
  /** The number beside the cell; undefined for a handler. */
  readonly count?: number
}

export class Outputs {
  /** However many begin and end meanwhile. */
  readonly #underWay = new Map<number, Shown>()
  readonly #cells = new Map<number, Shown>()
  readonly #handlers = new Map<number, Shown>()
  #gathered: { readonly cell: number; readonly name: string; text: string } | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(private readonly publish: Publish) {}

  /** Outputs of `cell` answer `request` from now on; `count` is its number in the notebook. */
  openCell(cell: number, request: Message, count: number): void {
    this.#underWay.set(cell, { request, count })
  }

  /** What handlers of a comm message show answers that message. */
  openHandler(task: number, request: Message): void {
    this.#underWay.set(task, { request })
  }

  /** The task has its outcome; its timers and promises may still print. */
  ended(task: number): void {
    const shown = this.#underWay.get(task)
    if (shown === undefined) return
    this.#underWay.delete(task)
    remember(shown.count === undefined ? this.#handlers : this.#cells, task, shown)
  }

  /** What outputs of `cell` answer; undefined for one that was forgotten. */
  requestOf(cell: number): Message | undefined {
    return this.#shownBy(cell)?.request
  }

  add(cell: number, output: Output): void {
    if (output.kind !== 'stream') {
      this.flush()
      this.#publish(cell, output)
      return
    }
    const { name, text } = output
    if (this.#gathered?.cell !== cell || this.#gathered.name !== name) {
      this.flush()
      this.#gathered = { cell, name, text: '' }
    }
    this.#gathered.text += text
    if (this.#gathered.text.length >= GATHER_CHARS) this.flush()
    else this.#timer ??= setTimeout(() => this.flush(), GATHER_MS)
  }

  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const gathered = this.#gathered
    this.#gathered = undefined
    if (gathered !== undefined) this.#publish(gathered.cell, { kind: 'stream', name: gathered.name as 'stdout', text: gathered.text })
  }

  #publish(cell: number, output: Output): void {
    const shown = this.#shownBy(cell)
    if (output.kind === 'comm') {
      // Not a thing to see, so it also leaves a silent cell and one that was forgotten.
      const { metadata, buffers } = output.event
      this.publish(`comm_${output.event.type}`, commContent(output.event), shown?.request, { metadata, buffers })
    } else if (shown !== undefined && shown.request.content.silent !== true) {
      this.publish(...contentOf(output, shown.count), shown.request)
    } else if (shown === undefined && output.kind === 'display' && output.update) {
      // It changes what stands elsewhere, so it has its place without a request.
      this.publish(...contentOf(output), undefined)
    }
  }

  #shownBy(task: number): Shown | undefined {
    return this.#underWay.get(task) ?? this.#cells.get(task) ?? this.#handlers.get(task)
  }
}

function remember(shown: Map<number, Shown>, task: number, entry: Shown): void {
  shown.set(task, entry)
  if (shown.size > REMEMBERED) shown.delete(shown.keys().next().value as number)
}

function commContent(event: CommEvent): object {
  const { id, data } = event
  return { comm_id: id, data, ...(event.type === 'open' ? { target_name: event.target } : {}) }
}

function contentOf(output: Exclude<Output, { kind: 'comm' }>, count = 0): [type: string, content: object] {
  switch (output.kind) {
    case 'stream':
      return ['stream', { name: output.name, text: output.text }]
    case 'display': {
      const { data, metadata, displayId, update } = output
      const transient = displayId === undefined ? {} : { display_id: displayId }
      return [update ? 'update_display_data' : 'display_data', { data, metadata, transient }]
    }
    case 'result':
      return ['execute_result', { data: output.data, metadata: output.metadata, execution_count: count }]
    case 'clear':
      return ['clear_output', { wait: output.wait }]
  }
}
