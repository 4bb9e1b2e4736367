import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { FpdtError } from '../../../kernel/src/errors.js'
import { openSafetensors, readPieces, type SafetensorsFile } from '../../../kernel/src/files/safetensors.js'
import { type TensorToSave, writeSafetensors } from '../../../kernel/src/files/safetensors-write.js'
import { fromBf16, toBf16 } from '../../../kernel/src/model/bf16.js'

const folder = mkdtempSync(join(tmpdir(), 'safetensors-'))
afterAll(() => rmSync(folder, { recursive: true }))
const path = join(folder, 'file.safetensors')

/** A file of a header, as text or as a value, and data; `length` of the header unless it shall lie. */
function file(header: unknown, data: Uint8Array = new Uint8Array(0), length?: bigint): string {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(length ?? BigInt(text.length))
  writeFileSync(path, Buffer.concat([prefix, text, data]))
  return path
}
async function refusal(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (caught: unknown) => caught,
  )
  expect(error).toBeInstanceOf(FpdtError)
  expect((error as FpdtError).code).toBe('checkpoint')
  return (error as FpdtError).message
}
async function valuesOf(opened: SafetensorsFile, name: string): Promise<Float32Array> {
  const tensor = opened.tensors.get(name)
  if (!tensor) throw new Error(`no ${name}`)
  const out = new Float32Array(tensor.count)
  for await (const { first, values } of readPieces(opened, tensor)) out.set(values, first)
  return out
}
const f32 = (begin: number, end: number, shape: unknown = [(end - begin) / 4]) => ({ dtype: 'F32', shape, data_offsets: [begin, end] })

describe('a written file', () => {
  it('reads as what was written, in f32 to the bit and in bf16 as rounded, whatever the pieces', async () => {
    const shape = fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 3 })
    const tensor = fc.record({ shape, dtype: fc.constantFrom('F32' as const, 'BF16' as const), cut: fc.integer({ min: 1, max: 7 }) })
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(fc.string({ minLength: 1 }), tensor, { maxKeys: 5 }),
        fc.dictionary(fc.string(), fc.string()),
        async (tensors, metadata) => {
          const all = Object.entries(tensors).filter(([name]) => name !== '__metadata__')
          const values = new Map(
            all.map(([name, { shape }], n) => [
              name,
              Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i + n) * 10 ** (i - n)),
            ]),
          )
          const list = all.map(([name, { shape, dtype }]): TensorToSave => ({ name, shape, dtype }))
          await writeSafetensors(path, list, ({ name }) => cut(values.get(name) as Float32Array, tensors[name]?.cut as number), metadata)
          const opened = await openSafetensors(path)
          expect([...opened.tensors.keys()].sort()).toEqual(all.map(([name]) => name).sort())
          expect(Object.entries(opened.metadata).sort()).toEqual(Object.entries(metadata).sort())
          for (const [name, { shape, dtype }] of all) {
            const written = values.get(name) as Float32Array
            expect(opened.tensors.get(name)?.shape).toEqual(shape)
            expect(await valuesOf(opened, name)).toEqual(dtype === 'F32' ? written : fromBf16(toBf16(written)))
          }
        },
      ),
      { numRuns: 60 },
    )
    function* cut(values: Float32Array, size: number): Generator<Float32Array> {
      for (let first = 0; first < values.length; first += size) yield values.subarray(first, first + size)
    }
  })
  it('has its values at a multiple of 8 bytes, and reads larger tensors than one piece', async () => {
    const values = Float32Array.from({ length: 2 ** 20 + 3 }, (_, i) => i)
    await writeSafetensors(path, [{ name: 'a', dtype: 'F32', shape: [values.length] }], () => [values])
    const opened = await openSafetensors(path)
    expect((opened.tensors.get('a')?.begin ?? 1) % 8).toBe(0)
    expect((await valuesOf(opened, 'a')).every((value, i) => value === i)).toBe(true)
  })
  it('is there whole or not at all', async () => {
    await writeSafetensors(path, [{ name: 'a', dtype: 'F32', shape: [1] }], () => [Float32Array.of(1)])
    const broken = writeSafetensors(path, [{ name: 'b', dtype: 'F32', shape: [2] }], () => [Float32Array.of(1)])
    await expect(broken).rejects.toThrow('b came with 4 bytes of F32, not the 8 of its shape')
    expect([...(await openSafetensors(path)).tensors.keys()]).toEqual(['a'])
    expect(readdirSync(folder)).toEqual(['file.safetensors'])
  })
  it('that the disk does not take is an error with the path', async () => {
    const nowhere = join(folder, 'absent', 'file.safetensors')
    await expect(writeSafetensors(nowhere, [], () => [])).rejects.toMatchObject({ code: 'disk', message: expect.stringContaining(nowhere) })
  })
})

describe('dtypes', () => {
  it('reads every half as IEEE 754 has it', async () => {
    const all = Uint16Array.from({ length: 2 ** 16 }, (_, i) => i)
    const values = await valuesOf(
      await openSafetensors(file({ a: { dtype: 'F16', shape: [2 ** 16], data_offsets: [0, 2 ** 17] } }, new Uint8Array(all.buffer))),
      'a',
    )
    const at = (bits: number): number => values[bits] as number
    expect([0, 0x8000, 1, 0x03ff, 0x0400, 0x3c00, 0xc000, 0x7bff, 0x7c00, 0xfc00, 0x7e00].map(at)).toEqual([
      ...[0, -0, 2 ** -24, 1023 * 2 ** -24, 2 ** -14, 1, -2, 65504, Infinity, -Infinity, NaN],
    ])
    // Ordered and odd: so every other value is where it must be.
    for (let bits = 1; bits <= 0x7c00; bits++) expect(at(bits) > at(bits - 1) && at(bits + 0x8000) === -at(bits)).toBe(true)
  })
  it('rounds F64 to f32, and reads at odd offsets', async () => {
    const data = Buffer.alloc(19)
    data.writeUInt8(7, 0)
    data.writeDoubleLE(Math.PI, 1)
    data.writeDoubleLE(1e300, 9)
    data.writeUInt16LE(0x4049, 17)
    const header = {
      byte: { dtype: 'U8', shape: [1], data_offsets: [0, 1] },
      double: { dtype: 'F64', shape: [2], data_offsets: [1, 17] },
      brain: { dtype: 'BF16', shape: [], data_offsets: [17, 19] },
    }
    const opened = await openSafetensors(file(header, data))
    expect([...(await valuesOf(opened, 'double'))]).toEqual([Math.fround(Math.PI), Infinity])
    expect([...(await valuesOf(opened, 'brain'))]).toEqual([3.140625])
    expect(await refusal(valuesOf(opened, 'byte'))).toMatch(/byte of .* has dtype U8; parameters are read from F32, BF16, F16, F64\./)
  })
})

describe('a hostile file', () => {
  const one = new Uint8Array(4)
  const deep = (depth: number): string => `{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`
  it.each([
    ['too short for a length', () => tooShort(), 'it has 3 bytes'],
    ['a header longer than the file', () => file({}, one, 7n), 'its header is to have 7 bytes, and 6 follow'],
    ['a header of 2^64 - 1 bytes', () => file({}, one, 2n ** 64n - 1n), 'its header is to have 18446744073709552000 bytes'],
    ['a header above 100 MB', () => tooLong(), 'more than the 100000000 that the format allows'],
    ['a header that is no object', () => file('[1]'), 'not with {'],
    ['a header that is no JSON', () => file('{"a":'), 'its header is not JSON'],
    ['bad UTF-8', () => notText(), 'not UTF-8'],
    ['deep JSON', () => file(deep(4)), 'nested more than 3 deep'],
    ['deep JSON of 10 MB', () => file(deep(5e6)), 'nested more than 3 deep'],
    ['a long string without end', () => file(`{"${'a'.repeat(1e7)}`), 'its header is not JSON'],
    ['a name twice', () => file(`{"a":${JSON.stringify(f32(0, 4))},"a":${JSON.stringify(f32(0, 4))}}`, one), '"a" is given twice'],
    ['a name twice, once escaped', () => file(`{"a":${JSON.stringify(f32(0, 4))},"\\u0061" :${JSON.stringify(f32(0, 4))}}`, one), '"a" is given twice'],
    ['a key twice', () => file('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"shape":[1]}}', one), '"shape" is given twice'],
    ['an entry that is no object', () => file({ a: [] }), '"a" is not described by an object'],
    ['an unknown dtype', () => file({ a: { ...f32(0, 4), dtype: 'constructor' } }, one), '"a" has dtype "constructor"; known are'],
    ['a shape of fractions', () => file({ a: f32(0, 4, [0.5, 2]) }, one), '"a" has shape [0.5,2]'],
    ['a negative extent', () => file({ a: f32(0, 4, [-1, -1]) }, one), '"a" has shape [-1,-1]'],
    ['a shape past 2^53', () => file({ a: f32(0, 4, [2 ** 52, 2 ** 52]) }, one), '"a" has 4 bytes; shape'],
    ['a shape whose product overflows to its size', () => file({ a: f32(0, 0, [2 ** 40, 2 ** 40]) }), '"a" has 0 bytes; shape'],
    ['offsets that are no pair', () => file({ a: { ...f32(0, 4), data_offsets: [0] } }, one), '"a" has data_offsets [0]'],
    ['offsets backwards', () => file({ a: f32(4, 0, [1]) }, one), '"a" has -4 bytes'],
    ['offsets past 2^53', () => file('{"a":{"dtype":"F32","shape":[1],"data_offsets":[9007199254740993,9007199254740997]}}', one), 'not [begin, end]'],
    ['fewer bytes than the shape', () => file({ a: f32(0, 4, [2]) }, one), '"a" has 4 bytes; shape [2] of F32 takes 8'],
    ['bytes that are no multiple of the dtype', () => file({ a: f32(0, 3, [1]) }, one), '"a" has 3 bytes'],
    ['an overlap', () => file({ a: f32(0, 4), b: f32(0, 4) }, one), '"b" begins at byte 0, inside the tensors before, which end at 4'],
    ['a hole', () => file({ a: f32(4, 8) }, new Uint8Array(8)), '"a" begins at byte 4, with a hole after the tensors before, which end at 0'],
    ['bytes outside the file', () => file({ a: f32(0, 2 ** 40) }, one), 'and the file at'],
    ['bytes that belong to no tensor', () => file({ a: f32(0, 4) }, new Uint8Array(5)), 'and the file at'],
    ['metadata that is not of strings', () => file({ __metadata__: { a: 1 } }), '__metadata__ is not an object of strings'],
  ])('with %s is refused', async (_, make, message) => {
    expect(await refusal(openSafetensors(make()))).toContain(message)
  })
  function tooShort(): string {
    writeFileSync(path, 'abc')
    return path
  }
  function tooLong(): string {
    truncateSync(file('{', one, 100_000_001n), 100_000_100)
    return path
  }
  function notText(): string {
    const bytes = readFileSync(file('{"aaa":1}'))
    bytes[10] = 0xff
    writeFileSync(path, bytes)
    return path
  }

  it('that is not there, or a folder, is refused', async () => {
    expect(await refusal(openSafetensors(join(folder, 'absent')))).toMatch(/absent cannot be read \(ENOENT\)/)
    expect(await refusal(openSafetensors(folder))).toMatch(/is not a file\.$/)
  })
  it('that changes after it was opened is refused, not misread', async () => {
    const opened = await openSafetensors(file({ a: f32(0, 8) }, new Uint8Array(8)))
    truncateSync(path, opened.bytes - 1)
    expect(await refusal(valuesOf(opened, 'a'))).toMatch(/changed after its header was read/)
  })
  it('of any bytes is read or refused, and allocates no more than its size', async () => {
    const entry = fc.record({
      dtype: fc.constantFrom('F32', 'BF16', 'U8', 'X', 1),
      shape: fc.oneof(fc.array(fc.oneof(fc.integer({ min: -1, max: 4 }), fc.double()), { maxLength: 3 }), fc.jsonValue()),
      data_offsets: fc.oneof(fc.tuple(fc.nat(16), fc.nat(16)), fc.tuple(fc.double(), fc.maxSafeNat()), fc.jsonValue()),
    })
    const header = fc.oneof(fc.dictionary(fc.constantFrom('a', 'b', '__metadata__', '__proto__'), fc.oneof(entry, fc.jsonValue())), fc.string(), fc.jsonValue())
    await fc.assert(
      fc.asyncProperty(header, fc.uint8Array({ maxLength: 24 }), fc.option(fc.bigInt(0n, 2n ** 64n - 1n)), async (value, data, length) => {
        file(value, data, length ?? undefined)
        try {
          const opened = await openSafetensors(path)
          for (const [name, { count, dtype }] of opened.tensors) {
            expect(count).toBeLessThanOrEqual(data.length)
            if (dtype !== 'U8') expect(await valuesOf(opened, name)).toHaveLength(count)
          }
        } catch (error) {
          expect(error).toBeInstanceOf(FpdtError)
        }
      }),
      { numRuns: 500 },
    )
  })
  it('with one byte changed anywhere in the header is read or refused', async () => {
    const good = readFileSync(file({ a: f32(0, 8, [2, 1]), b: f32(8, 12) }, new Uint8Array(12)))
    const opened = async (): Promise<string> => openSafetensors(path).then((known) => [...known.tensors.keys()].join(), refusalOf)
    const refusalOf = (error: unknown): string => {
      expect(error).toBeInstanceOf(FpdtError)
      return 'refused'
    }
    const seen = new Set<string>()
    for (let at = 0; at < good.length - 12; at++) {
      for (const bit of [1, 2, 16, 128]) {
        const changed = Buffer.from(good)
        changed[at] = (changed[at] as number) ^ bit
        writeFileSync(path, changed)
        seen.add(await opened())
      }
    }
    expect(seen).toContain('refused')
  })
})
