/** The arithmetic of the CUDA backend's clock, against devices whose time is known: crystals that are off and drift, answers that come late, f32 milliseconds. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const source = (path: string): string => new URL(path, import.meta.url).pathname
let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'fpdt-timeline-'))
  const sources = [source('timeline.cc'), source('../../native/cuda/timeline.cc')]
  execFileSync(process.env.CXX ?? 'c++', ['-std=c++20', '-O1', '-o', join(folder, 'timeline'), ...sources])
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const SECOND = 1e9
const START = 8e14 // the host has been up for nine days

interface Anchor {
  readonly device: number
  readonly before: number
  readonly after: number
}
type Question = Anchor | { readonly ask: number }

/** Host times of all `ask`, in order. */
function answers(questions: readonly Question[]): number[] {
  const lines = questions.map((q) => ('ask' in q ? `ask ${q.ask}` : `anchor ${q.device} ${q.before} ${q.after}`))
  const out = execFileSync(join(folder, 'timeline'), { input: lines.join('\n') })
  return out.toString().trim().split('\n').map(Number)
}

/** A device whose clock runs `rate(t)` ns for each of the host's, t seconds after START; times are sums over steps of 1 ms. */
class Simulated {
  readonly #device: Float64Array
  constructor(seconds: number, rate: (t: number) => number) {
    this.#device = new Float64Array(seconds * 1000 + 2)
    for (let ms = 1; ms < this.#device.length; ms++) this.#device[ms] = (this.#device[ms - 1] as number) + 1e6 * rate((ms - 0.5) / 1000)
  }
  /** Device time at a host time. */
  at(host: number): number {
    const ms = (host - START) / 1e6
    const [low, part] = [Math.floor(ms), ms - Math.floor(ms)]
    return (this.#device[low] as number) * (1 - part) + (this.#device[low + 1] as number) * part
  }
}

/** What an elapsed time is after it has been an f32 of milliseconds. */
const measured = (ns: number): number => Math.fround(ns / 1e6) * 1e6

/** Anchors at host times, told as the clock tells them: measured from the one before, in brackets of which the answer stands anywhere. */
function anchors(device: Simulated, times: readonly number[], jitter: () => { width: number; part: number }): Anchor[] {
  let last = 0
  let sum = 0
  return times.map((host, i) => {
    const { width, part } = jitter()
    const now = device.at(host)
    if (i > 0) sum += measured(now - last)
    last = now
    return { device: sum, before: host - width * part, after: host + width * (1 - part) }
  })
}
const everySecond = (n: number): number[] => Array.from({ length: n }, (_, i) => START + i * SECOND)
/** Repeatable numbers in 0 .. 1. */
function numbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

describe('timeline', () => {
  it('is the middle of the first bracket and runs as the host does before it knows better', () => {
    expect(answers([{ device: 0, before: START, after: START + 10_000 }, { ask: 0 }, { ask: SECOND }])).toEqual([START + 5000, START + 5000 + SECOND])
  })

  it('follows a crystal that is off: within two and a half brackets two seconds after the first anchor, within one after ten', () => {
    fc.assert(
      fc.property(fc.integer({ min: -100, max: 100 }), fc.integer({ min: 1, max: 1e9 }), (ppm, seed) => {
        const random = numbers(seed)
        const device = new Simulated(21, () => 1 + ppm * 1e-6)
        const width = 8000
        const list = anchors(device, everySecond(20), () => ({ width, part: random() }))
        const questions: Question[] = []
        const wanted: { host: number; bound: number }[] = []
        list.forEach((anchor, i) => {
          questions.push(anchor)
          for (let k = 0; i >= 2 && k < 5; k++) {
            const host = START + (i + random()) * SECOND
            questions.push({ ask: anchor.device + measured(device.at(host) - device.at(START + i * SECOND)) })
            wanted.push({ host, bound: (i < 10 ? 2.5 : 1) * width }) // the ratio is known to a bracket a second, then to a tenth of that
          }
        })
        answers(questions).forEach((told, i) => {
          const { host, bound } = wanted[i] as { host: number; bound: number }
          expect(Math.abs(told - host) <= bound).toBe(true)
        })
      }),
      { numRuns: 100 },
    )
  })

  it('follows a crystal that drifts', () => {
    const random = numbers(7)
    const device = new Simulated(301, (t) => 1 + 40e-6 * Math.sin(t / 40)) // 1 ppm a second: a fan that starts
    const width = 6000
    const list = anchors(device, everySecond(300), () => ({ width, part: random() }))
    const questions = list.flatMap((anchor, i): Question[] => [
      anchor,
      { ask: anchor.device + measured(device.at(START + (i + 0.9) * SECOND) - device.at(START + i * SECOND)) },
    ])
    const told = answers(questions)
    const errors = told.map((host, i) => Math.abs(host - (START + (i + 0.9) * SECOND)))
    expect(Math.max(...errors.slice(3)) <= 40_000).toBe(true)
  })

  it('never tells a later moment as an earlier one, whatever the anchors say', () => {
    const anchor = fc.record({
      gap: fc.double({ min: 1e-3, max: 20, noNaN: true }),
      wrong: fc.double({ min: -1e-2, max: 1e-2, noNaN: true }),
      width: fc.integer({ min: 1, max: 1e6 }),
    })
    fc.assert(
      fc.property(fc.array(anchor, { minLength: 1, maxLength: 60 }), (list) => {
        const questions: Question[] = [{ device: 0, before: START, after: START + 5000 }]
        let device = 0
        const asked: number[] = []
        for (const { gap, wrong, width } of list) {
          device += gap * SECOND
          const host = START + device + wrong * SECOND
          questions.push({ device, before: host, after: host + width })
          asked.push(device - 1, device, device + 1, device + gap * SECOND * 0.5)
        }
        asked.sort((a, b) => a - b)
        const told = answers([...questions, ...asked.map((ask) => ({ ask }))])
        for (let i = 1; i < told.length; i++) expect(told[i]).toBeGreaterThanOrEqual(told[i - 1] as number)
      }),
      { numRuns: 60 },
    )
  })

  it('keeps what lies close together close: two moments a millisecond apart, to 0.1 us', () => {
    const random = numbers(3)
    const device = new Simulated(61, () => 1 - 35e-6)
    const list = anchors(device, everySecond(60), () => ({ width: 12_000, part: random() }))
    const questions = list.flatMap((anchor, i): Question[] => {
      const from = device.at(START + i * SECOND)
      const at = (seconds: number): Question => ({ ask: anchor.device + measured(device.at(START + (i + seconds) * SECOND) - from) })
      return [anchor, at(0.9), at(0.901)]
    })
    const told = answers(questions)
    for (let i = 6; i < told.length; i += 2) expect(Math.abs((told[i + 1] as number) - (told[i] as number) - 1e6) <= 100).toBe(true)
  })

  it('begins anew after minutes without work, over which a ratio that is known to a millionth is off by a millisecond', () => {
    const device = new Simulated(1301, () => 1 + 80e-6)
    const times = [0, 1, 2, 3, 1203, 1204].map((t) => START + t * SECOND)
    const parts = [0.1, 0.2, 0.3, 0.9, 0.5, 0.5]
    const list = anchors(device, times, () => ({ width: 4000, part: parts.shift() as number }))
    const told = answers([...list, ...list.slice(4).map((anchor) => ({ ask: anchor.device }))])
    told.forEach((host, i) => {
      expect(Math.abs(host - (times[4 + i] as number)) <= 4000).toBe(true)
    })
  })

  it('passes over an anchor that is not later than the last', () => {
    const first = { device: 0, before: START, after: START + 1000 }
    const second = { device: SECOND, before: START + SECOND, after: START + SECOND + 1000 }
    expect(answers([first, second, { ...second, before: START, after: START + 1 }, { ask: 2 * SECOND }])).toEqual(answers([first, second, { ask: 2 * SECOND }]))
  })
})
