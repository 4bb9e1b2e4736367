/** The rotary operands of a step: none where positions are learned. */
import { rotaryOf } from '../model/rotary.js'
import type { Context } from './context.js'
import type { Flags, Operands } from './kernels.js'

export function rotation({ config, b }: Context): { operands: Operands; flags: Flags } {
  const rotary = rotaryOf(config.model.positions, config.model.headSize)
  return rotary ? { operands: { frequencies: b.frequencies }, flags: { magnitude: rotary.magnitude } } : { operands: {}, flags: { magnitude: 1 } }
}
