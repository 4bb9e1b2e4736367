import fc from 'fast-check'
import { expect, it } from 'vitest'
import { encodeMessage, MessageReader, NOTES, TASKS } from '../../../kernel/src/cells/message-stream.js'
import type { Note, Task } from '../../../kernel/src/cells/protocol.js'

const MAGIC = 0xfedcba98
const KINDS = new Set([...NOTES, ...TASKS])
const data = fc.dictionary(fc.string(), fc.jsonValue()).map((value) => JSON.parse(JSON.stringify(value)))
const buffer = fc.oneof(
  { weight: 9, arbitrary: fc.uint8Array({ maxLength: 40 }) },
  { weight: 1, arbitrary: fc.nat(200_000).map((length) => new Uint8Array(length)) },
)
const event = fc
  .record({ id: fc.string(), data, buffers: fc.array(buffer, { maxLength: 4 }) })
  // Beside the buffers there may be data that looks like them.
  .map(({ id, data, buffers }) => ({ type: 'msg', id, data: { buffers: data }, metadata: {}, buffers }) as const)
const message: fc.Arbitrary<Note | Task> = fc.oneof(
  fc.record({ kind: fc.constant('close' as const), epoch: fc.nat() }),
  event.map((event) => ({ kind: 'output', epoch: 1, cell: 2, output: { kind: 'comm', event } }) as const),
  data.map((data) => ({ kind: 'output', epoch: 1, cell: 2, output: { kind: 'display', update: false, data, metadata: {} } }) as const),
  event.map((event) => ({ kind: 'comm', cell: 3, event }) as const),
  fc.string().map((code) => ({ kind: 'cell', cell: 4, file: 'Cell [1]', canAsk: false, code, silent: false, expressions: {} }) as const),
)
/** Bytes as text, so that a view of memory and a copy compare; Buffer has a toJSON of its own, which runs before a replacer sees it. */
const plain = (messages: readonly (Note | Task)[]) => {
  const copied = messages.map((message) => {
    const event = message.kind === 'comm' ? message.event : message.kind === 'output' && message.output.kind === 'comm' ? message.output.event : undefined
    return [message, event?.buffers.map((bytes) => Buffer.from(bytes).toString('latin1'))]
  })
  return JSON.stringify(copied, (key, value) => (key === 'buffers' && Array.isArray(value) ? value.length : value))
}

/** Both ways in which bytes come: as chunks, and read to where the reader wants them. */
const ways = {
  'as chunks': (reader: MessageReader<(Note | Task)['kind']>, bytes: Uint8Array) => reader.read(bytes),
  'in place': (reader: MessageReader<(Note | Task)['kind']>, bytes: Uint8Array) => {
    const messages: (Note | Task)[] = []
    for (let rest = bytes; rest.length > 0; ) {
      const { space } = reader
      const count = Math.min(space.length, rest.length)
      space.set(rest.subarray(0, count))
      rest = rest.subarray(count)
      messages.push(...reader.readInto(space, count))
    }
    return messages
  },
}
for (const [way, read] of Object.entries(ways)) {
  it(`messages come back as they were, buffers too, wherever the bytes are cut; read ${way}`, () => {
    fc.assert(
      fc.property(fc.array(message), fc.infiniteStream(fc.oneof(fc.integer({ min: 1, max: 60 }), fc.constant(100_000))), (messages, cuts) => {
        let bytes = Buffer.concat(messages.flatMap((message) => encodeMessage(message, MAGIC)))
        const reader = new MessageReader(KINDS, MAGIC)
        const got: (Note | Task)[] = []
        while (bytes.length > 0) {
          const cut = bytes.length > 20_000 ? 100_000 : (cuts.next().value as number)
          got.push(...read(reader, bytes.subarray(0, cut)))
          bytes = bytes.subarray(cut)
        }
        expect(plain(got)).toBe(plain(messages))
      }),
      { numRuns: 200 },
    )
  })
}

it('refuses the message after bytes of somebody else, however many those are', () => {
  const end = Buffer.concat(encodeMessage({ kind: 'close', epoch: 1 }, MAGIC))
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), (foreign) => {
      // Bytes that are no message of themselves.
      fc.pre(!end.subarray(0, 4).equals(Buffer.from(foreign).subarray(0, 4)))
      expect(() => new MessageReader(NOTES, MAGIC).read(Buffer.concat([foreign, end]))).toThrow('this is no message')
    }),
  )
})

it('refuses bytes that are no message, and messages of another kind', () => {
  expect(() => new MessageReader(TASKS, MAGIC).read(Buffer.alloc(64, 0x41))).toThrow('this is no message')
  expect(() => new MessageReader(TASKS, MAGIC).read(Buffer.concat(encodeMessage({ kind: 'ready' }, MAGIC)))).toThrow('this is no message')
})
