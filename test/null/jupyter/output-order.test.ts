import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { OutputOrder } from '../../../kernel/src/jupyter/output-order.js'
import { type Cell, cells } from '../../../kernel/src/language/cell.js'
import { OutputWriter } from '../../../kernel/src/language/output.js'
import { encodeMark, MarkReader, type Note } from '../../../kernel/src/language/protocol.js'

const cell = (id: number, isMain = true): Cell => ({ id, file: `Cell [${id}]`, isMain, canAsk: false, interrupted: false, pending: [], payload: [] })

/** A program of a cell: what it prints where, on behalf of which cell. */
const step = fc.record({
  where: fc.constantFrom('stdout', 'stderr', 'display'),
  cell: fc.integer({ min: 1, max: 3 }),
  text: fc.string({ minLength: 1, maxLength: 8 }),
})

describe('output order', () => {
  it('is the order of writing, however the three streams are cut and interleaved', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), fc.infiniteStream(fc.nat(2)), fc.infiniteStream(fc.integer({ min: 1, max: 40 })), (steps, lanes, cuts) => {
        const streams: [Buffer[], Buffer[]] = [[], []]
        const notes: Note[] = []
        const writer = new OutputWriter(
          'n',
          (note) => notes.push(note),
          (fd, chunk) => streams[fd - 1]?.push(Buffer.from(chunk)),
        )
        writer.begin(cell(3))
        for (const { where, cell: id, text } of steps) {
          cells.run(cell(id), () => {
            if (where === 'display') writer.output({ kind: 'display', update: false, data: { text }, metadata: {} })
            else writer.text(where === 'stdout' ? 1 : 2, text)
          })
        }
        writer.end(cell(3), { expressions: {} })

        const seen: { where: string; cell: number; text: string }[] = []
        let ended = false
        const order = new OutputOrder('n', {
          output: (id, output) => {
            expect(ended).toBe(false)
            const where = output.kind === 'stream' ? output.name : 'display'
            const text = output.kind === 'stream' ? output.text : String((output as { data: { text?: unknown } }).data.text)
            const last = seen.at(-1)
            if (last?.where === where && last.cell === id && where !== 'display') last.text += text
            else seen.push({ where, cell: id, text })
          },
          ask: () => {},
          end: () => {
            ended = true
          },
        })
        const bytes = streams.map((chunks) => Buffer.concat(chunks))
        while (bytes.some(({ length }) => length > 0) || notes.length > 0) {
          const lane = lanes.next().value as number
          if (lane === 2) {
            const note = notes.shift()
            if (note !== undefined && note.kind !== 'ready') order.note(note)
          } else {
            const cut = cuts.next().value as number
            order.bytes((lane + 1) as 1 | 2, bytes[lane]?.subarray(0, cut) ?? Buffer.alloc(0))
            bytes[lane] = bytes[lane]?.subarray(cut) ?? Buffer.alloc(0)
          }
        }
        const expected: typeof seen = []
        for (const { where, cell: id, text } of steps) {
          const last = expected.at(-1)
          if (last?.where === where && last.cell === id && where !== 'display') last.text += text
          else expected.push({ where, cell: id, text })
        }
        expect(seen).toEqual(expected)
        expect(ended).toBe(true)
        expect(order.isWaiting).toBe(false)
      }),
      { numRuns: 500 },
    )
  })

  it('goes on without a mark that was lost, when told to', () => {
    const seen: string[] = []
    const order = new OutputOrder('n', { output: (_, output) => seen.push(output.kind), ask: () => {}, end: () => seen.push('end') })
    order.note({ kind: 'output', epoch: 5, cell: 1, output: { kind: 'clear', wait: false } })
    order.note({ kind: 'end', cell: 1, outcome: { expressions: {} } })
    expect(seen).toEqual([])
    expect(order.isWaiting).toBe(true)
    order.force()
    expect(seen).toEqual(['clear', 'end'])
    expect(order.isWaiting).toBe(false)
  })
})

describe('marks', () => {
  it('are found wherever the bytes are cut, and all other bytes are text', () => {
    const mark = { kind: 'open', epoch: 12, cell: 3 } as const
    const encoded = encodeMark('abc', mark)
    const part = fc.oneof(fc.string({ unit: 'grapheme' }), fc.constant(encoded), fc.constant(encoded.slice(0, 5)), fc.constant('\x1b]fpdt;other;open;1;1\x07'))
    fc.assert(
      fc.property(fc.array(part), fc.infiniteStream(fc.integer({ min: 1, max: 7 })), (parts, cuts) => {
        const reader = new MarkReader('abc')
        let bytes = Buffer.from(parts.join(''))
        let read = ''
        let marks = 0
        while (bytes.length > 0) {
          const cut = cuts.next().value as number
          for (const token of reader.read(bytes.subarray(0, cut))) {
            if (typeof token === 'string') read += token
            else {
              expect(token).toEqual(mark)
              marks++
            }
          }
          bytes = bytes.subarray(cut)
        }
        const whole = parts.join('')
        expect(marks).toBe(whole.split(encoded).length - 1)
        // What could begin a mark is held back at the end.
        expect(whole.split(encoded).join('').startsWith(read)).toBe(true)
        expect(whole.split(encoded).join('').length - read.length).toBeLessThan(encoded.length)
      }),
      { numRuns: 500 },
    )
  })
})
