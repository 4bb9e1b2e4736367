/**
 * `import` in cells. Everything resolves from the directory the kernel was started in, except `fpdt`: that is the kernel's own copy, because a
 * process can hold one addon. Local files are loaded through hooks (`module-hooks.ts`), registered at the first such import: they cost 50 ms.
 */
import { readdirSync } from 'node:fs'
import { createRequire, isBuiltin, register } from 'node:module'
import { basename, dirname, extname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import vm from 'node:vm'
import { FpdtError } from '../errors.js'
import { nearest } from '../nearest.js'

type ImportOptions = { readonly with?: Readonly<Record<string, string>> }
type Namespace = Readonly<Record<string, unknown>>

/** The file that cells claim to be, in the folder the kernel was started in; imports resolve from it, and it need not exist. */
export const CELLS_FILE = 'cells.mjs'

const OWN_PACKAGE = new URL('../', import.meta.url)

/** `fpdt` -> lib/fpdt/index.js, `fpdt/trace` -> lib/trace/index.js; undefined for all else. */
export function ownModule(specifier: string): URL | undefined {
  const match = /^fpdt(?:\/([\w-]+))?$/.exec(specifier)
  return match === null ? undefined : new URL(`./${match[1] ?? 'fpdt'}/index.js`, OWN_PACKAGE)
}

export class CellModules {
  readonly require: NodeJS.Require
  /** What `import.meta` is in a cell. */
  readonly meta: { readonly url: string; readonly dirname: string; readonly filename: string }
  readonly #import: (specifier: string, options?: ImportOptions) => Promise<Namespace>
  #hooked = false

  constructor(readonly folder: string) {
    const filename = join(folder, CELLS_FILE)
    this.#import = new vm.Script('(specifier, options) => import(specifier, options)', {
      filename,
      importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER as never,
    }).runInThisContext()
    this.require = createRequire(filename)
    this.meta = { url: pathToFileURL(filename).href, dirname: folder, filename }
  }

  /** An import declaration: throws as Node does when the module lacks one of `names`. */
  async import(specifier: string, names: readonly string[], attributes: Readonly<Record<string, string>>): Promise<Namespace> {
    const namespace = await this.dynamicImport(specifier, { with: attributes })
    const missing = names.filter((name) => !(name in namespace))
    if (missing.length === 0) return namespace
    // Node finds the names of a CommonJS module by reading it, and often does not; its `module.exports` has them, as bundlers know.
    const { default: all } = namespace as { default?: unknown }
    const own = (Object(all) === all ? all : {}) as Namespace
    const absent = missing.find((name) => !(name in own))
    if (absent !== undefined) {
      throw new SyntaxError(`the module '${specifier}' has no export named '${absent}'; if it is a type, write \`import { type ${absent} }\``)
    }
    return { ...namespace, ...Object.fromEntries(missing.map((name) => [name, own[name]])) }
  }

  async dynamicImport(specifier: string, options: ImportOptions = {}): Promise<Namespace> {
    const own = ownModule(specifier)
    if (own !== undefined) return this.#importOwn(specifier, own)
    refuseForeign(specifier)
    if (/^(?:\.|\/|file:)/.test(specifier)) this.#registerHooks()
    try {
      return await this.#import(specifier, options)
    } catch (error) {
      throw this.#explain(error, specifier)
    }
  }

  async #importOwn(specifier: string, url: URL): Promise<Namespace> {
    try {
      return await import(url.href)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error
      const { message } = error as Error
      throw new FpdtError('not-built', `'${specifier}' is not built: ${message}; run \`npm run build\` in ${fileURLToPath(new URL('../..', OWN_PACKAGE))}`)
    }
  }

  #registerHooks(): void {
    if (this.#hooked) return
    this.#hooked = true
    register(new URL('./module-hooks.js', import.meta.url))
  }

  /** What is not there: says where it was looked for and how to get it. */
  #explain(error: unknown, specifier: string): unknown {
    const { code, message, url } = error as NodeJS.ErrnoException & { readonly url?: string }
    if ((code === 'ERR_MODULE_NOT_FOUND' || code === 'ERR_UNSUPPORTED_DIR_IMPORT') && url?.startsWith('file:')) {
      return missingFile(fileURLToPath(url), specifier, / imported from (.*)$/.exec(message)?.[1])
    }
    const missing = code === 'ERR_MODULE_NOT_FOUND' ? /^Cannot find package '([^']+)'/.exec(message)?.[1] : undefined
    if (missing === undefined || isBuiltin(specifier)) return error
    const wanted = missing === packageOf(specifier) ? '' : `, which '${specifier}' imports,`
    return new FpdtError('missing-package', `the package '${missing}'${wanted} is not installed; run \`npm install ${missing}\` in ${this.folder}`)
  }
}

/** Specifiers of Deno and of browsers, and files that Node cannot run. */
function refuseForeign(specifier: string): void {
  const refuse = (message: string) => {
    throw new FpdtError('import', `import '${specifier}': ${message}`)
  }
  const [, scheme, name = '', version = '', path = ''] = /^(npm|jsr|https?):\/?((?:@[^/]+\/)?[^@/]*)(@[^/]*)?(.*)$/.exec(specifier) ?? []
  if (scheme === 'npm') refuse(`a package is imported by its name: import … from '${name}${path}', after %npm install ${name}${version}`)
  if (scheme === 'jsr') refuse(`a package of JSR is imported by its name: import … from '${name}${path}', after !npx jsr add ${name}${version}`)
  if (scheme?.startsWith('http') === true) refuse('modules are not loaded from addresses; import a package by its name, after %npm install NAME')
  if (/\.[jt]sx$/.test(specifier)) refuse('JSX is not supported; import the file that a build makes of it, or write it without JSX as .ts')
}

/** `importer`: the file whose import it is, which for a cell does not exist. */
function missingFile(path: string, specifier: string, importer = ''): FpdtError {
  const [folder, name] = [dirname(path), basename(path)]
  let files: readonly string[]
  try {
    files = readdirSync(folder)
  } catch {
    return new FpdtError('missing-file', `import '${specifier}': there is no folder ${folder}`)
  }
  const sameStem = files.find((file) => file !== name && basename(file, extname(file)) === basename(name, extname(name)))
  const near =
    sameStem ??
    nearest(
      name,
      files.filter((file) => /\.(?:[cm]?[jt]s|json|node)$/.test(file)),
    )
  const by = basename(importer) === CELLS_FILE || importer === '' ? '' : `, which ${importer} imports,`
  return new FpdtError(
    'missing-file',
    `import '${specifier}': there is no file ${name}${by} in ${folder}${near === undefined ? '' : `; did you mean ${near}?`}`,
  )
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}
