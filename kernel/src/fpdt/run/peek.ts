/** Values of a buffer where it stands in the middle of a step. */
import { INSPECT, type MimeBundle, TO_MIME } from '../../display.js'
import { FpdtError } from '../../errors.js'
import type { NativeStep } from '../../execute/native.js'
import { fromBf16 } from '../../model/bf16.js'
import type { Plan } from '../../plan/plan.js'
import type { Op } from '../../schedule/ops.js'
import type { Standing } from '../../schedule/standing.js'
import { validTiers } from '../../schedule/validity.js'
import { type Value, whole } from '../../schedule/values.js'
import { type HeatWords, heatWords } from '../../trace/draw/heat.js'
import { heatFigure } from '../../trace/figure.js'
import { gridOf } from '../../trace/model/grid.js'
import { TIERS, type Tier } from '../../trace/schema.js'

/** As the last value of a cell it is a picture of its values; in a terminal, what they are. */
export class Peek {
  constructor(
    readonly name: string,
    readonly tier: Tier,
    readonly rank: number,
    readonly shape: readonly number[],
    readonly values: Float32Array | Int32Array | Float64Array,
    /** The op after which it was looked at, in words. */
    readonly after: string,
  ) {}

  async [TO_MIME](): Promise<MimeBundle> {
    const grid = gridOf(this.values, this.shape)
    return { 'image/png': Buffer.from(heatFigure(grid, this.#words)).toString('base64'), 'text/plain': heatWords(grid, this.#words) }
  }
  toString(): string {
    return heatWords(gridOf(this.values, this.shape), this.#words)
  }
  [INSPECT](): string {
    return this.toString()
  }
  get #words(): HeatWords {
    return { title: this.name, place: `${this.tier} of rank ${this.rank}, ${this.after}` }
  }
}
/** What must be known of a schedule to find its values. */
export interface Peekable {
  readonly ops: () => Iterable<Op>
  readonly standing: Iterable<Standing>
  readonly values: { readonly known: ReadonlyMap<string, Value> }
}

/** After the op at `line`: from the fastest tier where it holds what it means. Throws FpdtError `not_resident`, `config`. */
export function peekAt(native: NativeStep, { ops, standing, values: { known } }: Peekable, line: number, name: string, rank: number): Peek {
  const { plan } = native
  if (!Number.isInteger(rank) || rank < 0 || rank >= plan.ranks)
    throw new FpdtError('config', `rank ${String(rank)} is not one of the ${plan.ranks} ranks, 0 to ${plan.ranks - 1}.`)
  const value = known.get(name)
  const base = name.replace(/\.[^.\]]*$/, '')
  if (!value && base !== name && known.has(base)) throw new FpdtError('not_resident', `${name} is a part of ${base}; peek at that.`)
  if (!value) throw new FpdtError('not_resident', `no value is called ${name}; names look like ${[...known.keys()].slice(-1)[0]}.`)
  const valid = validTiers(take(ops(), line + 1), standing).get(whole(value).name) ?? new Set()
  const tier = TIERS.find((candidate) => valid.has(candidate))
  if (!tier) throw new FpdtError('not_resident', `${name} is not in memory now, ${momentOf(line)}: ${whyNot(plan, whole(value).name, line)}.`)
  const bytes = native.read(value, tier, rank, line)
  const count = bytes.byteLength
  const values =
    value.dtype === 'bf16'
      ? fromBf16(new Uint16Array(bytes.buffer, bytes.byteOffset, count / 2))
      : value.dtype === 'f32'
        ? new Float32Array(bytes.buffer, bytes.byteOffset, count / 4)
        : value.dtype === 'f64'
          ? new Float64Array(bytes.buffer, bytes.byteOffset, count / 8)
          : new Int32Array(bytes.buffer, bytes.byteOffset, count / 4)
  return new Peek(name, tier, rank, value.shape, values, line < 0 ? 'before the first op' : `after ${plan.listing[line]}`)
}

function momentOf(line: number): string {
  return line < 0 ? 'before the first op' : `after op ${line}`
}
/** Why a value holds nothing after the op at `line`: when it did, and when it will. */
function whyNot({ find, residencies, words }: Plan, name: string, line: number): string {
  const place = TIERS.find((tier) => find(name, tier, line))
  if (place) return `it has a place on the ${place}, and nothing has been written there yet`
  const places = residencies.filter((residency) => residency.value && residency.name === name)
  const freed = Math.max(...places.map(({ death }) => death).filter((death) => death <= line))
  const made = Math.min(...places.map(({ birth }) => birth).filter((birth) => birth > line))
  const past = Number.isFinite(freed) ? [`it was freed at op ${freed}`] : []
  const future = Number.isFinite(made) ? [`it is made${past.length > 0 ? ' again' : ''} by op ${made}, ${words(made)}`] : []
  return [...past, ...future].join(', and ') || 'no op of this step makes it'
}

function* take<T>(items: Iterable<T>, count: number): Iterable<T> {
  if (count <= 0) return
  for (const item of items) {
    yield item
    if (--count === 0) return
  }
}
