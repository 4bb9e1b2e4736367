/**
 * Node's loader hooks for local files, run on Node's own hooks thread: `.ts` files become JavaScript that can be stopped, and a file that was
 * edited, or that imports one that was, is loaded anew by the next import. The version in the URL does it: Node caches modules by URL.
 */
import { createHash } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import type { LoadHook, ResolveHook } from 'node:module'
import { fileURLToPath } from 'node:url'
import { parse } from '../language/syntax.js'
import { transpileModule } from '../language/transpile.js'
import { CELLS_FILE, ownModule } from './modules.js'

const TYPESCRIPT = /\.m?ts$/
const VERSIONED = /\.(?:m?ts|m?js|json)$/

export const resolve: ResolveHook = async (specifier, context, next) => {
  const own = ownModule(specifier)
  if (own !== undefined) return { url: own.href, format: 'module', shortCircuit: true }
  const resolved = await resolveTypeScript(specifier, context, next)
  if (!isLocal(resolved.url, context.parentURL) || resolved.format === 'commonjs') return resolved
  const isJson = resolved.url.endsWith('.json')
  return {
    ...resolved,
    url: `${resolved.url}?v=${version(fileURLToPath(resolved.url))}`,
    format: isJson ? 'json' : 'module',
    // TypeScript writes `import data from './data.json'` without the attribute that Node demands.
    importAttributes: isJson ? { type: 'json' } : (context.importAttributes ?? {}),
  }
}

export const load: LoadHook = async (url, context, next) => {
  const path = url.startsWith('file:') ? fileURLToPath(url) : ''
  if (!TYPESCRIPT.test(path) || path.includes('/node_modules/')) return next(url, context)
  return { format: 'module', source: transpileModule(readFileSync(path, 'utf8'), path).code, shortCircuit: true }
}

/** As TypeScript resolves: `./a.js` and `./a` may mean `./a.ts`. */
const resolveTypeScript: ResolveHook = async (specifier, context, next) => {
  try {
    return await next(specifier, context)
  } catch (error) {
    if (!/^(?:\.|\/|file:)/.test(specifier)) throw error
    const base = specifier.replace(/\.(m?)js$/, '')
    for (const candidate of [`${base}.ts`, `${base}.mts`, `${base}/index.ts`]) {
      try {
        return await next(candidate, context)
      } catch {
        // The next candidate; in the end the error of the name as it was written.
      }
    }
    throw error
  }
}

/** A file of the user: imported by a cell or by another such file. The kernel's own files are loaded once. */
function isLocal(url: string, parent = ''): boolean {
  const isImportedByUser = parent.includes('?v=') || parent.endsWith(`/${CELLS_FILE}`)
  return isImportedByUser && url.startsWith('file:') && !url.includes('/node_modules/') && !url.includes('?') && VERSIONED.test(url)
}

/** Changes when the file or any local file it reaches by static imports changes. */
function version(path: string): string {
  const seen = new Map<string, string>()
  const visit = (file: string): void => {
    if (seen.has(file)) return
    let stamp: string
    try {
      const { mtimeMs, size } = statSync(file)
      stamp = `${mtimeMs}:${size}`
    } catch {
      return
    }
    seen.set(file, stamp)
    for (const imported of localImports(file, stamp)) visit(imported)
  }
  visit(path)
  return createHash('sha1')
    .update(JSON.stringify([...seen]))
    .digest('hex')
    .slice(0, 12)
}

const importsOf = new Map<string, { readonly stamp: string; readonly files: readonly string[] }>()

function localImports(file: string, stamp: string): readonly string[] {
  if (file.endsWith('.json')) return []
  const known = importsOf.get(file)
  if (known?.stamp === stamp) return known.files
  const { staticImports, staticExports } = parse(readFileSync(file, 'utf8')).module
  const specifiers = [
    ...staticImports.map((i) => i.moduleRequest.value),
    ...staticExports.flatMap((e) => e.entries.flatMap((x) => x.moduleRequest?.value ?? [])),
  ]
  const files = specifiers
    .filter((s) => s.startsWith('.'))
    .flatMap((s) => {
      const target = fileURLToPath(new URL(s, `file://${file}`))
      // Whichever of these exists; the others fail to stat and do not count.
      return [target, target.replace(/\.(m?)js$/, '.$1ts'), `${target}.ts`, `${target}/index.ts`].filter((path) => VERSIONED.test(path))
    })
  importsOf.set(file, { stamp, files })
  return files
}
