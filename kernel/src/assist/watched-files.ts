/**
 * The files that cells import, which may change while the language server runs. In LSP to watch files is the client's duty; a watcher over a
 * notebook's folder costs more than to look at these few before every question.
 */
import { readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/** LSP's FileEvent. */
export interface FileEvent {
  readonly uri: string
  readonly type: 1 | 2 | 3
}
const [CREATED, CHANGED, DELETED] = [1, 2, 3] as const

const ABSENT = ''

export class WatchedFiles {
  /** Path -> modification time and size. */
  readonly #stamps = new Map<string, string>()
  readonly #imports = new Map<string, { readonly stamp: string; readonly specifiers: readonly string[] }>()

  constructor(private readonly folder: string) {}

  /** What happened since the last look to files that these cells import, that those files import, and to `others`. */
  look(specifiers: Iterable<string>, others: readonly string[]): FileEvent[] {
    const events: FileEvent[] = []
    const seen = new Set<string>()
    const visit = (path: string): void => {
      if (seen.has(path)) return
      seen.add(path)
      const [before, now] = [this.#stamps.get(path), stampOf(path)]
      this.#stamps.set(path, now)
      // At the first look the server has not seen it either.
      if (before !== undefined && before !== now)
        events.push({ uri: pathToFileURL(path).href, type: before === ABSENT ? CREATED : now === ABSENT ? DELETED : CHANGED })
      if (now === ABSENT || !/\.[mc]?tsx?$/.test(path)) return
      for (const specifier of this.#importsOf(path, now)) for (const candidate of candidates(specifier, dirname(path))) visit(candidate)
    }
    for (const path of others) visit(path)
    for (const specifier of specifiers) for (const candidate of candidates(specifier, this.folder)) visit(candidate)
    return events
  }

  #importsOf(path: string, stamp: string): readonly string[] {
    const known = this.#imports.get(path)
    if (known?.stamp === stamp) return known.specifiers
    const specifiers = importedBy(readFileSync(path, 'utf8')).filter(isLocal)
    this.#imports.set(path, { stamp, specifiers })
    return specifiers
  }
}

/** What a text seems to import: it need not parse. */
export function importedBy(source: string): string[] {
  return [...source.matchAll(/\b(?:from|import|require)\s*(?:\(\s*)?(['"])([^'"\n]+)\1/g)].map(([, , specifier]) => specifier as string)
}

function isLocal(specifier: string): boolean {
  return /^(?:\.|\/|file:)/.test(specifier)
}

/** Where a specifier may lead: to files for local ones, to `package.json` and types for packages, in any folder upwards. */
function candidates(specifier: string, folder: string): string[] {
  if (isLocal(specifier)) {
    const path = specifier.startsWith('file:') ? fileURLToPath(specifier) : resolve(folder, specifier)
    return [path, path.replace(/\.(m?)js$/, '.$1ts'), `${path}.ts`, `${path}.d.ts`, join(path, 'index.ts')]
  }
  const name = /^(?:@[^/]+\/)?[^/:]+(?=\/|$)/.exec(specifier)?.[0]
  if (name === undefined) return []
  const typed = `@types/${name.replace(/^@(.*)\//, '$1__')}`
  return upwards(folder).flatMap((parent) => [name, typed].map((each) => join(parent, 'node_modules', each, 'package.json')))
}

function upwards(folder: string): string[] {
  const parent = dirname(folder)
  return parent === folder ? [folder] : [folder, ...upwards(parent)]
}

function stampOf(path: string): string {
  try {
    const stats = statSync(path, { throwIfNoEntry: false })
    return stats?.isFile() === true ? `${stats.mtimeMs}:${stats.size}` : ABSENT
  } catch {
    return ABSENT // a part of the path is a file, or may not be read
  }
}
