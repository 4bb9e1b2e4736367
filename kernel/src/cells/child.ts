/**
 * The executor: the process that user code, the fpdt library and the native addon run in. The supervisor starts it, gives it tasks
 * and outlives it; `protocol.ts` says how they talk.
 */
import { MessageChannel } from 'node:worker_threads'
import { installFunctionText } from '../language/as-written.js'
import { questions } from './ask.js'
import { Evaluator } from './evaluate.js'
import { installStackTraces } from './frames.js'
import { KeyboardInterrupt, listenForInterrupts } from './interrupt.js'
import { encodeNote } from './note-stream.js'
import { OutputWriter, writeAll } from './output.js'
import { hidePromiseBooks } from './present/plain.js'
import { CONTROL_FD, NOTES_FD, type Note, type Task } from './protocol.js'
import { failureOf } from './traceback.js'

const [nonce] = process.argv.splice(2, 1) as [string]
const send = (note: Note): void => {
  const parts = encodeNote(note)
  try {
    for (const part of parts) writeAll(NOTES_FD, part)
  } catch {
    // User code has closed the pipe: nothing can be said any more, and the supervisor starts another process when this one ends.
    process.kill(process.pid, 'SIGKILL')
  }
}
// Libraries that find these would take the supervisor for a parent of theirs.
process.send = undefined
process.disconnect = () => {}
const output = new OutputWriter(nonce, send)

// Before anything touches process.stdout: Node would make the descriptor non-blocking.
Object.defineProperty(process, 'stdout', { value: output.standardStream(1), configurable: true, enumerable: true })
Object.defineProperty(process, 'stderr', { value: output.standardStream(2), configurable: true, enumerable: true })

installStackTraces()
installFunctionText()
hidePromiseBooks()
const evaluator = new Evaluator(process.cwd(), output)
const answers = new MessageChannel()
listenForInterrupts(CONTROL_FD, answers.port1, (upTo) => evaluator.interrupt(upTo))
const prompts = questions(output, answers.port2, (cell) => evaluator.isUnderWay(cell))
Object.assign(globalThis, prompts)

process.on('message', async (task: Task) => {
  const { cell, outcome } = await evaluator.run(task)
  output.end(cell, outcome)
})

// Errors of timers and forgotten promises are reported where they were caused; they end neither the process nor a later cell.
const report = (thrown: unknown) => process.stderr.write(`${failureOf(thrown).traceback.join('\n')}\n`)
process.on('uncaughtException', report)
process.on('unhandledRejection', (reason) => {
  // Branches of an interrupted cell end one after another; the cell has said so once.
  if (!(reason instanceof KeyboardInterrupt)) report(reason)
})

send({ kind: 'ready' })
