/**
 * What the language server knows of a notebook: options, globals, and the cells as virtual modules. Nothing of it lies on a disk; the server
 * reads documents that are open here as it would read files.
 *
 *     __fpdt_tsconfig__.json    takes the place of a tsconfig.json: extends the defaults, and the one beside the notebook if there is one
 *     __fpdt_defaults__.json    our defaults, with the libraries that this Node has
 *     __fpdt_globals__.d.ts     what cells know without an import
 *     __fpdt_cell<n>__.ts       cells that ran and that somebody still takes a name from
 *     __fpdt_cells__.ts         imports those: a document of no project is given one by the server, with all of the DOM
 *     __fpdt_typed__.ts         the cell that is being typed
 *     __fpdt_run__.ts           the cell that is being run
 */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { CELLS_FILE } from '../cells/modules.js'
import { type CellModule, type Definers, exportingModule, LINES_BEFORE, moduleName, typedNames, wordsOf, workingModule } from './cell-module.js'
import { GLOBALS } from './globals.js'
import type { LanguageServer } from './language-server.js'
import { libraries } from './libraries.js'
import type { Notebook, Surroundings } from './notebook.js'
import { importedBy, WatchedFiles } from './watched-files.js'

/** The documents that questions are asked about. */
export type Working = 'typed' | 'run'

/** A document as the server has it, and where things of the source are in it. */
export interface Opened {
  readonly uri: string
  readonly placeOf: (offset: number) => Place
  readonly offsetOf: (place: Place) => number
}

/** LSP's Position: both count from 0, characters are UTF-16 code units. */
export interface Place {
  readonly line: number
  readonly character: number
}

export const CONFIG = `${moduleName('tsconfig')}.json`
const TYPED_GLOBALS = new Set([...GLOBALS.matchAll(/^declare \w+ ([\w$]+)/gm)].map(([, name]) => name))
/** How much of a source is shown. */
const SHOWN_LINES = 60
const DEFAULTS_FILE = `${moduleName('defaults')}.json`
const GLOBALS_FILE = `${moduleName('globals')}.d.ts`

/** What holds unless a tsconfig.json beside the notebook says otherwise. */
const DEFAULTS = fileURLToPath(new URL('../../assets/tsconfig.cells.json', import.meta.url))

/** How the kernel finds modules and runs them, which no tsconfig.json changes. */
const FIXED_OPTIONS = {
  target: 'esnext',
  module: 'esnext',
  moduleResolution: 'bundler',
  moduleDetection: 'force',
  allowImportingTsExtensions: true,
  resolveJsonModule: true,
  noEmit: true,
  composite: false,
  incremental: false,
  declaration: false,
  isolatedModules: false,
  isolatedDeclarations: false,
  verbatimModuleSyntax: false,
  erasableSyntaxOnly: false,
  paths: { fpdt: ownTypes('fpdt'), 'fpdt/*': ownTypes('*') },
}

export class Workspace {
  /** Modules of cells that the server has. */
  readonly #shared = new Set<string>()
  readonly #documents = new Map<string, { version: number; text: string }>()
  readonly #files: WatchedFiles

  /** `globals`: names that code put on the global object. */
  constructor(
    private readonly folder: string,
    private readonly notebook: Notebook,
    private readonly globals: ReadonlySet<string>,
    private readonly server: LanguageServer,
  ) {
    this.#files = new WatchedFiles(folder)
  }

  /**
   * Makes `source` the text of a document, after what has happened since the last question. The server gets the modules of the names that the
   * source mentions, and of those that are `wanted` besides: each costs it.
   */
  open(document: Working, source: string, surroundings: Surroundings, wanted: (name: string) => boolean): Opened {
    const { text, toText, toSource } = this.notebook.expanded(source)
    const own = typedNames(text)
    const mentioned = wordsOf(text)
    const taken = [...surroundings.definers].filter(([name]) => !own.has(name) && (mentioned.has(name) || wanted(name)))
    const { augmenting } = surroundings
    const definers = new Map(taken)
    const modules = this.notebook.modulesOf({ definers, augmenting })
    const specifiers = [...modules.values(), { source: text }].flatMap((cell) => importedBy(cell.source))
    if (this.#lookAtFiles(specifiers) || !this.#documents.has(CONFIG)) this.#configure()
    this.#write(GLOBALS_FILE, GLOBALS + this.#newGlobals(surroundings.definers))
    this.#share(modules)
    const uri = this.#write(fileOf(document), workingModule(text, definers, augmenting, document === 'run'))
    return {
      uri,
      placeOf(offset) {
        const lines = text.slice(0, toText(offset)).split('\n')
        return { line: lines.length - 1 + LINES_BEFORE, character: lines.at(-1)?.length ?? 0 }
      },
      offsetOf({ line, character }) {
        const before = text.split('\n').slice(0, line - LINES_BEFORE)
        return toSource(before.reduce((sum, each) => sum + each.length + 1, character))
      },
    }
  }

  /** The lines of a range, of a cell or of a file; at most as many as one wants to read. */
  sourceAt(uri: string, { start, end }: { start: { line: number }; end: { line: number } }): string | undefined {
    if (start.line < LINES_BEFORE && this.#textOf(uri) !== undefined) return undefined // a line of ours
    try {
      const lines = (this.#textOf(uri) ?? readFileSync(fileURLToPath(uri), 'utf8')).split('\n').slice(start.line, end.line + 1)
      return lines.length > SHOWN_LINES ? [...lines.slice(0, SHOWN_LINES), '...'].join('\n') : lines.join('\n')
    } catch {
      return undefined // gone since
    }
  }

  #textOf(uri: string): string | undefined {
    return [...this.#documents].find(([name]) => this.#uri(name) === uri)?.[1].text
  }

  /** Those that have types elsewhere are left out, and so are results by number (`_3`): one comes with every cell, and each change costs the server. */
  #newGlobals(definers: Definers): string {
    const isNew = (name: string) =>
      /^[\p{ID_Start}_][\p{ID_Continue}$]*$/u.test(name) && !/^_\d+$/.test(name) && !TYPED_GLOBALS.has(name) && !definers.has(name)
    const names = [...this.globals].filter(isNew)
    return names.map((name) => `declare var ${name}: any\n`).join('')
  }

  /** Gives the server modules that it has not, and takes back those that nothing depends on any more. */
  #share(modules: ReadonlyMap<string, CellModule>): void {
    for (const name of [...this.#shared]) {
      if (!this.notebook.isGone(name)) continue
      this.#shared.delete(name)
      this.#documents.delete(fileOf(name))
      this.server.notify('textDocument/didClose', { textDocument: { uri: this.#uri(fileOf(name)) } })
    }
    const added = [...modules].filter(([name]) => !this.#shared.has(name))
    for (const [name] of added) this.#shared.add(name)
    this.#write(fileOf('cells'), [...this.#shared].map((name) => `import './${fileOf(name)}'\n`).join(''))
    for (const [name, module] of added) this.#write(fileOf(name), exportingModule(module))
  }

  /** False when nothing has changed. */
  #lookAtFiles(specifiers: readonly string[]): boolean {
    const changes = this.#files.look(specifiers, [join(this.folder, 'tsconfig.json'), join(this.folder, 'node_modules/@types/node/package.json')])
    if (changes.length > 0) this.server.notify('workspace/didChangeWatchedFiles', { changes })
    return changes.length > 0
  }

  #configure(): void {
    const theirs = existsSync(join(this.folder, 'tsconfig.json')) ? ['./tsconfig.json'] : []
    const documents = [GLOBALS_FILE, fileOf('typed'), fileOf('run'), fileOf('cells')].map((name) => `./${name}`)
    const node = nodeTypes(this.folder)
    const types = node === undefined ? {} : { typeRoots: [dirname(node)] }
    const files = node === undefined ? documents : [join(node, 'index.d.ts'), ...documents]
    this.#write(DEFAULTS_FILE, JSON.stringify({ extends: DEFAULTS, compilerOptions: { lib: libraries() } }))
    const options = { extends: [`./${DEFAULTS_FILE}`, ...theirs], compilerOptions: { ...FIXED_OPTIONS, ...types }, files, include: [] }
    this.#write(CONFIG, JSON.stringify(options))
  }

  /** Opens a document or changes it; nothing when it is that already. */
  #write(name: string, text: string): string {
    const uri = this.#uri(name)
    const known = this.#documents.get(name)
    if (known === undefined) {
      this.#documents.set(name, { version: 1, text })
      this.server.notify('textDocument/didOpen', { textDocument: { uri, languageId: name.endsWith('.json') ? 'json' : 'typescript', version: 1, text } })
    } else if (known.text !== text) {
      known.text = text
      this.server.notify('textDocument/didChange', { textDocument: { uri, version: ++known.version }, contentChanges: [{ text }] })
    }
    return uri
  }

  #uri(name: string): string {
    return pathToFileURL(join(this.folder, name)).href
  }
}

function fileOf(module: string): string {
  return `${moduleName(module)}.ts`
}

/** Where the types of a folder of ours lie; the sources stand in for them where nothing is built. */
function ownTypes(folder: string): string[] {
  return ['d.ts', 'ts'].map((extension) => fileURLToPath(new URL(`../${folder}/index.${extension}`, import.meta.url)))
}

/** Types of Node: the notebook's own, so that its packages and the cells speak of the same, or the kernel's; for all that ask for some, one. */
function nodeTypes(folder: string): string | undefined {
  for (const from of [join(folder, CELLS_FILE), fileURLToPath(import.meta.url)]) {
    try {
      return dirname(createRequire(from).resolve('@types/node/package.json'))
    } catch {
      // The next place.
    }
  }
  return undefined
}
