/**
 * Asking the user from code that waits for the answer without yielding, as `prompt` of the web platform does. The question leaves as a note; this
 * thread sleeps on shared memory; the control worker takes the answer, or an interrupt, and wakes it. Meanwhile nothing else of this process runs.
 */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads'
import { type Cell, cells } from './cell.js'
import { stop, WAKE } from './interrupt.js'
import type { OutputWriter } from './output-writer.js'
import type { Answer } from './protocol.js'

/** The question cannot be put. */
export class StdinNotImplementedError extends Error {
  override readonly name = 'StdinNotImplementedError'
}

interface Prompt {
  (message?: string, defaultValue?: string): string | null
  password(message?: string): string | null
}

/** `prompt`, `confirm` and `alert`, with the words around the message that Deno has. `isUnderWay`: whether a cell has not ended. */
export function questions(output: OutputWriter, answers: MessagePort, isUnderWay: (cell: Cell) => boolean) {
  const ask = (word: string, message: string, isSecret = false): string | null => {
    const task = cellThatMayAsk(word, isUnderWay).id
    while (receiveMessageOnPort(answers) !== undefined); // to a question that was given up
    output.ask(`${message} `, isSecret)
    const answer = answerTo(task, answers)
    if ('failed' in answer) throw new StdinNotImplementedError(`${word}: ${answer.failed}`)
    return answer.text
  }
  const prompt: Prompt = Object.assign(
    (message = 'Prompt', defaultValue?: string) => {
      const text = ask('prompt', defaultValue === undefined ? `${message}` : `${message} [${defaultValue}]`)
      return text === '' && defaultValue !== undefined ? `${defaultValue}` : text
    },
    { password: (message = 'Password') => ask('prompt.password', `${message}`, true) },
  )
  return {
    prompt,
    confirm: (message = 'Confirm'): boolean => /^y(?:es)?$/i.test(ask('confirm', `${message} [y/N]`)?.trim() ?? ''),
    alert: (message = 'Alert'): void => void ask('alert', `${message} [Enter]`),
  }
}

function cellThatMayAsk(word: string, isUnderWay: (cell: Cell) => boolean): Cell {
  const cell = cells.getStore()
  if (cell === undefined || !isUnderWay(cell))
    throw new StdinNotImplementedError(`${word}: the cell that asks has ended; ask before its last line, and await what it starts`)
  if (cell.canAsk) return cell
  throw new StdinNotImplementedError(
    `${word}: nobody can be asked here, because the client takes no input (nbconvert, papermill and comm messages do not); give the value in the cell, as a parameter, or as process.env.NAME`,
  )
}

/** Sleeps until the answer is there. Throws KeyboardInterrupt. */
function answerTo(task: number, answers: MessagePort): Answer {
  for (;;) {
    const before = Atomics.load(stop, WAKE)
    const received = receiveMessageOnPort(answers)?.message as { task: number; answer: string } | undefined
    if (received?.task === task) return JSON.parse(Buffer.from(received.answer, 'base64').toString()) as Answer
    if (stop[0] !== 0) stop.raise()
    if (received === undefined) Atomics.wait(stop, WAKE, before)
  }
}
