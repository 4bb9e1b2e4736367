import { createCanvas } from '@napi-rs/canvas'
import * as arrow from 'apache-arrow'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { present, sendable } from '../../../kernel/src/cells/present/index.js'
import { recordsTable } from '../../../kernel/src/cells/present/records.js'
import { tableBundle } from '../../../kernel/src/cells/present/table.js'
import { TO_MIME } from '../../../kernel/src/display.js'

type Strings = Record<string, string>
let said = ''
beforeEach(() => {
  said = ''
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    said += text
    return true
  })
})
afterEach(() => vi.restoreAllMocks())

const shown = async (value: unknown) => (await present(value)) as Strings
const types = async (value: unknown) => Object.keys(await shown(value)).sort()
const text = async (value: unknown) => (await shown(value))['text/plain'] as string

describe('a value', () => {
  it('is text as util.inspect has it, without colours', async () => {
    expect(await shown(2)).toEqual({ 'text/plain': '2' })
    expect(await text('a')).toBe("'a'")
    expect(await text({ a: [1, { b: { c: { d: 1 } } }], f() {} })).toBe('{ a: [ 1, { b: [Object] } ], f: [Function: f] }')
    expect(await text(new Map([[1, new Set(['x'])]]))).toBe("Map(1) { 1 => Set(1) { 'x' } }")
  })

  it('shows itself by its symbol before anything else, also later', async () => {
    const own = (bundle: unknown) => ({ [TO_MIME]: () => bundle, toHtml: () => 'not asked' })
    expect(await shown(own({ 'text/html': '<b>', 'text/plain': 'b' }))).toEqual({ 'text/html': '<b>', 'text/plain': 'b' })
    expect(await types(own(Promise.resolve({ 'text/markdown': '*' })))).toEqual(['text/markdown', 'text/plain'])
  })

  it('shows itself by methods of every spelling, in text, bytes, or later', async () => {
    const png = Uint8Array.of(137, 80, 78, 71)
    expect(await shown({ toPng: () => png, toHtml: async () => '<b>', toLatex: () => null, toString: () => 'x' })).toMatchObject({
      'image/png': 'iVBORw==',
      'text/html': '<b>',
    })
    for (const [method, type] of [
      ['toPNG', 'image/png'],
      ['toJpeg', 'image/jpeg'],
      ['toSVG', 'image/svg+xml'],
      ['toHTML', 'text/html'],
      ['toMarkdown', 'text/markdown'],
      ['_repr_latex_', 'text/latex'],
    ] as const)
      expect(await types({ [method]: () => 'x' })).toEqual([type, 'text/plain'].sort())
    expect((await shown({ toPng: () => `data:image/png;base64,${Buffer.from(png).toString('base64')}` }))['image/png']).toBe('iVBORw==')
  })

  it('that is a bundle means itself; paths are no MIME types', async () => {
    expect(await types({ 'text/html': '<b>', 'application/json': { a: 1 } })).toEqual(['application/json', 'text/html', 'text/plain'])
    expect(await types({ 'src/index.ts': 3 })).toEqual(['text/plain'])
    expect(await types({ 'text/notes': 120 })).toEqual(['text/plain'])
  })

  it('may be a canvas, a picture in bytes, a Vega-Lite spec, an element', async () => {
    const canvas = createCanvas(2, 2)
    expect(await types(canvas)).toEqual(['image/png', 'text/plain'])
    const png = canvas.toBuffer('image/png')
    expect(await shown(png)).toEqual({ 'image/png': png.toString('base64'), 'text/plain': `image/png of ${png.length} bytes` })
    expect(await types(new Blob([Uint8Array.from(png)], { type: 'image/png' }))).toEqual(['image/png', 'text/plain'])
    expect(await types(Buffer.from('no picture'))).toEqual(['text/plain'])
    const spec = { $schema: 'https://vega.github.io/schema/vega-lite/v5.json', mark: 'bar' }
    expect(await types(spec)).toEqual(['application/vnd.vegalite.v5+json', 'text/plain'])
    expect(await types({ toSpec: () => spec })).toEqual(['application/vnd.vegalite.v5+json', 'text/plain'])
    expect(await types({ nodeType: 1, outerHTML: '<svg></svg>' })).toEqual(['image/svg+xml', 'text/plain'])
  })

  it('that fails to show itself is text, and what failed is said; the other forms are shown', async () => {
    const fail = () => {
      throw new Error('no ink')
    }
    expect(await types({ [TO_MIME]: fail })).toEqual(['text/plain'])
    expect(await types({ [TO_MIME]: async () => fail() })).toEqual(['text/plain'])
    expect(await types({ toHtml: fail, toMarkdown: () => Promise.reject(new Error('no paper')), toLatex: () => 'x' })).toEqual(['text/latex', 'text/plain'])
    expect(said.match(/no ink/g)).toHaveLength(3)
    expect(said).toContain('not shown as text/markdown, because its method failed: no paper\n')
  })

  it('is asked nothing that could run what it did not mean to be run', async () => {
    let asked = 0
    const trap = () => {
      asked++
      throw new Error('trap')
    }
    const handler = new Proxy({}, { get: () => trap })
    expect(await types(new Proxy({ a: 1 }, handler))).toEqual(['text/plain'])
    expect(await types(new Proxy(() => {}, handler))).toEqual(['text/plain'])
    expect(await text(Object.defineProperties({}, { toPng: { get: trap, enumerable: true }, numRows: { get: trap } }))).toBe('{ toPng: [Getter] }')
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    expect(await text(proxy)).toBe('<Revoked Proxy>')
    expect(await text({ [Symbol.for('nodejs.util.inspect.custom')]: trap })).toBe('[a value that cannot be shown, because its inspection throws: trap]')
    expect(asked).toBe(1)
  })

  it('of any size is shown in bounds, and says what is left out', async () => {
    const keys = Object.fromEntries(Array.from({ length: 200_000 }, (_, index) => [`key${index}`, index]))
    expect(await text(keys)).toMatch(/ key99: 99\n\}\n… 199,900 more of 200,000 keys$/)
    expect(await text({ inner: keys })).toBe('{ inner: [Object] }')
    expect(await text({ a: 1, wide: Array.from({ length: 90 }, () => 'x'.repeat(9000)) })).toBe('{ a: 1, wide: [Array] }')
    expect(await text('x'.repeat(1e6))).toMatch(/\.\.\. 990000 more characters$/)
    const circle: Record<string, unknown> = {}
    circle.self = circle
    expect(await text(circle)).toBe('<ref *1> { self: [Circular *1] }')
    expect((await text(new Array(1e9))).length).toBeLessThan(100)
  })

  it('of any kind is shown', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.anything({
          withBigInt: true,
          withDate: true,
          withMap: true,
          withSet: true,
          withTypedArray: true,
          withSparseArray: true,
          withNullPrototype: true,
          withObjectString: true,
        }),
        async (value) => {
          const bundle = await present(value)
          expect(typeof bundle['text/plain']).toBe('string')
          expect(JSON.parse(JSON.stringify(bundle))).toEqual(bundle)
        },
      ),
    )
  })
})

describe('what is sent', () => {
  it('is text, base64 or JSON; what cannot be is left out, and said', () => {
    const bundle = {
      'text/html': Buffer.from('<b>'),
      'text/markdown': ['a\n', 'b'],
      'image/png': Uint8Array.of(1),
      'application/json': { when: new Date(0), no: undefined },
      'text/latex': 5,
    }
    expect(sendable(bundle)).toEqual({
      'text/html': '<b>',
      'text/markdown': 'a\nb',
      'image/png': 'AQ==',
      'application/json': { when: '1970-01-01T00:00:00.000Z' },
    })
    expect(said).toBe('not shown as text/latex: number is neither text nor bytes\n')
    expect(sendable({ 'application/json': { big: 1n } })).toEqual({})
  })
})

describe('typed arrays and tensors', () => {
  it('that are long are summed up; short ones are shown', async () => {
    expect(await text(Float32Array.of(1, 2))).toBe('Float32Array(2) [ 1, 2 ]')
    const values = Float64Array.from({ length: 2000 }, (_, index) => index)
    values.set([Number.NaN, Number.POSITIVE_INFINITY, Number.NaN], 3)
    expect(await text(values)).toBe(
      'Float64Array (2,000) · 15.6\u202fKiB · min 0 · max 1999 · mean 1001 · 2 NaN · 1 infinite\n[ 0, 1, 2, …, 1997, 1998, 1999 ]',
    )
    expect(await text(new BigInt64Array(101).fill(-7n))).toBe('BigInt64Array (101) · 808\u202fB · min -7 · max -7 · mean -7\n[ -7, -7, -7, …, -7, -7, -7 ]')
    expect(await text(new Float32Array(101).fill(Number.NaN))).toBe('Float32Array (101) · 404\u202fB · 101 NaN\n[ NaN, NaN, NaN, …, NaN, NaN, NaN ]')
  })

  it('of any length are looked at by a sample, and that is said', async () => {
    const huge = new Uint8Array(1e8)
    expect(await text(huge)).toBe('Uint8Array (100,000,000) · 95.4\u202fMiB · min 0 · max 0 · mean 0 · of a sample of 65,536\n[ 0, 0, 0, …, 0, 0, 0 ]')
  })

  it('of other libraries have their shape', async () => {
    class Tensor {
      readonly dims = [2, 3]
      readonly type = 'float32'
      readonly #data = Float32Array.of(1, 2, 3, 4, 5, 6)
      get data() {
        return this.#data
      }
    }
    expect(await text(new Tensor())).toBe('Tensor float32 (2 × 3) · 24\u202fB · min 1 · max 6 · mean 3.5\n[ 1, 2, 3, 4, 5, 6 ]')
    expect(await text({ shape: [1], data: new Float32Array(1) })).toContain('shape: [ 1 ]')
  })
})

describe('tables', () => {
  const table = arrow.tableFromArrays({
    n: Int32Array.from({ length: 1000 }, (_, index) => index),
    x: Float64Array.from({ length: 1000 }, (_, index) => index / 3),
  })

  it('of Arrow are shown with types, their first and last rows, and how many there are', async () => {
    const bundle = await shown(table)
    const rows = [...(bundle['text/html'] as string).matchAll(/<tr>/g)]
    expect(rows).toHaveLength(1 + 20 + 1 + 20)
    expect(bundle['text/html']).toContain('<th>n<br><small>Int32</small></th><th>x<br><small>Float64</small></th>')
    expect(bundle['text/html']).toContain(
      '<td>19</td><td>6.33333</td></tr>\n<tr><td>…</td><td>…</td><td>…</td></tr>\n<tr><td><small>980</small></td><td>980</td>',
    )
    expect((bundle['text/plain'] as string).split('\n').slice(0, 4)).toEqual(
      ['       n         x', '   Int32   Float64', '0      0         0', '1      1  0.333333'].map((line) => expect.stringContaining(line.trim())),
    )
    expect(bundle['text/plain']).toMatch(/1,000 rows × 2 columns$/)
    const { schema, data } = bundle['application/vnd.dataresource+json'] as never as { schema: object; data: object[] }
    expect(schema).toEqual({
      fields: [
        { name: 'n', type: 'integer', description: 'Int32' },
        { name: 'x', type: 'number', description: 'Float64' },
      ],
    })
    expect(data).toHaveLength(500)
    expect(data[1]).toEqual({ n: 1, x: 1 / 3 })
  })

  it('are also record batches and vectors; times and decimals are what they mean', async () => {
    expect(await types(table.batches[0])).toContain('text/html')
    expect(await text(arrow.vectorFromArray([new Date(0), null], new arrow.TimestampMillisecond()))).toContain('1970-01-01')
    const decimal = arrow.vectorFromArray([new Uint32Array([12345, 0, 0, 0])], new arrow.Decimal(2, 10))
    expect(await text(decimal)).toContain('123.45')
  })

  it('of records or of columns have the union of their names', () => {
    const plain = (value: unknown, only?: readonly string[]) => tableBundle(recordsTable(value, only))['text/plain'] as string
    expect(
      plain([
        { a: 1, b: 'x' },
        { a: 2.5, c: new Date(0) },
      ]),
    ).toBe(
      ['        a       b           c', '   number  string        Date', '0       1       x', '1     2.5          1970-01-01', '2 rows × 3 columns'].join('\n'),
    )
    expect(plain({ a: [1, 2], b: new Float32Array(2) }, ['b'])).toBe(['        b', '   number', '0       0', '1       0', '2 rows × 1 column'].join('\n'))
    expect(plain(new Map([['k', 1]]))).toContain('k  1'.trim().split('  ')[0])
    expect(plain([[1, 2]])).toContain('1 row × 2 columns')
    expect(() => recordsTable(5)).toThrow('display.table: number has no rows; give an array of objects, or an object of arrays')
    expect(() => recordsTable({ a: 1 })).toThrow("the column 'a' is no array")
  })

  it('escape whatever is in them', async () => {
    const hostile = `<img src=x onerror="alert('1')">&`
    const bundle = await shown(arrow.tableFromArrays({ [hostile]: [hostile], nested: [{ deep: hostile }] }))
    expect(bundle['text/html']).not.toContain('<img')
    expect(bundle['text/html']).toContain('&lt;img src=x onerror=&quot;alert(&#39;1&#39;)&quot;&gt;&amp;')
  })

  it('are bounded in rows, columns and cells', () => {
    const wide = Array.from({ length: 300 }, () => Object.fromEntries(Array.from({ length: 400 }, (_, index) => [`c${index}`, 'y'.repeat(5000)])))
    const bundle = tableBundle(recordsTable(wide))
    expect((bundle['text/html'] as string).length).toBeLessThan(200_000)
    expect((bundle['text/plain'] as string).length).toBeLessThan(10_000)
    expect(JSON.stringify(bundle['application/vnd.dataresource+json']).length).toBeLessThan(2_000_000)
    expect(bundle['text/plain']).toMatch(/300 rows × 400 columns, the last \d+ not shown$/)
  })
})
