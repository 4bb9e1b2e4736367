/** Puts the three streams of an executor back into the order they were written in (epochs: `cells/protocol.ts`). Pure: no process, no timer. */
import { type Mark, MarkReader, type Note, type Outcome, type Output } from '../cells/protocol.js'

export type Ask = Extract<Note, { kind: 'ask' }>
type Token = { readonly kind: 'text'; readonly text: string } | Mark | Exclude<Note, { kind: 'ready' | 'heard' }>

class Lane {
  readonly tokens: Token[] = []
  /** Whose text this is. */
  cell = 0
}

/** A cell is over when its end has come on every stream: cells of subshells overlap and end in any order. */
interface Ending {
  readonly lanes: Set<Lane>
  outcome?: Outcome
}

/** What comes out, in order. */
export interface Ordered {
  output(cell: number, output: Output): void
  ask(ask: Ask): void
  /** After all outputs that the cell wrote before its end. */
  end(cell: number, outcome: Outcome): void
}

export class OutputOrder {
  readonly #readers: readonly [MarkReader, MarkReader]
  readonly #text = [new Lane(), new Lane()] as const
  readonly #notes = new Lane()
  #closed = -1
  /** The newest cell that was named. */
  #newest = 0
  #isForced = false
  readonly #endings = new Map<number, Ending>()

  constructor(
    nonce: string,
    private readonly ordered: Ordered,
  ) {
    this.#readers = [new MarkReader(nonce), new MarkReader(nonce)]
  }

  /** Bytes of file descriptor 1 or 2. */
  bytes(fd: 1 | 2, chunk: Uint8Array): void {
    const tokens = this.#readers[fd - 1]?.read(chunk) ?? []
    for (const token of tokens) if (typeof token !== 'string' && 'cell' in token) this.#newest = Math.max(this.#newest, token.cell)
    this.#text[fd - 1]?.tokens.push(...tokens.map((token) => (typeof token === 'string' ? ({ kind: 'text', text: token } as const) : token)))
    this.#advance()
  }

  note(note: Exclude<Note, { kind: 'ready' | 'heard' }>): void {
    this.#notes.tokens.push(note)
    this.#advance()
  }

  /** True while something waits for a mark on another stream. */
  get isWaiting(): boolean {
    return [...this.#endings.values()].some(({ outcome }) => outcome !== undefined) || this.#lanes.some((lane) => lane.tokens.length > 0)
  }

  /** Cells of the main shell begin with a mark, in the order of their numbers. */
  mayHaveBegun(cell: number): boolean {
    return cell <= this.#newest || this.#isForced
  }

  /** Stops waiting: a mark that has not come by now never will, because user code closed or replaced a descriptor. */
  force(): void {
    this.#isForced = true
    const epochs = this.#lanes.flatMap((lane) => lane.tokens.map((token) => ('epoch' in token ? token.epoch : 0)))
    this.#closed = Math.max(this.#closed, ...epochs)
    this.#advance()
    for (const [cell, { outcome }] of this.#endings) if (outcome !== undefined) this.#end(cell, outcome)
  }

  get #lanes(): readonly Lane[] {
    return [...this.#text, this.#notes]
  }

  #advance(): void {
    let moved = true
    while (moved) {
      moved = false
      for (const lane of this.#lanes) while (lane.tokens[0] !== undefined && this.#take(lane, lane.tokens[0])) moved = Boolean(lane.tokens.shift())
    }
  }

  #end(cell: number, outcome: Outcome): void {
    this.#endings.delete(cell)
    this.ordered.end(cell, outcome)
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
        this.ordered.output(lane.cell, { kind: 'stream', name: lane === this.#text[0] ? 'stdout' : 'stderr', text: token.text })
        return true
      case 'output':
        if (this.#closed < token.epoch - 1) return false
        this.ordered.output(token.cell, token.output)
        return true
      case 'ask':
        if (this.#closed < token.epoch - 1) return false
        this.ordered.ask(token)
        return true
      case 'end': {
        const ending: Ending = this.#endings.get(token.cell) ?? { lanes: new Set() }
        this.#endings.set(token.cell, ending)
        ending.lanes.add(lane)
        if ('outcome' in token) ending.outcome = token.outcome
        if (ending.outcome !== undefined && ending.lanes.size === this.#lanes.length) this.#end(token.cell, ending.outcome)
        return true
      }
    }
  }
}
