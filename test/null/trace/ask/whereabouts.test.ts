import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { stepOf } from '../../../../kernel/src/fpdt/plan/training-plan.js'
import { accesses, isCopy, type Op } from '../../../../kernel/src/schedule/ops.js'
import { standing } from '../../../../kernel/src/schedule/step.js'
import { stepValues } from '../../../../kernel/src/schedule/step-values.js'
import { whole } from '../../../../kernel/src/schedule/values.js'
import { valueName } from '../../../../kernel/src/trace/ask/value-name.js'
import { COPYING, type CopyKind, layerAt, layersWithChunks, ON, partAt, stateAt, WRITTEN, whereabouts } from '../../../../kernel/src/trace/ask/whereabouts.js'
import { openRun } from '../../../../kernel/src/trace/model/run.js'
import { NONE, NONE_32, type Tier } from '../../../../kernel/src/trace/schema.js'
import { fixture } from '../fixture.js'
import { anyOptions, anyRun, modelOf, oneAfterTheOther, opsOf, type RunOptions, SLOT_NS, trainOf } from './any-run.js'

/** Ops one after the other: for each, the states of all values while it runs and when it has ended. Values alone, no tables. */
function* walk(options: RunOptions, ops: readonly Op[]): Generator<{ during: Map<string, number>; after: Map<string, number> }> {
  // A residency is over after its last use before its free; what is never freed stays to the last use, too.
  const lastUse = new Map<number, { name: string; tier: Tier }[]>()
  const open = new Map<string, number>()
  const close = (key: string): void => {
    const at = open.get(key)
    const [name, tier] = key.split('@') as [string, Tier]
    if (at !== undefined) lastUse.set(at, [...(lastUse.get(at) ?? []), { name, tier }])
    open.delete(key)
  }
  const config = stepOf(modelOf(options), trainOf(options))
  const initial = standing(config, stepValues(config))
  const persistent = new Set(initial.filter(({ persistent = true }) => persistent).map(({ value, tier }) => `${whole(value).name}@${tier}`))
  for (const [i, op] of ops.entries()) {
    for (const { value, tier } of accesses(op)) open.set(`${value.name}@${tier}`, i)
    if (op.kind === 'free') close(`${whole(op.value).name}@${op.tier}`)
  }
  for (const key of [...open.keys()]) if (!persistent.has(key)) close(key)
  const valid = new Map<string, number>()
  for (const { value, tier, written } of initial) if (written) valid.set(whole(value).name, (valid.get(whole(value).name) ?? 0) | ON[tier])
  for (const [i, op] of ops.entries()) {
    const during = new Map(valid)
    for (const { value, tier, writes } of accesses(op)) {
      if (!writes) continue
      const before = valid.get(value.name) ?? 0
      during.set(value.name, isCopy(op) ? before | COPYING[op.kind as CopyKind] : (before & ON[tier]) | WRITTEN)
      valid.set(value.name, isCopy(op) ? before | ON[tier] : ON[tier])
    }
    for (const { name, tier } of lastUse.get(i) ?? []) valid.set(name, (valid.get(name) ?? 0) & ~ON[tier])
    yield { during, after: new Map(valid) }
  }
}

describe('whereabouts', () => {
  it('are those that a walk over the ops finds, while each op runs and after it', () => {
    fc.assert(
      fc.property(anyOptions, (options) => {
        const run = oneAfterTheOther(anyRun(options))
        const ops = opsOf(options)
        const rank = run.ranks[run.ranks.length - 1]
        const parts = layersWithChunks(run).flatMap((layer) =>
          whereabouts(run, 1, rank, layer).rows.flatMap(({ cells }) => cells.flatMap((cell) => (cell ? [...cell.parts] : []))),
        )
        expect(parts.length).toBeGreaterThan(10)
        let i = 0
        for (const { during, after } of walk(options, ops)) {
          if (ops[i].kind !== 'free') {
            for (const part of parts) {
              for (const [time_ns, states] of [
                [SLOT_NS * i + 5, during],
                [SLOT_NS * (i + 1) - 1, after],
              ] as const) {
                const [found, state] = [partAt(part, time_ns).state, states.get(part.name) ?? 0]
                // Some hundred thousand of these a run: what is expected is only put together where it is not so.
                if (found !== state) expect([ops[i], part.name, found]).toEqual([ops[i], part.name, state])
              }
            }
          }
          i++
        }
      }),
      { numRuns: 6 },
    )
  })

  it('name the buffer in which a chunk is: alive then, of that name, on the nearest tier', () => {
    const run = openRun(fixture({ chunks: 3, steps: 2 }))
    const { buffers, names } = run
    for (const layer of layersWithChunks(run)) {
      for (const { cells } of whereabouts(run, 2, 1, layer).rows) {
        for (const part of cells.flatMap((cell) => cell?.parts ?? [])) {
          for (const [i, buffer] of part.buffers.entries()) {
            const state = part.states[i]
            expect(buffer === NONE_32).toBe(state === 0)
            if (state === 0) continue
            expect(names[buffer]).toBe(part.name)
            const nearest = state & ON.device ? 0 : state & ON.host ? 1 : state & ON.disk ? 2 : buffers.tier[buffer]
            expect(buffers.tier[buffer]).toBe(nearest)
          }
        }
      }
    }
  })

  it('hold every value that comes in chunks, by layer, and none that belongs to a group of parameters', () => {
    const run = openRun(fixture({ chunks: 2, layers: 2, steps: 1 }))
    expect(layersWithChunks(run)).toEqual([0, 1, 2, NONE])
    const bases = (layer: number): string[] => whereabouts(run, 1, 0, layer).rows.map(({ base }) => base)
    expect(bases(0)).toEqual(expect.arrayContaining(['x', 'q', 'k', 'v', 'o', 'lse', 'dO', 'dq', 'n2', 'act']))
    expect(bases(2)).toEqual(['x', 'dx'])
    expect(bases(NONE)).toEqual(expect.arrayContaining(['tokens', 'labels', 'logits']))
    expect([...bases(0), ...bases(NONE)].filter((base) => /^(w|dw|m|master|wPart|dwPart)$/.test(base))).toEqual([])
    const parts = whereabouts(run, 1, 0, 0).rows.find(({ base }) => base === 'n2')?.cells[1]?.parts ?? []
    expect(parts.map(({ name }) => name)).toEqual(['n2[0,1.0]', 'n2[0,1.1]'])
    // A chunk is where any part of it is.
    const [first] = parts[0].times_ns
    expect(stateAt({ parts }, first)).toBe(partAt(parts[0], first).state | partAt(parts[1], first).state)
  })

  it('find the layer of an instant', () => {
    const run = openRun(fixture({ chunks: 2, layers: 2, steps: 1 }))
    for (const rank of run.ranks) {
      for (const row of run.lanes.find((lane) => lane.rank === rank && lane.stream === 'compute')?.rows ?? []) {
        const { layer, start_ns } = run.spans
        if (layer[row] !== NONE) expect(layerAt(run, rank, start_ns[row])).toBe(layer[row])
      }
    }
  })
})

describe('value-name', () => {
  it('takes names apart', () => {
    expect(valueName('k[2,5]')).toEqual({ base: 'k', layer: 2, chunk: 5, part: -1 })
    expect(valueName('n2[2,5.1]')).toEqual({ base: 'n2', layer: 2, chunk: 5, part: 1 })
    expect(valueName('tokens[5]')).toEqual({ base: 'tokens', layer: NONE, chunk: 5, part: -1 })
    expect(valueName('logits[3.2]')).toEqual({ base: 'logits', layer: NONE, chunk: 3, part: 2 })
    for (const name of ['q', 'w[embedding]', 'm[0].s3', '', '[1]', 'a[b[1]']) expect(valueName(name).chunk).toBe(NONE)
  })
})
