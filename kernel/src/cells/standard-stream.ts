/**
 * What stands in for process.stdout and process.stderr. Synchronous: what was printed is on its way before the next statement runs, and stays in order
 * with what native code prints. It cannot be ended: a package that ends it once it has printed would silence every later cell.
 */
import { Writable } from 'node:stream'
import { type Cell, cells } from './cell.js'

type Done = (error?: Error | null) => void

/** Callbacks for the next tick, one of which may throw. */
class Batch {
  readonly callbacks: Done[] = []
  #called = 0

  constructor(
    readonly cell: Cell | undefined,
    private readonly onRun: () => void,
  ) {
    process.nextTick(() => this.#run())
  }

  #run(): void {
    this.onRun()
    try {
      while (this.#called < this.callbacks.length) this.callbacks[this.#called++]?.()
    } finally {
      if (this.#called < this.callbacks.length) process.nextTick(() => this.#run())
    }
  }
}

export class StandardStream extends Writable {
  #batch: Batch | undefined

  constructor(
    readonly fd: 1 | 2,
    private readonly text: (chunk: Uint8Array | string) => void,
  ) {
    super({ autoDestroy: false, emitClose: false })
  }

  /** Without the queue of Writable: nothing ever waits here, and 10,000 prints take 5 ms less. */
  override write(chunk: unknown, encoding?: BufferEncoding | Done, done?: Done): boolean {
    const callback = typeof encoding === 'function' ? encoding : done
    if (typeof chunk === 'string') this.text(typeof encoding === 'string' && !/^utf-?8$/i.test(encoding) ? Buffer.from(chunk, encoding) : chunk)
    else if (ArrayBuffer.isView(chunk)) this.text(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength))
    else throw new TypeError(`process.${this.fd === 1 ? 'stdout' : 'stderr'}.write: ${chunk === null ? 'null' : typeof chunk} is neither text nor bytes`)
    if (callback !== undefined) this.#afterwards(callback)
    return true
  }

  /** `console` gives a callback with every line: those of one cell share a tick, as Writable's would. */
  #afterwards(callback: Done): void {
    const cell = cells.getStore()
    if (this.#batch === undefined || this.#batch.cell !== cell) {
      const batch = new Batch(cell, () => {
        if (this.#batch === batch) this.#batch = undefined
      })
      this.#batch = batch
    }
    this.#batch.callbacks.push(callback)
  }

  override end(chunk?: unknown, encoding?: BufferEncoding | Done, done?: Done): this {
    const callback = [chunk, encoding, done].find((argument) => typeof argument === 'function') as Done | undefined
    if (chunk !== undefined && chunk !== null && chunk !== callback) this.write(chunk, typeof encoding === 'string' ? encoding : undefined)
    process.nextTick(() => {
      this.emit('finish') // `pipeline` waits for it
      callback?.()
    })
    return this
  }

  override destroy(): this {
    return this
  }
}
