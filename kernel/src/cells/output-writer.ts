/** The executor's side of the outputs: everything a cell prints or shows leaves through here, in order (epochs: `protocol.ts`). */
import { writeSync } from 'node:fs'
import type { Writable } from 'node:stream'
import { type Cell, cells } from './cell.js'
import { encodeMark, type Note, type Outcome, type Output } from './protocol.js'
import { StandardStream } from './standard-stream.js'

type Stream = 1 | 2 | 'notes'

export class OutputWriter {
  #epoch = 0
  #stream: Stream = 'notes'
  /** Whose text follows on the active stream. */
  #owner = 0
  /** Cells under way, in the order they began. */
  #running: readonly Cell[] = []
  /** Output of native code is counted to it: the running cell of the main shell, else that of a subshell that began last, else the last one. */
  #current = 0

  constructor(
    private readonly nonce: string,
    private readonly send: (note: Note) => void,
    private readonly write: (fd: 1 | 2, chunk: Uint8Array | string) => void = writeAll,
  ) {}

  /** The stream that stands in for process.stdout or process.stderr: synchronous, and each write goes to the cell it was made in. */
  standardStream(fd: 1 | 2): Writable {
    return new StandardStream(fd, (chunk) => this.text(fd, chunk))
  }

  begin(cell: Cell): void {
    this.#setRunning([...this.#running, cell])
  }

  text(fd: 1 | 2, chunk: Uint8Array | string): void {
    this.#enter(fd, cells.getStore()?.id ?? this.#current)
    this.write(fd, chunk)
    // What native code writes belongs to the running cell again.
    if (this.#owner !== this.#current) this.#enter(fd, this.#current)
  }

  output(output: Output): void {
    const cell = cells.getStore()?.id ?? this.#current
    this.#enter('notes', cell)
    this.send({ kind: 'output', epoch: this.#epoch, cell, output })
  }

  /** Asks the user for a line. What was printed before is shown before. */
  ask(prompt: string, password: boolean): void {
    const cell = cells.getStore()?.id ?? this.#current
    this.#enter('notes', cell)
    this.send({ kind: 'ask', epoch: this.#epoch, cell, prompt, password })
  }

  end(cell: Cell, outcome: Outcome): void {
    for (const fd of [1, 2] as const) this.#mark(fd, encodeMark(this.nonce, { kind: 'end', cell: cell.id }))
    this.send({ kind: 'end', cell: cell.id, outcome })
    if (this.#running.includes(cell)) this.#setRunning(this.#running.filter((other) => other !== cell))
  }

  #setRunning(running: readonly Cell[]): void {
    this.#running = running
    const current = running.find(({ isMain }) => isMain) ?? running.at(-1)
    if (current === undefined || current.id === this.#current) return
    this.#current = current.id
    this.#leave()
    // In and out with one write: each may wake the supervisor.
    this.#mark(2, this.#opening(current.id) + this.#closing())
    this.#arrive(1, current.id)
  }

  #enter(stream: Stream, cell: number): void {
    if (this.#stream === stream && this.#owner === cell) return
    this.#leave()
    this.#arrive(stream, cell)
  }

  #leave(): void {
    if (this.#stream === 'notes') this.send({ kind: 'close', epoch: this.#epoch++ })
    else this.#mark(this.#stream, this.#closing())
  }

  #arrive(stream: Stream, cell: number): void {
    this.#stream = stream
    this.#owner = cell
    if (stream !== 'notes') this.#mark(stream, this.#opening(cell))
  }

  #opening(cell: number): string {
    return encodeMark(this.nonce, { kind: 'open', epoch: this.#epoch, cell })
  }

  /** Of this epoch; the next begins. */
  #closing(): string {
    return encodeMark(this.nonce, { kind: 'close', epoch: this.#epoch++ })
  }

  #mark(fd: 1 | 2, mark: string): void {
    try {
      this.write(fd, mark)
    } catch {
      // User code may have closed the descriptor; the supervisor then goes on without the mark after a while.
    }
  }
}

const PAUSE = new Int32Array(new SharedArrayBuffer(4))

/** A subprocess that shares the descriptor may have made it non-blocking: then a full pipe says EAGAIN, and we wait as a blocking write would. */
export function writeAll(fd: number, chunk: Uint8Array | string): void {
  for (let rest = chunk; ; ) {
    try {
      // Text as it is: a buffer made of it first costs half as much again.
      const written = typeof rest === 'string' ? writeSync(fd, rest) : writeSync(fd, rest)
      if (written === Buffer.byteLength(rest)) return
      rest = (typeof rest === 'string' ? Buffer.from(rest) : rest).subarray(written)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      Atomics.wait(PAUSE, 0, 0, 1)
    }
  }
}
