import { describe, expect, it } from 'vitest'
import { openRun } from '../../../kernel/src/trace/model/run.js'
import { NONE_32 } from '../../../kernel/src/trace/schema.js'
import { offered } from '../../../labextension/src/live/peekable.js'
import { fixture } from '../trace/fixture.js'

const run = openRun(fixture({ ranks: 1, layers: 1, chunks: 4, steps: 1 }))
const { names, buffers, spans } = run
const short = (name: string): string => name.replace(/@\w+$/, '')

describe('values that can be looked at', () => {
  it('are those that some tier holds after the op that was done last', () => {
    const residencies = (name: string): number[] => [...names.keys()].filter((buffer) => short(names[buffer]) === name)
    let dead = 0
    for (const line of [0, 5, 40, run.listing.length - 1]) {
      for (let row = 0; row < spans.op.length; row += 7) {
        const offers = offered(run, { kind: 'span', row }, line)
        for (const { name, isAlive } of offers) {
          const held = residencies(name).some((b) => {
            for (let op = 0; op <= line; op++) if (buffers.death[b] === op) return false
            return buffers.birth[b] === NONE_32 || buffers.birth[b] <= line
          })
          expect(isAlive, `${name} after op ${line}`).toBe(held)
          if (!held) dead++
        }
        expect(offers.map(({ isAlive }) => isAlive)).toEqual(offers.map(({ isAlive }) => isAlive).sort((a, b) => Number(b) - Number(a)))
      }
    }
    expect(dead).toBeGreaterThan(100)
  })

  it('are all there as long as nobody says where the training stands, and one for a buffer', () => {
    expect(offered(run, { kind: 'span', row: 9 }, null).every(({ isAlive }) => isAlive)).toBe(true)
    expect(offered(run, { kind: 'buffer', buffer: 2, rank: 0 }, null)).toEqual([{ name: short(names[2]), isAlive: true }])
    expect(offered(run, null, 5)).toEqual([])
  })
})
