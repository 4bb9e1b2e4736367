/** The documents that lead through the code name only what exists, and leave out no folder of it. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../../../', import.meta.url))
/** Folders that are made, not written: a path through one of them is not checked. */
const generated = new Set(['node_modules', '.git', '.venv', '.cache', 'lib', 'build', 'dist', 'executed', 'test-results'])

/** Every file and folder of the repository, relative to it; folders end in `/`. */
function walk(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .filter((entry) => !generated.has(entry.name))
    .flatMap((entry) => (entry.isDirectory() ? [`${folder}${entry.name}/`, ...walk(`${folder}${entry.name}/`)] : [`${folder}${entry.name}`]))
}
const tree = walk('')

/** Targets of links that stay in the repository, without anchors. */
function linksOf(text: string): string[] {
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => (match[1] as string).replace(/#.*$/, '')).filter((link) => link !== '' && !/^[a-z]+:/.test(link))
}

/**
 * Words in `code` that are paths: with a slash, and either a folder (`plan/`) or a file of a kind that lies in this repository.
 * They may be short for a longer path (`schedule/ops.ts`) and may name several (`core/{backend,kernels}.h`, `schedule/*.ts`).
 */
function pathsOf(text: string): string[] {
  return [...text.matchAll(/`([^`\n]+)`/g)]
    .flatMap((match) => (match[1] as string).split(/\s+/))
    .map((word) => word.replace(/^\.\//, '').replace(/[,;:]$/, ''))
    .filter((word) => /^[\w.-][\w.*{},/-]*\/([\w.*{},-]+\.(ts|mjs|py|cc|cu|h|json|css|svg|ipynb|md|txt))?$/.test(word))
    .filter((word) => !word.split('/').some((part) => generated.has(part)))
}

/** Folders that begin a line of a drawn tree (a fenced block without a language). */
function drawnFolders(text: string): string[] {
  const blocks = [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].filter((match) => match[1] === '').map((match) => match[2] as string)
  return blocks.flatMap((block) => [...block.matchAll(/^\s*([\w./-]+\/)(?=\s)/gm)].map((match) => match[1] as string))
}

/** Whether some file or folder of the tree is `path` or ends in it; `*` and `{a,b}` as in a shell, each alternative on its own. */
function exists(path: string): boolean {
  const braces = /\{([^}]*)\}/.exec(path)
  if (braces) return (braces[1] as string).split(',').every((choice) => exists(path.replace(braces[0], choice)))
  const pattern = path.replaceAll('.', '\\.').replaceAll('*', '[^/]*')
  return tree.some((entry) => new RegExp(`(^|/)${pattern}$`).test(entry))
}

describe.each(['README.md', 'ARCHITECTURE.md'])('%s', (name) => {
  const text = (): string => readFileSync(join(root, name), 'utf8')

  it('names at least one path', () => {
    expect(pathsOf(text()).length).toBeGreaterThan(0)
  })
  it('names only paths that exist', () => {
    expect([...pathsOf(text()), ...drawnFolders(text())].filter((path) => !exists(path))).toEqual([])
  })
  it('links only to files that exist', () => {
    expect(linksOf(text()).filter((link) => !existsSync(join(root, normalize(link))))).toEqual([])
  })
})

it('ARCHITECTURE.md names every folder of sources', () => {
  const text = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8')
  const parents = ['kernel/src/', 'native/', 'labextension/src/', 'test/']
  const folders = parents.flatMap((parent) =>
    tree.filter((entry) => entry.startsWith(parent) && entry !== parent && entry.indexOf('/', parent.length) === entry.length - 1),
  )
  expect(folders.filter((folder) => !new RegExp(`\\b${folder.split('/').at(-2)}/`).test(text))).toEqual([])
})

describe('the reading of paths', () => {
  it('takes paths from code, short or with alternatives, and leaves other words', () => {
    const text =
      'See `kernel/src/errors.ts`, `schedule/{ops,values}.ts`, `native/core/` and `npm test`, `lib.dom.d.ts`, `application/vnd.fpdt.run.v1+json`, `native/build/fpdt.node`.'
    expect(pathsOf(text)).toEqual(['kernel/src/errors.ts', 'schedule/{ops,values}.ts', 'native/core/'])
    expect(pathsOf(text).every(exists)).toBe(true)
  })
  it('knows a path that is not there, also among alternatives', () => {
    expect(['schedule/opps.ts', 'schedule/{ops,opps}.ts', 'rnel/src/errors.ts', 'native/cores/'].filter(exists)).toEqual([])
  })
  it('takes the folders of a drawn tree, and no code for one', () => {
    expect(drawnFolders('```\nkernel/    words\n  src/plan/  more\n```\n```ts\nnot/ a tree\n```\n')).toEqual(['kernel/', 'src/plan/'])
  })
  it('takes links within the repository only', () => {
    expect(linksOf('[a](test/run.mjs#x) [b](https://example.org/a) [c](#here)')).toEqual(['test/run.mjs'])
  })
})
