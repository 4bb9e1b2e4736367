import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Cell, cellOf, cells } from '../../../kernel/src/cells/cell.js'
import { OutputWriter } from '../../../kernel/src/cells/output-writer.js'
import { encodeMark, MarkReader, type Note } from '../../../kernel/src/cells/protocol.js'
import { OutputOrder } from '../../../kernel/src/jupyter/output-order.js'

const cell = (id: number, isMain = true): Cell =>
  cellOf({ kind: 'cell', cell: id, file: `Cell [${id}]`, ...(isMain ? {} : { subshell: 's' }), canAsk: false, code: '', silent: false, expressions: {} })

/** What happens in an executor: cells of shells begin and end in any order, print where they like while they run and later, and native code writes past them. */
const step = fc.oneof(
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('begin' as const), isMain: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('end' as const), which: fc.nat(9) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('print' as const),
      where: fc.constantFrom('stdout', 'stderr', 'display', 'ask'),
      which: fc.nat(9),
      text: fc.string({ minLength: 1, maxLength: 8 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('native' as const), where: fc.constantFrom('stdout', 'stderr'), text: fc.stringMatching(/^[①-⑨]{1,8}$/) }),
  },
)

/** As a mark looks among bytes. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: marks are control sequences
const MARK = /\x1b\]fpdt;n;[^\x07]*\x07/g

interface Seen {
  readonly where: string
  readonly cell: number
  text: string
}

/** Pieces of text of one cell and stream that follow each other are one. */
function join(seen: readonly Seen[]): Seen[] {
  const joined: Seen[] = []
  for (const piece of seen) {
    const last = joined.at(-1)
    if (last?.where === piece.where && last.cell === piece.cell && piece.where.startsWith('std')) last.text += piece.text
    else joined.push({ ...piece })
  }
  return joined
}

/** How much of a cell there is. */
function volume(seen: readonly Seen[], cell: number): number {
  return seen.reduce((sum, piece) => sum + (piece.cell === cell ? piece.text.length : 0), 0)
}

function withoutNative(seen: readonly Seen[]): Seen[] {
  return seen.map((piece) => ({ ...piece, text: piece.text.replace(/[①-⑨]/g, '') })).filter(({ text }) => text !== '')
}

describe('output order', () => {
  it('is the order of writing, of each cell before its end, however cells overlap and streams are cut and interleaved', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.infiniteStream(fc.nat(2)), fc.infiniteStream(fc.integer({ min: 1, max: 40 })), (steps, lanes, cuts) => {
        const streams: [Buffer[], Buffer[]] = [[], []]
        const notes: Note[] = []
        const write = (fd: 1 | 2, chunk: Uint8Array | string) => void streams[fd - 1]?.push(Buffer.from(chunk))
        const writer = new OutputWriter('n', (note) => notes.push(note), write)
        const begun: Cell[] = []
        const running: Cell[] = []
        /** Whose native text is: see OutputWriter. */
        let current = 0
        const written: Seen[] = []
        const due = new Map<number, number>()
        for (const step of steps) {
          if (step.kind === 'begin') {
            // A shell runs one cell at a time.
            if (step.isMain && running.some(({ isMain }) => isMain)) continue
            const next = cell(begun.length + 1, step.isMain)
            begun.push(next)
            running.push(next)
            writer.begin(next)
          } else if (step.kind === 'end') {
            const [ended] = running.splice(step.which % (running.length || 1), 1)
            if (ended === undefined) continue
            due.set(ended.id, volume(written, ended.id))
            writer.end(ended, { expressions: {} })
          } else if (step.kind === 'native') {
            if (current === 0) continue
            write(step.where === 'stdout' ? 1 : 2, step.text)
            written.push({ where: step.where, cell: current, text: step.text })
          } else {
            const { where, text } = step
            const owner = begun[step.which % begun.length]
            if (owner === undefined) continue
            cells.run(owner, () => {
              if (where === 'display') writer.output({ kind: 'display', update: false, data: { text }, metadata: {} })
              else if (where === 'ask') writer.ask(text, false)
              else writer.text(where === 'stdout' ? 1 : 2, text)
            })
            written.push({ where, cell: owner.id, text })
          }
          current = (running.find(({ isMain }) => isMain) ?? running.at(-1))?.id ?? current
        }

        const seen: Seen[] = []
        const order = new OutputOrder('n', {
          output: (id, output) => {
            if (output.kind === 'stream') seen.push({ where: output.name, cell: id, text: output.text })
            else seen.push({ where: 'display', cell: id, text: String((output as { data: { text?: unknown } }).data.text) })
          },
          ask: (ask) => seen.push({ where: 'ask', cell: ask.cell, text: ask.prompt }),
          end: (id) => {
            // All of it is there; what it wrote later may follow, or have come already.
            expect(volume(seen, id)).toBeGreaterThanOrEqual(due.get(id) as number)
            expect(due.delete(id)).toBe(true)
          },
        })
        const bytes = streams.map((chunks) => Buffer.concat(chunks))
        while (bytes.some(({ length }) => length > 0) || notes.length > 0) {
          const lane = lanes.next().value as number
          if (lane === 2) {
            const note = notes.shift()
            if (note !== undefined && note.kind !== 'ready' && note.kind !== 'heard') order.note(note)
          } else {
            const cut = cuts.next().value as number
            order.bytes((lane + 1) as 1 | 2, bytes[lane]?.subarray(0, cut) ?? Buffer.alloc(0))
            bytes[lane] = bytes[lane]?.subarray(cut) ?? Buffer.alloc(0)
          }
        }
        expect(join(withoutNative(seen))).toEqual(join(withoutNative(written)))
        // Native code writes no marks, so what it writes has its place in its stream alone.
        for (const where of ['stdout', 'stderr']) {
          const inStream = (all: readonly Seen[]) => join(all.filter((piece) => piece.where === where))
          expect(inStream(seen)).toEqual(inStream(written))
        }
        expect(due.size).toBe(0)
        expect(order.isWaiting).toBe(false)
      }),
      { numRuns: 1000 },
    )
  })

  it('ends cells in the order in which they ended, not in that in which they began', () => {
    const marks: [string[], string[]] = [[], []]
    const notes: Note[] = []
    const writer = new OutputWriter(
      'n',
      (note) => notes.push(note),
      (fd, chunk) => void marks[fd - 1]?.push(String(chunk)),
    )
    const [main, sub] = [cell(1), cell(2, false)]
    writer.begin(main)
    writer.begin(sub)
    writer.end(sub, { expressions: {} })
    writer.end(main, { expressions: {} })
    const ended: number[] = []
    const order = new OutputOrder('n', { output: () => {}, ask: () => {}, end: (id) => ended.push(id) })
    for (const note of notes) if (note.kind !== 'ready' && note.kind !== 'heard') order.note(note)
    order.bytes(1, Buffer.from(marks[0].join('')))
    expect(ended).toEqual([])
    order.bytes(2, Buffer.from(marks[1].join('')))
    expect(ended).toEqual([2, 1])
  })

  it('throws at nothing and holds nothing back for ever, whatever marks were lost and wherever the executor died', () => {
    const cellNumber = fc.integer({ min: 1, max: 6 })
    const epoch = fc.integer({ min: 0, max: 30 })
    const event = fc.oneof(
      fc.record({ kind: fc.constant('text' as const), text: fc.stringMatching(/^[a-z€]{1,6}$/) }),
      fc.record({ kind: fc.constant('open' as const), epoch, cell: cellNumber }),
      fc.record({ kind: fc.constant('close' as const), epoch }),
      fc.record({ kind: fc.constant('end' as const), cell: cellNumber }),
    )
    const note: fc.Arbitrary<Exclude<Note, { kind: 'ready' | 'heard' }>> = fc.oneof(
      fc.record({ kind: fc.constant('close' as const), epoch }),
      fc.record({ kind: fc.constant('output' as const), epoch, cell: cellNumber, output: fc.constant({ kind: 'clear', wait: false } as const) }),
      fc.record({ kind: fc.constant('ask' as const), epoch, cell: cellNumber, prompt: fc.string(), password: fc.boolean() }),
      fc.record({ kind: fc.constant('end' as const), cell: cellNumber, outcome: fc.constant({ expressions: {} }) }),
    )
    const lane = fc.record({ events: fc.array(event, { maxLength: 20 }), died: fc.double({ min: 0, max: 1, noNaN: true }) })
    const cuts = fc.infiniteStream(fc.tuple(fc.nat(2), fc.integer({ min: 1, max: 30 }), fc.nat(9)))
    fc.assert(
      fc.property(lane, lane, fc.array(note, { maxLength: 20 }), cuts, (stdout, stderr, notes, cuts) => {
        const seen = { stdout: '', stderr: '' }
        let shown = 0
        const order = new OutputOrder('n', {
          output: (_, output) => {
            if (output.kind === 'stream') seen[output.name] += output.text
            else shown++
          },
          ask: () => shown++,
          end: () => {},
        })
        const streams = [stdout, stderr].map(({ events, died }) => {
          const bytes = Buffer.concat(events.map((event) => Buffer.from(event.kind === 'text' ? event.text : encodeMark('n', event))))
          return bytes.subarray(0, Math.floor(bytes.length * died))
        })
        const written = streams.map((bytes) => bytes.toString('latin1').replaceAll(MARK, ''))
        const waiting = [...notes]
        while (streams.some(({ length }) => length > 0) || waiting.length > 0) {
          const [which, cut, force] = cuts.next().value as [number, number, number]
          const next = which === 2 ? waiting.shift() : undefined
          if (next !== undefined) order.note(next)
          if (which < 2) {
            order.bytes((which + 1) as 1 | 2, streams[which]?.subarray(0, cut) ?? Buffer.alloc(0))
            streams[which] = streams[which]?.subarray(cut) ?? Buffer.alloc(0)
          }
          if (force === 0) order.force()
        }
        order.force()
        expect(order.isWaiting).toBe(false)
        expect(shown).toBe(notes.filter(({ kind }) => kind === 'output' || kind === 'ask').length)
        for (const [index, name] of (['stdout', 'stderr'] as const).entries()) {
          // Characters that were cut are shown as such; what is kept back for a mark that broke off is no text.
          const whole = Buffer.from(written[index] ?? '', 'latin1')
            .toString()
            .replaceAll('\ufffd', '')
          expect(whole.startsWith(seen[name].replaceAll('\ufffd', ''))).toBe(true)
          expect(whole.length - seen[name].replaceAll('\ufffd', '').length).toBeLessThan(encodeMark('n', { kind: 'close', epoch: 99 }).length)
        }
      }),
      { numRuns: 2000 },
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
  it('do not part a character of one cell, and keep that of a cell that ended within it from the next', () => {
    const [first, rest] = [Buffer.from([0xe2, 0x82]), Buffer.from([0xac])] // of €
    const open = (cell: number) => Buffer.from(encodeMark('n', { kind: 'open', epoch: 1, cell }))
    const texts = (...parts: Buffer[]) => new MarkReader('n').read(Buffer.concat(parts)).filter((token) => typeof token === 'string')
    expect(texts(open(1), first, Buffer.from(encodeMark('n', { kind: 'close', epoch: 1 })), open(1), rest)).toEqual(['€'])
    expect(texts(open(1), first, Buffer.from(encodeMark('n', { kind: 'end', cell: 1 })), Buffer.from('next'))).toEqual(['\ufffd', 'next'])
    expect(texts(open(1), first, open(2), Buffer.from('next'))).toEqual(['\ufffd', 'next'])
    expect(texts(open(1), Buffer.from('\ufeffx'))).toEqual(['\ufeffx'])
  })

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
