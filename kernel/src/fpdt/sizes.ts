/** Options as people write them: sizes such as `'1 GiB'` and `'32K'` tokens, and names that may be misspelt. */
import { FpdtError } from '../errors.js'
import { nearest } from '../nearest.js'

const BYTES: Record<string, number> = { '': 1, b: 1, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30, tib: 2 ** 40, kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12 }
const TOKENS: Record<string, number> = { '': 1, k: 2 ** 10, m: 2 ** 20 }

/** Bytes of `'1.5 GiB'` (2^30) or `'1.5 GB'` (10^9) or a number. Throws FpdtError `config`. */
export function parseBytes(size: string | number, what: string): number {
  return parse(size, BYTES, what, `'512 MiB', '1.5 GiB' or a number of bytes`)
}
/** Tokens of `'32K'` (2^10), `'2M'` (2^20) or a number. Throws FpdtError `config`. */
export function parseTokens(size: string | number, what: string): number {
  return parse(size, TOKENS, what, `'32K', '2M' or a number of tokens`)
}

/** Refuses options that are misspelt, and options that are none: nothing is ignored in silence. Throws FpdtError `config`. */
export function refuseUnknown(what: string, options: unknown, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null)
    throw new FpdtError('config', `${what}() needs its options as an object, { ${known[0]}: … }; got ${String(options)}.`)
  for (const name of Object.keys(options)) {
    const meant = known.length > 1 ? ` The nearest is ${nearest(name, known)}.` : ''
    if (!known.includes(name)) throw new FpdtError('config', `${what}({ ${name} }) is not known; known are ${known.join(', ')}.${meant}`)
  }
}

function parse(size: string | number, units: Record<string, number>, what: string, examples: string): number {
  const match = typeof size === 'number' ? [String(size), String(size), ''] : /^\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*$/.exec(size)
  const unit = match ? units[(match[2] as string).toLowerCase()] : undefined
  const value = match && unit !== undefined ? Math.round(Number(match[1]) * unit) : Number.NaN
  if (!Number.isSafeInteger(value) || value <= 0) throw new FpdtError('config', `${what} ${JSON.stringify(size)} is not a size; write ${examples}.`)
  return value
}

/** `1.50 GiB`, `12.0 MiB`, `768 B`: units of 2^10. */
export { bytes as formatBytes } from '../trace/words/format.js'
