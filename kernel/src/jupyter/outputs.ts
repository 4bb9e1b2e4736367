/**
 * Outputs of cells -> IOPub messages. Text is gathered for a moment: one message a print would run into the server's limit of 1,000 messages a
 * second. Anything else, or text of another cell or stream, sends what was gathered first, so the order stays.
 */
import type { Output } from '../language/protocol.js'
import type { Message } from './message.js'

const GATHER_MS = 25
const GATHER_CHARS = 65_536
/** So many cells can still print after they ended. */
const REMEMBERED_CELLS = 256

type Publish = (type: string, content: object, parent: Message) => void

export class Outputs {
  readonly #requests = new Map<number, { readonly request: Message; readonly count: number }>()
  #gathered: { readonly cell: number; readonly name: string; text: string } | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(private readonly publish: Publish) {}

  /** Outputs of `cell` answer `request` from now on; `count` is its number in the notebook. */
  open(cell: number, request: Message, count: number): void {
    this.#requests.set(cell, { request, count })
    if (this.#requests.size > REMEMBERED_CELLS) this.#requests.delete(this.#requests.keys().next().value as number)
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
    const { request, count } = this.#requests.get(cell) ?? {}
    if (request === undefined || count === undefined || request.content.silent === true) return
    const [type, content] = contentOf(output, count)
    this.publish(type, content, request)
  }
}

function contentOf(output: Output, count: number): [type: string, content: object] {
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
