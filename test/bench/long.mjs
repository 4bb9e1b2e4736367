/**
 * One layer, one head, chunks of 16 K tokens, over 64 K, 256 K and 1 M tokens of real text: real steps that touch the same bytes of the
 * device. Time grows with the square: the last takes about a quarter of an hour at 600 GFLOP/s.
 */
import { Device, formatBytes, llama } from '../../kernel/lib/fpdt/index.js'
import { printTable, threads } from './measure.mjs'
import { intoReadme, markdown } from './readme.mjs'
import { tokensBelow } from './system.mjs'

const K = 1024
const CHUNK = 16 * K
const MODEL = llama({ layers: 1, width: 64, heads: 1, vocab: 512 })

export async function long() {
  const text = tokensBelow(MODEL.vocabulary)
  const rows = [['tokens', 'chunks', 'device predicted', 'device touched', 'times 64 K', 'host touched', 'loss', 'time', 'tokens/s', 'model GFLOP/s']]
  let first
  for (const sequence of [64 * K, 256 * K, 1024 * K]) {
    const device = await Device.cpu({ memory: '64 MiB', host: '4 GiB', threads })
    try {
      const run = await device.train(MODEL, { sequence, chunk: CHUNK })
      console.log(`\n${sequence} tokens: ${run.plan.listing.length} ops, about ${Math.ceil(run.plan.seconds / 60)} minutes at the rates measured now`)
      const { loss, duration_ns, tokens_per_second, model_flops } = await run.step(text)
      if (run.head.message) console.log(run.head.message)
      const { predicted, touched } = run.memory('device')
      first ??= touched
      const bytes = [formatBytes(predicted), formatBytes(touched), (touched / first).toFixed(2), formatBytes(run.memory('host').touched)]
      const rates = [`${(duration_ns / 1e9).toFixed(0)} s`, tokens_per_second.toFixed(0), (model_flops / duration_ns).toFixed(0)]
      rows.push([`${sequence / K} K`, `${sequence / CHUNK}`, ...bytes, loss.toFixed(3), ...rates])
    } finally {
      await device.close()
    }
  }
  printTable(`One layer of width ${MODEL.width}, chunks of ${CHUNK / K} K tokens, ${text.length} tokens of text`, rows)
  intoReadme('long', [
    `Bytes of one layer of width ${MODEL.width} in chunks of ${CHUNK / K} K tokens; the text has ${text.length} tokens, and is repeated where a sequence is longer.`,
    markdown(rows),
  ])
}
