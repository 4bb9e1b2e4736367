/**
 * Completion and inspection, from types alone: nothing of the user's is evaluated, no getter is called, and a busy cell does not matter.
 *
 * The language server sees one virtual module per executed cell, beside the notebook so that relative imports work. A module imports each name
 * from its newest definer and exports its own, so `const x` may be declared again as anything. (One document of all cells gives stale types and
 * error 2451 after a redeclaration.)
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { LanguageServer } from './language-server.js'
import { ownModule } from './modules.js'
import { boundNames, type Node, parse } from './syntax.js'

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

interface Names {
  readonly declared: ReadonlySet<string>
  /** By the cell itself. */
  readonly exported: ReadonlySet<string>
}

interface CellModule {
  readonly source: string
  readonly names: Names
  /** Name -> the module that had last declared it when this cell ran. */
  readonly imports: ReadonlyMap<string, string>
}

type Question<T> = (server: LanguageServer, textDocument: { uri: string }, position: Place) => Promise<T>

/** LSP's CompletionItemKind by number, in the words JupyterLab has icons for. */
const KINDS =
  ' text method function function property property class interface module property unit value enum keyword snippet color file reference folder enum constant class event operator type'.split(
    ' ',
  )

const GLOBALS = `
/** Shows a value in the output of this cell: its own MIME bundle if it has one, else as text. */
declare function display(value: unknown, options?: { id?: string; update?: boolean; metadata?: Record<string, unknown> }): void
declare namespace display {
  /** Clears the outputs of this cell, with \`wait\` when the next one comes. */
  function clear(options?: { wait?: boolean }): void
}
`

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
    const found = items.filter((item) => item.label.startsWith(prefix) && isPlain(item)).sort((a, b) => (order(a) < order(b) ? -1 : 1))
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

/** A cell as a module. `shift` gives the offset in it of an offset in the cell. */
function moduleText({ source, names, imports }: CellModule): { readonly text: string; readonly shift: (offset: number) => number } {
  const statements = [...imports].map(([name, module]) => `import { ${name} } from './${moduleName(module)}.js'`)
  const head = `${nodeTypes()}/// <reference path="./${moduleName('globals')}.d.ts" />\n${statements.join(';')}\n`
  const exports = [...names.declared].filter((name) => !names.exported.has(name))
  const { text, shift } = withOwnPaths(source)
  return { text: `${head}${text}\nexport { ${exports.join(', ')} }\n`, shift: (offset) => head.length + shift(offset) }
}

/** No file of that name exists; it is told from the user's own by its look. */
function moduleName(module: string): string {
  return `__fpdt_${module}__`
}

function document(uri: string, text: string): object {
  return { textDocument: { uri, languageId: 'typescript', version: 1, text } }
}

/** Types of Node as files: by name they would be looked for beside the notebook. */
function nodeTypes(): string {
  try {
    const path = join(dirname(createRequire(import.meta.url).resolve('@types/node/package.json')), 'index.d.ts')
    return `/// <reference path="${path}" />\n`
  } catch {
    return ''
  }
}

/** `from 'fpdt'` means the kernel's own copy, for types as at run time. */
function withOwnPaths(source: string): { readonly text: string; readonly shift: (offset: number) => number } {
  const edits: { readonly at: number; readonly growth: number }[] = []
  const text = source.replace(
    /(\bfrom\s*|\bimport\s*\(?\s*)(['"])(fpdt(?:\/[\w-]+)?)\2/g,
    (all, before: string, quote: string, specifier: string, at: number) => {
      const url = ownModule(specifier)
      if (url === undefined || !existsSync(url)) return all
      const replaced = `${before}${quote}${fileURLToPath(url)}${quote}`
      edits.push({ at: at + all.length, growth: replaced.length - all.length })
      return replaced
    },
  )
  return { text, shift: (offset) => edits.reduce((sum, { at, growth }) => (offset >= at ? sum + growth : sum), offset) }
}

/** Top-level names, types included. While the cell does not parse, what its declarations look like. */
function declaredNames(source: string): Names {
  const declared = new Set<string>()
  const exported = new Set<string>()
  const body = parse(source).program.body as unknown as Node[]
  if (body.length === 0) {
    for (const [, name] of source.matchAll(
      /^\s*(?:export\s+)?(?:const|let|var|function\*?|async\s+function\*?|(?:abstract\s+)?class|interface|type|enum|namespace)\s+([\w$]+)/gm,
    )) {
      declared.add(name as string)
    }
  }
  const declare = (node: Node): string[] => {
    if (node.type === 'VariableDeclaration') return (node.declarations as Node[]).flatMap(({ id }) => boundNames(id as Node))
    if (node.type === 'ImportDeclaration') return (node.specifiers as Node[]).map(({ local }) => (local as Node).name as string)
    const id = node.id as Node | null | undefined
    return id?.type === 'Identifier' ? [id.name as string] : []
  }
  for (const statement of body) {
    const inner = statement.declaration as Node | null | undefined
    for (const name of declare(inner ?? statement)) {
      declared.add(name)
      if (inner !== undefined && inner !== null && statement.type === 'ExportNamedDeclaration') exported.add(name)
    }
    for (const specifier of (statement.type === 'ExportNamedDeclaration' ? statement.specifiers : []) as Node[])
      exported.add((specifier.exported as Node).name as string)
  }
  return { declared, exported }
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
