/** Reading a model in Hugging Face layout: `config.json`, and `model.safetensors` or its shards with their index. */
import { existsSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { FpdtError } from '../errors.js'
import type { ModelConfig } from '../model/config.js'
import { type Group, groupsOf, parameterLayout } from '../model/parameters.js'
import { type Json, readConfig } from './huggingface-config.js'
import { BUFFER, EMBEDDING, HEAD, PREFIX, type StoredPart, storedParts } from './huggingface-names.js'
import { wholeModelIn } from './model-folder.js'
import { hasGpt2Words, type ModelSource } from './model-source.js'
import { openSafetensors, readPieces, type SafetensorsFile, type StoredTensor } from './safetensors.js'

/** f32 values of one group of parameters: `group.padded` of them, or at least `group.count`. One group at a time is in memory. */
export interface ReadGroup {
  (group: Group): Float32Array | Promise<Float32Array>
  /** Of a saved model, to be carried on where it is saved again. */
  readonly source?: ModelSource
}

export interface LoadedModel {
  readonly model: ModelConfig
  /** Reads the tensors of one group; pads are zero. Throws FpdtError `checkpoint` for a group of another model. */
  readonly values: ((group: Group) => Promise<Float32Array>) & { readonly source: ModelSource }
  /** What a reader should know: what training here does differently from what the files ask for. */
  readonly notes: readonly string[]
  /** Keys of `config.json` that take no part in the computation; `saveHuggingFace` can carry them on. */
  readonly carried: Json
  /** The narrowest dtype of ours that holds all values: bf16 when all tensors are. */
  readonly dtype: 'bf16' | 'f32'
  /** Path of `tokenizer.json`, where there is one. */
  readonly tokenizer?: string
}

/** A config has a few KiB; an index names each tensor. */
const LONGEST_JSON = 64 * 2 ** 20
/** How many tensors an error names. */
const NAMED = 4

type Catalogue = ReadonlyMap<string, { readonly file: SafetensorsFile; readonly tensor: StoredTensor }>

/**
 * Opens the model in a folder: reads its config and the headers of its weights, and checks that all tensors are there with the right
 * shapes; `values` reads them. Throws FpdtError `checkpoint` when the files are not whole, `unsupported` naming what is not there.
 */
export async function loadHuggingFace(from: string): Promise<LoadedModel> {
  const dir = wholeModelIn(from)
  if (dir === undefined)
    throw new FpdtError(
      'checkpoint',
      existsSync(from)
        ? `${from} has no config.json; give the folder of a model in Hugging Face layout. A first save that was interrupted leaves one without it.`
        : `there is no folder ${from}; give that of a model in Hugging Face layout, with config.json and model.safetensors.`,
    )
  const configPath = join(dir, 'config.json')
  const { model, notes, carried } = readConfig(await readJson(configPath), configPath)
  const files = await openShards(dir)
  const catalogue = catalogueOf(files)
  const bare = !catalogue.has(EMBEDDING[model.family]) && catalogue.has(withoutPrefix(model, EMBEDDING[model.family]))
  const nameInFile = (name: string): string => (bare && name !== HEAD ? withoutPrefix(model, name) : name)
  checkTensors(dir, model, catalogue, nameInFile)
  const find = (name: string, shape: readonly number[]): { file: SafetensorsFile; tensor: StoredTensor } => {
    const found = catalogue.get(nameInFile(name))
    if (found && sameShape(found.tensor.shape, shape)) return found
    const has = found ? `has ${name} in shape [${found.tensor.shape.join(', ')}]` : `has no ${name}`
    throw new FpdtError(
      'checkpoint',
      `${dir} ${has}, and [${shape.join(', ')}] is wanted: the parameters are asked for another model than its config.json describes.`,
    )
  }
  if (model.tied && catalogue.has(HEAD)) await checkTied(dir, model, find)

  const stored = [...catalogue.values()].map(({ tensor }) => tensor)
  const tokenizer = join(from, 'tokenizer.json')
  const dtype = stored.every(({ dtype }) => dtype === 'BF16') ? 'bf16' : 'f32'
  const ownTokenizer = ['tokenizer.json', 'tokenizer.model'].some((name) => existsSync(join(from, name)))
  const source: ModelSource = { folder: resolve(from), carried, dtype, gpt2Words: hasGpt2Words(model, ownTokenizer) }
  const values = async (group: Group): Promise<Float32Array> => {
    const parts = storedParts(model, group).map((part) => ({ part, ...find(part.name, part.shape) }))
    const values = new Float32Array(group.padded)
    for (const { part, file, tensor } of parts) await readPart(values, part, file, tensor)
    return values
  }
  return {
    model,
    values: Object.assign(values, { source }),
    notes: [...notes, ...(stored.some(({ dtype }) => dtype === 'F64') ? [`tensors of ${dir} in F64 are rounded to f32.`] : [])],
    carried,
    dtype,
    ...(existsSync(tokenizer) ? { tokenizer } : {}),
  }
}

async function openShards(dir: string): Promise<SafetensorsFile[]> {
  const whole = join(dir, 'model.safetensors')
  if (existsSync(whole)) return [await openSafetensors(whole)]
  const indexPath = join(dir, 'model.safetensors.index.json')
  if (!existsSync(indexPath)) {
    const pickle = existsSync(join(dir, 'pytorch_model.bin'))
      ? ' pytorch_model.bin is a pickle, which is not read: save the model with safe_serialization=True.'
      : ''
    throw new FpdtError('checkpoint', `${dir} has neither model.safetensors nor model.safetensors.index.json.${pickle}`)
  }
  const { weight_map: map } = await readJson(indexPath)
  if (typeof map !== 'object' || map === null || Array.isArray(map))
    throw new FpdtError('checkpoint', `${indexPath} has no weight_map, an object of tensor names and files.`)
  const files = new Map<string, SafetensorsFile>()
  for (const [name, file] of Object.entries(map)) {
    // A name of a file in this folder, and no path out of it.
    if (typeof file !== 'string' || !/^[\w.-]+\.safetensors$/.test(file))
      throw new FpdtError('checkpoint', `${indexPath} places ${name} in ${JSON.stringify(file)}, which is no name of a safetensors file.`)
    const shard = files.get(file) ?? (await openSafetensors(join(dir, file)))
    files.set(file, shard)
    if (!shard.tensors.has(name)) throw new FpdtError('checkpoint', `${indexPath} places ${name} in ${file}, and that file has no such tensor.`)
  }
  return [...files.values()]
}

function catalogueOf(files: readonly SafetensorsFile[]): Catalogue {
  const catalogue = new Map<string, { file: SafetensorsFile; tensor: StoredTensor }>()
  for (const file of files) {
    for (const tensor of file.tensors.values()) {
      const twin = catalogue.get(tensor.name)
      if (twin) throw new FpdtError('checkpoint', `${tensor.name} stands in both ${twin.file.path} and ${file.path}.`)
      catalogue.set(tensor.name, { file, tensor })
    }
  }
  return catalogue
}

/** One error for all that is missing, unexpected or of another shape, naming the first few. */
function checkTensors(dir: string, model: ModelConfig, catalogue: Catalogue, nameInFile: (name: string) => string): void {
  const expected = new Map(
    groupsOf(parameterLayout(model, 1))
      .flatMap((group) => storedParts(model, group))
      .map(({ name, shape }) => [nameInFile(name), shape]),
  )
  const missing = [...expected].filter(([name]) => !catalogue.has(name)).map(([name, shape]) => `${name} [${shape.join(', ')}]`)
  if (model.tied) expected.set(HEAD, [model.vocabulary, model.width])
  const misshaped: string[] = []
  const unexpected: string[] = []
  for (const [name, { tensor }] of catalogue) {
    const shape = expected.get(name)
    if (shape && !sameShape(shape, tensor.shape)) misshaped.push(`${name} is [${tensor.shape.join(', ')}], not [${shape.join(', ')}]`)
    if (!shape && !BUFFER[model.family].test(name)) unexpected.push(`${name} [${tensor.shape.join(', ')}]`)
  }
  const problems = [
    [missing, 'missing'],
    [misshaped, 'of another shape'],
    [unexpected, 'unexpected'],
  ] as const
  if (problems.every(([names]) => names.length === 0)) return
  const said = problems.filter(([names]) => names.length > 0).map(([names, what]) => `${names.length} ${what} (${listed(names)})`)
  const untied = missing.length === 1 && missing[0]?.startsWith(HEAD) ? ' A head that is the embedding table is said by tie_word_embeddings: true.' : ''
  throw new FpdtError('checkpoint', `the weights in ${dir} are not those of its config.json: ${said.join('; ')}.${untied}`)
}

/** A tied head may be stored as well, if it is the table. */
async function checkTied(
  dir: string,
  model: ModelConfig,
  find: (name: string, shape: readonly number[]) => { file: SafetensorsFile; tensor: StoredTensor },
): Promise<void> {
  const shape = [model.vocabulary, model.width]
  const [table, head] = [find(EMBEDDING[model.family], shape), find(HEAD, shape)]
  const pieces = readPieces(head.file, head.tensor)
  try {
    for await (const { first, values } of readPieces(table.file, table.tensor)) {
      const twin = (await pieces.next()).value?.values as Float32Array
      const differs = values.findIndex((value, i) => !Object.is(value, twin[i]))
      if (differs >= 0)
        throw new FpdtError(
          'checkpoint',
          `${dir} says tie_word_embeddings: true, and ${HEAD} is not ${EMBEDDING[model.family]}: they differ at element ${first + differs} (${twin[differs]}, ${values[differs]}).`,
        )
    }
  } finally {
    await pieces.return(undefined) // which closes its file
  }
}

/** Puts a stored tensor where it belongs among the values of its group. */
async function readPart(values: Float32Array, part: StoredPart, file: SafetensorsFile, tensor: StoredTensor): Promise<void> {
  const [rows = 0, columns = 1] = tensor.shape
  for await (const piece of readPieces(file, tensor)) {
    if (!part.transposed) {
      values.set(piece.values, part.offset + piece.first)
      continue
    }
    // Column by column, so that writes run on; a piece may begin in the middle of a row.
    for (let column = 0; column < columns; column++) {
      let row = Math.ceil((piece.first - column) / columns)
      for (let i = row * columns + column - piece.first; i < piece.values.length; i += columns)
        values[part.offset + column * rows + row++] = piece.values[i] as number
    }
  }
}

async function readJson(path: string): Promise<Json> {
  const { size } = await stat(path)
  if (size > LONGEST_JSON) throw new FpdtError('checkpoint', `${path} has ${size} bytes; more than ${LONGEST_JSON} are no config.`)
  let value: unknown
  try {
    value = JSON.parse(await readFile(path, 'utf8'))
  } catch (error) {
    throw new FpdtError('checkpoint', `${path} is not JSON: ${(error as Error).message}.`, { cause: error })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new FpdtError('checkpoint', `${path} holds no JSON object.`)
  return value as Json
}

function withoutPrefix(model: ModelConfig, name: string): string {
  return name.slice(PREFIX[model.family].length)
}
function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((extent, i) => extent === b[i])
}
function listed(names: readonly string[]): string {
  return names.length > NAMED ? `${names.slice(0, NAMED).join(', ')}, …` : names.join(', ')
}
