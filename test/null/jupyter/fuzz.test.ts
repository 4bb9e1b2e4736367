/** A hundred thousand hostile messages against the pure decoder; `test/kernel/fuzz.test.ts` sends them over sockets. */
import { createHmac } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { type Message, Session } from '../../../kernel/src/jupyter/message.js'
import { Wire } from '../../../kernel/src/jupyter/wire.js'
import { Hostile, randomOf } from './hostile.js'

const KEY = 'a0436f6c-1916-498b-8eb9-e81ab9368e84'
const RUNS = 100_000
const SEED = Number(process.env.FUZZ_SEED ?? 20_241_123)

describe(`wire, seed ${SEED}`, () => {
  it(`takes of ${RUNS} hostile messages those alone that are signed, new and well-formed, and can answer them`, () => {
    const random = randomOf(SEED)
    const hostile = new Hostile(random, KEY)
    const wire = new Wire(KEY)
    const session = new Session()
    const signatures = new Set<string>()
    const sent: Buffer[][] = []
    const counts = { accepted: 0, refused: 0 }
    for (let run = 0; run < RUNS; run++) {
      const kind = random()
      const frames =
        kind < 0.1 ? hostile.valid() : kind < 0.6 ? hostile.spoiled() : kind < 0.95 ? hostile.faulty() : (sent[Math.floor(random() * sent.length)] ?? [])
      if (sent.length < 1000) sent.push(frames)
      const read = wire.decode(frames)
      if ('refused' in read) {
        counts.refused++
        if (kind < 0.1) throw new Error(`refused a valid message: ${read.refused}`)
        continue
      }
      counts.accepted++
      const signature = String(frames[frames.findIndex((frame) => String(frame) === '<IDS|MSG>') + 1])
      if (signature !== signatureOf(frames)) throw new Error(`run ${run}: accepted with a wrong signature`)
      if (signatures.has(signature)) throw new Error(`run ${run}: accepted twice`)
      signatures.add(signature)
      check(read, session)
    }
    expect(counts.accepted).toBeGreaterThan(RUNS / 10)
    expect(counts.refused).toBeGreaterThan(RUNS / 4)
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  }, 60_000)

  it('without a key never throws either', () => {
    const random = randomOf(SEED + 1)
    const hostile = new Hostile(random, '')
    const wire = new Wire('')
    const session = new Session()
    for (let run = 0; run < RUNS / 10; run++) {
      const read = wire.decode(random() < 0.5 ? hostile.spoiled() : hostile.faulty())
      if (!('refused' in read)) check(read, session)
    }
  })
})

function signatureOf(frames: readonly Buffer[]): string {
  const start = frames.findIndex((frame) => String(frame) === '<IDS|MSG>') + 2
  const hmac = createHmac('sha256', KEY)
  for (const frame of frames.slice(start, start + 4)) hmac.update(frame)
  return hmac.digest('hex')
}

/** What the kernel relies on. */
function check(message: Message, session: Session): void {
  const { header, parent, metadata, content } = message
  for (const part of [header, parent, metadata, content]) if (typeof part !== 'object' || part === null || Array.isArray(part)) throw new Error('not an object')
  for (const field of ['msg_id', 'msg_type', 'session'] as const) if (typeof header[field] !== 'string') throw new Error(`${field} is not a string`)
  // Its header comes back as the parent of every answer.
  new Wire(KEY).encode(session.message('status', content, message, { metadata }))
}
