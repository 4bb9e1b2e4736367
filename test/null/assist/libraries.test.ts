import { describe, expect, it } from 'vitest'
import { libraries, PROBES } from '../../../kernel/src/assist/libraries.js'

const MAJOR = Number(process.versions.node.split('.')[0])

describe('libraries', () => {
  it('are those whose newest thing is there', () => {
    const all = libraries()
    expect(all[0]).toBe('es2023')
    for (const [name, probe] of Object.entries(PROBES)) expect([name, all.includes(name)]).toEqual([name, probe()])
  })

  it.each([
    ['es2024.string', 20],
    ['es2024.object', 21],
    ['es2025.collection', 22],
    ['es2025.iterator', 22],
    ['es2025.float16', 24],
  ])('%s came with Node %i', (name, since) => expect(libraries().includes(name)).toBe(MAJOR >= since))
})
