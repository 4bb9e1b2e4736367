import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Session } from '../../../kernel/src/jupyter/message.js'
import { Wire } from '../../../kernel/src/jupyter/wire.js'

const KEY = 'a0436f6c-1916-498b-8eb9-e81ab9368e84'
const session = new Session()
const frame = fc.uint8Array({ maxLength: 40 })
const plain = (value: unknown) => JSON.parse(JSON.stringify(value)) // as JSON carries it: -0 becomes 0
const json = fc.dictionary(fc.string(), fc.jsonValue())

describe('wire', () => {
  it('reads back what it wrote, binary buffers byte for byte', () => {
    fc.assert(
      fc.property(
        json,
        json,
        fc.array(frame),
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 8 }).filter((id) => id[0] !== 60)),
        (content, metadata, buffers, identities) => {
          const sent = { ...session.message('comm_msg', content, undefined, { metadata, buffers }), identities }
          const read = new Wire(KEY).decode(new Wire(KEY).encode(sent))
          expect(read).toMatchObject({ header: sent.header, parent: {}, content: plain(content), metadata: plain(metadata) })
          expect((read as typeof sent).buffers.map((b) => [...b])).toEqual(buffers.map((b) => [...b]))
          expect((read as typeof sent).identities.map((b) => [...b])).toEqual(identities.map((b) => [...b]))
        },
      ),
    )
  })

  it('refuses arbitrary frames and never throws', () => {
    const delimiter = fc.constant(new Uint8Array(Buffer.from('<IDS|MSG>')))
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            frame,
            delimiter,
            json.map((value) => new Uint8Array(Buffer.from(JSON.stringify(value)))),
          ),
        ),
        (frames) => {
          expect(new Wire(KEY).decode(frames)).toHaveProperty('refused')
          expect(() => new Wire('').decode(frames)).not.toThrow()
        },
      ),
      { numRuns: 1000 },
    )
  })

  it('refuses a message when any one byte of its signed frames is flipped', () => {
    const frames = new Wire(KEY).encode(session.message('execute_request', { code: '1+1' }))
    for (let index = 1; index < frames.length; index++) {
      for (const byte of [0, (frames[index]?.length ?? 1) - 1]) {
        const forged = frames.map((f) => Uint8Array.from(f))
        ;(forged[index] as Uint8Array)[byte]! ^= 1
        expect(new Wire(KEY).decode(forged)).toEqual({ refused: 'wrong signature' })
      }
    }
  })

  it('checks the signature before it parses', () => {
    const frames = ['<IDS|MSG>', '0'.repeat(64), '{', '{', '{', '{'].map((text) => Buffer.from(text))
    expect(new Wire(KEY).decode(frames)).toEqual({ refused: 'wrong signature' })
    expect(new Wire('').decode(frames)).toEqual({ refused: 'a frame is not JSON in UTF-8' })
  })

  it('refuses a message that is sent a second time', () => {
    const wire = new Wire(KEY)
    const frames = new Wire(KEY).encode(session.message('execute_request', { code: 'pay()' }))
    expect(wire.decode(frames)).toHaveProperty('header')
    expect(wire.decode(frames)).toEqual({ refused: 'replayed signature' })
  })

  it('signs as the protocol says: HMAC-SHA256 over header, parent, metadata and content, not over buffers', () => {
    const message = session.message('status', {}, undefined, { buffers: [new Uint8Array([1, 2, 3])] })
    const frames = new Wire(KEY).encode(message)
    const { buffers: _, ...rest } = message
    expect(Buffer.from(frames[1]!).toString()).toBe(Buffer.from(new Wire(KEY).encode({ ...rest, buffers: [] })[1]!).toString())
  })
})
