/** Rotary frequencies: by how many radians element pair m of a head turns from one position to the next. */
import type { Positions } from './config.js'

export interface Rotary {
  /** Radians a position, of pairs 0 .. D/2 - 1. Exact to f64. */
  readonly frequencies: Float64Array
  /** Multiplies cos and sin. */
  readonly magnitude: number
}

/**
 * Roughly: frequencies[m] = theta^(-2m/D), scaled. Null for learned positions.
 * Sources: RoFormer (arXiv 2104.09864) eq. 15; `rope_scaling` types llama3, yarn, linear of Hugging Face transformers.
 */
export function rotaryOf(positions: Positions, headSize: number): Rotary | null {
  if (positions.kind !== 'rotary') return null
  const { theta, scaling } = positions
  const plain = Float64Array.from({ length: headSize / 2 }, (_, m) => theta ** ((-2 * m) / headSize))
  switch (scaling?.kind) {
    case undefined:
      return { frequencies: plain, magnitude: 1 }
    case 'linear':
      return { frequencies: plain.map((frequency) => frequency / scaling.factor), magnitude: 1 }
    case 'llama3': {
      const { factor, lowFrequency, highFrequency, original } = scaling
      const scaled = plain.map((frequency) => {
        // 0 where a wave is longer than original / lowFrequency, 1 where it is shorter than original / highFrequency.
        const kept = ramp(lowFrequency, highFrequency, (original * frequency) / (2 * Math.PI))
        return (1 - kept) * (frequency / factor) + kept * frequency
      })
      return { frequencies: scaled, magnitude: 1 }
    }
    case 'yarn': {
      const { factor, betaFast, betaSlow, original, magnitude } = scaling
      // The pair that makes `turns` turns over the original length.
      const pairOf = (turns: number): number => (headSize * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(theta))
      const low = Math.max(Math.floor(pairOf(betaFast)), 0)
      const high = Math.min(Math.ceil(pairOf(betaSlow)), headSize - 1)
      const scaled = plain.map((frequency, m) => {
        const stretched = ramp(low, low === high ? high + 0.001 : high, m)
        return stretched * (frequency / factor) + (1 - stretched) * frequency
      })
      return { frequencies: scaled, magnitude }
    }
    default:
      return scaling satisfies never
  }
}

/** 0 up to `low`, 1 from `high`, linear between. */
function ramp(low: number, high: number, x: number): number {
  return Math.min(1, Math.max(0, (x - low) / (high - low)))
}
