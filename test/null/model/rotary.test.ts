import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { RotaryScaling } from '../../../kernel/src/model/config.js'
import { type Rotary, rotaryOf } from '../../../kernel/src/model/rotary.js'

const headSize = fc.integer({ min: 1, max: 32 }).map((n) => 8 * n)
const theta = fc.double({ min: 2, max: 1e9, noNaN: true })
const factor = fc.double({ min: 1, max: 64, noNaN: true })
const original = fc.integer({ min: 16, max: 2 ** 20 })

function rotary(D: number, base: number, scaling?: RotaryScaling): Rotary {
  return rotaryOf({ kind: 'rotary', theta: base, ...(scaling ? { scaling } : {}) }, D) as Rotary
}

describe('rotary frequencies', () => {
  it('are none for learned positions', () => {
    expect(rotaryOf({ kind: 'learned', length: 8 }, 64)).toBeNull()
  })
  it('fall from 1 by a constant ratio, theta^(-2/D)', () => {
    fc.assert(
      fc.property(headSize, theta, (D, base) => {
        const { frequencies, magnitude } = rotary(D, base)
        expect([frequencies.length, frequencies[0], magnitude]).toEqual([D / 2, 1, 1])
        for (let m = 1; m < D / 2; m++) expect(((frequencies[m] as number) / (frequencies[m - 1] as number)) * base ** (2 / D)).toBeCloseTo(1, 12)
      }),
    )
  })
  it('are divided alike by the linear scaling', () => {
    fc.assert(
      fc.property(headSize, theta, factor, (D, base, factor) => {
        const plain = rotary(D, base).frequencies
        expect(rotary(D, base, { kind: 'linear', factor }).frequencies).toEqual(plain.map((frequency) => frequency / factor))
      }),
    )
  })
  it('are kept, blended and divided by the length of a wave in llama3', () => {
    fc.assert(
      fc.property(headSize, theta, factor, original, (D, base, factor, original) => {
        const plain = rotary(D, base).frequencies
        const scaled = rotary(D, base, { kind: 'llama3', factor, lowFrequency: 1, highFrequency: 4, original }).frequencies
        plain.forEach((frequency, m) => {
          const wave = (2 * Math.PI) / frequency
          const [low, high] = [frequency / factor, frequency]
          if (wave < original / 4) expect(scaled[m]).toBe(high)
          else if (wave > original) expect(scaled[m]).toBe(low)
          else expect((scaled[m] as number) >= low * (1 - 1e-15) && (scaled[m] as number) <= high * (1 + 1e-15)).toBe(true)
        })
      }),
    )
  })
  it("are Llama 3.1's: of 64 pairs 29 kept, 29 divided by 8, 6 between", () => {
    const scaling = { kind: 'llama3', factor: 8, lowFrequency: 1, highFrequency: 4, original: 8192 } as const
    const [plain, scaled] = [rotary(128, 500_000).frequencies, rotary(128, 500_000, scaling).frequencies]
    const ratios = Array.from(plain, (frequency, m) => frequency / (scaled[m] as number))
    expect(ratios.filter((ratio) => ratio === 1)).toHaveLength(29)
    expect(ratios.filter((ratio) => Math.abs(ratio - 8) < 1e-12)).toHaveLength(29)
    expect(ratios.filter((ratio) => ratio > 1 && ratio < 8 - 1e-12)).toHaveLength(6)
  })
  it('turn from kept to divided between the pairs that yarn computes, and magnify', () => {
    // Hand-worked: D 64, theta 10000, original 4096. Pair of t turns: 64 ln(4096 / (2 pi t)) / (2 ln 10000): 10.5 at 32, 22.5 at 1.
    const { frequencies, magnitude } = rotary(64, 10_000, { kind: 'yarn', factor: 4, betaFast: 32, betaSlow: 1, original: 4096, magnitude: 1.1386 })
    const plain = rotary(64, 10_000).frequencies
    expect(magnitude).toBe(1.1386)
    frequencies.forEach((frequency, m) => {
      const stretched = Math.min(1, Math.max(0, (m - 10) / (23 - 10)))
      expect(frequency / (plain[m] as number)).toBeCloseTo(1 - stretched + stretched / 4, 14)
    })
  })
  it('stay finite and between kept and divided for any yarn', () => {
    const beta = fc.integer({ min: 1, max: 64 })
    fc.assert(
      fc.property(headSize, theta, factor, original, beta, beta, (D, base, factor, original, a, b) => {
        const scaling = { kind: 'yarn', factor, betaFast: Math.max(a, b), betaSlow: Math.min(a, b), original, magnitude: 1 } as const
        const plain = rotary(D, base).frequencies
        rotary(D, base, scaling).frequencies.forEach((frequency, m) => {
          const ratio = frequency / (plain[m] as number)
          expect(ratio <= 1 + 1e-12 && ratio >= (1 - 1e-12) / factor).toBe(true)
        })
      }),
    )
  })
})
