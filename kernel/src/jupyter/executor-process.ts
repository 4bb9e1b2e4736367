/**
 * The life of the executor child: started at once, replaced when it dies, interrupted, killed. Whatever happens to it is the outcome of a cell,
 * never an error of the kernel. Imports little: the child is started before ZeroMQ is loaded.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import type { Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { CONTROL_FD, type Failure, type Note, type Outcome, type Output, type Task } from '../language/protocol.js'
import { OutputOrder } from './output-order.js'

const CHILD = fileURLToPath(new URL('../language/child.js', import.meta.url))

/** How long an interrupted cell may clean up before every check throws, and before the user is told that it does not end. */
const INSIST_MS = 300
const NOTICE_MS = 1000
/** How long a stream may be held back for a mark of another. Marks are written before what waits for them, so only lost ones take longer. */
const LOST_MARK_MS = 1000
/** How long the pipes of an executor that was ended may take to empty. */
const LAST_OUTPUT_MS = 1000

interface Running {
  readonly task: Task
  readonly resolve: (outcome: Outcome) => void
  readonly timers: NodeJS.Timeout[]
  /** Not at all, politely, or after the notice that the next one kills. */
  interrupt: 'none' | 'asked' | 'announced' | 'killed'
}

export class ExecutorProcess {
  #child!: ChildProcess
  #isAlive = false
  #isReady = false
  #isClosing = false
  #isHeld = false
  #running: Running | undefined
  /** How the last executor ended while no cell ran; the next cell says so. */
  #loss: string | undefined

  /** Set by whoever shows outputs. */
  onOutput: (cell: number, output: Output) => void = () => {}
  /** Called when all variables are gone. */
  onLoss: () => void = () => {}

  constructor() {
    this.#start()
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** Runs one cell; the caller waits for the outcome before the next. Never rejects. */
  run(task: Task): Promise<Outcome> {
    if (!this.#isAlive) this.#start()
    if (this.#loss !== undefined) {
      this.onOutput(task.cell, {
        kind: 'stream',
        name: 'stderr',
        text: `The process that runs the cells ${this.#loss} since the last cell. All variables are gone.\n`,
      })
      this.#loss = undefined
    }
    return new Promise((resolve) => {
      this.#running = { task, resolve, timers: [], interrupt: 'none' }
      this.#child.send(task, () => {}) // a child that is dying refuses; its end answers the cell
    })
  }

  interrupt(): void {
    const running = this.#running
    if (running === undefined) {
      this.#control('interrupt 0') // a timer of an earlier cell may be what keeps the process busy
    } else if (running.interrupt === 'none') {
      running.interrupt = 'asked'
      this.#regulate()
      const { cell } = running.task
      this.#control(`interrupt ${cell}`)
      running.timers.push(
        setTimeout(() => this.#control(`insist ${cell}`), INSIST_MS),
        setTimeout(() => {
          running.interrupt = 'announced'
          const text =
            'This cell does not stop: it is inside a package or native code. Interrupt again to end it together with its process; all variables will be gone.\n'
          this.onOutput(cell, { kind: 'stream', name: 'stderr', text })
        }, NOTICE_MS),
      )
    } else if (running.interrupt === 'announced') {
      running.interrupt = 'killed'
      this.#kill()
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
    const gone = new Promise((resolve) => this.#child.once('close', resolve))
    this.#kill()
    // A process that user code detached may hold the pipes open: its output is not waited for.
    await Promise.race([gone, delay(LAST_OUTPUT_MS, undefined, { ref: false })])
  }

  #start(): void {
    const nonce = randomBytes(8).toString('hex')
    // Its own process group (detached): killing the group also ends what user code started.
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', CHILD, nonce], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc', 'pipe'],
      serialization: 'advanced',
      detached: true,
    })
    this.#child = child
    this.#isAlive = true
    this.#isReady = false
    const order = new OutputOrder(
      nonce,
      (cell, output) => this.onOutput(cell, output),
      (cell, outcome) => this.#finish(cell, outcome),
    )
    let watch: NodeJS.Timeout | undefined
    const fed = () => {
      clearTimeout(watch)
      watch = order.isWaiting ? setTimeout(() => (this.#isHeld ? fed() : order.force()), LOST_MARK_MS) : undefined
    }
    for (const fd of [1, 2] as const) {
      child.stdio[fd]?.on('data', (chunk: Buffer) => {
        order.bytes(fd, chunk)
        fed()
      })
    }
    this.#regulate()
    child.on('message', (note: Note) => {
      if (note.kind === 'ready') this.#isReady = true
      else order.note(note)
      fed()
    })
    child.stdio[CONTROL_FD]?.on('error', () => {}) // writing to a child that has died; `close` tells
    child.on('error', (error) => process.stderr.write(`fpdt kernel: executor: ${error.message}\n`))
    // Subprocesses may hold the pipes open after the child's end, and then `close` would not come.
    child.on('exit', () => this.#kill())
    child.on('close', (code, signal) => {
      clearTimeout(watch)
      order.force()
      this.#ended(signal === null ? `exited with code ${code}` : `was ended by ${signal}`)
    })
  }

  #ended(how: string): void {
    const wasReady = this.#isReady
    this.#isAlive = false
    const running = this.#running
    if (this.#isClosing) {
      if (running) this.#finish(running.task.cell, died('ExecutorDied', 'the kernel was shut down while this cell ran'))
      return
    }
    this.onLoss()
    if (running === undefined) this.#loss = how
    else if (running.interrupt === 'killed')
      this.#finish(running.task.cell, died('KeyboardInterrupt', 'the cell was ended together with its process; all variables are gone'))
    else
      this.#finish(
        running.task.cell,
        died('ExecutorDied', `the process that runs the cells ${how} while this cell ran; all variables are gone, the next cell starts anew`),
      )
    // One that cannot even start is not started over and over.
    if (wasReady) this.#start()
  }

  #finish(cell: number, outcome: Outcome): void {
    const running = this.#running
    if (running?.task.cell !== cell) return
    this.#running = undefined
    for (const timer of running.timers) clearTimeout(timer)
    this.#regulate()
    running.resolve(outcome)
  }

  #regulate(): void {
    const waits = this.#isHeld && !this.#isClosing && (this.#running?.interrupt ?? 'none') === 'none'
    for (const pipe of [this.#child.stdout, this.#child.stderr]) {
      if (waits) pipe?.pause()
      else pipe?.resume()
    }
  }

  #control(line: string): void {
    ;(this.#child.stdio[CONTROL_FD] as Writable | null)?.write(`${line}\n`)
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

function died(ename: string, evalue: string): Outcome {
  const error: Failure = { status: 'error', ename, evalue, traceback: [`${ename}: ${evalue}`] }
  return { error, lost: true, expressions: {} }
}
