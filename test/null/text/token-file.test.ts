import { execFileSync } from 'node:child_process'
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest'
import { DISPLAY_HOST, type DisplayHost } from '../../../kernel/src/display.js'
import { FpdtError } from '../../../kernel/src/errors.js'
import { stepTokens } from '../../../kernel/src/text/sequences.js'
import { type TokenFileOptions, tokenFile } from '../../../kernel/src/text/token-file.js'
import type { LongText } from '../../../kernel/src/text/tokens.js'

const folder = mkdtempSync(join(tmpdir(), 'shards-'))
afterAll(() => rmSync(folder, { recursive: true }))
let files = 0
function file(...pieces: (Uint8Array | Uint16Array | Uint32Array | Int32Array | string)[]): string {
  const path = join(folder, `${files++}.bin`)
  writeFileSync(
    path,
    Buffer.concat(
      pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece, 'latin1') : Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength))),
    ),
  )
  return path
}
const bytesOf = (tokens: readonly number[], dtype: 'uint16' | 'uint32'): Uint16Array | Uint32Array =>
  (dtype === 'uint16' ? Uint16Array : Uint32Array).from(tokens)
/** As numpy.save writes it. */
function npy(header: string, version = 1): string {
  const before = version === 1 ? 10 : 12
  const padded = `${header.padEnd(63 - ((before + header.length) % 64) + header.length)}\n`
  const length = Buffer.alloc(version === 1 ? 2 : 4)
  length.writeUIntLE(padded.length, 0, length.length)
  return `\x93NUMPY${String.fromCharCode(version, 0)}${length.toString('latin1')}${padded}`
}
const llmC = (magic: number, version: number, count: number): Int32Array => Int32Array.from({ length: 256 }, (_, i) => [magic, version, count][i] ?? 0)
const all = (text: LongText): number[] => [...text.read(0, text.length)]

async function refusal(act: () => unknown): Promise<string> {
  const error = await Promise.resolve()
    .then(act)
    .then(
      () => undefined,
      (caught: unknown) => caught,
    )
  expect(error).toBeInstanceOf(FpdtError)
  return `${(error as FpdtError).code}: ${(error as FpdtError).message}`
}

describe('token files', () => {
  it('read as the tokens that were written, in any format, in any number of shards, from anywhere to anywhere', async () => {
    const shard = fc.record({
      tokens: fc.array(fc.integer({ min: 0, max: 65535 }), { minLength: 1, maxLength: 12 }),
      format: fc.constantFrom('raw', 'npy 1', 'npy 2', 'llm.c'),
    })
    const write = (tokens: readonly number[], format: string, dtype: 'uint16' | 'uint32'): string => {
      const written = bytesOf(tokens, dtype)
      if (format === 'raw') return file(written)
      if (format === 'llm.c') return file(dtype === 'uint16' ? llmC(20240520, 1, tokens.length) : llmC(20240801, 7, tokens.length), written)
      const header = `{'descr': '<u${dtype === 'uint16' ? 2 : 4}', 'fortran_order': False, 'shape': (${tokens.length},), }`
      return file(npy(header, Number(format.at(-1))), written)
    }
    await fc.assert(
      fc.asyncProperty(
        fc.array(shard, { minLength: 2, maxLength: 4 }),
        fc.constantFrom('uint16' as const, 'uint32' as const),
        fc.nat(48),
        fc.nat(48),
        async (shards, dtype, a, b) => {
          const text = await tokenFile(
            shards.map(({ tokens, format }) => write(tokens, format, dtype)),
            { dtype },
          )
          const written = shards.flatMap(({ tokens }) => tokens)
          expect(text.length).toBe(written.length)
          const [from, to] = [Math.min(a, b, text.length), Math.min(Math.max(a, b), text.length)]
          expect([...text.read(from, to - from)]).toEqual(written.slice(from, to))
        },
      ),
      { numRuns: 60 },
    )
  })
  it('hold tokens past 2^16 and rows of arrays', async () => {
    expect(all(await tokenFile(file(Uint32Array.of(70_000, 128_001)), { dtype: 'uint32' }))).toEqual([70_000, 128_001])
    const rows = npy("{'descr': '<u2', 'fortran_order': False, 'shape': (2, 3), }")
    expect(all(await tokenFile(file(rows, Uint16Array.of(1, 2, 3, 4, 5, 6))))).toEqual([1, 2, 3, 4, 5, 6])
  })
  it('have documents where their separator ends them, their beginning begins them, or it is said', async () => {
    const tokens = [9, 1, 2, 9, 9, 3, 9]
    const [first, second] = [file(Uint16Array.from(tokens.slice(0, 3))), file(Uint16Array.from(tokens.slice(3)))]
    const documents = async (options: TokenFileOptions): Promise<number[] | undefined> => {
      const text = await tokenFile([first, second], { dtype: 'uint16', ...options })
      return text.documents && Array.from(text.documents)
    }
    expect(await documents({})).toBeUndefined()
    expect(await documents({ separator: 9 })).toEqual([0, 1, 4, 5])
    expect(await documents({ beginning: 9 })).toEqual([0, 3, 4, 6])
    expect(await documents({ documents: [0, 5] })).toEqual([0, 5])
  })
  it('have the documents of a naive search, also across the pieces of a scan', async () => {
    const tokens = Uint16Array.from({ length: 2 ** 21 + 5 }, (_, t) => (t % 1000 === 0 || Math.abs(t - 2 ** 20) < 2 ? 7 : 1))
    const text = await tokenFile(file(tokens), { dtype: 'uint16', separator: 7 })
    const expected = [0]
    for (let t = 0; t + 1 < tokens.length; t++) if (tokens[t] === 7) expected.push(t + 1)
    expect(Array.from(text.documents!)).toEqual(expected)
  })
  it('hold nothing in memory that was not asked for', async () => {
    const path = file(new Uint16Array(2 ** 24))
    const before = process.memoryUsage().arrayBuffers
    const text = await tokenFile(path, { dtype: 'uint16' })
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 20)
    expect(text.read(2 ** 24 - 3, 3)).toEqual(new Uint32Array(3))
  })
})

describe('a file that changes', () => {
  const shape = { sequences: 1, tokens: 4, padded: 4, documents: false, vocabulary: 100, positions: Number.POSITIVE_INFINITY }
  it.each<[string, (path: string) => void, RegExp]>([
    ['is cut short', (path) => truncateSync(path, 6), /^text: .*\.bin is not what it was when it was opened: .* Open it again with tokenFile\(\)/],
    ['grows', (path) => appendFileSync(path, 'xx'), /^text: .*\.bin is not what it was/],
    ['is written again', (path) => utimesSync(path, 1, 1), /^text: .*\.bin is not what it was/],
    ['is removed', (path) => rmSync(path), /^text: .*\.bin cannot be read \(ENOENT\)/],
  ])('%s: the step that reads it says so', async (_, change, message) => {
    const path = file(Uint16Array.of(1, 2, 3, 4, 5, 6))
    const text = await tokenFile(path, { dtype: 'uint16' })
    expect(stepTokens(text, 0, shape).valid).toBe(3)
    change(path)
    expect(await refusal(() => stepTokens(text, 0, shape))).toMatch(message)
  })
})

describe('a file that is not what it should be', () => {
  const u2 = (shape: string, rest = "'fortran_order': False, "): string => `{'descr': '<u2', ${rest}'shape': ${shape}, }`
  it.each<[string, () => string, TokenFileOptions, RegExp]>([
    ['empty', () => file(), { dtype: 'uint16' }, /^text: .*\.bin is empty/],
    [
      'raw, dtype not said',
      () => file(Uint16Array.of(1, 2)),
      {},
      /has no header that says what its numbers are; say dtype: 'uint16' \(as nanoGPT writes\) or 'uint32'/,
    ],
    ['odd', () => file('abc'), { dtype: 'uint16' }, /has 3 bytes, which is not a multiple of the 2 of a uint16/],
    ['of one token', () => file(Uint16Array.of(1)), { dtype: 'uint16' }, /has 1 token; training needs at least 2/],
    [
      'int64',
      () => file(npy("{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }"), 'x'.repeat(8)),
      {},
      /is a \.npy file of <i8; uint16 and uint32 are read: numpy\.save/,
    ],
    ['of big-endian numbers', () => file(npy("{'descr': '>u2', 'fortran_order': False, 'shape': (2,), }"), 'abcd'), {}, /is a \.npy file of >u2/],
    ['of records', () => file(npy("{'descr': [('a', '<u2')], 'fortran_order': False, 'shape': (2,), }"), 'abcd'), {}, /is a \.npy file of records/],
    [
      'in Fortran order',
      () => file(npy(u2('(2, 2)', "'fortran_order': True, ")), 'x'.repeat(8)),
      {},
      /is a \.npy file in Fortran order; .* numpy\.ascontiguousarray/,
    ],
    ['cut short', () => file(npy(u2('(5,)')), 'abcd'), {}, /is to end at byte 138 by its header, 5 tokens of uint16, and ends at 132/],
    ['of more tokens than any file has', () => file(npy(u2(`(${'9'.repeat(300)},)`)), 'abcd'), {}, /is to end at byte .* and ends at/],
    ['without a shape', () => file(npy("{'descr': '<u2', 'fortran_order': False, }")), {}, /is a \.npy file whose header cannot be read/],
    ['of a version to come', () => file(npy(u2('(2,)'), 4), 'abcd'), {}, /is a \.npy file of version 4; 1 to 3 are read/],
    ['ended in its magic', () => file('\x93NUMPY\x01'), {}, /begins as a \.npy file and ends inside its header/],
    ['ended in its header', () => file('\x93NUMPY\x02\x00\xff\xff\xff\xff{}'), {}, /is a \.npy file whose header is to end at byte 4294967307/],
    [
      'of another dtype than said',
      () => file(npy(u2('(2,)')), 'abcd'),
      { dtype: 'uint32' },
      /says that it holds uint16, and dtype is 'uint32'; leave dtype out/,
    ],
    ['of llm.c, cut in its header', () => file(Int32Array.of(20240520, 1)), {}, /begins as a file of llm\.c and ends inside its header, at byte 8 of 1024/],
    ['of llm.c, of another version', () => file(llmC(20240520, 9, 2), 'abcd'), {}, /is a file of llm\.c of version 9; 1 is read/],
    ['of llm.c, cut short', () => file(llmC(20240801, 7, 3), 'x'.repeat(8)), {}, /is to end at byte 1036 by its header, 3 tokens of uint32, and ends at 1032/],
    ['of llm.c, of fewer than no tokens', () => file(llmC(20240520, 1, -1), 'x'), {}, /is to hold -1 tokens by its header/],
    ['missing', () => join(folder, 'none.bin'), {}, /^text: .*none\.bin cannot be read \(ENOENT\); is the path right\?/],
    ['of no such token', () => file(Uint16Array.of(1, 2)), { dtype: 'uint16', separator: 5 }, /token 5 occurs nowhere in .*\.bin/],
    ['said with an unknown dtype', () => file('ab'), { dtype: 'int64' as never }, /dtype "int64" is not 'uint16' or 'uint32'/],
    ['said with an unknown option', () => file('ab'), { type: 'uint16' } as never, /tokenFile\(\{ type \}\) is not known; the nearest is dtype/],
  ])('%s, is refused in words', async (_, make, options, message) => {
    const path = make()
    expect(await refusal(() => tokenFile(path, options))).toMatch(message)
  })
  it('a folder, a pipe and no path at all are refused, and none is waited for', async () => {
    mkdirSync(join(folder, 'inner'))
    expect(await refusal(() => tokenFile(join(folder, 'inner')))).toMatch(/inner is not a file/)
    execFileSync('mkfifo', [join(folder, 'pipe')])
    expect(await refusal(() => tokenFile(join(folder, 'pipe')))).toMatch(/pipe is not a file/)
    expect(await refusal(() => tokenFile([]))).toMatch(/^text: tokenFile\(\) needs the path of a file, or an array of paths/)
  })
  it('any bytes at all give tokens or words, and nothing else', async () => {
    const anyHead = fc.constantFrom('', '\x93NUMPY\x01\x00', '\x93NUMPY\x02\x00', npy(u2('(2,)')), '\x88\xd8\x34\x01')
    await fc.assert(
      fc.asyncProperty(
        anyHead,
        fc.uint8Array({ maxLength: 200 }),
        fc.option(fc.constantFrom('uint16' as const, 'uint32' as const)),
        async (head, rest, dtype) => {
          const result = await tokenFile(file(head, rest), dtype ? { dtype } : {}).catch((error: unknown) => error)
          if (!(result instanceof FpdtError)) expect(all(result as LongText).length).toBe((result as LongText).length)
        },
      ),
      { numRuns: 200 },
    )
  })
})

describe('a scan for documents', () => {
  afterEach(() => {
    delete (globalThis as { [DISPLAY_HOST]?: DisplayHost })[DISPLAY_HOST]
  })
  it('stops where it is when the notebook interrupts, and lets go of the notebook', async () => {
    let [interrupt, released] = [(): void => {}, 0]
    const host: DisplayHost = {
      display: () => {},
      onInterrupt: (callback) => {
        interrupt = callback
        return () => released++
      },
    }
    ;(globalThis as { [DISPLAY_HOST]?: DisplayHost })[DISPLAY_HOST] = host
    const path = file(new Uint16Array(2 ** 22))
    const scanning = tokenFile(path, { dtype: 'uint16', separator: 0 })
    interrupt()
    expect(await refusal(() => scanning)).toMatch(/^stopped: stopped while looking for documents in .*\.bin/)
    expect(released).toBe(1)
    expect((await tokenFile(path, { dtype: 'uint16', separator: 0 })).documents!.length).toBe(2 ** 22)
  })
  it('that takes longer than two seconds shows how far it is, in one output', async () => {
    const shown: unknown[] = []
    const host: DisplayHost = {
      display: (bundle, options) => shown.push([bundle['text/plain'], options?.update]),
      onInterrupt: () => () => {},
    }
    const path = file(new Uint16Array(2 ** 22))
    ;(globalThis as { [DISPLAY_HOST]?: DisplayHost })[DISPLAY_HOST] = host
    let now_ms = 0
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => {
      now_ms += 450
      return now_ms
    })
    try {
      await tokenFile(path, { dtype: 'uint16', separator: 0 })
    } finally {
      clock.mockRestore()
    }
    expect(shown).toEqual([
      [expect.stringMatching(/^looking for documents in .*\.bin: 75 % in 2 s$/), false],
      [expect.stringMatching(/^looked through .*\.bin in 5 s$/), true],
    ])
  })
})
