/** Bytes that are a picture, by their first ones. */
import { types } from 'node:util'

export function bytesOf(value: unknown): Uint8Array | undefined {
  if (types.isUint8Array(value)) return value
  return types.isAnyArrayBuffer(value) ? new Uint8Array(value) : undefined
}

/** Undefined for bytes that no browser shows. */
export function imageType(bytes: Uint8Array): string | undefined {
  const head = Buffer.from(bytes.subarray(0, 12)).toString('latin1')
  if (head.startsWith('\x89PNG\r\n\x1a\n')) return 'image/png'
  if (head.startsWith('\xff\xd8\xff')) return 'image/jpeg'
  if (head.startsWith('GIF87a') || head.startsWith('GIF89a')) return 'image/gif'
  if (head.startsWith('RIFF') && head.endsWith('WEBP')) return 'image/webp'
  return undefined
}

export function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}
