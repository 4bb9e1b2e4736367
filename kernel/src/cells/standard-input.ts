/** What stands in for process.stdin. Nobody types into the process that runs cells, and a read that waits for ever would say nothing. */
import { Readable } from 'node:stream'

class StandardInput extends Readable {
  readonly fd = 0
  readonly isTTY = false

  /** Thrown where the reading begins: of an error event packages make what they like, and `question` of readline would wait on. */
  override read(): never {
    throw new Error("process.stdin: nobody can type into it from a notebook; ask with prompt('question'), which waits for the answer and returns it")
  }

  override on(event: string | symbol, listener: (...values: never[]) => void): this {
    return event === 'data' || event === 'readable' ? this.read() : super.on(event, listener as () => void)
  }

  override resume(): never {
    return this.read()
  }
}

export function standardInput(): Readable {
  return new StandardInput({ autoDestroy: false, emitClose: false })
}
