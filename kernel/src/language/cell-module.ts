/**
 * A cell as the language server sees it: a virtual module, beside the notebook so that relative imports work. It imports each name from the
 * module that last declared it and exports its own, so `const x` may be declared again as anything. (One document of all cells gives stale types
 * and error 2451 after a redeclaration.)
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ownModule } from './modules.js'
import { boundNames, type Node, parse } from './syntax.js'

interface Names {
  readonly declared: ReadonlySet<string>
  /** By the cell itself. */
  readonly exported: ReadonlySet<string>
}

export interface CellModule {
  readonly source: string
  readonly names: Names
  /** Name -> the module that had last declared it when this cell ran. */
  readonly imports: ReadonlyMap<string, string>
}

/** Top-level names, types included. While the cell does not parse, what its declarations look like. */
export function declaredNames(source: string): Names {
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

/** A cell as a module. `shift` gives the offset in it of an offset in the cell. */
export function moduleText({ source, names, imports }: CellModule): { readonly text: string; readonly shift: (offset: number) => number } {
  const statements = [...imports].map(([name, module]) => `import { ${name} } from './${moduleName(module)}.js'`)
  const head = `${nodeTypes()}/// <reference path="./${moduleName('globals')}.d.ts" />\n${statements.join(';')}\n`
  const exports = [...names.declared].filter((name) => !names.exported.has(name))
  const { text, shift } = withOwnPaths(source)
  return { text: `${head}${text}\nexport { ${exports.join(', ')} }\n`, shift: (offset) => head.length + shift(offset) }
}

/** No file of that name exists; it is told from the user's own by its look. */
export function moduleName(module: string): string {
  return `__fpdt_${module}__`
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
