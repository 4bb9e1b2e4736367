/**
 * The life of the executor child: started at once, replaced when it dies, interrupted, killed. Whatever happens to it is the outcome of its tasks,
 * never an error of the kernel. Imports little: the child is started before ZeroMQ is loaded.
 */
import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { encodeMessage, MessageReader, magicOf, NOTES } from '../cells/message-stream.js'
import { type Answer, CONTROL_FD, type Failure, NOTES_FD, type Outcome, type Output, TASKS_FD, type Task } from '../cells/protocol.js'
import { describeEnd, LAST_WORDS_BYTES } from './death.js'
import { Printed, spawnPrinting } from './executor-pipes.js'
import { type Ask, OutputOrder } from './output-order.js'

const CHILD = fileURLToPath(new URL('../cells/child.js', import.meta.url))

/** How long an interrupted cell may clean up before every check throws, and before the user is told that it does not end. */
const INSIST_MS = 300
const NOTICE_MS = 1000
/** How long a stream may be held back for a mark of another. Marks are written before what waits for them, so only lost ones take longer. */
const LOST_MARK_MS = 1000
/** So much may wait for an executor that is busy, before clients wait. */
const WAITING_BYTES = 64 * 2 ** 20
/** Texts of cells that are given to the next executor. */
const REMEMBERED_INPUTS = 1000
/** How long the pipes of an executor that has ended may take to empty: a process that user code detached may hold them open for days. */
const LAST_OUTPUT_MS = 1000

interface Running {
  readonly task: Task
  readonly resolve: (outcome: Outcome) => void
  /** Its process had ended. */
  readonly isLate?: boolean
  /** It was given to another process before, which has not begun it. */
  readonly isSecond?: boolean
}

interface Interruption {
  /** The newest task it is meant for. */
  readonly upTo: number
  readonly timers: readonly NodeJS.Timeout[]
  /** Politely; taken by the code, which cleans up or goes on; or after the notice that the next one kills. */
  stage: 'asked' | 'heard' | 'announced' | 'killed'
}

export class ExecutorProcess {
  #child!: ChildProcess
  #printed!: Printed
  #magic!: number
  /** When nothing of the child is left to read, and its tasks have their outcomes. */
  #gone!: Promise<void>
  #isAlive = false
  #isReady = false
  #isClosing = false
  #isHeld = false
  /** Every task so far. */
  #tasks = 0
  readonly #running = new Map<number, Running>()
  /** While tasks it is meant for still run. */
  #interruption: Interruption | undefined
  /** The texts of the cells, for the executor after one that was lost. */
  readonly #inputs = new Map<number, string>()
  #isRecalled = true
  /** How the last executor ended while no cell ran; the next cell says so. */
  #loss: string | undefined

  /** Set by whoever shows outputs. */
  onOutput: (cell: number, output: Output) => void = () => {}
  /** Set by whoever asks the user. */
  onAsk: (ask: Ask) => void = () => {}
  /** Called when all variables are gone; those tasks are still to be run. */
  onLoss: (untouched: readonly Task[]) => void = () => {}

  constructor() {
    this.#start()
  }

  /** The number of the next task. */
  nextTask(): number {
    return ++this.#tasks
  }

  /** Runs a task beside those under way. Never rejects. */
  run(task: Task): Promise<Outcome> {
    if (!this.#isAlive) this.#start()
    return new Promise((resolve) => this.#give({ task, resolve, isLate: this.#hasEnded }))
  }

  #give(running: Running): void {
    const { task, isLate } = running
    this.#running.set(task.cell, running)
    if (isLate) return // the next process gets it
    if (this.#loss !== undefined && task.kind === 'cell') {
      this.onOutput(task.cell, {
        kind: 'stream',
        name: 'stderr',
        text: `The process that runs the cells ${this.#loss} since the last cell. All variables are gone.\n`,
      })
      this.#loss = undefined
    }
    const tasks = socketOf(this.#child, TASKS_FD)
    tasks?.cork() // the parts in one write, none of them copied
    for (const part of encodeMessage(this.#recalling(task), this.#magic)) tasks?.write(part)
    tasks?.uncork()
  }

  /** What the first cell after a loss brings back: the texts of those before it. */
  #recalling(task: Task): Task {
    if (task.kind !== 'cell' || task.count === undefined || task.subshell !== undefined) return task
    const inputs = this.#isRecalled ? undefined : Object.fromEntries(this.#inputs)
    this.#isRecalled = true
    this.#inputs.set(task.count, task.code)
    if (this.#inputs.size > REMEMBERED_INPUTS) this.#inputs.delete(this.#inputs.keys().next().value as number)
    return inputs === undefined ? task : { ...task, inputs }
  }

  /** Nobody reads what is sent now, though all that the process wrote may not have been read. */
  get #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  /** Cells that the process has not begun, so that the next one can run them. None that was given to a second process already. */
  #untouched(order: OutputOrder): readonly Running[] {
    if (!this.#isReady || this.#isClosing) return []
    return [...this.#running.values()].filter(({ task, isLate, isSecond }) => {
      if (task.kind !== 'cell' || isSecond || task.cell <= (this.#interruption?.upTo ?? 0)) return false
      // Of the main shell: that a cell of a subshell begins beside one is not told.
      return isLate || (task.subshell === undefined && !order.mayHaveBegun(task.cell))
    })
  }

  /** Until tasks may be given again: a busy executor takes none, and they wait here. Undefined while that is little. */
  room(): Promise<void> | undefined {
    const tasks = socketOf(this.#child, TASKS_FD)
    if (tasks === undefined || tasks.writableLength <= WAITING_BYTES || tasks.destroyed) return undefined
    return new Promise((resolve) => tasks.once('drain', resolve).once('close', resolve))
  }

  /** Interrupts all tasks under way; with none, a timer of an earlier cell may be what keeps the process busy. */
  interrupt(): void {
    const upTo = this.#tasks
    const earlier = this.#interruption
    if (earlier?.stage === 'announced') {
      earlier.stage = 'killed'
      this.#kill()
    } else if (earlier === undefined || earlier.stage === 'heard' || earlier.upTo < upTo) {
      for (const timer of earlier?.timers ?? []) clearTimeout(timer)
      this.#control(`interrupt ${upTo}`)
      if (this.#running.size === 0) return
      const insist = setTimeout(() => this.#control(`insist ${upTo}`), INSIST_MS)
      this.#interruption = { upTo, timers: [insist, setTimeout(() => this.#announce(), NOTICE_MS)], stage: 'asked' }
      this.#regulate()
    }
  }

  /** To what a task asked the user. */
  answer(task: number, answer: Answer): void {
    this.#control(`answer ${task} ${Buffer.from(JSON.stringify(answer)).toString('base64')}`)
  }

  #heard(upTo: number): void {
    if (this.#interruption?.stage !== 'asked' || this.#interruption.upTo !== upTo) return
    this.#interruption.stage = 'heard'
    for (const timer of this.#interruption.timers) clearTimeout(timer)
  }

  #announce(): void {
    const interruption = this.#interruption as Interruption
    interruption.stage = 'announced'
    const text =
      'This cell does not stop: it is inside a regular expression, a function of Node or of a package, or native code. Interrupt again to end it together with its process; all variables will be gone.\n'
    for (const cell of this.#running.keys()) {
      if (cell <= interruption.upTo) this.onOutput(cell, { kind: 'stream', name: 'stderr', text })
    }
  }

  /** While held, what cells print stays in their pipes, and a cell that prints on waits in `write`; an interrupted cell must end, and is read. */
  hold(isHeld: boolean): void {
    this.#isHeld = isHeld
    this.#regulate()
  }

  /** Ends the executor and what user code started in its process group. */
  async close(): Promise<void> {
    this.#isClosing = true
    if (!this.#isAlive) return
    this.#regulate()
    this.#kill()
    await Promise.race([this.#gone, delay(2 * LAST_OUTPUT_MS, undefined, { ref: false })])
  }

  #start(): void {
    const nonce = randomBytes(8).toString('hex')
    // Its own process group (detached): killing the group also ends what user code started.
    const child = spawnPrinting(process.execPath, ['--disable-warning=ExperimentalWarning', CHILD, nonce], {
      stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
      detached: true,
    })
    this.#child = child
    this.#magic = magicOf(nonce)
    this.#isAlive = true
    this.#isReady = false
    const order = new OutputOrder(nonce, {
      output: (cell, output) => this.onOutput(cell, output),
      ask: (ask) => this.onAsk(ask),
      end: (cell, outcome) => this.#finish(cell, outcome),
    })
    let watch: NodeJS.Timeout | undefined
    const fed = () => {
      clearTimeout(watch)
      watch = order.isWaiting ? setTimeout(() => (this.#isHeld ? fed() : order.force()), LOST_MARK_MS) : undefined
    }
    let lastWords = ''
    const printed = new Printed(child, (fd, chunk) => {
      if (fd === 2) lastWords = (lastWords + chunk.subarray(-LAST_WORDS_BYTES).toString('latin1')).slice(-LAST_WORDS_BYTES)
      order.bytes(fd, chunk)
      fed()
    })
    this.#printed = printed
    const notes = new MessageReader(NOTES, this.#magic)
    let isGarbled = false
    const read = (chunk: Buffer) => {
      try {
        return isGarbled ? [] : notes.read(chunk)
      } catch {
        isGarbled = true
        this.#kill()
        return []
      }
    }
    socketOf(child, NOTES_FD)?.on('data', (chunk: Buffer) => {
      for (const note of read(chunk)) {
        if (note.kind === 'ready') this.#isReady = true
        else if (note.kind === 'heard') this.#heard(note.upTo)
        else order.note(note)
      }
      fed()
    })
    this.#regulate()
    for (const fd of [TASKS_FD, CONTROL_FD]) socketOf(child, fd)?.on('error', () => {}) // writing to a child that has died; its end answers its tasks
    socketOf(child, TASKS_FD)
      ?.on('close', () => this.#kill()) // user code may have closed the other end: no task would arrive
      .resume()
    child.on('error', (error) => process.stderr.write(`fpdt kernel: executor: ${error.message}\n`))
    const isRead = new Promise<true>((resolve) => child.on('close', () => void printed.end().then(() => resolve(true))))
    const end = new Promise<readonly [code: number | null, signal: NodeJS.Signals | null]>((resolve) => {
      const onEnd = (code: number | null, signal: NodeJS.Signals | null) => resolve([code, signal])
      child.on('exit', onEnd).on('close', onEnd) // one that could not be started has no exit; one whose pipes others hold has no close
    })
    this.#gone = end.then(async ([code, signal]) => {
      this.#kill()
      // What clients have no room for is not lost.
      while (!(await Promise.race([isRead, delay(LAST_OUTPUT_MS, !this.#isPaused)])));
      printed.destroy()
      for (const pipe of child.stdio ?? []) pipe?.destroy()
      clearTimeout(watch)
      const untouched = this.#untouched(order)
      order.force()
      this.#ended(untouched, isGarbled ? `wrote to file descriptor ${NOTES_FD}, which is the kernel's, and was ended` : describeEnd(code, signal, lastWords))
    })
  }

  #ended(untouched: readonly Running[], how: string): void {
    const wasReady = this.#isReady
    this.#isAlive = false
    if (this.#isClosing) {
      this.#finishAll(died('ExecutorDied', 'the kernel was shut down while this cell ran'))
      return
    }
    this.#isRecalled = false
    this.onLoss(untouched.map(({ task }) => task))
    for (const { task } of untouched) this.#running.delete(task.cell)
    if (untouched.length > 0 || ![...this.#running.values()].some(({ task }) => task.kind === 'cell')) this.#loss = how
    if (this.#interruption?.stage === 'killed') {
      this.#finishAll(died('KeyboardInterrupt', 'the cell was ended together with its process; all variables are gone'))
    } else {
      this.#finishAll(
        died('ExecutorDied', `the process that runs the cells ${how} while this cell ran; all variables are gone, the texts of the cells (In) stay`),
      )
    }
    // One that cannot even start is not started over and over.
    if (wasReady) this.#start()
    for (const { task, resolve } of untouched) this.#give({ task, resolve, isSecond: true })
  }

  #finishAll(outcome: Outcome): void {
    for (const cell of [...this.#running.keys()]) this.#finish(cell, outcome)
  }

  #finish(cell: number, outcome: Outcome): void {
    const running = this.#running.get(cell)
    this.#running.delete(cell)
    const [oldest = Number.POSITIVE_INFINITY] = this.#running.keys()
    if (this.#interruption !== undefined && this.#interruption.upTo < oldest) {
      for (const timer of this.#interruption.timers) clearTimeout(timer)
      this.#interruption = undefined
      this.#regulate()
    }
    running?.resolve(outcome)
  }

  /** Whether what the executor writes is left in its pipes. */
  get #isPaused(): boolean {
    return this.#isHeld && !this.#isClosing && this.#interruption === undefined
  }

  #regulate(): void {
    for (const pipe of [this.#printed, socketOf(this.#child, NOTES_FD)]) {
      if (this.#isPaused) pipe?.pause()
      else pipe?.resume()
    }
  }

  #control(line: string): void {
    socketOf(this.#child, CONTROL_FD)?.write(`${line}\n`)
  }

  #kill(): void {
    const { pid } = this.#child
    if (pid === undefined) return
    try {
      process.kill(-pid, 'SIGKILL')
    } catch {
      // The whole group is gone already.
    }
  }
}

/** Undefined when the process could not be started. Node's types know five places. */
function socketOf(child: ChildProcess, fd: number): Socket | undefined {
  return (child.stdio as readonly (Socket | null)[] | undefined)?.[fd] ?? undefined
}

function died(ename: string, evalue: string): Outcome {
  // A line each: front ends break long ones within words.
  const error: Failure = { status: 'error', ename, evalue, traceback: `${ename}: ${evalue}`.split(/(?<=;) /) }
  return { error, lost: true, expressions: {} }
}
