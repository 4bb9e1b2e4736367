/** What `llama()` and `gpt()` share: reading the sizes of a model from an object, and refusing what cannot be meant. */
import { FpdtError } from '../errors.js'
import { nearest } from '../nearest.js'

/** Options of a model by name, as the words were called: `llama`, `gpt`. Throws FpdtError `config` for an unknown, missing or ill-typed one. */
export function checkOptions(word: string, options: object, known: ReadonlyMap<string, 'number' | 'boolean' | 'object' | 'any'>): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw new FpdtError('config', `${word}() needs its sizes as an object, { layers, width, heads, … }, or the name of a preset; got ${String(options)}.`)
  const given = options as Readonly<Record<string, unknown>>
  for (const name of Object.keys(given)) {
    const type = known.get(name)
    if (!type)
      throw new FpdtError(
        'config',
        `${word}({ ${name} }) is not a size of the model; known are ${[...known.keys()].join(', ')}. The nearest is ${nearest(name, known.keys())}.`,
      )
    const value = given[name]
    if (value !== undefined && type !== 'any' && (typeof value !== type || value === null || Number.isNaN(value)))
      throw new FpdtError('config', `${word}({ ${name}: ${JSON.stringify(value)} }) is not ${type === 'object' ? 'an object' : `a ${type}`}.`)
  }
  for (const name of ['layers', 'width', 'heads']) {
    if (typeof given[name] !== 'number') throw new FpdtError('config', `${word}() needs ${name}, a whole number; got ${JSON.stringify(given[name])}.`)
  }
}

/** Head size: as given, or width / heads. Throws FpdtError `config` when that is not whole. */
export function headSizeOf({ width, heads, headSize }: { width: number; heads: number; headSize?: number }): number {
  const size = headSize ?? width / heads
  if (Number.isInteger(size)) return size
  throw new FpdtError(
    'config',
    `width ${width} is not a multiple of the ${heads} heads; give headSize, or try width ${Math.ceil(width / heads / 8) * 8 * heads}.`,
  )
}

/** Which projections add a bias: all or none, or attention's and the feed-forward layer's apart. */
export type BiasOption = boolean | { readonly attention?: boolean; readonly feedForward?: boolean }

export function biasOf(bias: BiasOption): { attention: boolean; feedForward: boolean } {
  if (typeof bias === 'boolean') return { attention: bias, feedForward: bias }
  for (const [name, value] of Object.entries(bias))
    if ((name !== 'attention' && name !== 'feedForward') || typeof value !== 'boolean')
      throw new FpdtError(
        'config',
        `bias { ${name}: ${JSON.stringify(value)} } is not understood; give true, false or { attention: true, feedForward: false }.`,
      )
  return { attention: bias.attention ?? false, feedForward: bias.feedForward ?? false }
}
