/**
 * Published configurations, by name. A name stands for sizes only: vocabulary and positions are inputs of a run like any other, and
 * can be changed where the name is used (the published long-sequence runs of "Llama-3" cannot have used its vocabulary, for one).
 */
import { aligned } from '../aligned.js'
import { inWords } from '../display.js'
import { FpdtError } from '../errors.js'
import { nearest } from '../nearest.js'
import type { GptOptions } from './gpt.js'
import type { LlamaOptions } from './llama.js'

export type Preset = {
  /** Of use wherever any model can be named: `llama-3-8b`. The words `llama` and `gpt` know it without their own name, `3-8b`. */
  readonly name: string
  /** Where the figures are from. */
  readonly source: string
} & ({ readonly word: 'llama'; readonly options: LlamaOptions } | { readonly word: 'gpt'; readonly options: GptOptions })

const LLAMA_2 = { vocab: 32_000, theta: 10_000, normEps: 1e-5, tied: false }
const LLAMA_3 = { vocab: 128_256, theta: 500_000, normEps: 1e-5, tied: false }
/** Rotary scaling of Llama 3.1 (arXiv 2407.21783, and its config.json). */
const LLAMA_3_1 = { ...LLAMA_3, scaling: { kind: 'llama3', factor: 8, lowFrequency: 1, highFrequency: 4, original: 8192 } } as const
const LLAMA_3_2 = { ...LLAMA_3_1, scaling: { ...LLAMA_3_1.scaling, factor: 32 }, tied: true }
/** GPT-2: learned positions for 1024 tokens. */
const GPT_2 = { vocab: 50_257, positions: 1024 }
/**
 * The GPT blocks of FPDT's published runs: Megatron-DeepSpeed pads GPT-2's vocabulary to 50,304, ties the head, and rotates with
 * theta 1e8. Its script rotates a quarter of each head, here all of it turns; no parameter differs.
 */
const GPT_FPDT = { vocab: 50_304, positions: 'rotary', theta: 1e8 } as const

const llamaReport = 'arXiv 2307.09288 and config.json of meta-llama'
const llama3Report = 'arXiv 2407.21783 table 3 and config.json of meta-llama'
const gptReport = 'Radford et al., 2019, table 2, and config.json of openai-community'
const fpdtScript = 'comments of the pretraining script of FPDT in Megatron-DeepSpeed'

const llamas = {
  '2-7b': [llamaReport, { ...LLAMA_2, layers: 32, width: 4096, heads: 32, feedForward: 11_008 }],
  '2-13b': [llamaReport, { ...LLAMA_2, layers: 40, width: 5120, heads: 40, feedForward: 13_824 }],
  '2-70b': [llamaReport, { ...LLAMA_2, layers: 80, width: 8192, heads: 64, kvHeads: 8, feedForward: 28_672 }],
  '3-8b': [llama3Report, { ...LLAMA_3, layers: 32, width: 4096, heads: 32, kvHeads: 8, feedForward: 14_336 }],
  '3-70b': [llama3Report, { ...LLAMA_3, layers: 80, width: 8192, heads: 64, kvHeads: 8, feedForward: 28_672 }],
  '3.1-8b': [llama3Report, { ...LLAMA_3_1, layers: 32, width: 4096, heads: 32, kvHeads: 8, feedForward: 14_336 }],
  '3.1-70b': [llama3Report, { ...LLAMA_3_1, layers: 80, width: 8192, heads: 64, kvHeads: 8, feedForward: 28_672 }],
  '3.1-405b': [llama3Report, { ...LLAMA_3_1, layers: 126, width: 16_384, heads: 128, kvHeads: 8, feedForward: 53_248 }],
  '3.2-1b': ['config.json of meta-llama', { ...LLAMA_3_2, layers: 16, width: 2048, heads: 32, kvHeads: 8, feedForward: 8192 }],
  '3.2-3b': ['config.json of meta-llama', { ...LLAMA_3_2, layers: 28, width: 3072, heads: 24, kvHeads: 8, feedForward: 8192 }],
  'tiny-1.1b': ['arXiv 2401.02385 table 1 (TinyLlama)', { ...LLAMA_2, layers: 22, width: 2048, heads: 32, kvHeads: 4, feedForward: 5632 }],
} as const satisfies Record<string, readonly [source: string, options: LlamaOptions]>

const gpts = {
  '2': [gptReport, { ...GPT_2, layers: 12, width: 768, heads: 12 }],
  '2-medium': [gptReport, { ...GPT_2, layers: 24, width: 1024, heads: 16 }],
  '2-large': [gptReport, { ...GPT_2, layers: 36, width: 1280, heads: 20 }],
  '2-xl': [gptReport, { ...GPT_2, layers: 48, width: 1600, heads: 25 }],
  '2.7b': [fpdtScript, { ...GPT_FPDT, layers: 32, width: 2560, heads: 32 }],
  '6.7b': [fpdtScript, { ...GPT_FPDT, layers: 32, width: 4096, heads: 32 }],
  '13b': [fpdtScript, { ...GPT_FPDT, layers: 40, width: 5120, heads: 40 }],
  '30b': [fpdtScript, { ...GPT_FPDT, layers: 64, width: 6144, heads: 64 }],
} as const satisfies Record<string, readonly [source: string, options: GptOptions]>

export type LlamaPreset = keyof typeof llamas
export type GptPreset = keyof typeof gpts

export const PRESETS: readonly Preset[] = inWords(
  [
    ...Object.entries(llamas).map(([name, [source, options]]): Preset => ({ name: `llama-${name}`, source, word: 'llama', options })),
    ...Object.entries(gpts).map(([name, [source, options]]): Preset => ({ name: `gpt-${name}`, source, word: 'gpt', options })),
  ],
  presetsInWords,
)

/** A line each: `llama-3-8b       32 layers of 4096, 32 heads; arXiv 2407.21783 …`. */
function presetsInWords(presets: readonly Preset[]): string {
  return aligned(presets.map(({ name, source, options: { layers, width, heads } }) => [name, `${layers} layers of ${width}, ${heads} heads; ${source}`])).join(
    '\n',
  )
}

/** Sizes of a preset of one word, with or without that word before its name. Throws FpdtError `preset`, naming the nearest. */
export function presetOptions<Word extends Preset['word']>(word: Word, name: string): Extract<Preset, { word: Word }>['options'] {
  const known = PRESETS.filter((preset): preset is Extract<Preset, { word: Word }> => preset.word === word)
  const wanted = normal(name)
  const found = known.find((preset) => wanted === preset.name || `${word}-${wanted}` === preset.name)
  if (found) return found.options
  const names = known.map((preset) => preset.name.slice(word.length + 1))
  const close = nearest(wanted.replace(new RegExp(`^${word}-`), ''), names)
  throw new FpdtError('preset', `${word}('${name}') is no preset; the nearest is '${close}'. There are ${names.join(', ')}.`)
}

/** `GPT2-XL` and `Llama-3-8B` are what files and papers write. */
export function normal(name: string): string {
  return name
    .toLowerCase()
    .replace(/^gpt(?=\d)/, 'gpt-')
    .replace(/^tinyllama/, 'llama-tiny')
}
