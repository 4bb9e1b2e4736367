/** A text as a reader of a cell sees it: how long it is, where it is from, and the names by which a program has that. */
import { INSPECT, inWords } from '../display.js'
import { counted } from '../trace/words/format.js'
import type { LongText } from './tokens.js'

/** The same text, which says what it is where it is looked at. */
export function textInWords(text: LongText): LongText {
  // One that a reader made themselves may be frozen, or have words of its own.
  return INSPECT in text || !Object.isExtensible(text) ? text : inWords(text, words)
}

function words(text: LongText): string {
  const { source, length, documents, labels } = text
  const parts = [...(documents ? [counted(documents.length, 'document')] : []), ...(labels ? ['labels of its own'] : [])]
  const whole = `Long text of ${counted(length, 'token')}${parts.length > 0 ? ` with ${parts.join(' and ')}` : ''}`
  return `${source === `${length} tokens` ? whole : `${whole}: ${source}`}\n{ ${Object.keys(text).join(', ')} }`
}
