/** Sizes of a model that cannot be, refused in words. */
import { FpdtError } from '../errors.js'
import { nearest } from '../nearest.js'
import type { ModelConfig, RotaryScaling } from './config.js'

/** What a scaling is made of: all numbers above 0. */
const SCALING: Readonly<Record<RotaryScaling['kind'], readonly string[]>> = {
  llama3: ['factor', 'lowFrequency', 'highFrequency', 'original'],
  yarn: ['factor', 'betaFast', 'betaSlow', 'original', 'magnitude'],
  linear: ['factor'],
}

const FAMILIES: readonly ModelConfig['family'][] = ['llama', 'gpt2']
/** What a model is made of; a model may be written by hand. */
const PARTS: Readonly<Record<keyof ModelConfig, 'number' | 'string' | 'boolean' | 'object'>> = {
  family: 'string',
  layers: 'number',
  width: 'number',
  heads: 'number',
  kvHeads: 'number',
  headSize: 'number',
  feedForward: 'number',
  vocabulary: 'number',
  tied: 'boolean',
  positions: 'object',
  norm: 'string',
  normEps: 'number',
  activation: 'string',
  bias: 'object',
}
const POSITIONS = { rotary: ['kind', 'theta', 'scaling'], learned: ['kind', 'length'] } as const

/** Throws FpdtError `config`, naming the value and what to try. */
export function checkModel(m: ModelConfig): void {
  if (typeof m !== 'object' || m === null) refuse(`the model is ${String(m)}; make one with llama({ layers, width, heads, … }) or gpt({ … }).`)
  refuseOthers('model', m, Object.keys(PARTS))
  for (const [name, type] of Object.entries(PARTS) as [keyof ModelConfig, string][])
    if (typeof m[name] !== type || m[name] === null)
      refuse(`${name} ${JSON.stringify(m[name])} of the model is not ${type === 'object' ? 'an object' : `a ${type}`}.`)
  if (!FAMILIES.includes(m.family))
    refuse(`family ${JSON.stringify(m.family)} of the model is not one of 'llama', 'gpt2'; the nearest is '${nearest(m.family, FAMILIES)}'.`)
  wholeNumber('layers', m.layers, 1, 1000)
  wholeNumber('width', m.width, 1, 2 ** 20)
  wholeNumber('heads', m.heads, 1, 4096)
  wholeNumber('kvHeads', m.kvHeads, 1, m.heads)
  wholeNumber('feedForward', m.feedForward, 1, 2 ** 24)
  wholeNumber('vocabulary', m.vocabulary, 2, 2 ** 24)
  if (!(m.normEps > 0 && m.normEps < 1)) refuse(`normEps ${String(m.normEps)} is not a number between 0 and 1; try 1e-5.`)
  if (m.heads % m.kvHeads !== 0) refuse(`kvHeads ${m.kvHeads} does not divide heads ${m.heads}; try ${divisorsOf(m.heads).join(', ')}.`)
  if (!Number.isInteger(m.headSize) || m.headSize < 8 || m.headSize > 256 || m.headSize % 8 !== 0)
    refuse(`headSize ${m.headSize} is not a multiple of 8 from 8 to 256; with width ${m.width} and ${m.heads} heads try 32, 64 or 128.`)
  if (m.norm !== 'rms' && m.norm !== 'layer') refuse(`norm ${JSON.stringify(m.norm)} is not one of 'rms', 'layer'.`)
  if (m.activation !== 'swiglu' && m.activation !== 'gelu') refuse(`activation ${JSON.stringify(m.activation)} is not one of 'swiglu', 'gelu'.`)
  refuseOthers('bias', m.bias, ['attention', 'feedForward'])
  for (const [name, value] of Object.entries(m.bias)) if (typeof value !== 'boolean') refuse(`bias ${name} ${JSON.stringify(value)} is neither true nor false.`)
  checkPositions(m)
}

function checkPositions({ positions }: ModelConfig): void {
  if (positions.kind in POSITIONS) refuseOthers('positions', positions, POSITIONS[positions.kind])
  if (positions.kind === 'learned') {
    wholeNumber('positions', positions.length, 1, 2 ** 31)
    return
  }
  if (positions.kind !== 'rotary') refuse(`positions ${JSON.stringify(positions)} are of neither kind 'rotary' nor 'learned'.`)
  const { theta, scaling } = positions
  if (!(theta > 0 && Number.isFinite(theta))) refuse(`theta ${String(theta)} is not a number above 0; Llama 2 has 10000.`)
  if (scaling === undefined) return
  if (!(scaling.kind in SCALING)) refuse(`rotary scaling ${JSON.stringify(scaling.kind)} is not one of ${Object.keys(SCALING).join(', ')}.`)
  const given: Readonly<Record<string, unknown>> = { ...scaling }
  for (const name of SCALING[scaling.kind]) {
    const value = given[name]
    if (!(typeof value === 'number' && value > 0 && Number.isFinite(value)))
      refuse(`${name} ${String(value)} of rotary scaling ${scaling.kind} is not a number above 0.`)
  }
  if (scaling.kind === 'llama3' && !(scaling.highFrequency > scaling.lowFrequency))
    refuse(`highFrequency ${scaling.highFrequency} of rotary scaling llama3 is not above lowFrequency ${scaling.lowFrequency}; Llama 3 has 4 and 1.`)
}

export function divisorsOf(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0)
}
/** A key that is misspelt would change nothing, in silence. */
function refuseOthers(what: string, object: object, known: readonly string[]): void {
  for (const name of Object.keys(object))
    if (!known.includes(name)) refuse(`${what} { ${name} } is not known; the nearest is ${nearest(name, known)}. Known are ${known.join(', ')}.`)
}
function wholeNumber(name: string, value: number, low: number, high: number): void {
  if (!Number.isInteger(value) || value < low || value > high) refuse(`${name} ${String(value)} is not a whole number from ${low} to ${high}.`)
}
function refuse(message: string): never {
  throw new FpdtError('config', message)
}
