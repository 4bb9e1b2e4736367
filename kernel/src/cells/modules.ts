/**
 * `import` in cells. Everything resolves from the directory the kernel was started in, except `fpdt`: that is the kernel's own copy, because a
 * process can hold one addon. Local files are loaded through hooks (`module-hooks.ts`), registered at the first such import: they cost 50 ms.
 */
import { createRequire, isBuiltin, register } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import vm from 'node:vm'
import { FpdtError } from '../errors.js'

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

  /** A package that is not installed: says where it was looked for and how to get it. */
  #explain(error: unknown, specifier: string): unknown {
    const { code, message } = error as NodeJS.ErrnoException
    const missing = code === 'ERR_MODULE_NOT_FOUND' ? /^Cannot find package '([^']+)'/.exec(message)?.[1] : undefined
    if (missing === undefined || isBuiltin(specifier)) return error
    const wanted = missing === packageOf(specifier) ? '' : `, which '${specifier}' imports,`
    return new FpdtError('missing-package', `the package '${missing}'${wanted} is not installed; run \`npm install ${missing}\` in ${this.folder}`)
  }
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}
