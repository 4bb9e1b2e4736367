/** What the words of a cell do: the `$$words` that `expand.ts` writes calls of. Lives in the executor, loaded with the first cell that needs it. */
import { existsSync, readFileSync } from 'node:fs'
import { appendFile, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, extname, isAbsolute, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { MimeBundle } from '../../display.js'
import { type BodyWord, type LineWord, WORDS } from '../../language/magics/table.js'
import { nearest } from '../../nearest.js'
import { cells } from '../cell.js'
import type { Results } from '../results.js'
import type { UserNames } from '../user-names.js'
import { CommandError, lines, printed, scripted } from './command.js'
import { type Moment, now, sayTime, sayTimes } from './time.js'
import { UsageError } from './usage-error.js'
import { outlineOf, typeName } from './whos.js'

export interface WordHost {
  /** Where the kernel was started. */
  readonly folder: string
  readonly names: UserNames
  readonly results: Results
  display(bundle: MimeBundle): void
  import(specifier: string): Promise<Readonly<Record<string, unknown>>>
  /** Runs the text of a cell. */
  execute(source: string, file: string): Promise<unknown>
}

const NO_NAMES = 'No cell has declared a name.'

type Line = (text: string) => unknown
type Body = (text: string, body: string) => unknown

export class Words {
  readonly now = now
  readonly timeit = sayTimes
  readonly #lines: Readonly<Record<LineWord, Line>>
  readonly #bodies: Readonly<Record<BodyWord, Body>>
  readonly #begun: Moment[] = []
  #formerFolder: string | undefined
  #runs = 0

  constructor(private readonly host: WordHost) {
    const shell =
      (command: string): Line =>
      (text) =>
        this.#succeed(`${command} ${text}`.trimEnd())
    const write: Body = (text, body) => this.#write(text, body)
    const script =
      (program: string): Body =>
      (text, body) =>
        scripted([program, ...split(text)], body)
    const show =
      (mime: string): Body =>
      (_, body) =>
        host.display({ [mime]: body, 'text/plain': body })
    this.#lines = {
      cd: (text) => this.#cd(text),
      pwd: () => process.cwd(),
      env: (text) => this.#env(text),
      set_env: (text) => this.#env(text),
      who: () => say(host.names.list().join('\t') || NO_NAMES),
      who_ls: () => host.names.list(),
      whos: () => this.#whos(),
      history: (text) => this.#history(text),
      hist: (text) => this.#history(text),
      reset: (text) => this.#reset(text),
      xdel: (text) => this.#xdel(text),
      load: (text) => this.#load(text),
      run: (text) => this.#run(text),
      npm: (text) => this.#npm(text),
      lsmagic: () => say(wordList()),
      ls: shell('ls'),
      ll: shell('ls -l'),
      cat: shell('cat'),
      cp: shell('cp'),
      mkdir: shell('mkdir'),
      mv: shell('mv'),
      rm: shell('rm'),
      rmdir: shell('rmdir'),
      sx: (text) => this.lines(text),
      system: (text) => this.lines(text),
    }
    this.#bodies = {
      bash: script('bash'),
      sh: script('sh'),
      zsh: script('zsh'),
      python: script('python3'),
      python3: script('python3'),
      perl: script('perl'),
      ruby: script('ruby'),
      script: (text, body) => scripted(split(text), body),
      writefile: write,
      file: write,
      html: show('text/html'),
      HTML: show('text/html'),
      javascript: show('application/javascript'),
      js: show('application/javascript'),
      latex: show('text/latex'),
      markdown: show('text/markdown'),
      svg: show('image/svg+xml'),
      SVG: show('image/svg+xml'),
    }
  }

  /** `%name text`. */
  async line(name: string, text: string): Promise<unknown> {
    if (!Object.hasOwn(this.#lines, name)) throw unusable(name, '%')
    return this.#lines[name as LineWord](text)
  }

  /** `%%name text` with the lines below; the body begins with the end of the first line. */
  async body(name: string, text: string, body: string): Promise<unknown> {
    if (!Object.hasOwn(this.#bodies, name)) throw unusable(name, '%%')
    return this.#bodies[name as BodyWord](text, body.replace(/^\r?\n/, ''))
  }

  misplaced(name: string): never {
    throw new UsageError(`\`%%${name}\` takes the whole cell: it must be the first line`)
  }

  /** `!command`; its exit code is `_exit_code`, as in IPython. */
  shell(command: string): Promise<void> {
    return this.#exit(printed(command))
  }

  /** `x = !command` */
  async lines(command: string): Promise<string[]> {
    const found = await lines(command)
    await this.#exit(found.code)
    return found.lines
  }

  /** A value inside a command: lists as words. */
  text(value: unknown): string {
    return Array.isArray(value) ? value.join(' ') : String(value)
  }

  /** `%time expression`: `value` was made since `begun`. */
  time<T>(begun: Moment, value?: T): T | undefined {
    sayTime(begun)
    return value
  }

  start(): void {
    this.#begun.push(now())
  }

  stop(): void {
    const begun = this.#begun.pop()
    if (begun !== undefined) sayTime(begun)
  }

  async #exit(code: number | Promise<number>): Promise<void> {
    Object.defineProperty(globalThis, '_exit_code', { value: await code, writable: true, configurable: true })
  }

  /** A command behind a name of ours: unlike `!command` it fails the cell when it fails. */
  async #succeed(command: string, folder?: string): Promise<void> {
    const code = await printed(command, folder)
    await this.#exit(code)
    if (code !== 0) throw new CommandError(command, code)
  }

  #npm(text: string): Promise<void> {
    const { folder } = this.host
    const place = npmFolder(folder)
    if (place !== folder && CHANGES_PACKAGES.test(text)) say(`npm works in ${place}, which has the nearest package.json or node_modules above the notebook.`)
    return this.#succeed(`npm ${text}`.trimEnd(), folder)
  }

  #cd(text: string): void {
    const target = text === '-' ? (this.#formerFolder ?? process.cwd()) : pathOf(text === '' ? '~' : text)
    const former = process.cwd()
    try {
      process.chdir(target)
    } catch {
      throw new UsageError(`there is no folder ${target} to change to; this is ${former}`)
    }
    this.#formerFolder = former
    say(process.cwd())
  }

  #env(text: string): unknown {
    const { env } = process
    if (text === '') {
      const isSecret = (name: string) => /key|token|secret|password/i.test(name)
      return Object.fromEntries(Object.entries(env).map(([name, value]) => [name, isSecret(name) ? '<hidden>' : value]))
    }
    const [, name = '', value] = /^([^\s=]+)(?:\s*=\s*|\s+|$)([\s\S]+)?$/.exec(text) ?? []
    if (value === undefined && !text.includes('=')) {
      if (name in env) return env[name]
      throw new UsageError(`there is no environment variable ${name}${meant(name, Object.keys(env), '')}; \`%env ${name}=value\` sets it`)
    }
    env[name] = value ?? ''
    say(`env: ${name}=${value ?? ''}`)
    return undefined
  }

  #whos(): void {
    const rows = this.host.names.list().map((name) => {
      const value = this.host.names.read(name)
      return [name, typeName(value), outlineOf(value)]
    })
    if (rows.length === 0) {
      say(NO_NAMES)
      return
    }
    const table = [['Name', 'Type', 'Value'], ...rows]
    const widths = [0, 1].map((column) => Math.max(...table.map((row) => row[column]?.length ?? 0)))
    const lines = table.map(([name = '', type = '', value]) => `${name.padEnd(widths[0] ?? 0)}   ${type.padEnd(widths[1] ?? 0)}   ${value}`.trimEnd())
    say([lines[0], '-'.repeat(lines[0]?.length ?? 0), ...lines.slice(1)].join('\n'))
  }

  #history(text: string): void {
    const [, from, to] = /(?:^|\s)(\d+)(?:-(\d+))?(?:\s|$)/.exec(text) ?? []
    const first = Number(from ?? 1)
    const last = Number(to ?? from ?? this.host.results.In.length - 1)
    const isNumbered = /(?:^|\s)-n(?:\s|$)/.test(text)
    this.host.results.In.forEach((source, count) => {
      if (count >= first && count <= last) say(isNumbered ? `${String(count).padStart(4)}: ${source}` : source)
    })
  }

  #reset(text: string): void {
    const options = split(text)
    const only = options.filter((option) => option === 'in' || option === 'out')
    const unknown = options.find((option) => !['-f', 'in', 'out', '-s'].includes(option))
    if (unknown !== undefined) throw usageError('reset', `\`${unknown}\` is not one of its options`)
    for (const what of only) this.host.results.forget(what)
    if (only.length > 0) return
    const cell = cells.getStore()
    if (!options.includes('-f')) {
      const { prompt } = globalThis as { prompt?: (message: string) => string | null }
      if (cell?.canAsk !== true || prompt === undefined)
        throw new UsageError('`%reset` forgets all names. Nobody can be asked to confirm here: write `%reset -f`.')
      if (!/^y/i.test(prompt('Once forgotten, names cannot be got back. Proceed (y/[n])?') ?? '')) {
        say('Nothing was forgotten.')
        return
      }
    }
    this.host.names.forgetAll()
    this.host.results.forget('in')
    this.host.results.forget('out')
    if (cell !== undefined) cell.forgot = true
  }

  #xdel(name: string): void {
    const value = this.host.names.read(name)
    if (!this.host.names.forget(name)) throw new UsageError(`no cell has declared ${name}${meant(name, this.host.names.list(), '')}`)
    this.host.results.drop(value)
  }

  #load(text: string): void {
    const path = pathOf(text)
    cells.getStore()?.payload.push({ source: 'set_next_input', text: `// %load ${text}\n${readText('load', path)}`, replace: true })
  }

  async #run(text: string): Promise<void> {
    const [file, ...args] = split(text)
    if (file === undefined) throw usageError('run', 'it needs a file')
    const path = pathOf(file)
    const extension = extname(path)
    const former = process.argv
    process.argv = [former[0] as string, path, ...args]
    try {
      if (extension === '.ipynb') await this.#runNotebook(path)
      else if (/^\.[cm]?[jt]s$/.test(extension) && existsSync(path)) {
        // A version of its own: the file runs again though it did not change.
        const exports = await this.host.import(`${pathToFileURL(path).href}?v=run${++this.#runs}`)
        for (const [name, value] of Object.entries(exports)) {
          if (name === 'default' || name === 'module.exports') continue
          this.host.names.write(name, value)
        }
      } else {
        readText('run', path)
        throw usageError('run', `${path} is neither TypeScript, JavaScript nor a notebook; other programs run with \`!\``)
      }
    } finally {
      process.argv = former
    }
  }

  async #runNotebook(path: string): Promise<void> {
    const { cells, metadata } = JSON.parse(readText('run', path)) as {
      cells: { cell_type: string; source: string | string[] }[]
      metadata?: { kernelspec?: { language?: string }; language_info?: { name?: string } }
    }
    const language = metadata?.language_info?.name ?? metadata?.kernelspec?.language ?? 'typescript'
    if (!/^(?:type|java)script$/i.test(language)) throw usageError('run', `${path} is a notebook of ${language}`)
    let number = 0
    for (const { cell_type, source } of cells) {
      if (cell_type === 'code') await this.host.execute([source].flat().join(''), `${path} cell ${++number}`)
    }
  }

  async #write(text: string, body: string): Promise<void> {
    const [, append, file] = /^(-a\s+|--append\s+)?(.+)$/.exec(text.replace(/^(['"])(.*)\1$/, '$2')) ?? []
    if (file === undefined) throw usageError('writefile', 'it needs a file')
    const path = pathOf(file)
    say(`${append !== undefined ? 'Appending to' : existsSync(path) ? 'Overwriting' : 'Writing'} ${file}`)
    await (append === undefined ? writeFile : appendFile)(path, body)
  }
}

/** Why a word cannot be used so. */
function unusable(name: string, sign: '%' | '%%'): UsageError {
  const word = WORDS.get(name)
  if (word === undefined) {
    const usable = [...WORDS].flatMap(([each, { line, body }]) => ((sign === '%' ? line : body) === undefined ? [] : [each]))
    return new UsageError(`there is no \`${sign}${name}\`${meant(name, usable, sign)}; \`%lsmagic\` lists all magics`)
  }
  if (word.usage === undefined) return new UsageError(`\`${sign}${name}\` is not offered here. ${word.does}`)
  if (word.line === 'time' || word.line === 'timeit') return new UsageError(`\`%${name}\` needs a statement: \`%${name} f()\``)
  return usageError(name, `\`${sign}${name}\` is not a magic of ${sign === '%' ? 'one line: it takes the whole cell' : 'a whole cell: it takes one line'}`)
}

function usageError(name: string, problem: string): UsageError {
  return new UsageError(`${problem}; write \`${WORDS.get(name)?.usage}\``)
}

/** Only what may be a slip of the finger: one letter of three is wrong. */
function meant(word: string, candidates: Iterable<string>, sign: string): string {
  const near = nearest(word, candidates, Math.ceil(word.length / 3))
  return near === undefined ? '' : ` (did you mean \`${sign}${near}\`?)`
}

/** All words with what they do, those that exist first. */
export function wordList(): string {
  const known = [...WORDS].filter(([, { usage }]) => usage !== undefined)
  const width = 34
  const rows = known.map(([, { usage = '', does }]) => (usage.length < width ? `${usage.padEnd(width)}${does}` : `${usage}\n${' '.repeat(width)}${does}`))
  return [...new Set(rows)].join('\n')
}

/** What of npm's commands changes the packages of a folder. */
const CHANGES_PACKAGES = /^\s*(?:i|install|add|ci|rm|remove|un|uninstall|up|update)\b(?!.*\s(?:-g|--global)\b)/

/** Where npm puts packages that are asked for in `folder`. */
function npmFolder(folder: string): string {
  for (let at = folder; ; at = dirname(at)) {
    if (existsSync(join(at, 'package.json')) || existsSync(join(at, 'node_modules'))) return at
    if (dirname(at) === at) return folder
  }
}

function readText(word: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new UsageError(`%${word}: ${path} cannot be read: ${(error as Error).message}`)
  }
}

function pathOf(text: string): string {
  const path = text.replace(/^(['"])(.*)\1$/, '$2').replace(/^~(?=\/|$)/, homedir())
  return isAbsolute(path) ? path : resolve(path)
}

/** Words between blanks, quotes taken together. */
function split(text: string): string[] {
  return [...text.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(([, double, single, bare]) => double ?? single ?? bare ?? '')
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}
