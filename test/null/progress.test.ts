import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { DISPLAY_HOST, type DisplayHost } from '../../kernel/src/display.js'
import { Progress, progress } from '../../kernel/src/progress.js'

interface Drawn {
  readonly id: string | undefined
  readonly update: boolean | undefined
  readonly text: string
  readonly html: string | undefined
  readonly at_ms: number
}
let drawn: Drawn[]
let owner: object

function hostOf(wordsOnly?: true): DisplayHost {
  return {
    ...(wordsOnly ? { wordsOnly } : {}),
    display: (bundle, options) =>
      drawn.push({
        id: options?.displayId,
        update: options?.update,
        text: String(bundle['text/plain']),
        html: bundle['text/html'] as string | undefined,
        at_ms: performance.now(),
      }),
    owner: () => owner,
    onInterrupt: () => () => {},
  }
}
const install = (host: DisplayHost | undefined) => {
  ;(globalThis as { [DISPLAY_HOST]?: DisplayHost | undefined })[DISPLAY_HOST] = host
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
  drawn = []
  owner = {}
  install(hostOf())
})
afterEach(() => {
  vi.useRealTimers()
  install(undefined)
})
const later = (ms: number) => vi.advanceTimersByTime(ms)

describe('progress', () => {
  it('over items is drawn at once, at most ten times a second, and at its end; in one output', () => {
    for (const _ of progress(Array(1000).fill(0), { label: 'rows' })) later(3)
    expect(drawn[0]?.text).toBe(`rows    0 % |${'·'.repeat(20)}|  0 of 1000`)
    expect(drawn.length).toBeGreaterThan(25)
    expect(drawn.length).toBeLessThanOrEqual(32)
    const waits = drawn.slice(1, -1).map(({ at_ms }, index) => at_ms - (drawn[index]?.at_ms ?? 0))
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(99)
    expect(drawn.at(-1)?.text).toBe(`rows  100 % |${'█'.repeat(20)}|  1000 of 1000 · 333/s · 3.0 s`)
    expect(new Set(drawn.map(({ id }) => id)).size).toBe(1)
    expect(drawn.map(({ update }) => update)).toEqual([false, ...drawn.slice(1).map(() => true)])
  })

  it('tells rate, time and what is left', () => {
    const bar = progress({ total: 200, unit: 'files' })
    later(4000)
    bar.step(50)
    expect(drawn.at(-1)?.text).toBe(` 25 % |${'█'.repeat(5)}${'·'.repeat(15)}|  50 of 200 files · 12.5/s · 4.0 s, 12 s left`)
    later(2e6)
    bar.set(51)
    expect(drawn.at(-1)?.text).toContain('51 of 200 files · 39 s each · 33 min 24 s, 1 h 37 min left')
    bar.end()
  })

  it('draws the last step of a burst a moment later', () => {
    const bar = progress({ total: 10 })
    bar.step(3)
    bar.step(4)
    expect(drawn).toHaveLength(1)
    later(100)
    expect(drawn.at(-1)?.text).toContain('7 of 10')
  })

  it('says where it ended when the body throws or breaks', () => {
    expect(() => {
      for (const n of progress(10)) {
        later(1000)
        if (n === 4) throw new Error('bad')
      }
    }).toThrow('bad')
    expect(drawn.at(-1)?.text).toContain('4 of 10 · 1.3 s each · ended after 5.0 s')
    for (const n of progress(3)) if (n === 0) break
    expect(drawn.at(-1)?.text).toContain('0 of 3 · ended after')
    later(10_000)
    expect(drawn.at(-1)?.text).toContain('0 of 3 · ended after')
  })

  it('counts where the total is not known, and knows it in the end', async () => {
    async function* rows() {
      for (let row = 0; row < 3; row++) {
        later(500)
        yield row
      }
    }
    const seen: number[] = []
    for await (const row of progress(rows(), { unit: 'rows' })) seen.push(row)
    expect(seen).toEqual([0, 1, 2])
    expect(drawn[0]?.text).toBe('0 rows')
    expect(drawn[1]?.text).toBe('1 rows · 2/s · 0.50 s')
    expect(drawn.at(-1)?.text).toContain('3 of 3 rows · 2/s · 1.5 s')
  })

  it('within progress shares its output; bars that have ended make room', () => {
    for (const _ of progress(3, { label: 'epochs' })) for (const _ of progress(4, { label: 'batches' })) later(60)
    expect(new Set(drawn.map(({ id }) => id)).size).toBe(1)
    expect(Math.max(...drawn.map(({ text }) => text.split('\n').length))).toBe(2)
    expect(drawn.at(-1)?.text).toMatch(/^epochs +100 % [^\n]*3 of 3[^\n]*\nbatches +100 % [^\n]*4 of 4/)
  })

  it('of another cell has an output of its own, also while the first is open', () => {
    const first = progress({ total: 2 })
    owner = {}
    const second = progress({ total: 2 })
    expect(drawn[0]?.id).not.toBe(drawn[1]?.id)
    first.end()
    second.end()
  })

  it('is HTML that runs nothing', () => {
    progress({ total: 2, label: '<script>', unit: '<b>' }).end()
    expect(drawn.at(-1)?.html).toContain('&lt;script&gt; <progress max="1" value="0.0000"></progress> 0 %')
    expect(drawn.at(-1)?.html).not.toMatch(/<script|<b>/)
  })

  it('is one line where there are words alone, and nothing where nobody looks', () => {
    install(hostOf(true))
    const outer = progress({ total: 2, label: 'a' })
    const inner = progress({ total: 2, label: 'b' })
    later(200)
    expect(drawn.at(-1)).toMatchObject({ html: undefined, text: expect.stringMatching(/^a .* · {2}b /) })
    expect(drawn.at(-1)?.text).not.toContain('\n')
    inner.end()
    outer.end()
    install(undefined)
    drawn = []
    for (const _ of progress([1, 2])) later(200)
    expect(drawn).toEqual([])
  })

  it('of nothing is complete, and steps after the end change nothing', () => {
    for (const _ of progress([])) throw new Error('there is no item')
    expect(drawn.at(-1)?.text).toContain('100 %')
    const bar = new Progress({ total: 2 })
    bar.end()
    const count = drawn.length
    bar.step()
    bar.end()
    later(1000)
    expect(drawn).toHaveLength(count)
  })
})
