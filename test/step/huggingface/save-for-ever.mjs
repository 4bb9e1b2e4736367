/** Saves two models into one folder in turn, until it is killed: node save-for-ever.mjs FOLDER. Prints a line when the first is there. */

import { saveHuggingFace } from '../../../kernel/lib/files/huggingface.js'
import { gpt } from '../../../kernel/lib/model/gpt.js'
import { llama } from '../../../kernel/lib/model/llama.js'

const sizes = { layers: 2, width: 32, heads: 4, vocab: 97 }
const models = [llama(sizes), gpt({ ...sizes, positions: 16 })]
for (let i = 0; ; i++) {
  // Every value says which save it is from.
  await saveHuggingFace(process.argv[2], models[i % 2], (group) => new Float32Array(group.padded).fill(i), { shardBytes: i % 3 ? 20_000 : 5e9 })
  if (i === 0) console.log('saved')
}
