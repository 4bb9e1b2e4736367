/** How far rotary positions turn, by the formulas of the papers: what `model/rotary.ts` is checked against. */
import type { Positions } from '../../../kernel/src/model/config.js'

type Rotary = Extract<Positions, { kind: 'rotary' }>

/** Radians from one position to the next of the D/2 pairs of a head, and what multiplies cos and sin. */
export function rotaryTurns({ theta, scaling }: Rotary, D: number): { turns: number[]; magnitude: number } {
  const turns = Array.from({ length: D / 2 }, (_, c) => 1 / theta ** ((2 * c) / D)) // RoFormer (arXiv 2104.09864) eq. 15
  switch (scaling?.kind) {
    case undefined:
      return { turns, magnitude: 1 }
    case 'linear':
      return { turns: turns.map((turn) => turn / scaling.factor), magnitude: 1 }
    case 'llama3':
      return { turns: turns.map((turn) => llama3(turn, scaling)), magnitude: 1 }
    case 'yarn':
      return { turns: yarn(turns, theta, D, scaling), magnitude: scaling.magnitude }
    default:
      return scaling satisfies never
  }
}

/** `apply_scaling` of Meta's llama-models: by the length of a wave in positions. */
function llama3(turn: number, { factor, lowFrequency, highFrequency, original }: Extract<Rotary['scaling'], { kind: 'llama3' }>): number {
  const wave = (2 * Math.PI) / turn
  if (wave < original / highFrequency) return turn
  if (wave > original / lowFrequency) return turn / factor
  const smooth = (original / wave - lowFrequency) / (highFrequency - lowFrequency)
  return ((1 - smooth) * turn) / factor + smooth * turn
}

/** YaRN (arXiv 2309.00071) 3.2, with bounds rounded to whole pairs as in the authors' code: `find_correction_range`, `linear_ramp_mask`. */
function yarn(turns: number[], theta: number, D: number, { factor, betaFast, betaSlow, original }: Extract<Rotary['scaling'], { kind: 'yarn' }>): number[] {
  const pairThatTurns = (times: number): number => (D * Math.log(original / (times * 2 * Math.PI))) / (2 * Math.log(theta))
  const first = Math.max(0, Math.floor(pairThatTurns(betaFast)))
  let last = Math.min(D - 1, Math.ceil(pairThatTurns(betaSlow)))
  if (first === last) last += 0.001 // no division by 0
  return turns.map((turn, c) => {
    const stretched = Math.max(0, Math.min(1, (c - first) / (last - first)))
    return (turn / factor) * stretched + turn * (1 - stretched)
  })
}
