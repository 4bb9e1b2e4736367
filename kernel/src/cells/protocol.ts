/**
 * What supervisor and executor say to each other.
 *
 *     supervisor --fd 3--> executor      Task: a cell, or a comm message; several may be under way (subshells)
 *     supervisor --fd 4--> its worker    interrupt, insist, answer (control-worker.ts)
 *     executor --fd 1, 2--> supervisor   text, with marks in between
 *     executor --fd 5--> supervisor      Note (both in message-stream.ts)
 *
 * Text of user code goes through file descriptors 1 and 2 like that of native code and subprocesses, so their order is kept. Three streams have
 * no common order; epochs give them one. Whoever writes closes the epoch on the stream it leaves and opens the next on the one it enters; the
 * reader holds a stream back at `open e` until `close e-1` has come on whichever stream.
 */
import type { CommEvent } from '../comm/comms.js'
import type { MimeBundle } from '../display.js'

/** Place in the child's `stdio` of the socket for its tasks. */
export const TASKS_FD = 3
/** Of the one to its control worker. */
export const CONTROL_FD = 4
/** And of the one for its notes. */
export const NOTES_FD = 5

export type Task = CellTask | CommTask

export interface CellTask {
  readonly kind: 'cell'
  /** Names the request: grows by one with each task, never reused. What a comm handler prints belongs to its request as a cell's output to the cell. */
  readonly cell: number
  /** How stack frames name the cell. */
  readonly file: string
  /** The subshell it runs in; undefined for the main shell. */
  readonly subshell?: string
  /** The number beside the cell: its place in `In` and `Out`; undefined when it is not stored. */
  readonly count?: number
  /** Whether the client can be asked (`prompt`). */
  readonly canAsk: boolean
  /** `In` of the process before this one, which was lost. */
  readonly inputs?: Readonly<Record<number, string>>
  readonly code: string
  readonly silent: boolean
  readonly expressions: Readonly<Record<string, string>>
}

/** A comm message from a client; what its handler prints or shows answers that message. */
export interface CommTask {
  readonly kind: 'comm'
  readonly cell: number
  readonly event: CommEvent
}

/** What execute_reply carries besides: help for the pager (`name?`), or the text of the next cell. Front ends show the first and the last of these. */
export type Payload =
  | { readonly source: 'page'; readonly data: MimeBundle; readonly start: number }
  | { readonly source: 'set_next_input'; readonly text: string; readonly replace: boolean }

/** What every error looks like, in execute_reply, in the `error` output and in user_expressions. */
export interface Failure {
  readonly status: 'error'
  readonly ename: string
  readonly evalue: string
  readonly traceback: readonly string[]
}

export interface Shown {
  readonly data: MimeBundle
  readonly metadata: Readonly<Record<string, unknown>>
}

export interface Outcome {
  readonly error?: Failure
  /** The process ended with the cell, and all variables with it. */
  readonly lost?: true
  /** The user asked the process to forget all names. */
  readonly forgot?: true
  readonly expressions: Readonly<Record<string, (Shown & { status: 'ok' }) | Failure>>
  readonly payload?: readonly Payload[]
  /** Names that are new on the global object. */
  readonly globals?: readonly string[]
}

export type Output =
  | { readonly kind: 'stream'; readonly name: 'stdout' | 'stderr'; readonly text: string }
  | ({ readonly kind: 'display'; readonly displayId?: string; readonly update: boolean } & Shown)
  | ({ readonly kind: 'result' } & Shown)
  | { readonly kind: 'clear'; readonly wait: boolean }
  | { readonly kind: 'comm'; readonly event: CommEvent }

export type Note =
  | { readonly kind: 'ready' }
  | { readonly kind: 'output'; readonly epoch: number; readonly cell: number; readonly output: Output }
  | { readonly kind: 'close'; readonly epoch: number }
  /** The cell waits for a line from the user; the answer goes to the control worker, because the main thread waits. */
  | { readonly kind: 'ask'; readonly epoch: number; readonly cell: number; readonly prompt: string; readonly password: boolean }
  /** The main thread has thrown an interrupt into all that waits, up to that task: what goes on does so because its code wants it. */
  | { readonly kind: 'heard'; readonly upTo: number }
  | { readonly kind: 'end'; readonly cell: number; readonly outcome: Outcome }

/** To an `ask`: null when the user ended the input instead of giving one. */
export type Answer = { readonly text: string | null } | { readonly failed: string }

/** In the text of file descriptors 1 and 2. */
export type Mark =
  | { readonly kind: 'open'; readonly epoch: number; readonly cell: number }
  | { readonly kind: 'close'; readonly epoch: number }
  | { readonly kind: 'end'; readonly cell: number }

/**
 * A mark as bytes: an operating-system command, which a terminal would not show either. `nonce` is new in every executor, so that text which
 * was printed cannot be one. Shorter than PIPE_BUF, so other writers cannot split it.
 */
export function encodeMark(nonce: string, mark: Mark): string {
  const cell = mark.kind === 'close' ? 0 : mark.cell
  const epoch = mark.kind === 'end' ? 0 : mark.epoch
  return `${prefix(nonce)}${mark.kind};${epoch};${cell}\x07`
}

function prefix(nonce: string): string {
  return `\x1b]fpdt;${nonce};`
}

/** Splits the bytes of one stream into text and marks, wherever the chunks are cut. */
export class MarkReader {
  readonly #prefix: Buffer
  /** A byte order mark is text too. */
  readonly #text = new TextDecoder('utf-8', { ignoreBOM: true })
  /** Whose text is read: a character that it began and left is no beginning of another's. */
  #cell = 0
  #rest: Buffer = Buffer.alloc(0)

  constructor(nonce: string) {
    this.#prefix = Buffer.from(prefix(nonce))
  }

  read(chunk: Uint8Array): (string | Mark)[] {
    const tokens: (string | Mark)[] = []
    let bytes = this.#rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([this.#rest, chunk])
    const text = (part: Buffer, isLast = false): void => {
      const decoded = this.#text.decode(part, { stream: !isLast })
      if (decoded !== '') tokens.push(decoded)
    }
    for (;;) {
      const start = bytes.indexOf(this.#prefix)
      const end = start < 0 ? -1 : bytes.indexOf(0x07, start)
      if (end < 0) {
        // A mark may be cut at the end of the chunk: what could be its beginning is kept back.
        const keep = start >= 0 ? start : bytes.length - this.#startedPrefix(bytes)
        text(bytes.subarray(0, keep))
        this.#rest = Buffer.from(bytes.subarray(keep))
        return tokens
      }
      const [kind, epoch, cell] = bytes.toString('latin1', start + this.#prefix.length, end).split(';')
      const mark = { kind, epoch: Number(epoch), cell: Number(cell) } as Mark
      text(bytes.subarray(0, start), mark.kind === 'open' ? mark.cell !== this.#cell : mark.kind === 'end' && mark.cell === this.#cell)
      if (mark.kind === 'open') this.#cell = mark.cell
      tokens.push(mark)
      bytes = bytes.subarray(end + 1)
    }
  }

  /** Length of the longest end of `bytes` that begins a mark. */
  #startedPrefix(bytes: Buffer): number {
    for (let length = Math.min(bytes.length, this.#prefix.length - 1); length > 0; length--) {
      if (bytes.subarray(bytes.length - length).equals(this.#prefix.subarray(0, length))) return length
    }
    return 0
  }
}
