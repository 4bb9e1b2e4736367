import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BYTE_VOCABULARY, byteText } from '../../../kernel/src/text/byte-text.js'

describe('byteText', () => {
  it('has a token for each byte of UTF-8, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: 'binary' }), (words) => {
        const text = byteText(`${words}\n`)
        const tokens = text.read(0, text.length)
        expect(Math.max(...tokens)).toBeLessThan(BYTE_VOCABULARY)
        expect(new TextDecoder().decode(Uint8Array.from(tokens))).toBe(new TextDecoder().decode(new TextEncoder().encode(`${words}\n`)))
      }),
    )
  })

  it('reads files and the text that ships with TypeScript', () => {
    const folder = mkdtempSync(join(tmpdir(), 'fpdt-bytes-'))
    writeFileSync(join(folder, 'a.txt'), 'é!')
    expect([...byteText(join(folder, 'a.txt')).read(0, 3)]).toEqual([0xc3, 0xa9, 0x21])
    rmSync(folder, { recursive: true })
    expect(byteText('lib.dom.d.ts')).toMatchObject({ source: 'bytes of lib.dom.d.ts' })
    expect(byteText('lib.dom.d.ts').length).toBeGreaterThan(2e6)
  })

  it.each([
    ['', 'is empty'],
    ['no-such-file.txt', 'there is no file'],
    [[1, 2] as unknown as string, 'takes a path or a text'],
  ])('refuses %j in words', (text, words) => expect(() => byteText(text)).toThrow(words))
})
