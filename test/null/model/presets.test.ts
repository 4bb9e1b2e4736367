import { describe, expect, it } from 'vitest'
import { checkModel } from '../../../kernel/src/model/check.js'
import { gpt } from '../../../kernel/src/model/gpt.js'
import { llama } from '../../../kernel/src/model/llama.js'
import { namedModel } from '../../../kernel/src/model/named.js'
import { parameterCount } from '../../../kernel/src/model/parameters.js'
import { PRESETS } from '../../../kernel/src/model/presets.js'

/** What the model cards say, to the parameter. */
const PUBLISHED = {
  'llama-2-7b': 6_738_415_616,
  'llama-2-13b': 13_015_864_320,
  'llama-2-70b': 68_976_648_192,
  'llama-3-8b': 8_030_261_248,
  'llama-3-70b': 70_553_706_496,
  'llama-3.1-8b': 8_030_261_248,
  'llama-3.1-70b': 70_553_706_496,
  'llama-3.1-405b': 405_853_388_800,
  'llama-3.2-1b': 1_235_814_400,
  'llama-3.2-3b': 3_212_749_824,
  'llama-tiny-1.1b': 1_100_048_384,
  'gpt-2': 124_439_808,
  'gpt-2-medium': 354_823_168,
  'gpt-2-large': 774_030_080,
  'gpt-2-xl': 1_557_611_200,
}
/** What FPDT's sizes come to, in 10^9, as published to these digits. */
const ROUNDED = { 'gpt-2.7b': '2.65', 'gpt-6.7b': '6.65', 'gpt-13b': '12.84', 'gpt-30b': '29.3' }

describe('presets', () => {
  it.each(Object.entries(PUBLISHED))('%s has its published parameters', (name, count) => {
    expect(parameterCount(namedModel(name))).toBe(count)
  })
  it.each(Object.entries(ROUNDED))('%s has %s billion parameters', (name, billions) => {
    const digits = billions.split('.')[1]?.length
    expect((parameterCount(namedModel(name)) / 1e9).toFixed(digits)).toBe(billions)
  })
  it('are all counted above, can all be trained, and say where they are from', () => {
    expect(PRESETS.map(({ name }) => name).sort()).toEqual([...Object.keys(PUBLISHED), ...Object.keys(ROUNDED)].sort())
    for (const { name, source } of PRESETS) {
      expect(() => checkModel(namedModel(name))).not.toThrow()
      expect(source).toMatch(/\w/)
    }
  })
  it('are known by the name that papers and files write', () => {
    for (const name of ['3-8b', 'llama-3-8b', 'Llama-3-8B']) expect(llama(name)).toEqual(namedModel('llama-3-8b'))
    for (const name of ['2-xl', 'gpt2-xl', 'GPT-2-XL']) expect(gpt(name)).toEqual(namedModel('gpt-2-xl'))
    expect(namedModel('gpt2')).toEqual(gpt('2'))
    expect(namedModel('tinyllama-1.1b')).toEqual(llama('tiny-1.1b'))
  })
  it('give their sizes, and whatever the caller changes', () => {
    expect(llama('3-8b', { vocab: 50304, tied: true })).toEqual({ ...llama('3-8b'), vocabulary: 50304, tied: true })
    expect(gpt('2', { positions: 4096 }).positions).toEqual({ kind: 'learned', length: 4096 })
    expect(gpt('2.7b').positions).toEqual({ kind: 'rotary', theta: 1e8 })
    expect(gpt('2.7b', { positions: 2048 }).positions).toEqual({ kind: 'learned', length: 2048 })
    expect(namedModel('gpt-13b', { layers: 2 }).layers).toBe(2)
  })
  it('name the nearest where there is none', () => {
    expect(() => llama('3-8B-instruct')).toThrow(/^llama\('3-8B-instruct'\) is no preset; the nearest is '3/)
    expect(() => gpt('2.8b')).toThrow("the nearest is '2.7b'")
    expect(() => namedModel('lama3-8b')).toThrow('the nearest is llama-3-8b')
  })
})

describe('gpt', () => {
  const sizes = { layers: 2, width: 64, heads: 4 }
  it('has the parts of GPT-2 by default', () => {
    expect(gpt(sizes)).toEqual({
      ...{ family: 'gpt2', layers: 2, width: 64, heads: 4, kvHeads: 4, headSize: 16, feedForward: 256, vocabulary: 50257, tied: true, normEps: 1e-5 },
      ...{ positions: { kind: 'learned', length: 1024 }, norm: 'layer', activation: 'gelu', bias: { attention: true, feedForward: true } },
    })
  })
  it.each([
    [{ ...sizes, widht: 3 }, /gpt\(\{ widht \}\) is not a size of the model; .*The nearest is width\./],
    [{ layers: 2, width: 64 }, 'gpt() needs heads, a whole number; got undefined.'],
    [{ ...sizes, heads: 5 }, 'width 64 is not a multiple of the 5 heads; give headSize, or try width 80.'],
    [{ ...sizes, tied: 'yes' }, 'gpt({ tied: "yes" }) is not a boolean.'],
    [{ ...sizes, vocab: Number.NaN }, 'gpt({ vocab: null }) is not a number.'],
    [{ ...sizes, positions: 'none' }, "neither the length of the learned table nor 'rotary'"],
    [{ ...sizes, theta: 1e4 }, "gpt({ theta }) is about rotary frequencies, and the positions are a learned table; give positions: 'rotary' as well."],
    [{ ...sizes, bias: { atention: true } }, 'bias { atention: true } is not understood'],
    [null, 'gpt() needs its sizes as an object'],
  ])('refuses %o in words', (options, message) => {
    expect(() => gpt(options as never)).toThrow(message)
  })
})

describe('llama', () => {
  it('takes biases of attention and feed-forward apart', () => {
    const sizes = { layers: 1, width: 64, heads: 4 }
    expect(llama(sizes).bias).toEqual({ attention: false, feedForward: false })
    expect(llama({ ...sizes, bias: true }).bias).toEqual({ attention: true, feedForward: true })
    expect(llama({ ...sizes, bias: { attention: true } }).bias).toEqual({ attention: true, feedForward: false })
  })
})
