/**
 * Type errors of cells. A cell is checked while it runs. Its reply goes first, its `idle` when the check is done: clients which stop to listen then
 * (nbclient, and so nbconvert and papermill) keep what was found. Only where the check is known to be slow the reply waits too, because some give up
 * when nothing comes between the two. In the mode `strict` the cell waits for its check, and does not run when something is wrong.
 */
import { setTimeout as delay, setImmediate } from 'node:timers/promises'
import type { Assistant } from '../assist/assist.js'
import { describeMistakes, mayHoldMistakes, type TypeMistake } from '../assist/diagnostics.js'
import type { Executed } from '../assist/executed.js'
import type { Failure, Outcome } from '../cells/protocol.js'

const MODES = ['off', 'report', 'strict'] as const
export type TypesMode = (typeof MODES)[number]

/** For how long a check holds back what ends its cell. */
const HOLD_MS = 2000
/** The same where another cell waits, or where the last check took longer than that. */
const SHORT_HOLD_MS = 75
/** One that takes longer is slow: jupyter_kernel_test gives up when 100 ms after the reply neither an output nor `idle` has come. */
const SLOW_MS = 50
/** A short cell is not checked beside its run: on a machine with few cores its reply would wait. */
const HEAD_START_MS = 100

interface Checked {
  readonly mistakes: readonly TypeMistake[]
  readonly describe: (mistakes: readonly TypeMistake[]) => string
}

export interface CellCheck {
  /** Why the cell must not run, in the mode `strict`. */
  refusal(): Promise<Failure | undefined>
  /** To be called when the cell has ended; `followed` resolves when another waits for its turn. */
  ended(outcome: Outcome, followed: Promise<void>): Due
}

/** When what ends a cell may be sent. */
export interface Due {
  readonly reply: Promise<void>
  readonly idle: Promise<void>
}

const AT_ONCE: Due = { reply: Promise.resolve(), idle: Promise.resolve() }

export class TypeCheck {
  #mode: TypesMode
  /** How long the last check took. The first has to start the language server. */
  #last_ms = Number.POSITIVE_INFINITY
  #hold_ms = HOLD_MS

  /**
   * `executed`: the cells that ran before. `globals`: names that code put on the global object. `show` prints on stderr of a cell.
   * `mode`: a word from outside (FPDT_TYPES); one that is none is reported.
   */
  constructor(
    private readonly assist: () => Promise<Assistant>,
    private readonly executed: readonly Executed[],
    private readonly globals: ReadonlySet<string>,
    private readonly show: (cell: number, text: string) => void,
    mode = 'report',
  ) {
    this.#mode = isMode(mode) ? mode : 'report'
    if (!isMode(mode)) process.stderr.write(`fpdt kernel: FPDT_TYPES is ${JSON.stringify(mode)}, not ${MODES.join(', ')}; type errors are reported\n`)
  }

  /** What `%types` and a word behind it mean; gives what is printed. */
  command(text: string): string {
    const mode = text.trim()
    if (mode !== '' && !isMode(mode)) throw new TypeError(`%types ${mode}: there is no such mode; try one of ${MODES.join(', ')}`)
    if (mode !== '') this.#mode = mode
    return `type errors: ${this.#mode}\n`
  }

  /** Call before the cell is added to those that ran. `file` is how errors name the cell. Undefined when there is nothing to check. */
  begin(cell: number, file: string, code: string): CellCheck | undefined {
    if (this.#mode === 'off' || !mayHoldMistakes(code)) return undefined
    const count = this.executed.length
    const check = () => this.#check(code, file, count)
    return this.#mode === 'strict' ? this.#strict(cell, check) : this.#report(cell, check)
  }

  async #check(code: string, file: string, count: number): Promise<Checked> {
    const began = performance.now()
    const assistant = await this.assist()
    const mistakes = await assistant.check(code, count)
    this.#last_ms = performance.now() - began
    this.#hold_ms = HOLD_MS
    return { mistakes, describe: (some) => describeMistakes(some, code, file) }
  }

  #report(cell: number, check: () => Promise<Checked>): CellCheck {
    let outcome: Outcome | undefined
    let left: Checked | undefined
    const say = (done: Checked | undefined): void => {
      if (done === undefined) return
      const isSaid = (mistake: TypeMistake) => outcome !== undefined || mistake.unknownName === undefined
      const said = done.mistakes.filter((mistake) => isSaid(mistake) && !this.#isAnswered(mistake, outcome))
      if (said.length > 0) this.show(cell, done.describe(said))
      left = { ...done, mistakes: done.mistakes.filter((mistake) => !isSaid(mistake)) }
    }
    let shown: Promise<void> | undefined
    const begin = () => (shown ??= check().then(say, () => {})) // without a server nothing is said: it has complained itself
    const isSlow = this.#last_ms > SLOW_MS
    const timer = setTimeout(begin, isSlow ? 0 : HEAD_START_MS)
    return {
      refusal: () => Promise.resolve(undefined),
      ended: (how, followed) => {
        clearTimeout(timer)
        if (how.lost === true) return AT_ONCE // the cells that it takes names from are forgotten
        outcome = how
        say(left)
        const isWaited = isSlow && how.error?.ename !== 'KeyboardInterrupt' // whoever interrupts waits for nothing
        const done = isWaited ? begin() : setImmediate().then(begin) // the reply goes first
        const idle = this.#hold(done, isWaited ? followed : Promise.all([followed, delay(SHORT_HOLD_MS)]))
        return { reply: isWaited ? idle : Promise.resolve(), idle }
      },
    }
  }

  async #hold(done: Promise<void>, isInTheWay: Promise<unknown>): Promise<void> {
    const late = delay(this.#hold_ms, 'late', { ref: false })
    if ((await Promise.race([done, isInTheWay, late])) === 'late') this.#hold_ms = SHORT_HOLD_MS
  }

  #strict(cell: number, check: () => Promise<Checked>): CellCheck {
    return {
      refusal: async () => {
        try {
          const { mistakes, describe } = await check()
          const wrong = mistakes.filter((mistake) => !this.#isAnswered(mistake))
          return wrong.length === 0 ? undefined : refused(wrong.length, describe(wrong))
        } catch (error) {
          this.show(cell, `The types of this cell were not checked: ${(error as Error).message}\n`)
          return undefined
        }
      },
      ended: () => AT_ONCE,
    }
  }

  /** A name that code has made, or that the run itself has missed. */
  #isAnswered({ unknownName }: TypeMistake, outcome?: Outcome): boolean {
    if (unknownName === undefined) return false
    const { ename, evalue } = outcome?.error ?? {}
    return unknownName in globalThis || this.globals.has(unknownName) || (ename === 'ReferenceError' && evalue?.startsWith(`${unknownName} `) === true)
  }
}

function isMode(word: string): word is TypesMode {
  return (MODES as readonly string[]).includes(word)
}

function refused(count: number, description: string): Failure {
  const evalue = `the cell was not run: ${count} type error${count > 1 ? 's' : ''}`
  const advice = '`%types strict` is set: cells run when their types are right. `%types report` runs them all the same, `%types off` does not look.'
  return { status: 'error', ename: 'TypeCheckError', evalue, traceback: [`TypeCheckError: ${evalue}`, ...description.trimEnd().split('\n'), advice] }
}
