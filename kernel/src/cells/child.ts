/**
 * The executor: the process that user code, the fpdt library and the native addon run in. The supervisor starts it, gives it tasks
 * and outlives it; `protocol.ts` says how they talk.
 */
import { type ConnectOpts, Socket, type SocketConstructorOpts } from 'node:net'
import { MessageChannel } from 'node:worker_threads'
import { installFunctionText } from '../language/as-written.js'
import { Evaluator } from './evaluate.js'
import { installStackTraces } from './frames.js'
import { listenForInterrupts } from './interrupt.js'
import { KeyboardInterrupt } from './keyboard-interrupt.js'
import { encodeMessage, MessageReader, magicOf, TASKS } from './message-stream.js'
import { OutputWriter, writeAll } from './output-writer.js'
import { hidePromiseBooks } from './present/plain.js'
import { questions } from './prompt.js'
import { CONTROL_FD, NOTES_FD, type Note, TASKS_FD, type Task } from './protocol.js'
import { standardInput } from './standard-input.js'
import { failureOf } from './traceback.js'

const [nonce] = process.argv.splice(2, 1) as [string]
const magic = magicOf(nonce)
/** User code has closed a descriptor that is not its own, or read from it. The supervisor starts another process when this one ends. */
const giveUp = () => process.kill(process.pid, 'SIGKILL')
/** Synchronous: nothing is lost when the process crashes a moment later, and a cell that shows faster than clients read waits, as one that prints. */
const send = (note: Note): void => {
  const parts = encodeMessage(note, magic)
  try {
    for (const part of parts) writeAll(NOTES_FD, part)
  } catch {
    giveUp()
  }
}
const output = new OutputWriter(nonce, send)

// Before anything touches process.stdout: Node would make the descriptor non-blocking.
Object.defineProperty(process, 'stdout', { value: output.standardStream(1), configurable: true, enumerable: true })
Object.defineProperty(process, 'stderr', { value: output.standardStream(2), configurable: true, enumerable: true })
Object.defineProperty(process, 'stdin', { value: standardInput(), configurable: true, enumerable: true })

installStackTraces()
installFunctionText()
hidePromiseBooks()
const evaluator = new Evaluator(process.cwd(), output)
const answers = new MessageChannel()
listenForInterrupts(CONTROL_FD, answers.port1, (upTo, serial) => {
  evaluator.interrupt(upTo, serial)
  send({ kind: 'heard', upTo })
})
const prompts = questions(output, answers.port2, (cell) => evaluator.isUnderWay(cell))
evaluator.offer(prompts)

const perform = async (task: Task): Promise<void> => {
  const { cell, outcome } = await evaluator.run(task)
  output.end(cell, outcome)
}
const tasks = new MessageReader(TASKS, magic)
const take = (count: number, space: Uint8Array): boolean => {
  try {
    for (const task of tasks.readInto(space, count)) void perform(task)
  } catch {
    giveUp()
  }
  return true
}
// Node's types know `onread` only of sockets that connect.
const reading: SocketConstructorOpts & Pick<ConnectOpts, 'onread'> = { fd: TASKS_FD, writable: false, onread: { buffer: () => tasks.space, callback: take } }
new Socket(reading)

// Errors of timers and forgotten promises are reported where they were caused; they end neither the process nor a later cell.
const report = (thrown: unknown) => process.stderr.write(`${failureOf(thrown).traceback.join('\n')}\n`)
process.on('uncaughtException', (thrown) => {
  if (thrown instanceof KeyboardInterrupt) evaluator.uncaught()
  report(thrown)
})
process.on('unhandledRejection', (reason) => {
  // Branches of an interrupted cell end one after another; the cell has said so once.
  if (reason instanceof KeyboardInterrupt) evaluator.uncaught()
  else report(reason)
})

send({ kind: 'ready' })
