/**
 * What a cell asks the supervisor, which runs no code for it: `name?` opens the pager with what the language server knows, `%types` sets how
 * types are checked. Whatever else stands in the cell runs as ever.
 */
import type { Assistant } from '../assist/assist.js'
import type { Failure, Payload } from '../cells/protocol.js'
import type { Asked } from '../language/magics/expansion.js'
import { mayAsk } from '../language/magics/signs.js'
import { isParsable } from '../language/parsable.js'
import { asFailure } from './failure.js'

/** A word that sets something: takes what stands behind it, gives what is printed, and throws when it cannot. */
export type Setting = (text: string) => string

/** Of one cell. */
export interface CellQuestions {
  /** By settings. */
  readonly printed: string
  /** A setting could not be made: the cell must not run. */
  readonly failure: Failure | undefined
  /** What the pager shows when the cell has run. */
  page(): Promise<Payload | undefined>
}

export class Questions {
  constructor(
    private readonly assist: () => Promise<Assistant>,
    private readonly settings: Readonly<Record<string, Setting>> = {},
  ) {}

  /** Makes the settings. Undefined for nearly all cells; parser and language server are loaded for those alone that could ask something. */
  async of(code: string): Promise<CellQuestions | undefined> {
    if (!mayAsk(code) || !isParsable(code)) return undefined
    const { expandWords } = await import('../language/magics/expand.js')
    const isHelp = ({ word }: Asked) => word === 'pinfo' || word === 'pinfo2' || word === 'quickref'
    let asked: readonly Asked[] = []
    let printed = ''
    let failure: Failure | undefined
    try {
      asked = expandWords(code).asked
      for (const each of asked) if (!isHelp(each)) printed += this.#set(each)
    } catch (error) {
      failure = asFailure(error as Error)
    }
    if (asked.length === 0 && failure === undefined) return undefined
    return { printed, failure, page: () => this.#page(asked.filter(isHelp)) }
  }

  #set({ word, text }: Asked): string {
    const set = this.settings[word]
    if (set === undefined) throw new TypeError(`%${word}: this kernel has no such setting`)
    return set(text)
  }

  async #page(asked: readonly Asked[]): Promise<Payload | undefined> {
    if (asked.length === 0) return undefined
    const parts: Help[] = []
    for (const each of asked) parts.push(await this.#help(each))
    // Front ends open one page a cell.
    const joined = (kind: keyof Help) => parts.map((part) => part[kind]).join('\n\n')
    return { source: 'page', data: { 'text/plain': joined('plain'), 'text/markdown': joined('markdown') }, start: 0 }
  }

  async #help({ word, text }: Asked): Promise<Help> {
    if (word === 'quickref') return same(QUICK_REFERENCE)
    const name = text.trim()
    if (name.startsWith('%')) return same((await import('../language/magics/help.js')).helpOfWord(name.replace(/^%+/, '')))
    const assistant = await this.assist()
    const ask = () => assistant.inspect(name, [...name].length, word === 'pinfo2' ? 1 : 0) as Promise<{ found: boolean; data: Record<string, string> }>
    const first = await ask()
    // A server that is just being started, on a busy machine, may be late once.
    const { found, data } = first.found ? first : await ask()
    if (!found) return same(`Nothing is known of \`${name}\`: no cell has declared it. \`%who\` prints the names of the notebook.`)
    return { plain: data['text/plain'] ?? '', markdown: data['text/markdown'] ?? '' }
  }
}

interface Help {
  readonly plain: string
  readonly markdown: string
}

function same(text: string): Help {
  return { plain: text, markdown: text }
}

const QUICK_REFERENCE = `Cells are TypeScript, with \`await\` and \`import\` anywhere at their top level; names may be declared again as anything.
Their last value is shown, also in front of a semicolon. Tab completes, Shift-Tab inspects.

| written | gives |
| --- | --- |
| \`name?\`, \`name??\` | type and documentation of a name; its source too |
| \`!command\` | what a command of the shell prints; \`{expression}\` and \`$name\` are filled in where the notebook knows all their names |
| \`const lines = !command\` | its lines, as does \`await sh("command")\` anywhere |
| \`_\`, \`__\`, \`___\`, \`_3\`, \`Out[3]\` | the last results, and that of cell 3 |
| \`In[3]\`, \`_i\` | the text of cell 3, and of the cell before |
| \`%time statement\`, \`%%time\` | how long a statement, or the cell, takes |
| \`%cd folder\`, \`%env NAME=value\` | change the working folder, the environment |
| \`%npm install name\` | a package for the notebook |
| \`%who\`, \`%history\`, \`%reset\` | the names, the cells so far, a new beginning |
| \`%lsmagic\` | all magics |
| \`display(value)\` | shows a value from anywhere; \`display.html\`, \`.table\`, \`.image\` ... |

Magics and \`!\` stand at the top level of a cell. What a shell means by braces stays text: \`{a,b}\`, \`{1..3}\`, \`{print $1}\`, \`{3}\`.

\`Out\` keeps every result in memory, tensors too: \`delete Out[3]\` or \`%reset out\` lets go of them.`
