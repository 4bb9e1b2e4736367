/** A plan as the flat program that executors run: residencies become offsets. */
import { TIERS } from '../trace/schema.js'
import { ABSENT } from './entries.js'
import type { Plan } from './plan.js'
import { NO_TIER, type Program } from './program.js'

/** The program of a plan. Arrays that a plan and its program have in common are shared, not copied. */
export function lower({ ranks, entries, residencies, waits, arenaBytes }: Plan): Program {
  const operands = entries.operandResidency.length
  const operandTier = new Uint8Array(operands).fill(NO_TIER)
  const operandOffset = new Float64Array(operands)
  const operandBytes = new Float64Array(operands)
  for (let o = 0; o < operands; o++) {
    const index = entries.operandResidency[o]
    if (index === ABSENT) continue
    const { tier, offset } = residencies[index]
    operandTier[o] = TIERS.indexOf(tier)
    operandOffset[o] = offset + entries.operandFrom[o]
    operandBytes[o] = entries.operandTo[o] - entries.operandFrom[o]
  }
  const { length, op, code, stream, operandStart, parameterStart, parameters, kind, kernel, phase, layer, q, kv, flops, bytes } = entries
  const tags = { kind, kernel, phase, layer, q, kv, flops, bytes }
  const operandColumns = { operandStart, operandTier, operandOffset, operandBytes }
  return { ranks, length, op, code, stream, ...operandColumns, parameterStart, parameters, waitStart: waits.start, waitEntry: waits.entry, ...tags, arenaBytes }
}
