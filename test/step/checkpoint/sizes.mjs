/** One small run, for a test and for the processes that it starts and kills. */
export const sizes = { layers: 2, width: 32, heads: 4, kvHeads: 2, headSize: 16, feedForward: 40, vocab: 97 }
export const options = { sequence: 48, chunk: 16, ranks: 2, seed: 11 }
/** States come and go through all tiers. */
export const optimizer = { rate: 1e-3, warmup: 3, tier: 'disk' }
export const tokens = Int32Array.from({ length: 1000 }, (_, i) => (i * i + 7 * i) % 97)
