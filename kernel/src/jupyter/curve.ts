/**
 * CurveZMQ's key pair as a connection file has it (jupyter_client 8.9). Each is 32 bytes in Z85: 5 letters to the base of 85 for 4 bytes
 * (ZeroMQ RFC 32). The manager and its clients share one pair, so whoever can read the file can connect, and nobody else.
 */
import { createPrivateKey, createPublicKey } from 'node:crypto'

export interface CurveKeys {
  readonly publicKey: string
  readonly secretKey: string
}

const KEY_BYTES = 32
const DIGITS = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#'
/** What stands before the 32 bytes of an X25519 secret key in PKCS #8 (RFC 8410). */
const PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex')

/** The bytes of a key; undefined when the text is none. */
export function z85Key(text: string): Buffer | undefined {
  if (text.length !== (KEY_BYTES / 4) * 5) return undefined
  const bytes = Buffer.alloc(KEY_BYTES)
  for (let word = 0; word < KEY_BYTES / 4; word++) {
    let value = 0
    for (const letter of text.slice(5 * word, 5 * word + 5)) {
      const digit = DIGITS.indexOf(letter)
      if (digit < 0) return undefined
      value = value * 85 + digit
    }
    if (value > 0xffffffff) return undefined
    bytes.writeUInt32BE(value, 4 * word)
  }
  return bytes
}

/** Whether the public key is the secret one's. With another a client waits for its handshake for ever, and nobody says why. */
export function isPair({ publicKey, secretKey }: CurveKeys): boolean {
  const secret = z85Key(secretKey)
  if (secret === undefined) return false
  const key = createPrivateKey({ key: Buffer.concat([PKCS8, secret]), format: 'der', type: 'pkcs8' })
  const expected = createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-KEY_BYTES)
  return z85Key(publicKey)?.equals(expected) === true
}
