/**
 * The configuration of `fpdt train`: one table of keys that refuses what it does not know, and that `fpdt train --help` prints. What
 * values mean together (a chunk that is longer than the sequence) is for the library to check, in the same words.
 */
import { readFileSync, statSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { FpdtError } from '../errors.js'
import { OPTIMIZER_DEFAULTS } from '../fpdt/plan/optimizer.js'
import { nearest } from '../nearest.js'
import { BACKENDS } from '../plan/workspace.js'
import { HIDDEN } from '../schedule/config.js'
import { SYSTEM_NAMES } from '../schedule/systems.js'
import { table } from './command.js'
import { type JsonFile, type Path, readJson } from './json.js'

interface Kind<T> {
  /** In words, after "is not" and in the help. */
  readonly words: string
  readonly is: (value: unknown) => value is T
}
interface Key<T> {
  readonly kind: Kind<T>
  /** In words; undefined: the key has to be given. */
  readonly otherwise: string | undefined
  readonly means: string
}
type Table = { readonly [name: string]: Key<unknown> | Table }
/** What a table's objects hold. */
type Values<T extends Table> = { readonly [Name in keyof T]?: T[Name] extends Key<infer Value> ? Value : T[Name] extends Table ? Values<T[Name]> : never }

function kind<T>(words: string, is: (value: unknown) => boolean): Kind<T> {
  return { words, is: is as (value: unknown) => value is T }
}
function key<T>(kind: Kind<T>, otherwise: string | undefined, means: string): Key<T> {
  return { kind, otherwise, means }
}
const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value)
const isPaths = (value: unknown): boolean => Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === 'string')

const WHOLE = kind<number>('a whole number', Number.isSafeInteger)
const NUMBER = kind<number>('a number', (value) => typeof value === 'number')
const FLAG = kind<boolean>('true or false', (value) => typeof value === 'boolean')
const PATH = kind<string>('a path', (value) => typeof value === 'string' && value !== '')
const GPUS = kind<number | readonly number[]>(
  "a GPU's number or a list of them",
  (value) => typeof value === 'number' || (Array.isArray(value) && value.every((one) => typeof one === 'number')),
)
const TOKENS = kind<number | string>(`tokens (32768 or "32K")`, (value) => typeof value === 'number' || typeof value === 'string')
const BYTES = kind<number | string>(`bytes ("8 GiB", "80GB" or a number)`, (value) => typeof value === 'number' || typeof value === 'string')
const LIMIT = kind<number | null>('a number or null', (value) => value === null || typeof value === 'number')
const MODEL = kind<string | Readonly<Record<string, unknown>>>('a preset or an object', (value) => typeof value === 'string' || isObject(value))
const TEXT = kind<string | readonly string[] | Readonly<Record<string, unknown>>>(
  'a path, paths or an object',
  (value) => (typeof value === 'string' && value !== '') || isPaths(value) || isObject(value),
)
function oneOf<const Word extends string>(...known: readonly Word[]): Kind<Word> {
  return kind(
    known
      .map((word) => JSON.stringify(word))
      .join(', ')
      .replace(/, ([^,]*)$/, ' or $1'),
    (value) => known.includes(value as Word),
  )
}

export const TRAIN = {
  model: key(
    MODEL,
    undefined,
    'a preset ("llama-3-8b", "gpt-2"); { "preset": "llama-3-8b", "layers": 2 } with what shall differ; { "family": "llama", "layers": 4, "width": 256, "heads": 4 } with the sizes of llama() or gpt(); { "load": "DIR" }, a model in Hugging Face layout with its weights',
  ),
  text: key(
    TEXT,
    undefined,
    'the path of a text, cut into GPT-2 tokens (for a loaded model with words of its own only as { "gpt2": PATH }); "lib.dom.d.ts", a long text that comes with TypeScript; paths, each one a document; { "file": "x.bin" or ["a.bin", "b.bin"], "dtype": "uint16" or "uint32", "separator": 50256, "beginning": 1 }, token ids: raw numbers, .npy, or shards of llm.c',
  ),
  sequence: key(TOKENS, undefined, 'length of a sequence; K is 1024, M is 1024 K'),
  steps: key(WHOLE, '1', 'training steps in all, those before a resumption counted'),
  chunk: key(TOKENS, 'an eighth of the sequence', 'tokens of a chunk over all ranks; not for the systems that have no chunks'),
  ranks: key(WHOLE, 'one for each GPU, 1 on the CPU', 'ranks that share the sequence'),
  batch: key(WHOLE, '1', 'sequences that go through a layer together'),
  accumulate: key(WHOLE, '1', 'batches whose gradients are summed for one update'),
  documents: key(FLAG, 'false', 'attention stays within the documents of a text'),
  system: key(oneOf(...SYSTEM_NAMES), 'fpdt', 'what is trained with; the others are what FPDT is compared with'),
  dtype: key(oneOf('bf16', 'f32'), 'bf16', 'of activations and of the weights that compute uses'),
  hidden: key(oneOf('bf16', 'f32'), HIDDEN, 'with dtype bf16: of the hidden state between ops; f32 is more exact and twice the bytes'),
  seed: key(WHOLE, '1', 'of the first parameters'),
  offload: key(oneOf('device', 'host'), 'by the system', 'where chunks wait between uses'),
  checkpoints: key(
    oneOf('device', 'host', 'disk'),
    'by the system',
    "where the input of each layer waits for its backward (activation checkpointing; a run's own checkpoints are the key checkpoint)",
  ),
  keep: key(
    oneOf('recompute', 'device', 'host', 'disk', 'all'),
    'by the system',
    'what the forward leaves for the backward besides: nothing, or q, k, v, o and lse on a tier',
  ),
  backwardOrder: key(oneOf('auto', 'kv', 'q'), 'auto', "outer loop of the attention's backward: key/value chunks, query chunks, or what moves fewer bytes"),
  parameters: key(oneOf('device', 'host'), 'device', 'where compute weights live'),
  lookAhead: key(
    kind<0 | 1>('0 or 1', (value) => value === 0 || value === 1),
    '1',
    '1: the projection of the next chunk comes before the attention of this one; 0: the order of the paper',
  ),
  prefetch: key(WHOLE, '1', 'chunks fetched ahead of the one in use'),
  feedForwardRows: key(WHOLE, 'half of a local chunk', 'rows the feed-forward layer takes at a time'),
  lossRows: key(WHOLE, 'by the vocabulary', 'rows the loss head takes at a time'),
  optimizer: {
    rate: key(NUMBER, `${OPTIMIZER_DEFAULTS.rate}`, 'highest rate'),
    warmup: key(WHOLE, `${OPTIMIZER_DEFAULTS.warmup}`, 'steps of linear rise'),
    steps: key(WHOLE, 'no fall', 'steps after which a cosine has brought the rate down to floor'),
    floor: key(NUMBER, `${OPTIMIZER_DEFAULTS.floor}`, 'share of the rate that is left then'),
    tier: key(oneOf('device', 'host', 'disk'), OPTIMIZER_DEFAULTS.tier, 'where master weights and moments live'),
    beta1: key(NUMBER, `${OPTIMIZER_DEFAULTS.beta1}`, 'of the first moment'),
    beta2: key(NUMBER, `${OPTIMIZER_DEFAULTS.beta2}`, 'of the second moment'),
    eps: key(NUMBER, `${OPTIMIZER_DEFAULTS.eps}`, 'added to the root of the second moment'),
    decay: key(NUMBER, `${OPTIMIZER_DEFAULTS.decay}`, 'decoupled weight decay of matrices'),
    decayEmbeddings: key(FLAG, `${OPTIMIZER_DEFAULTS.decayEmbeddings}`, 'whether embedding and position tables decay too'),
    maxNorm: key(LIMIT, `${OPTIMIZER_DEFAULTS.maxNorm}`, 'gradients are clipped to this global norm; null: not at all'),
  },
  device: {
    backend: key(oneOf(...BACKENDS), BACKENDS[0], 'what trains: the processor, or GPUs. A checkpoint of either goes on on the other'),
    devices: key(GPUS, 'the first that can be used', "with backend cuda: GPUs by CUDA's numbers, [0, 1]; rank r is on the one at r modulo their count"),
    memory: key(
      BYTES,
      "an eighth of the machine's; of GPUs 80 % of what is free on the one with least",
      'device memory a rank may take; all ranks of a GPU must fit it',
    ),
    host: key(BYTES, "a quarter of the machine's; with GPUs half of it, pinned", 'host memory a rank may take'),
    disk: key(BYTES, 'what is free', 'disk space a rank may take'),
    diskFolder: key(PATH, 'TMPDIR or /tmp', 'where the disk tier lies; its files have no name and end with the run'),
    threads: key(WHOLE, 'all', 'threads of the compute pool; not with backend cuda'),
    path: key(PATH, 'the best', 'instructions: "avx512bf16", "avx2" or "scalar"; not with backend cuda'),
  },
  evaluation: {
    text: key(TEXT, 'none', 'a text whose loss is measured, written as text is'),
    every: key(WHOLE, 'at the end', 'steps between two measurements'),
    sequences: key(WHOLE, 'batch', 'sequences measured each time, from the start of the text'),
  },
  checkpoint: {
    folder: key(PATH, 'none', "where the run's state is saved: at the end, and when it is interrupted"),
    every: key(WHOLE, 'at the end', 'steps between two checkpoints'),
    keep: key(WHOLE, '2', 'checkpoints that stay'),
    resume: key(FLAG, 'false', 'goes on from the newest checkpoint of the folder, where there is one'),
  },
  save: {
    folder: key(PATH, 'none', 'where the trained model is saved at the end, in Hugging Face layout, with the tokenizer of a loaded one'),
    dtype: key(oneOf('bf16', 'f32'), 'that of the loaded model, else f32', 'of the saved tensors'),
  },
} as const satisfies Table

export type TrainConfig = Values<typeof TRAIN> & Required<Pick<Values<typeof TRAIN>, 'model' | 'text' | 'sequence'>>

export interface TrainFile {
  readonly config: TrainConfig
  /** Paths in the configuration are meant from its own folder. */
  readonly path: (written: string) => string
  /** Words of the library about a value, with the place where it stands: that of `key`, or of the key that they begin with. */
  readonly placed: (error: unknown, key?: string) => unknown
}

/** A configuration has a few keys; what is longer is another file. */
const LONGEST = 2 ** 20

/** Reads and checks a configuration. Throws FpdtError `json` or `config`, naming line and column. */
export function readTrainConfig(file: string): TrainFile {
  const found = statSync(file, { throwIfNoEntry: false })
  if (!found?.isFile()) throw new FpdtError('config', `there is no file ${file}; fpdt train --help says what one holds`)
  if (found.size > LONGEST) throw new FpdtError('config', `${file} has ${found.size} bytes; a configuration has ${LONGEST} at most. Is it another file?`)
  const json = readJson(readFileSync(file, 'utf8'), basename(file))
  checkTable(TRAIN, json.value, [], json)
  const config = json.value as TrainConfig
  const path = (written: string): string => resolve(dirname(file), written)
  return { config, path, placed: (error, key) => place(error, json, key) }
}

function checkTable(keys: Table, value: unknown, at: Path, json: JsonFile): void {
  const wrong = (problem: string, where: Path = at): FpdtError => new FpdtError('config', `${json.at(where)}: ${problem}`)
  if (!isObject(value)) throw wrong(`${at.join('.') || 'a configuration'} is an object, { "${Object.keys(keys)[0]}": … }; got ${inShort(value)}`)
  const given = value as Readonly<Record<string, unknown>>
  for (const name of Object.keys(given)) {
    const path = [...at, name]
    const entry = Object.hasOwn(keys, name) ? keys[name] : undefined
    if (!entry) throw wrong(`there is no key ${path.join('.')}; the nearest is ${closest(path, keys)}`, path)
    if (!isKey(entry)) checkTable(entry, given[name], path, json)
    else if (!entry.kind.is(given[name])) throw wrong(`${path.join('.')} ${inShort(given[name])} is not ${entry.kind.words}`, path)
  }
  for (const [name, entry] of Object.entries(keys))
    if (isKey(entry) && entry.otherwise === undefined && !Object.hasOwn(given, name)) throw wrong(`${name} is missing: ${entry.kind.words}, ${entry.means}`)
}

function isKey(entry: Key<unknown> | Table): entry is Key<unknown> {
  return 'means' in entry && typeof entry.means === 'string'
}

/** Among the keys of its own object, unless another object has just that one: `rate` is meant as `optimizer.rate`. */
function closest(path: readonly (string | number)[], keys: Table): string {
  const word = String(path.at(-1))
  const elsewhere = rowsOf(TRAIN).find(([name]) => name.split('.').at(-1) === word)
  return elsewhere ? elsewhere[0] : [...path.slice(0, -1), nearest(word, Object.keys(keys))].join('.')
}

function rowsOf(keys: Table, prefix = ''): (readonly [name: string, Key<unknown>])[] {
  return Object.entries(keys).flatMap(([name, entry]) => (isKey(entry) ? [[prefix + name, entry] as const] : rowsOf(entry, `${prefix}${name}.`)))
}

function inShort(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value)
  return text.length > 60 ? `${text.slice(0, 57)}…` : text
}

/** The library names a key at the beginning of its sentence, or after a word of its own: `adamW rate -1 is not …`. */
function place(error: unknown, json: JsonFile, key?: string): unknown {
  if (!(error instanceof FpdtError)) return error
  const [first = '', second = ''] = error.message.split(/[\s(]+/)
  const named: Path[] = error.code !== 'config' ? [] : first === 'adamW' ? [['optimizer', second]] : [first.split('.'), ['device', first]]
  const found = (key === undefined ? named : [key.split('.')]).find((path) => has(json.value, path))
  return found ? new FpdtError(error.code, `${json.at(found)}: ${error.message}`, { cause: error }) : error
}
function has(value: unknown, [name, ...rest]: Path): boolean {
  return name === undefined || (isObject(value) && Object.hasOwn(value as object, name) && has((value as Record<string, unknown>)[name], rest))
}

/** The table in words. */
export function configInWords(): string {
  const rows = rowsOf(TRAIN).map(
    ([name, { kind, otherwise, means }]) =>
      [name, `${kind.words}; ${otherwise === undefined ? 'required' : `default ${otherwise}`}. ${means[0]?.toUpperCase()}${means.slice(1)}.`] as const,
  )
  return [
    'CONFIG.json is one JSON object. A name with a dot is a key of an object within: { "optimizer": { "rate": 0.001 } }. Paths are meant',
    'from the folder of CONFIG.json. Model, text and sequence have to be given.',
    '',
    ...table(rows),
    '',
    'Exit codes: 0: done. 1: it failed. 2: no such option. 3: training does not begin, as the memory does not hold it or sizes do not go together.',
    '130: interrupted.',
    '',
    'For example:',
    '',
    '  {',
    '    "model": { "family": "llama", "layers": 4, "width": 256, "heads": 4, "kvHeads": 2 },',
    '    "text": "lib.dom.d.ts", "sequence": "32K", "chunk": "4K", "ranks": 2, "steps": 10,',
    '    "optimizer": { "rate": 0.001, "warmup": 2 },',
    '    "checkpoint": { "folder": "run", "every": 5 }',
    '  }',
  ].join('\n')
}
