import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { reading, signatureText } from '../../../kernel/src/assist/inspection.js'
import { pathsAt } from '../../../kernel/src/assist/path-completion.js'

describe('a signature', () => {
  const signature = { label: 'f(a: number, b: string): void', parameters: [{ label: [2, 11] as const }, { label: 'b: string', documentation: 'the second' }] }

  it('has a mark under the parameter, what that means, and how many others there are', () => {
    const text = signatureText({ signatures: [{ ...signature, documentation: { value: 'Does.' } }, signature, signature], activeParameter: 1 })
    expect(text).toBe('```typescript\nf(a: number, b: string): void\n             ^^^^^^^^^\n```\n\nand 2 more signatures\n\nthe second\n\nDoes.')
  })

  it('marks in the right one of its lines', () => {
    const label = 'f(a: {\n  x: number\n}, b: string): void'
    const text = signatureText({ signatures: [{ label, parameters: [{ label: 'b: string' }], activeParameter: 0 }] })
    expect(text?.split('\n').slice(3, 5)).toEqual(['}, b: string): void', '   ^^^^^^^^^'])
  })

  it('is none where there is none, and has no mark behind its last parameter', () => {
    expect(signatureText(null)).toBeUndefined()
    expect(signatureText({ signatures: [] })).toBeUndefined()
    expect(signatureText({ signatures: [signature], activeParameter: 5 })).not.toContain('^')
  })
})

describe('a hover', () => {
  it('says nothing of how names reach a cell, and links to no file', () => {
    const value = '```tsx\n(alias) const model: Model\nimport model\n```\nSee [Model](file:///home/me/a.d.ts#1,2) and [this](https://example.org).'
    expect(reading({ contents: { value } })).toBe('```tsx\nconst model: Model\n```\nSee `Model` and [this](https://example.org).')
    expect(reading(null)).toBeUndefined()
  })
})

describe('paths in a string', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'fpdt-paths-'))
    mkdirSync(join(folder, 'data/deep'), { recursive: true })
    for (const name of ['dates.csv', '.hidden', 'data/one.txt']) writeFileSync(join(folder, name), '')
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const labels = (code: string) => pathsAt(code, code.length, folder)?.paths.map(({ label }) => label)

  it.each([
    ["open('da", ['data/', 'dates.csv']],
    ['open("data/', ['deep/', 'one.txt']],
    ['open("./data/o', ['one.txt']],
    ['`.h', ['.hidden']],
    ['"it\'s" + "dat', ['data/', 'dates.csv']],
    ['"a\\"da', []],
    ['"no such folder/', []],
  ])('%j', (code, expected) => expect(labels(code)).toEqual(expected))

  it('are none outside of a string', () => {
    expect(labels('"a" + da')).toBeUndefined()
    expect(labels('"a\nda')).toBeUndefined()
  })

  it('may begin at the root', () => expect(labels(`"${folder}/dat`)).toEqual(['data/', 'dates.csv']))
})
