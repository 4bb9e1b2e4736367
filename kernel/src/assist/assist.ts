/**
 * Completion, inspection and type errors, from types alone: nothing of the user's is evaluated, no getter is called, and a busy cell does not
 * matter. Whatever the language server does, every question is answered in time; without one the answer is empty.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { isOwnModuleName, namesOf } from './cell-module.js'
import { type Finding, mayHoldMistakes, type TypeMistake, typeMistakes, withoutModules } from './diagnostics.js'
import type { Executed } from './executed.js'
import { type Hover, type Link, reading, type SignatureHelp, signatureText } from './inspection.js'
import type { Asking } from './language-server.js'
import { magicHelpAt, magicsAt } from './magic-completion.js'
import { Notebook, type Surroundings } from './notebook.js'
import { pathsAt } from './path-completion.js'
import { ServerLife } from './server-life.js'
import type { Opened, Place, Working, Workspace } from './workspace.js'

interface Completion {
  readonly label: string
  readonly kind?: number
  readonly sortText?: string
  readonly additionalTextEdits?: readonly unknown[]
  readonly textEdit?: { readonly range: { readonly start: Place; readonly end: Place } }
}

interface LspDiagnostic {
  readonly range: { readonly start: Place; readonly end: Place }
  readonly severity?: number
  readonly code: number
  readonly message: string
}

/** A question about a document that is open. */
type Question<T> = (ask: (method: string, params?: object) => Promise<unknown>, opened: Opened, workspace: Workspace) => Promise<T>

interface AskingAbout extends Asking {
  /** What the cell may refer to; without it, all that ran by the time it is asked. */
  readonly before?: Surroundings
  /** Names that matter although the cell does not mention them. */
  readonly wanted?: (name: string) => boolean
}

/** JupyterLab drops a completer that takes longer than a second. */
const COMPLETE_MS = 900
/** What a help text, or the first answer of a server on a busy machine, is worth waiting for. */
const ANSWER_MS = 3000
/** A check is of use for as long as somebody may still look at the cell. */
const CHECK_MS = 10_000

/** Node has these in CommonJS files alone, its types everywhere. Cells have `import.meta`. */
const ABSENT = new Set(['__dirname', '__filename', 'exports', 'module'])

/** LSP's CompletionItemKind by number, in the words JupyterLab has icons for. */
const KINDS =
  ' text method function function property property class interface module property unit value enum keyword snippet color file reference folder enum constant class event operator type'.split(
    ' ',
  )

export class Assistant {
  readonly #notebook: Notebook
  readonly #life: ServerLife
  #superseded = new AbortController()
  /** Questions about one document come in turn: each edits it. */
  readonly #turns: Record<Working, Promise<unknown>> = { typed: Promise.resolve(), run: Promise.resolve() }

  /** `executed`: the cells that ran, in order; the owner appends to it. `globals`: names that code put on the global object. */
  constructor(
    private readonly folder: string,
    private readonly executed: readonly Executed[],
    globals: ReadonlySet<string> = new Set(),
  ) {
    this.#notebook = new Notebook(executed)
    this.#life = new ServerLife(folder, this.#notebook, globals)
  }

  /** To be called when the owner has emptied `executed`: all names are gone. */
  forget(): void {
    this.#notebook.forget()
  }

  /** Ends the language server. The next question starts another. */
  close(): void {
    this.#life.close()
  }

  /** The content of a complete_reply. `cursor` counts code points, as the protocol does. The question before this one is dropped: its user types on. */
  async complete(code: string, cursor: number): Promise<object> {
    this.#superseded.abort()
    this.#superseded = new AbortController()
    const offset = utf16Offset(code, cursor)
    const magic = magicsAt(code, offset, this.#notebook.expanded(code).text, this.folder)
    if (magic !== undefined) return completion(code, magic.start, offset, magic.matches)
    const word = wordBefore(code, offset)
    // Behind a dot and in a string no name of the notebook is meant.
    const wanted = (name: string) => name.startsWith(word) && (word !== '' || !/[.'"`/]$/.test(code.slice(0, offset)))
    const asking = { limit_ms: this.#life.isWarm ? COMPLETE_MS : ANSWER_MS, signal: this.#superseded.signal, wanted }
    const items = await this.#ask('typed', code, asking, async (ask, { placeOf, offsetOf }) => {
      const result = (await ask('textDocument/completion', { position: placeOf(offset), context: { triggerKind: 1 } })) as
        | { items?: Completion[] }
        | Completion[]
        | null
      const found = Array.isArray(result) ? result : (result?.items ?? [])
      return found.map(({ textEdit, ...item }) => ({
        ...item,
        // The server marks optional members by a question mark, which is not part of their name.
        label: item.label.replace(/\?$/, ''),
        edit: textEdit && { start: offsetOf(textEdit.range.start), end: offsetOf(textEdit.range.end) },
      }))
    }).catch(() => [])

    // In strings every item says what it replaces. Elsewhere only odd ones do (`[Symbol.iterator]` replaces the dot too): left out.
    const edit = items.every((item) => item.edit !== undefined) ? items[0]?.edit : undefined
    const { start, end } = edit ?? { start: offset - word.length, end: offset }
    const prefix = code.slice(start, offset)
    const order = ({ sortText = '', label }: { sortText?: string; label: string }) => `${sortText} ${label}`
    const found = items
      .filter((item) => item.label.startsWith(prefix) && !isOwnModuleName(item.label) && !item.label.startsWith('$$'))
      .filter((item) => /\.\s*$/.test(code.slice(0, start)) || !ABSENT.has(item.label) || this.#notebook.sourceOf(item.label) !== undefined)
      // Names of other modules that an editor would import on the way are not offered: the edit could not be made.
      .filter((item) => item.additionalTextEdits === undefined && (item.edit === undefined || edit !== undefined))
      .sort((a, b) => (order(a) < order(b) ? -1 : 1))
    const matches = [...new Map(found.map(({ label, kind = 0 }) => [label, KINDS[kind] ?? '']))]
    if (matches.length > 0) return completion(code, start, end, matches)
    const { start: from = start, paths = [] } = pathsAt(code, offset, this.folder) ?? {}
    return completion(
      code,
      from,
      paths.length > 0 ? offset : end,
      paths.map(({ label, isFolder }) => [label, isFolder ? 'folder' : 'file']),
    )
  }

  /** The content of an inspect_reply: what a name is, or inside the brackets of a call what it takes. With `detail` 1 also where it is declared. */
  async inspect(code: string, cursor: number, detail = 0): Promise<object> {
    const offset = utf16Offset(code, cursor)
    const help = magicHelpAt(code, offset)
    const text =
      help ??
      (await this.#ask('typed', code, { limit_ms: ANSWER_MS }, async (ask, { placeOf }, workspace) => {
        const hover = async (at: number): Promise<string | undefined> => reading((await ask('textDocument/hover', { position: placeOf(at) })) as Hover | null)
        const isOnName = wordBefore(code, offset) !== '' || /^[\p{ID_Start}$_]/u.test(code.slice(offset))
        let at = offset
        let found = isOnName ? await hover(at) : undefined
        found ??= signatureText((await ask('textDocument/signatureHelp', { position: placeOf(offset) })) as SignatureHelp | null)
        if (found === undefined) {
          // Behind `f(` one asks about f.
          at = /^[\s\S]*[^\s(,]/.exec(code.slice(0, offset))?.[0].length ?? 0
          found = await hover(at)
        }
        if (found === undefined || detail === 0) return found
        const [link] = ((await ask('textDocument/definition', { position: placeOf(at) })) ?? []) as Link[]
        const name = wordBefore(code, at) + (/^[\p{ID_Continue}$]*/u.exec(code.slice(at))?.[0] ?? '')
        const source = (link && workspace.sourceAt(link.targetUri, link.targetRange)) ?? this.#notebook.sourceOf(name)
        return source === undefined ? found : `${found}\n\n\`\`\`typescript\n${source}\n\`\`\``
      }).catch(() => undefined))
    const plain = text?.replace(/^```\w*\n?/gm, '').trim()
    // Of a name that nobody has declared the server says `any`.
    if (text === undefined || plain === 'any') return { status: 'ok', found: false, data: {}, metadata: {} }
    return { status: 'ok', found: true, data: { 'text/markdown': text, 'text/plain': plain }, metadata: {} }
  }

  /** What is wrong with the types of a cell that is about to run, after the first `count` of `executed`. Throws when the server cannot tell. */
  async check(code: string, count = this.executed.length): Promise<TypeMistake[]> {
    const before = this.#notebook.surroundings(count)
    const { text } = this.#notebook.expanded(code)
    if (!mayHoldMistakes(text)) return []
    // `{ a: 1, b: 2 }` is meant as a value, which in a module it is in brackets alone.
    const [open, close] = namesOf(text) === undefined ? ['(', '\n)'] : ['', '']
    if (namesOf(open + text + close) === undefined) return [] // it will not run; the parser says why
    const question: Question<Finding[]> = async (ask, { offsetOf }) => {
      const report = (await ask('textDocument/diagnostic')) as { items?: LspDiagnostic[] } | null
      const at = (place: Place) => Math.max(0, offsetOf(place) - open.length)
      return (report?.items ?? []).map(({ range, code, message, severity = 1 }) => ({ start: at(range.start), end: at(range.end), code, message, severity }))
    }
    const found = await this.#ask('run', open + code + close, { limit_ms: CHECK_MS, before }, question)
    const said = found.map((finding) => ({ ...finding, message: withoutModules(finding.message, (module) => this.#notebook.fileOf(module)) }))
    return typeMistakes(said, code, (name) => before.definers.has(name))
  }

  #ask<T>(document: Working, code: string, { limit_ms, signal, before, wanted = () => false }: AskingAbout, question: Question<T>): Promise<T> {
    const until = performance.now() + limit_ms
    const askNow = async (isRetry: boolean): Promise<T> => {
      const { server, workspace } = await this.#life.current()
      const left_ms = until - performance.now()
      if (signal?.aborted === true || left_ms <= 0) throw new Error('nobody waits for the answer any more')
      const opened = workspace.open(document, code, before ?? this.#notebook.surroundings(), wanted)
      const ask = (method: string, params: object = {}) =>
        server.request(method, { textDocument: { uri: opened.uri }, ...params }, { limit_ms: left_ms, ...(signal === undefined ? {} : { signal }) })
      try {
        const answer = await question(ask, opened, workspace)
        this.#life.answered()
        return answer
      } catch (error) {
        // One that died while it was asked is replaced, once.
        if (server.isOpen || isRetry) throw error
        return askNow(true)
      }
    }
    const turn = this.#turns[document].then(() => askNow(false))
    this.#turns[document] = turn.catch(() => {})
    const late = delay(limit_ms, undefined, { ref: false }).then(() => Promise.reject(new Error(`no answer within ${limit_ms} ms`)))
    return Promise.race([turn, late])
  }
}

/** The content of a complete_reply; matches with their kinds. */
function completion(code: string, start: number, end: number, matches: readonly (readonly [label: string, kind: string])[]): object {
  const [from, to] = [codePoints(code, start), codePoints(code, end)]
  const types = matches.map(([text, type]) => ({ text, type, start: from, end: to }))
  return { status: 'ok', matches: matches.map(([label]) => label), cursor_start: from, cursor_end: to, metadata: { _jupyter_types_experimental: types } }
}

function wordBefore(code: string, offset: number): string {
  // Split, for an expression that ends in `$` is tried from every place of the text.
  return code
    .slice(0, offset)
    .split(/[^\p{ID_Continue}$]/u)
    .at(-1) as string
}

function utf16Offset(code: string, codePoint: number): number {
  return [...code].slice(0, codePoint).join('').length
}

function codePoints(code: string, offset: number): number {
  return [...code.slice(0, offset)].length
}
