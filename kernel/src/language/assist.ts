/**
 * Completion and inspection, from types alone: nothing of the user's is evaluated, no getter is called, and a busy cell does not matter.
 * The language server is asked about cells as virtual modules (`cell-module.ts`).
 */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type CellModule, declaredNames, moduleName, moduleText } from './cell-module.js'
import { GLOBALS } from './globals.js'
import { LanguageServer } from './language-server.js'

interface Completion {
  readonly label: string
  readonly kind?: number
  readonly sortText?: string
  readonly additionalTextEdits?: readonly unknown[]
  readonly textEdit?: { readonly range: { readonly start: Place; readonly end: Place } }
}

interface Place {
  readonly line: number
  readonly character: number
}

type Question<T> = (server: LanguageServer, textDocument: { uri: string }, position: Place) => Promise<T>

/** LSP's CompletionItemKind by number, in the words JupyterLab has icons for. */
const KINDS =
  ' text method function function property property class interface module property unit value enum keyword snippet color file reference folder enum constant class event operator type'.split(
    ' ',
  )

export class Assistant {
  #server: Promise<LanguageServer> | undefined
  #cells = new Map<string, CellModule>()
  /** Which module last declared a name. */
  #definers = new Map<string, string>()
  /** How many of `executed` have been read. */
  #read = 0
  /** The modules that the server has. */
  #open = new Set<string>()
  #asked = 0
  /** Completions come in turn: each edits the one document of the cell at hand. */
  #turn: Promise<unknown> = Promise.resolve()

  /** `executed`: the cells that ran, in order; the owner appends to it. */
  constructor(
    private readonly folder: string,
    private readonly executed: readonly string[],
  ) {}

  /** Ends the language server. The next question starts another, which reads all of `executed` anew. */
  close(): void {
    void this.#server?.then((server) => server.close()).catch(() => {})
    this.#server = undefined
    this.#cells = new Map()
    this.#definers = new Map()
    this.#read = 0
    this.#open = new Set()
    this.#asked = 0
  }

  /** The content of a complete_reply. `cursor` counts code points, as the protocol does. */
  async complete(code: string, cursor: number): Promise<object> {
    const offset = utf16Offset(code, cursor)
    const { items, place } = await this.#ask(code, offset, async (server, textDocument, position) => {
      const result = (await server.request('textDocument/completion', { textDocument, position, context: { triggerKind: 1 } })) as
        | { items?: Completion[] }
        | Completion[]
        | null
      return { items: Array.isArray(result) ? result : (result?.items ?? []), place: position }
    }).catch(() => ({ items: [], place: { line: 0, character: 0 } }))

    // In strings every item says what it replaces. Elsewhere only odd ones do (`[Symbol.iterator]` replaces the dot too): left out.
    const range = items.every((item) => item.textEdit !== undefined) ? items[0]?.textEdit?.range : undefined
    const start = range === undefined ? offset - wordBefore(code, offset) : offset - (place.character - range.start.character)
    const end = range === undefined ? offset : offset + (range.end.character - place.character)
    const prefix = code.slice(start, offset)
    const order = ({ sortText = '', label }: Completion) => `${sortText} ${label}`
    // Names of other modules that an editor would import on the way are not offered: the edit could not be made.
    const isPlain = (item: Completion) => item.additionalTextEdits === undefined && (item.textEdit === undefined || range !== undefined)
    // The server marks optional members by a question mark, which is not part of their name.
    const named = items.map((item) => ({ ...item, label: item.label.replace(/\?$/, '') }))
    const found = named.filter((item) => item.label.startsWith(prefix) && isPlain(item)).sort((a, b) => (order(a) < order(b) ? -1 : 1))
    const matches = [...new Map(found.map((item) => [item.label, item])).values()]
    const [from, to] = [codePoints(code, start), codePoints(code, end)]
    const types = matches.map(({ label, kind = 0 }) => ({ text: label, type: KINDS[kind] ?? '', start: from, end: to }))
    return { status: 'ok', matches: matches.map((item) => item.label), cursor_start: from, cursor_end: to, metadata: { _jupyter_types_experimental: types } }
  }

  /** The content of an inspect_reply. */
  async inspect(code: string, cursor: number): Promise<object> {
    const offset = utf16Offset(code, cursor)
    const hover = (at: number) =>
      this.#ask(code, at, (server, textDocument, position) => server.request('textDocument/hover', { textDocument, position })).catch(() => null) as Promise<{
        contents?: { value?: string }
      } | null>
    // Behind `f(` one asks about f.
    const text = ((await hover(offset)) ?? (await hover(code.slice(0, offset).replace(/[\s(,]+$/, '').length)))?.contents?.value
    if (text === undefined) return { status: 'ok', found: false, data: {}, metadata: {} }
    const plain = text.replace(/^```\w*\n?/gm, '').trim()
    return { status: 'ok', found: true, data: { 'text/markdown': text, 'text/plain': plain }, metadata: {} }
  }

  #ask<T>(code: string, offset: number, question: Question<T>): Promise<T> {
    const turn = this.#turn.then(() => this.#askNow(code, offset, question))
    this.#turn = turn.catch(() => {})
    return turn
  }

  async #askNow<T>(code: string, offset: number, question: Question<T>, isRetry = false): Promise<T> {
    const server = await this.#current()
    this.#readExecuted()
    this.#share(server)
    const names = declaredNames(code)
    const imports = new Map([...this.#definers].filter(([name]) => !names.declared.has(name)))
    const { text, shift } = moduleText({ source: code, names, imports })
    const uri = this.#uri('cell')
    const version = ++this.#asked
    if (version === 1) server.notify('textDocument/didOpen', document(uri, text))
    else server.notify('textDocument/didChange', { textDocument: { uri, version }, contentChanges: [{ text }] })
    try {
      return await question(server, { uri }, placeOf(text, shift(offset)))
    } catch (error) {
      // One that died while it was asked is replaced, once.
      if (server.isOpen || isRetry) throw error
      return this.#askNow(code, offset, question, true)
    }
  }

  async #current(): Promise<LanguageServer> {
    const server = await this.#server?.catch(() => undefined)
    if (server?.isOpen === true) return server
    this.close()
    this.#server = LanguageServer.start(this.folder)
    const started = await this.#server
    started.notify('textDocument/didOpen', document(this.#uri('globals', 'd.ts'), GLOBALS))
    return started
  }

  #readExecuted(): void {
    for (; this.#read < this.executed.length; this.#read++) {
      const source = this.executed[this.#read] as string
      const names = declaredNames(source)
      if (names.declared.size === 0) continue
      const imports = new Map([...this.#definers].filter(([name]) => !names.declared.has(name) && source.includes(name)))
      const module = `cell${this.#read + 1}`
      this.#cells.set(module, { source, names, imports })
      for (const name of names.declared) this.#definers.set(name, module)
    }
  }

  /** Gives the server the modules that names of now depend on, and takes back the others: a document costs it 5 ms, and cells run often. */
  #share(server: LanguageServer): void {
    const needed = new Set<string>()
    const need = (module: string): void => {
      if (needed.has(module)) return
      needed.add(module)
      for (const imported of this.#cells.get(module)?.imports.values() ?? []) need(imported)
    }
    for (const module of this.#definers.values()) need(module)
    for (const module of needed) {
      if (!this.#open.has(module)) server.notify('textDocument/didOpen', document(this.#uri(module), moduleText(this.#cells.get(module) as CellModule).text))
    }
    for (const module of this.#open) if (!needed.has(module)) server.notify('textDocument/didClose', { textDocument: { uri: this.#uri(module) } })
    this.#open = needed
  }

  #uri(module: string, extension = 'ts'): string {
    return pathToFileURL(join(this.folder, `${moduleName(module)}.${extension}`)).href
  }
}

function document(uri: string, text: string): object {
  return { textDocument: { uri, languageId: 'typescript', version: 1, text } }
}

function placeOf(text: string, offset: number): Place {
  const before = text.slice(0, offset)
  return { line: before.split('\n').length - 1, character: offset - (before.lastIndexOf('\n') + 1) }
}

function wordBefore(code: string, offset: number): number {
  return /[\p{ID_Continue}$]*$/u.exec(code.slice(0, offset))?.[0].length ?? 0
}

function utf16Offset(code: string, codePoint: number): number {
  return [...code].slice(0, codePoint).join('').length
}

function codePoints(code: string, offset: number): number {
  return [...code.slice(0, offset)].length
}
