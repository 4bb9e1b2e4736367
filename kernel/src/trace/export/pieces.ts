/** Long texts in pieces: a trace of a million spans would not fit one string. */
const PIECE = 1 << 16

/** The same characters in pieces of about 64 Ki, which a `Blob` or a file takes one after the other. */
export function* inPieces(parts: Iterable<string>): Generator<string, void, undefined> {
  let piece = ''
  for (const part of parts) {
    piece += part
    if (piece.length < PIECE) continue
    yield piece
    piece = ''
  }
  if (piece) yield piece
}
