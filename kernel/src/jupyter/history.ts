/** What was run, in all sessions: one JSON line an entry, only ever appended to, in Jupyter's data directory. */
import { appendFileSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { userDataFolder } from '../install.js'
import { matchesGlob } from './glob.js'
import type { Content } from './message.js'

const KEPT = 10_000
/** A file that is longer is read although nobody asks: reading cuts it. */
const LONG_BYTES = 4 * 2 ** 20

interface Entry {
  readonly session: number
  readonly line: number
  readonly source: string
  /** text/plain of the result. */
  readonly output?: string
}

/** Whoever reads what was run may read secrets. */
const OWN = { mode: 0o600 }

export function historyPath(env: NodeJS.ProcessEnv = process.env): string {
  return join(userDataFolder(env), 'fpdt', 'history.jsonl')
}

export class History {
  /** Milliseconds at the start: grows, and two kernels hardly share it. */
  readonly #session = Date.now()
  /** Of this process: that of the main shell, and one for each subshell in which a cell ran. */
  readonly #sessions = new Set([this.#session])
  readonly #own: Entry[] = []
  /** Of other sessions; read when first asked for, a cell does not wait for it. */
  #earlier: readonly Entry[] | undefined
  /** Lines that are still to be written. */
  #unwritten = ''
  #canWrite = true

  constructor(private readonly path: string) {}

  /** Written a moment later: the reply of the cell goes first. Subshells, counted from 1, are sessions beside the main shell's: their lines have numbers of their own. */
  add(line: number, source: string, output: string | undefined, subshell = 0): void {
    const session = this.#session + subshell
    this.#sessions.add(session)
    const entry: Entry = { session, line, source, ...(output === undefined ? {} : { output }) }
    this.#own.push(entry)
    if (this.#unwritten === '') setImmediate(() => this.#write())
    this.#unwritten += `${JSON.stringify(entry)}\n`
  }

  #write(): void {
    const lines = this.#unwritten
    this.#unwritten = ''
    if (!this.#canWrite) return
    try {
      try {
        appendFileSync(this.path, lines, OWN)
        if (this.#earlier === undefined && statSync(this.path).size > LONG_BYTES) this.#earlier = this.#read()
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
        mkdirSync(dirname(this.path), { recursive: true })
        appendFileSync(this.path, lines, OWN)
      }
    } catch (error) {
      this.#canWrite = false
      process.stderr.write(`fpdt kernel: history is not kept beyond this session: ${(error as Error).message}\n`)
    }
  }

  /** The content of a history_reply. */
  reply(request: Content): object {
    const { output = false } = request
    const history = this.#find(request).map((entry) => [entry.session, entry.line, output ? [entry.source, entry.output ?? null] : entry.source])
    return { status: 'ok', history }
  }

  #find({ hist_access_type, n, session, start, stop, pattern, unique }: Content): readonly Entry[] {
    const entries = this.#entries()
    const last = (found: readonly Entry[]) => (typeof n === 'number' && n > 0 ? found.slice(-n) : found)
    switch (hist_access_type) {
      case 'tail':
        return last(entries)
      case 'range': {
        const wanted = this.#sessionOf(Number(session ?? 0))
        const [from, to] = [Number(start ?? 0), stop === null || stop === undefined ? Number.POSITIVE_INFINITY : Number(stop)]
        return entries.filter((entry) => entry.session === wanted && entry.line >= from && entry.line < to)
      }
      case 'search': {
        const found = entries.filter(({ source }) => matchesGlob(String(pattern ?? '*'), source))
        return last(unique === true ? [...new Map(found.map((entry) => [entry.source, entry])).values()] : found)
      }
      default:
        return []
    }
  }

  /** 0 is this session, -1 the one before; others are what a reply named. */
  #sessionOf(session: number): number {
    if (session > 0) return session
    const sessions = [...new Set(this.#entries().map((entry) => entry.session))].filter((id) => !this.#sessions.has(id))
    return session === 0 ? this.#session : (sessions.at(session) ?? Number.NaN)
  }

  #entries(): readonly Entry[] {
    this.#earlier ??= this.#read()
    return [...this.#earlier, ...this.#own]
  }

  /** What other sessions wrote. */
  #read(): Entry[] {
    let lines: string[] = []
    try {
      lines = readFileSync(this.path, 'utf8').split('\n').filter(Boolean)
      if (lines.length > 2 * KEPT) {
        // Beside and renamed: a kill in between leaves the old file whole.
        writeFileSync(`${this.path}.new`, `${lines.slice(-KEPT).join('\n')}\n`, OWN)
        renameSync(`${this.path}.new`, this.path)
      }
    } catch {
      // No history yet, or none that can be read.
    }
    const entries = lines.slice(-KEPT).flatMap((line) => {
      try {
        return [JSON.parse(line) as Partial<Entry> | null]
      } catch {
        return [] // torn by a kill
      }
    })
    return entries.filter(isEntry).filter(({ session }) => !this.#sessions.has(session))
  }
}

/** Others can write into the file. */
function isEntry(value: Partial<Entry> | null): value is Entry {
  return (
    Number.isSafeInteger(value?.session) && Number.isSafeInteger(value?.line) && typeof value?.source === 'string' && typeof (value.output ?? '') === 'string'
  )
}
