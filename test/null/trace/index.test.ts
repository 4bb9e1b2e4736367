import { readdirSync, readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

describe('fpdt/trace', () => {
  it('imports nothing of Node and nothing of the engine: browsers load it', () => {
    const source = fileURLToPath(new URL('../../../kernel/src/', import.meta.url))
    const seen = new Set<string>()
    const packages = new Set<string>()
    const visit = (path: string): void => {
      if (seen.has(path)) return
      seen.add(path)
      // Imports of types alone leave nothing behind at run time.
      for (const [, from] of readFileSync(path, 'utf8').matchAll(/^(?:import|export) (?!type )[^'"]*?from '([^']+)'/gms)) {
        if (from.startsWith('.')) visit(resolve(dirname(path), from.replace(/\.js$/, '.ts')))
        else packages.add(from)
      }
    }
    visit(`${source}trace/index.ts`)
    expect([...packages]).toEqual(['apache-arrow'])
    const outside = [...seen].map((path) => path.slice(source.length)).filter((path) => !path.startsWith('trace/'))
    expect(outside).toEqual(expect.arrayContaining(['errors.ts', 'search.ts']))
    expect(outside).toHaveLength(2)
    expect(seen.size).toBeGreaterThan(10)
  })

  it('exports by name only what the extension imports, the benchmarks or the notebooks', () => {
    const root = fileURLToPath(new URL('../../../', import.meta.url))
    const folders = ['labextension/src', 'test/bench', 'test/lab', 'notebooks']
    const readers = folders.flatMap((folder) => readdirSync(root + folder, { recursive: true, encoding: 'utf8' }).map((name) => `${root}${folder}/${name}`))
    const texts = readers.filter((path) => /\.(m?ts|mjs)$/.test(path)).map((path) => readFileSync(path, 'utf8'))
    const words = new Set(texts.filter((text) => /fpdt\/trace|trace\/index\.js/.test(text)).flatMap((text) => text.match(/\w+/g) ?? []))
    const index = readFileSync(`${root}kernel/src/trace/index.ts`, 'utf8')
    const names = [...index.matchAll(/^export (?:type )?\{([^}]*)\}/gms)].flatMap(([, list]) => list.match(/\b(?!type\b)\w+/g) ?? [])
    expect(names.length).toBeGreaterThan(50)
    expect(names.filter((name) => !words.has(name))).toEqual([])
  })

  it('is in layers: tables, the run, messages, questions and words, drawing, files of other tools', () => {
    const trace = fileURLToPath(new URL('../../../kernel/src/trace/', import.meta.url))
    const layer = (path: string): number => {
      if (/^(index|figure)\.ts$/.test(path)) return 7
      if (/^words\/(format|names)\.ts$/.test(path)) return 3
      return ['', 'model', 'live', 'words of numbers', 'ask', 'words', 'draw', 'export'].indexOf(path.includes('/') ? dirname(path) : '')
    }
    const upward: string[] = []
    for (const path of readdirSync(trace, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))) {
      for (const [, from] of readFileSync(trace + path, 'utf8').matchAll(/^(?:import|export) [^'"]*?from '(\.[^']+)'/gms)) {
        const on = resolve(trace, dirname(path), from.replace(/\.js$/, '.ts'))
        if (on.startsWith(trace) && layer(on.slice(trace.length)) > layer(path)) upward.push(`${path} imports ${from}`)
      }
    }
    expect(upward).toEqual([])
  })
})
