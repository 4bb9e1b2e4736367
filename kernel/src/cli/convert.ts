/** `fpdt convert`: a model into Hugging Face layout, from that layout or from a checkpoint of a run. */

import { convert as convertModel } from '../fpdt/convert.js'
import { parseBytes } from '../fpdt/sizes.js'
import { parameterCount } from '../model/parameters.js'
import { type Command, readArguments, UsageError } from './command.js'

const options = {
  dtype: { value: 'bf16|f32', means: 'of the tensors. Default: as they are' },
  shard: { value: 'BYTES', means: 'most bytes of tensors in one file, such as 5GB or "2 GiB". Default 5GB' },
}

export const convert: Command = {
  operands: 'FROM TO',
  does: 'writes the model of the folder FROM into the folder TO, in Hugging Face layout. FROM is such a model, a checkpoint of a run, or a folder of checkpoints, of which the newest counts',
  options,
  async run(args) {
    const { operands, given } = readArguments(args, options)
    const [from, to, ...more] = operands
    if (from === undefined || to === undefined || more.length > 0) throw new UsageError('needs two folders, FROM and TO')
    const dtype = given.get('dtype')
    if (dtype !== undefined && dtype !== 'bf16' && dtype !== 'f32') throw new UsageError(`--dtype ${dtype} is neither bf16 nor f32`)
    const shard = given.get('shard')
    const { model, notes } = await convertModel(from, to, {
      ...(dtype === undefined ? {} : { dtype }),
      ...(shard === undefined ? {} : { shardBytes: parseBytes(shard, 'shard') }),
    })
    for (const note of notes) console.error(`note: ${note}`)
    console.log(`${to}: ${model.family === 'llama' ? 'Llama' : 'GPT-2'}, ${parameterCount(model).toLocaleString('en')} parameters`)
    return undefined
  },
}
