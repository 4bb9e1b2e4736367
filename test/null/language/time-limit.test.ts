import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { afterAll, expect, it } from 'vitest'

/** The supervisor reads what users type: a text that takes it long makes the kernel deaf. Of the processor's time: the machine may be busy. */
const LIMIT_MS = 2000
/** The unit of /proc/PID/stat. */
const TICK_MS = 10
/** The longest text that is parsed. */
const LONGEST = 60_000

const lib = new URL('../../../kernel/lib/', import.meta.url).href
/** All that reads a text outside of the executor, and what makes a cell of it. In a process, which can be ended in a loop that has no end. */
const READER = `
import { expandWords } from '${lib}language/magics/expand.js'
import { isComplete } from '${lib}language/is-complete.js'
import { SourceError } from '${lib}language/syntax.js'
import { transpileCell } from '${lib}language/transpile.js'
import { namesOf, typedNames } from '${lib}assist/cell-module.js'
import { importedBy } from '${lib}assist/watched-files.js'
import { pathsAt } from '${lib}assist/path-completion.js'
const times = {
  isComplete,
  namesOf: (text) => namesOf(expandWords(text, (name) => name === 'x').text),
  typedNames,
  importedBy,
  pathsAt: (text) => pathsAt(text, text.length, '/'),
  transpileCell(text) {
    try {
      transpileCell(text, 'Cell [1]', expandWords(text))
    } catch (error) {
      if (!(error instanceof SourceError)) throw error
    }
  },
}
process.on('message', (text) => {
  for (const [name, read] of Object.entries(times)) {
    process.send({ name })
    try {
      read(text)
    } catch (error) {
      process.send({ name, error: String(error) })
      return
    }
  }
  process.send({})
})
process.send({})
`

interface Progress {
  readonly name?: string
  readonly error?: string
}

let reader: Promise<ChildProcess> | undefined
afterAll(async () => void (await (await reader)?.kill()))

async function started(): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', READER], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  await new Promise((resolve) => child.once('message', resolve))
  return child
}

/** What a process took of the processor so far. */
function busy_ms({ pid }: ChildProcess): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ')
  const [user, system] = fields.slice(11, 13).map(Number) as [number, number]
  return (user + system) * TICK_MS
}

/** What goes wrong when `text` is read; undefined when nothing does. */
async function fault(text: string): Promise<string | undefined> {
  reader ??= started()
  const child = await reader
  return new Promise((resolve) => {
    let name = ''
    let late: NodeJS.Timeout
    const settle = (found: string | undefined) => {
      clearTimeout(late)
      child.removeAllListeners()
      resolve(found)
    }
    const giveUp = (found: string) => {
      reader = undefined
      child.kill('SIGKILL')
      settle(found)
    }
    child.on('message', (progress: Progress) => {
      clearTimeout(late)
      if (progress.error !== undefined) settle(`${progress.name}: ${progress.error}`)
      else if (progress.name === undefined) settle(undefined)
      else {
        name = progress.name
        const begun = busy_ms(child)
        late = setInterval(() => busy_ms(child) - begun > LIMIT_MS && giveUp(`${name} takes more than ${LIMIT_MS} ms`), 100)
      }
    })
    child.on('exit', () => giveUp(`${name} ends the process`))
    child.send(text)
  })
}

const fill = (piece: string, head = '', tail = '') => head + piece.repeat(Math.floor((LONGEST - head.length - tail.length) / piece.length)) + tail
const banner = '/'.repeat(60)

it.each([
  ['a timed statement that is open, with a blank behind it', '%time f( '],
  ['a rule of slashes above a magic', `${banner}\n// Section\n${banner}\nconst x = 1\n%time x`],
  ['a rule of slashes in an expression', `const x = (\n${banner}\n%`],
  ['a command with much JSON', `!curl -d '[${Array(700).fill('{"name":"x","value":1}').join()}]' localhost`],
  ['blanks behind an import', fill(' ', 'from')],
  ['blanks in a pattern', fill(' ', 'const {', '\n;;;)')],
  ['blanks in a type', fill(' ', '%pwd\nx:', '1')],
  ['imports that are not finished', fill('import a\n', '', ' (')],
  ['patterns that are not finished', fill('const {a\n', '', ' ((')],
  ['empty lines in a timed statement', fill('\n', 'x\n%time (\n')],
  ['lines in a timed statement', fill('a,\n', 'x\n%time (\n')],
  ['lines with even brackets in a timed statement', fill('(a) +\n', 'x\n%time \n')],
  ['a long sum', fill('1+', '', '1')],
  ['a long chain', fill('.a()', 'x')],
  ['a long name', fill('a1', '"', '"')],
])('%s is read in time', async (_, text) => {
  expect(await fault(text)).toBeUndefined()
})

const pieces =
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a piece of a template
  '%time |%timeit -n 3 |%%time|%%bash|%cd |!ls|!echo |x = !ls|const y = %pwd| |  |\t|\n|\r\n|\\|\\\n|f?|?f|??|a ? b : c|{|}|(|)|[|]|`|${|"|\'|/|//|/*|*/|//////|$x|{x}|${x}|a|x|foo(|await |function f() {|class A {|=>|=|==|!|%b|1|+|.|?.|;|,|:|const |let |var |export |import |from |"./a"|export default |type T = |enum E {|namespace N {|declare |@d |for (|if (|else |async |label: |é|😀|\ud800|#!|<T>|as '.split(
    '|',
  )

it('any text is read in time', async () => {
  const part = fc.tuple(fc.constantFrom(...pieces), fc.constantFrom(1, 1, 1, 1, 1, 2, 30)).map(([piece, count]) => piece.repeat(count))
  const text = fc.array(part, { minLength: 1, maxLength: 14 }).map((parts) => parts.join(''))
  await fc.assert(
    fc.asyncProperty(text, async (source) => {
      expect(await fault(source)).toBeUndefined()
    }),
    { numRuns: Number(process.env.FUZZ_RUNS ?? 400) },
  )
}, 600_000)
