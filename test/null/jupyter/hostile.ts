/** Messages that a kernel must survive: valid ones spoiled after they were signed, as anybody can send them, or before, as a faulty client does. Told by a seed. */
import { createHmac } from 'node:crypto'

/** Numbers from 0 to 1 that a seed tells (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

const DELIMITER = Buffer.from('<IDS|MSG>')
const HEADER_FIELDS = ['msg_id', 'session', 'username', 'date', 'msg_type', 'version', 'subshell_id']
const REQUESTS = [
  'execute_request',
  'complete_request',
  'inspect_request',
  'is_complete_request',
  'history_request',
  'kernel_info_request',
  'comm_info_request',
  'comm_open',
  'comm_msg',
  'comm_close',
  'interrupt_request',
  'create_subshell_request',
  'delete_subshell_request',
  'list_subshell_request',
  'debug_request',
  'input_reply',
]
const CONTENT_FIELDS = [
  ...['code', 'cursor_pos', 'detail_level', 'silent', 'store_history', 'user_expressions', 'allow_stdin', 'stop_on_error'],
  ...['comm_id', 'target_name', 'data', 'hist_access_type', 'output', 'raw', 'n', 'session', 'start', 'stop', 'pattern', 'unique', 'value', 'subshell_id'],
]
/** Texts, as JSON.stringify gives none of them. */
const HOSTILE_JSON = [
  ...[
    '',
    ' ',
    'null',
    '[]',
    '7',
    '"x"',
    'true',
    '{',
    '{"a":',
    '[[[',
    '{"a":1}{"a":2}',
    '\u0000',
    'NaN',
    '{"a":undefined}',
    "{'a':1}",
    '\ufeff{}',
    '{"a":1e999}',
  ],
  ...['{"__proto__":{"polluted":1}}', '{"constructor":{"prototype":{"polluted":1}}}', '{"msg_id":"a","msg_id":5}', '{"toJSON":1}', '{"then":1}'],
  `{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}`,
  `${'{"a":'.repeat(3000)}1${'}'.repeat(3000)}`,
  '['.repeat(100_000),
]
const HOSTILE_VALUES: readonly unknown[] = [
  ...[null, true, 0, -1, 1e9, 1.5, -0, 1e308, '', 'x', '\u0000', '\ud800', '💥'.repeat(20), '__proto__', 'constructor', 'hasOwnProperty', '../../etc/passwd'],
  ...[
    [],
    {},
    [[[]]],
    { a: { b: [1, { c: null }] } },
    ['x'],
    { length: -1 },
    JSON.parse('{"__proto__":{"polluted":1}}'),
    { toString: 1, valueOf: 2 },
    'x'.repeat(5000),
  ],
]

export class Hostile {
  #made = 0

  constructor(
    private readonly random: () => number,
    private readonly key: string,
    /** What its messages say they are. */
    private readonly types: readonly string[] = REQUESTS,
  ) {}

  /** Signed frames, with an identity in front. */
  valid(): Buffer[] {
    return this.sign([this.#header(), {}, {}, this.#content()].map((part) => Buffer.from(JSON.stringify(part))))
  }

  /** The valid one changed after it was signed: nobody without the key can do better. */
  spoiled(): Buffer[] {
    let frames = this.valid()
    for (let changes = 1 + this.#below(3); changes > 0; changes--) frames = this.#change(frames)
    return frames
  }

  /** Rightly signed, but not what a Jupyter client would send. */
  faulty(): Buffer[] {
    const parts: unknown[] = [this.#header(), {}, {}, this.#content()]
    const kind = this.#below(4)
    if (kind === 0) (parts[0] as Record<string, unknown>)[this.#pick(HEADER_FIELDS)] = this.#pick(HOSTILE_VALUES)
    if (kind === 1)
      for (let fields = this.#below(8); fields > 0; fields--) (parts[3] as Record<string, unknown>)[this.#pick(CONTENT_FIELDS)] = this.#pick(HOSTILE_VALUES)
    if (kind === 2) parts[this.#below(4)] = this.#pick(HOSTILE_VALUES)
    const json: Buffer[] = parts.map((part) => Buffer.from(JSON.stringify(part) ?? ''))
    if (kind === 3) json[this.#below(4)] = this.#below(4) === 0 ? this.#bytes(this.#below(200)) : Buffer.from(this.#pick(HOSTILE_JSON))
    const buffers = Array.from({ length: this.#below(10) === 0 ? this.#below(50) : 0 }, () => this.#bytes(this.#below(100)))
    return [...this.sign(json), ...buffers]
  }

  sign(json: readonly Buffer[]): Buffer[] {
    const hmac = createHmac('sha256', this.key)
    for (const frame of json) hmac.update(frame)
    return [DELIMITER, Buffer.from(this.key === '' ? '' : hmac.digest('hex')), ...json]
  }

  #header(): Record<string, unknown> {
    return {
      msg_id: `hostile-${this.#made++}`,
      session: 'hostile',
      username: 'mallory',
      date: new Date(0).toISOString(),
      msg_type: this.#pick(this.types),
      version: '5.5',
    }
  }

  #content(): Record<string, unknown> {
    return { code: '1', cursor_pos: 1, silent: true, store_history: false, user_expressions: {}, allow_stdin: false, stop_on_error: false }
  }

  #change(frames: Buffer[]): Buffer[] {
    const at = this.#below(frames.length)
    const frame = frames[at] ?? Buffer.alloc(0)
    const [before, after] = [frames.slice(0, at), frames.slice(at + 1)]
    switch (this.#below(10)) {
      case 0: {
        if (frame.length === 0) return frames
        const flipped = Buffer.from(frame)
        flipped[this.#below(frame.length)]! ^= 1 << this.#below(8)
        return [...before, flipped, ...after]
      }
      case 1:
        return [...before, frame.subarray(0, this.#below(frame.length + 1)), ...after]
      case 2:
        return [...before, ...after]
      case 3:
        return [...before, frame, frame, ...after]
      case 4: {
        const other = this.#below(frames.length)
        return frames.map((f, index) => (index === at ? (frames[other] as Buffer) : index === other ? frame : f))
      }
      case 5:
        return [...before, this.#bytes(this.#below(64)), ...after]
      case 6:
        return [...before, this.#below(200) === 0 ? Buffer.alloc(2 ** 20, 0x7b) : Buffer.alloc(0), ...frames.slice(at)]
      case 7:
        return [...before, Buffer.from(this.#pick(HOSTILE_JSON)), ...after]
      case 8:
        return [...before, DELIMITER, ...frames.slice(at)]
      default:
        return frames.slice(0, at)
    }
  }

  #bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.#below(256)))
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#below(from.length)] as T
  }

  #below(limit: number): number {
    return Math.floor(this.random() * limit)
  }
}
