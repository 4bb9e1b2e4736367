import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { byteTicks, timeTicks } from '../../../../kernel/src/trace/draw/ticks.js'
import { byteRate, bytes, count, counted, duration, flopRate, instant, percent } from '../../../../kernel/src/trace/words/format.js'

const plain = (text: string): string => text.replaceAll('\u202f', ' ')

describe('format', () => {
  it('writes bytes in powers of 1024, with three digits', () => {
    expect([0, 812, 1024, 1536, 1023 * 1024, 2 ** 30, 412.34 * 2 ** 20, 5 * 2 ** 40].map((n) => plain(bytes(n)))).toEqual([
      '0 B',
      '812 B',
      '1.00 KiB',
      '1.50 KiB',
      '1.00 MiB',
      '1.00 GiB',
      '412 MiB',
      '5.00 TiB',
    ])
  })
  it('writes times in the unit that fits', () => {
    expect([0, 999, 1000, 12_400, 1.2e6, 999.6e3, 3.45e9, 725e9].map((n) => plain(duration(n)))).toEqual([
      '0 ns',
      '999 ns',
      '1.00 µs',
      '12.4 µs',
      '1.20 ms',
      '1.00 ms',
      '3.45 s',
      '12 min 5 s',
    ])
  })
  it('writes instants so that those of a window differ', () => {
    const of = [[3.5e9, 20e9], [3.502141e9, 4e6], [12_345, 1e3], [395.104e9, 1e9], [395.104e9, 1e12], [179.9996e9, 1e9], [5, 64], [3.5e9, 0]] as const // biome-ignore format: pairs
    expect(of.map(([ns, window_ns]) => plain(instant(ns, window_ns)))).toEqual([
      '3.50 s',
      '3.502141 s',
      '12.345 µs',
      '6 min 35.104 s',
      '6 min 35 s',
      '3 min 0.000 s',
      '5 ns',
      '3.50 s',
    ])
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e13 }), fc.integer({ min: 64, max: 1e12 }), (ns, window_ns) => {
        const next = ns + Math.max(1, Math.ceil(window_ns / 100))
        expect(instant(next, window_ns)).not.toBe(instant(ns, window_ns))
      }),
    )
  })
  it('writes rates, counts and shares', () => {
    expect(
      [flopRate(12.9e9, 1.2e6), byteRate(2 ** 22, 1e6), count(12345.4), counted(1, 'op'), counted(2, 'op'), percent(0.412), percent(1)].map(plain),
    ).toEqual(['10.8 TFLOP/s', '3.91 GiB/s', '12,345', '1 op', '2 ops', '41.2 %', '100 %'])
  })
  it('says unknown of what is not a number', () => {
    expect([bytes(Number.NaN), duration(Infinity)]).toEqual(['unknown', 'unknown'])
  })
})

describe('ticks', () => {
  it('of time lie in the window, are round, are told apart and are not too many', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 1e12, noNaN: true }),
        fc.double({ min: 64, max: 1e12, noNaN: true }),
        fc.integer({ min: 2, max: 20 }),
        (start, length, most) => {
          const { ticks } = timeTicks(start, start + length, most)
          expect(ticks.length).toBeLessThanOrEqual(most + 1)
          expect(new Set(ticks.map(({ label }) => label)).size).toBe(ticks.length)
          for (const { value, label } of ticks) {
            expect(value).toBeGreaterThanOrEqual(start - length * 1e-6)
            expect(value).toBeLessThanOrEqual(start + length * (1 + 1e-6))
            expect(label.length).toBeLessThanOrEqual(9)
          }
        },
      ),
    )
  })
  it('name their unit, and their origin when the window is far from the start', () => {
    expect(timeTicks(0, 50e6, 5)).toMatchObject({
      title: 'time, ms',
      ticks: [{ label: '0' }, { label: '10' }, { label: '20' }, { label: '30' }, { label: '40' }, { label: '50' }],
    })
    expect(timeTicks(3.2001e9, 3.2001e9 + 50e3, 5)).toMatchObject({ title: 'µs after 3.200 s', unit: 'µs' })
  })
  it('of bytes are powers of two of one unit, from 0', () => {
    expect(byteTicks(100 * 2 ** 20, 4).map(({ label }) => label)).toEqual(['0', '32 MiB', '64 MiB', '96 MiB'])
    fc.assert(
      fc.property(fc.double({ min: 1, max: 2 ** 50, noNaN: true }), fc.integer({ min: 1, max: 12 }), (end, most) => {
        const ticks = byteTicks(end, most)
        expect(ticks.length).toBeLessThanOrEqual(most + 1)
        expect(ticks[0].value).toBe(0)
      }),
    )
  })
})
