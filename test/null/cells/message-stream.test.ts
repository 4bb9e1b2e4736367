import fc from 'fast-check'
import { expect, it } from 'vitest'
import { encodeNote, NoteReader } from '../../../kernel/src/cells/message-stream.js'
import type { Note } from '../../../kernel/src/cells/protocol.js'

const data = fc.dictionary(fc.string(), fc.jsonValue()).map((value) => JSON.parse(JSON.stringify(value)))
const note: fc.Arbitrary<Note> = fc.oneof(
  fc.record({ kind: fc.constant('close' as const), epoch: fc.nat() }),
  fc.record({ id: fc.string(), data, buffers: fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 4 }) }).map(({ id, data, buffers }) => {
    // Beside the buffers there may be data that looks like them.
    const event = { type: 'msg', id, data: { buffers: data }, metadata: {}, buffers } as const
    return { kind: 'output', epoch: 1, cell: 2, output: { kind: 'comm', event } } as const
  }),
  data.map((data) => ({ kind: 'output', epoch: 1, cell: 2, output: { kind: 'display', update: false, data, metadata: {} } }) as const),
)
/** Buffers as numbers, so that a view of memory and a copy compare. */
const plain = (notes: readonly Note[]) => JSON.stringify(notes, (_, value) => (value instanceof Uint8Array ? Array.from(value) : value))

it('notes come back as they were, buffers too, wherever the bytes are cut', () => {
  fc.assert(
    fc.property(fc.array(note), fc.infiniteStream(fc.integer({ min: 1, max: 60 })), (notes, cuts) => {
      let bytes = Buffer.concat(notes.flatMap(encodeNote))
      const reader = new NoteReader()
      const read: Note[] = []
      while (bytes.length > 0) {
        const cut = cuts.next().value as number
        read.push(...reader.read(bytes.subarray(0, cut)))
        bytes = bytes.subarray(cut)
      }
      // Buffer has a toJSON of its own, which runs before `plain` sees it.
      const copied = read.map((note) =>
        note.kind === 'output' && note.output.kind === 'comm'
          ? { ...note, output: { ...note.output, event: { ...note.output.event, buffers: note.output.event.buffers.map((buffer) => new Uint8Array(buffer)) } } }
          : note,
      )
      expect(plain(copied)).toBe(plain(notes))
    }),
    { numRuns: 200 },
  )
})
