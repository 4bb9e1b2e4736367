/** Puts the three streams of an executor back into the order they were written in (epochs: `language/protocol.ts`). Pure: no process, no timer. */
import { type Mark, MarkReader, type Note, type Outcome, type Output } from '../language/protocol.js'

type Token = { readonly kind: 'text'; readonly text: string } | Mark | Exclude<Note, { kind: 'ready' }>

class Lane {
  readonly tokens: Token[] = []
  /** Whose text this is. */
  cell = 0
  /** The last cell whose end has come. */
  ended = 0
}

export class OutputOrder {
  readonly #readers: readonly [MarkReader, MarkReader]
  readonly #text = [new Lane(), new Lane()] as const
  readonly #ipc = new Lane()
  #closed = -1
  #outcome: { readonly cell: number; readonly outcome: Outcome } | undefined

  constructor(
    nonce: string,
    private readonly emit: (cell: number, output: Output) => void,
    private readonly end: (cell: number, outcome: Outcome) => void,
  ) {
    this.#readers = [new MarkReader(nonce), new MarkReader(nonce)]
  }

  /** Bytes of file descriptor 1 or 2. */
  bytes(fd: 1 | 2, chunk: Uint8Array): void {
    const tokens = this.#readers[fd - 1]?.read(chunk) ?? []
    this.#text[fd - 1]?.tokens.push(...tokens.map((token) => (typeof token === 'string' ? ({ kind: 'text', text: token } as const) : token)))
    this.#advance()
  }

  note(note: Exclude<Note, { kind: 'ready' }>): void {
    this.#ipc.tokens.push(note)
    this.#advance()
  }

  /** True while something waits for a mark on another stream. */
  get isWaiting(): boolean {
    return this.#outcome !== undefined || this.#lanes.some((lane) => lane.tokens.length > 0)
  }

  /** Stops waiting: a mark that has not come by now never will, because user code closed or replaced a descriptor. */
  force(): void {
    const epochs = this.#lanes.flatMap((lane) => lane.tokens.map((token) => ('epoch' in token ? token.epoch : 0)))
    this.#closed = Math.max(this.#closed, ...epochs)
    this.#advance()
    for (const lane of this.#text) lane.ended = Math.max(lane.ended, this.#outcome?.cell ?? 0)
    this.#advance()
  }

  get #lanes(): readonly Lane[] {
    return [...this.#text, this.#ipc]
  }

  #advance(): void {
    let moved = true
    while (moved) {
      moved = false
      for (const lane of this.#lanes) while (lane.tokens[0] !== undefined && this.#take(lane, lane.tokens[0])) moved = Boolean(lane.tokens.shift())
    }
    const done = this.#outcome
    if (done !== undefined && this.#lanes.every((lane) => lane.ended >= done.cell)) {
      this.#outcome = undefined
      this.end(done.cell, done.outcome)
    }
  }

  /** False when the token has to wait for the end of the epoch before its own. */
  #take(lane: Lane, token: Token): boolean {
    switch (token.kind) {
      case 'open':
        if (this.#closed < token.epoch - 1) return false
        lane.cell = token.cell
        return true
      case 'close':
        this.#closed = Math.max(this.#closed, token.epoch)
        return true
      case 'text':
        this.emit(lane.cell, { kind: 'stream', name: lane === this.#text[0] ? 'stdout' : 'stderr', text: token.text })
        return true
      case 'output':
        if (this.#closed < token.epoch - 1) return false
        this.emit(token.cell, token.output)
        return true
      case 'end':
        lane.ended = token.cell
        if ('outcome' in token) this.#outcome = token
        return true
    }
  }
}
