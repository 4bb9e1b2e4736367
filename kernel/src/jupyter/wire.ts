/**
 * ZeroMQ frames <-> Message. On the wire: `[identity..., <IDS|MSG>, signature, header, parent, metadata, content, buffer...]`.
 * Anybody who can reach the port can send frames, so nothing is parsed before the signature has been checked, and `decode` never throws.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import type { Content, Header, Message } from './message.js'

const DELIMITER = Buffer.from('<IDS|MSG>')
const JSON_FRAMES = 4
const [QUOTE, BACKSLASH, BRACKET, BRACE] = Buffer.from('"\\[{') as unknown as [number, number, number, number]
const utf8 = new TextDecoder('utf-8', { fatal: true })

/**
 * Nothing that Jupyter sends nests deeper than a few levels. What is parsed is written again, as the parent of every answer and on the way to the
 * executor, and those who write recurse: a frame of brackets would end the process. Python's json stops at this depth too.
 */
const MAX_DEPTH = 1000

/** As many signatures are remembered as jupyter_client does, to refuse replays. */
const REMEMBERED = 65_536

export class Wire {
  readonly #seen = new Set<string>()

  /** `algorithm` is a Node hash name such as `sha256`; an empty key means that messages are not signed. */
  constructor(
    private readonly key: string,
    private readonly algorithm = 'sha256',
  ) {}

  /** Throws for what is no JSON, or none that clients read. */
  encode(message: Message): Uint8Array[] {
    const json = [message.header, message.parent, message.metadata, message.content].map((part) => Buffer.from(JSON.stringify(part)))
    if (json.some(isTooDeep)) throw new RangeError(`it nests deeper than ${MAX_DEPTH} levels`)
    return [...message.identities, DELIMITER, Buffer.from(this.sign(json)), ...json, ...message.buffers]
  }

  /** The message, or why these frames are none. */
  decode(frames: readonly Uint8Array[]): Message | { readonly refused: string } {
    const delimiter = frames.findIndex((frame) => DELIMITER.equals(frame))
    if (delimiter < 0) return { refused: 'no <IDS|MSG> frame' }
    const signature = frames[delimiter + 1]
    const json = frames.slice(delimiter + 2, delimiter + 2 + JSON_FRAMES)
    if (signature === undefined || json.length < JSON_FRAMES) return { refused: `fewer than ${JSON_FRAMES + 1} frames after <IDS|MSG>` }

    if (this.key !== '') {
      const expected = Buffer.from(this.sign(json))
      if (signature.length !== expected.length || !timingSafeEqual(signature, expected)) return { refused: 'wrong signature' }
      const digest = expected.toString()
      if (this.#seen.has(digest)) return { refused: 'replayed signature' }
      this.#remember(digest)
    }

    if (json.some(isTooDeep)) return { refused: `a frame nests deeper than ${MAX_DEPTH} levels` }
    let parts: unknown[]
    try {
      parts = json.map((frame) => JSON.parse(utf8.decode(frame)))
    } catch {
      return { refused: 'a frame is not JSON in UTF-8' }
    }
    if (!parts.every(isObject)) return { refused: 'a frame is not a JSON object' }
    const [header, parent, metadata, content] = parts as [Content, Content, Content, Content]
    if (!isHeader(header)) return { refused: 'header without msg_id, msg_type or session' }
    return {
      identities: frames.slice(0, delimiter),
      header,
      parent: parent as Message['parent'],
      metadata,
      content,
      buffers: frames.slice(delimiter + 2 + JSON_FRAMES),
    }
  }

  private sign(json: readonly Uint8Array[]): string {
    if (this.key === '') return ''
    const hmac = createHmac(this.algorithm, this.key)
    for (const frame of json) hmac.update(frame)
    return hmac.digest('hex')
  }

  #remember(digest: string): void {
    this.#seen.add(digest)
    if (this.#seen.size > REMEMBERED) this.#seen.delete(this.#seen.values().next().value as string)
  }
}

function isTooDeep(frame: Uint8Array): boolean {
  if (frame.length < 2 * MAX_DEPTH) return false
  let depth = 0
  let isString = false
  for (let index = 0; index < frame.length; index++) {
    const byte = frame[index]
    if (isString) {
      if (byte === BACKSLASH) index++
      else if (byte === QUOTE) isString = false
    } else if (byte === QUOTE) isString = true
    else if (byte === BRACKET || byte === BRACE) {
      if (++depth > MAX_DEPTH) return true
    } else if (byte === BRACKET + 2 || byte === BRACE + 2) depth--
  }
  return false
}

function isObject(value: unknown): value is Content {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isHeader(value: Content): value is Content & Header {
  return typeof value.msg_id === 'string' && typeof value.msg_type === 'string' && typeof value.session === 'string'
}
