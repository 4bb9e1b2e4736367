/** A text of bytes: 256 words, no tokenizer. What small models are taught with, where GPT-2's 50,257 words would be most of the work. */
import { FpdtError } from '../errors.js'
import { findText } from './cut-text.js'
import { type LongText, longText } from './tokens.js'
import { textInWords } from './words.js'

/** Words of a text of bytes, ids 0 .. 255. */
export const BYTE_VOCABULARY = 256

/**
 * A long text with one token for each byte of its UTF-8: `byteText('lib.dom.d.ts')`, the path of a file, or the text itself. For models with
 * `vocab: BYTE_VOCABULARY`. Throws FpdtError `text` when there is no text.
 */
export function byteText(text: string): LongText {
  if (typeof text !== 'string') throw new FpdtError('text', `byteText(${String(text)}) takes a path or a text; tokens are given to longText.`)
  const { source, content } = findText('byteText', text)
  return textInWords({ ...longText(Uint32Array.from(new TextEncoder().encode(content()))), source: `bytes of ${source}` })
}
