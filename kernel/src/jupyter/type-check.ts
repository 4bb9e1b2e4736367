/**
 * Type errors of cells. A cell is checked while it runs: its reply waits for nothing, its `idle` for a moment, so that clients which stop to listen
 * then still see what was found. In the mode `strict` it waits for the check, and does not run when something is wrong.
 */
import { setTimeout as delay, setImmediate } from 'node:timers/promises'
import type { Assistant } from '../assist/assist.js'
import { describeMistakes, mayHoldMistakes, type TypeMistake } from '../assist/diagnostics.js'
import type { Failure, Outcome } from '../cells/protocol.js'

const MODES = ['off', 'report', 'strict'] as const
export type TypesMode = (typeof MODES)[number]

/** For how long the check of a cell that has been answered holds back its `idle`. jupyter_kernel_test gives up after 100 ms of silence. */
const IDLE_MS = 75
/** A short cell is not checked beside its run: on a machine with few cores its reply would wait. */
const HEAD_START_MS = 100

interface Checked {
  readonly mistakes: readonly TypeMistake[]
  readonly describe: (mistakes: readonly TypeMistake[]) => string
}

export interface CellCheck {
  /** Why the cell must not run, in the mode `strict`. */
  refusal(): Promise<Failure | undefined>
  /** To be called when the cell has ended. Resolves when all has been said that can be said in time. */
  ended(outcome: Outcome): Promise<void>
}

export class TypeCheck {
  #mode: TypesMode
  /** A check has been made: the next will not take long. */
  #isWarm = false

  /**
   * `executed`: the cells that ran before. `globals`: names that code put on the global object. `show` prints on stderr of a cell.
   * `mode`: a word from outside (FPDT_TYPES); one that is none is reported.
   */
  constructor(
    private readonly assist: () => Promise<Assistant>,
    private readonly executed: readonly string[],
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
    const assistant = await this.assist()
    const mistakes = await assistant.check(code, count)
    this.#isWarm = true
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
    const timer = setTimeout(begin, HEAD_START_MS)
    return {
      refusal: () => Promise.resolve(undefined),
      ended: async (how) => {
        clearTimeout(timer)
        if (how.lost === true) return // the cells that it takes names from are forgotten
        outcome = how
        say(left)
        await setImmediate() // the reply goes first
        const isWarm = this.#isWarm
        const done = begin()
        if (isWarm) await Promise.race([done, delay(IDLE_MS, undefined, { ref: false })])
      },
    }
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
      ended: () => Promise.resolve(),
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
