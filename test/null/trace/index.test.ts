import { readFileSync } from 'node:fs'
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
    expect(outside).toEqual(['errors.ts'])
    expect(seen.size).toBeGreaterThan(10)
  })
})
