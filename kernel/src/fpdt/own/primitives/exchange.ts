/**
 * What moves: between ranks (all-to-all of Ulysses, gather and reduce-scatter of ZeRO-3), and between tiers of memory. The
 * backward of each is the other one of its pair.
 *
 *   allToAll     rank r: its c tokens of all heads    ->  rank s: all P c tokens of its heads       back: allToAllBack
 *   gather       rank r: its part                     ->  every rank: all parts                     back: reduceScatter
 *   offload      device -> host                                                                     back: fetch
 *
 * P ranks; a list of tensors has one for each rank, in order.
 */
import { INSPECT } from '../../../display.js'
import { FpdtError } from '../../../errors.js'
import { fetch, gather, load, offload, reduceScatter, spill, toHeads, toTokens } from '../../../schedule/emit.js'
import type { Op, Place } from '../../../schedule/ops.js'
import type { Value } from '../../../schedule/values.js'
import type { Tier } from '../../../trace/schema.js'
import { duration } from '../../../trace/words/format.js'
import type { Device } from '../../device.js'
import { formatBytes } from '../../sizes.js'
import { Tensor } from '../tensor.js'
import { callOps, HERE, like } from './call.js'
import { fit } from './fit.js'

/** A copy between tiers, as it was measured. */
export class Moved {
  constructor(
    /** What has arrived, read back from there. */
    readonly tensor: Tensor,
    readonly bytes: number,
    readonly seconds: number,
    private readonly way: string,
  ) {}

  get bytesPerSecond(): number {
    return this.bytes / this.seconds
  }
  [INSPECT](): string {
    return `Moved ${formatBytes(this.bytes)} ${this.way} in ${duration(1e9 * this.seconds)}, ${formatBytes(Math.round(this.bytesPerSecond))}/s`
  }
}
export interface HeadsOptions {
  /** Heads of each part over all ranks, e.g. `[h, g, g]` for q, k and v side by side. Default: one part of all heads. */
  readonly heads?: readonly number[]
}

export function exchangePrimitives(device: Device) {
  return {
    /**
     * Ulysses' exchange: every rank gives its c tokens of all heads and gets all P c tokens of its share of the heads.
     * Roughly: parts[p][r c + t, j] on rank s = local[t, offset(p) + s heads(p)/P + j] of rank r. `locals[r]`: (c, Σ heads, headSize). Returns, for
     * each rank, its parts: (P c, heads(p)/P, headSize). A part with fewer heads than ranks is replicated: each of its heads goes to
     * P / heads(p) ranks. Throws FpdtError `shape`, `dtype`. Source: DeepSpeed-Ulysses (arXiv 2309.14509); FPDT (arXiv 2408.16978) applies it to each chunk. Backward: `allToAllBack`.
     */
    async allToAll(locals: readonly Tensor[], { heads }: HeadsOptions = {}): Promise<Tensor[][]> {
      const { n, ranks } = ofRanks('allToAll', locals, 'T tokens heads headSize')
      const split = headsOf('allToAll', heads ?? [n.heads], n.heads, ranks)
      const local = like('local', locals[0])
      const parts = split.map(({ share }, p) =>
        like(`part[${p}]`, { dtype: local.dtype, shape: [ranks * n.tokens, share, n.headSize], start: locals[0].start }),
      )
      const op = toHeads(
        HERE,
        local,
        parts,
        split.map(({ count }) => count),
      )
      const found = await callOps(device, [op], { ranks, inputs: { local: locals }, values: [local], results: parts })
      return locals.map((_, rank) => parts.map((part) => found.get(part, rank)))
    },

    /**
     * The way back: every rank gives its heads of all tokens and gets its own tokens of all heads. `parts[r]`: the parts of rank r as
     * `allToAll` gave them, (P c, heads(p)/P, headSize). Returns (c, Σ heads, headSize) for each rank. Copies of a replicated head are summed over
     * ranks in f32: what a gradient needs; what was copied and not changed comes back multiplied. Throws FpdtError `shape`, `dtype`. Backward: `allToAll`.
     */
    async allToAllBack(parts: readonly (readonly Tensor[])[], { heads }: HeadsOptions = {}): Promise<Tensor[]> {
      const ranks = parts.length
      const [first] = parts
      if (!Array.isArray(first) || parts.some((ofRank) => !Array.isArray(ofRank) || ofRank.length !== first.length))
        throw new FpdtError('shape', 'allToAllBack takes for each rank the list of its parts, as allToAll gives them.')
      const shapes = first.map(
        (_, p) =>
          ofRanks(
            'allToAllBack',
            parts.map((ofRank) => ofRank[p]),
            'T tokens heads headSize',
            `part ${p}`,
          ).n,
      )
      const given = heads ?? shapes.map((n) => n.heads * ranks)
      const sum = given.reduce((all, count) => all + count, 0)
      const split = headsOf('allToAllBack', given, sum, ranks)
      for (const [p, n] of shapes.entries())
        if (split[p]?.share !== n.heads)
          throw new FpdtError(
            'shape',
            `allToAllBack: part ${p} has ${n.heads} heads a rank, which is no share of heads [${given.join(', ')}] over ${ranks} ranks.`,
          )
      const [{ tokens, headSize }] = shapes
      if (tokens % ranks !== 0) throw new FpdtError('shape', `allToAllBack: ${ranks} ranks do not divide ${tokens} tokens.`)
      const c = tokens / ranks
      const values = first.map((part, p) => like(`part[${p}]`, part))
      const local = like('local', { dtype: first[0].dtype, shape: [c, sum, headSize] })
      const inputs = Object.fromEntries(values.map(({ name }, p) => [name, parts.map((ofRank) => ofRank[p])]))
      const found = await callOps(device, [toTokens(HERE, values, local, given)], { ranks, inputs, values, results: [local] })
      return parts.map((ofRank, rank) => found.get(local, rank).from(ofRank[0].start + rank * c))
    },

    /**
     * ZeRO-3: every rank's part, laid end to end in the order of ranks, on every rank. `parts[r]` (n) of one dtype; returns (P n) for each rank.
     * Throws FpdtError `shape`, `dtype`. Source: ZeRO (arXiv 1910.02054), stage 3. Backward: `reduceScatter`.
     */
    async gather(parts: readonly Tensor[]): Promise<Tensor[]> {
      const { n, ranks } = ofRanks('gather', parts, 'T count')
      const [part, full] = [like('part', parts[0]), like('full', { dtype: parts[0].dtype, shape: [ranks * n.count] })]
      const found = await callOps(device, [gather(HERE, part, full)], { ranks, inputs: { part: parts }, values: [part], results: [full] })
      return parts.map((_, rank) => found.get(full, rank))
    },

    /**
     * The sum over ranks, in the order of ranks; rank r gets its part of it. `fulls[r]` (P n) f32; returns (n) f32 for each rank.
     * Throws FpdtError `shape`, `dtype`. Source: ZeRO, stage 3. Backward: `gather`.
     */
    async reduceScatter(fulls: readonly Tensor[]): Promise<Tensor[]> {
      const { n, ranks } = ofRanks('reduceScatter', fulls, 'f32 count')
      if (n.count % ranks !== 0) throw new FpdtError('shape', `reduceScatter: ${ranks} ranks do not divide ${n.count} elements.`)
      const [full, part] = [like('full', fulls[0]), like('part', { dtype: 'f32', shape: [n.count / ranks] })]
      const found = await callOps(device, [reduceScatter(HERE, full, part, true)], { ranks, inputs: { full: fulls }, values: [full], results: [part] })
      return fulls.map((_, rank) => found.get(part, rank))
    },

    /** Device to host, measured. Any tensor. In FPDT it lies under the attention of the next chunk. */
    offload: (x: Tensor): Promise<Moved> => move(device, 'offload', offload, x, 'device', 'host'),
    /** Host to device, measured. Any tensor. */
    fetch: (x: Tensor): Promise<Moved> => move(device, 'fetch', fetch, x, 'host', 'device'),
    /** Host to disk, measured. Any tensor. Throws FpdtError `disk_full`, `disk`. */
    spill: (x: Tensor): Promise<Moved> => move(device, 'spill', spill, x, 'host', 'disk'),
    /** Disk to host, measured. Any tensor. Throws FpdtError `disk_full`, `disk`. */
    load: (x: Tensor): Promise<Moved> => move(device, 'load', load, x, 'disk', 'host'),
  }
}

async function move(device: Device, call: string, op: (place: Place, value: Value) => Op, x: Tensor, from: Tier, to: Tier): Promise<Moved> {
  if (!(x instanceof Tensor)) throw new FpdtError('dtype', `${call} takes a tensor; got ${typeof x}. tensor([[1, 2], [3, 4]]) makes one.`)
  const value = like('x', x)
  const found = await callOps(device, [op(HERE, value)], { inputs: { x }, values: [value], from, results: [value], to })
  return new Moved(found.get(value), x.bytes, found.seconds, `from ${from} to ${to}`)
}

/** One tensor a rank, all alike. */
function ofRanks(call: string, tensors: readonly Tensor[], what: string, role = 'rank') {
  if (!Array.isArray(tensors) || tensors.length === 0) throw new FpdtError('shape', `${call} takes a list of tensors, one for each rank.`)
  const { n } = fit(call, Object.fromEntries(tensors.map((tensor, rank) => [`${role} ${rank}`, [tensor, what]])))
  return { n, ranks: tensors.length }
}

function headsOf(call: string, heads: readonly number[], sum: number, ranks: number): { count: number; share: number }[] {
  if (heads.reduce((all, count) => all + count, 0) !== sum)
    throw new FpdtError('shape', `${call}: heads [${heads.join(', ')}] do not make the ${sum} heads of a rank.`)
  return heads.map((count) => {
    const share = count % ranks === 0 ? count / ranks : ranks % count === 0 ? 1 : Number.NaN
    if (!Number.isInteger(count) || count < 1 || Number.isNaN(share))
      throw new FpdtError('shape', `${call}: ${count} heads can neither be dealt to ${ranks} ranks nor copied to them evenly.`)
    return { count, share }
  })
}
