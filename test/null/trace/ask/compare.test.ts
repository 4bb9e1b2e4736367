import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Comparison, choiceNames, compareRuns } from '../../../../kernel/src/trace/ask/compare.js'
import { betterOf, type Difference, differenceOf } from '../../../../kernel/src/trace/ask/compared-groups.js'
import { predictedRun } from '../../../../kernel/src/trace/ask/predicted.js'
import { openRun, type Run } from '../../../../kernel/src/trace/model/run.js'
import { decodeSavedRun, keepNewest, saveRun } from '../../../../kernel/src/trace/saved.js'
import { type RunTables, STREAMS, TIERS } from '../../../../kernel/src/trace/schema.js'
import { betterWords, differenceWords, headlines } from '../../../../kernel/src/trace/words/compare.js'
import { fixture } from '../fixture.js'

const small = { layers: 1, chunks: 4, steps: 2 }
const runs: Record<string, Run> = {
  fpdt: openRun(fixture({ ...small, predicted: 1 })),
  slower: openRun(fixture({ ...small, slower: 1.25 })),
  oneRank: openRun(fixture({ ...small, ranks: 1 })),
  fourLayers: openRun(fixture({ ...small, layers: 4, steps: 1 })),
  largeChunks: openRun(fixture({ ...small, chunk: 1024 })),
  longer: openRun(fixture({ ...small, chunks: 8 })),
  ulysses: openRun(fixture({ ...small, system: 'ulysses' })),
  beginning: openRun(keepNewest(fixture(small), 300)),
}
/** A run whose account of rank 0 is known: it waits 100 ns for copies, of which 900 ns lie under compute, and has nothing to do for the rest. */
const accounted = ((): RunTables => {
  const tables = fixture(small)
  const { spans } = tables
  for (const step of tables.head.steps) {
    let compute = 0
    for (let i = 0; i < spans.op.length; i++)
      if (spans.step[i] === step.step && spans.rank[i] === 0 && STREAMS[spans.stream[i]] === 'compute') compute += spans.duration_ns[i]
    step.accounts = [
      {
        rank: 0,
        busy_ns: { compute, fetch: 600, offload: 400, collective: 0, load: 0, spill: 0 },
        idle_ns: { fetch: 100, collective: 0, disk: 0, memory: 0, turn: 0, nothing: step.duration_ns - compute - 100 },
        hidden_copy_ns: 900,
        exposed_copy_ns: 100,
      },
    ]
  }
  return tables
})()
runs.accounted = openRun(accounted)
const anyRun = fc.constantFrom(...Object.keys(runs))
const between = (a: string, b: string, options = {}): Comparison => {
  const comparison = compareRuns(runs[a], runs[b], options)
  if (!comparison) throw new Error(`${a} and ${b} have steps`)
  return comparison
}
const rowsOf = ({ groups }: Comparison): Difference[] => groups.flatMap(({ total, parts }) => (total ? [total, ...parts] : [...parts]))
const group = ({ groups }: Comparison, title: string): Comparison['groups'][number] => {
  const found = groups.find((one) => one.title.startsWith(title))
  if (!found) throw new Error(`no group ${title} in ${groups.map((one) => one.title).join(', ')}`)
  return found
}
const row = (comparison: Comparison, title: string, name: string): Difference => {
  const found = group(comparison, title).parts.find((part) => part.name === name)
  if (!found) throw new Error(`no row ${name}`)
  return found
}

describe('compare', () => {
  it('finds nothing between a run and itself', () => {
    fc.assert(
      fc.property(anyRun, fc.nat(1), (name, rank) => {
        const same = between(name, name, { rank })
        for (const difference of rowsOf(same)) if (difference.a !== null) expect(betterOf(difference), difference.name).toBe('equal')
        expect([same.offset_ns, same.sameOps, same.ops, same.moved]).toEqual([0, true, [], []])
      }),
    )
  })

  it('says the same in the other order, with sides exchanged', () => {
    fc.assert(
      fc.property(anyRun, anyRun, fc.nat(1), (a, b, rank) => {
        const [there, back] = [between(a, b, { rank }), between(b, a, { rank })]
        expect(back.groups.map(({ hint: _, ...one }) => one)).toEqual(
          there.groups.map(({ title, total, parts }) => ({
            title,
            total: total && { ...total, a: total.b, b: total.a },
            parts: parts.map((part) => ({ ...part, a: part.b, b: part.a })),
          })),
        )
        expect(back.offset_ns).toBe(-there.offset_ns || 0)
        expect(back.ops.map(({ op, a_ns, b_ns }) => [op, a_ns, b_ns])).toEqual(there.ops.map(({ op, a_ns, b_ns }) => [op, b_ns, a_ns]))
        if (a !== b) expect([back.a.name, back.b.name]).toEqual([there.b.name, there.a.name])
      }),
    )
  })

  it('gives parts that add up to their total exactly, on either side', () => {
    fc.assert(
      fc.property(anyRun, anyRun, fc.nat(1), (a, b, rank) => {
        for (const { title, total, parts } of between(a, b, { rank }).groups) {
          if (!total) continue
          for (const side of ['a', 'b'] as const) {
            const known = parts.map((part) => part[side])
            if (known.includes(null)) expect(total[side], title).toBeNull()
            else
              expect(
                (known as number[]).reduce((sum, part) => sum + part, 0),
                `${title} of ${side}`,
              ).toBe(total[side])
          }
        }
      }),
    )
  })

  it('takes what it says out of the tables', () => {
    const { fpdt, ulysses } = runs
    const compared = between('fpdt', 'ulysses', { rank: 1 })
    const time = group(compared, 'Time of the compute stream')
    expect(time.total).toMatchObject({ a: fpdt.head.steps[1].duration_ns, b: ulysses.head.steps[1].duration_ns })
    const bytes = (run: Run): number => {
      let sum = 0
      for (let i = 0; i < run.spans.op.length; i++)
        if (run.spans.step[i] === 2 && run.spans.rank[i] === 1 && STREAMS[run.spans.stream[i]] === 'offload') sum += run.spans.bytes[i]
      return sum
    }
    expect(row(compared, 'Bytes moved', 'offload to host')).toMatchObject({ a: bytes(fpdt), b: bytes(ulysses) })
    expect(bytes(fpdt)).toBeGreaterThan(bytes(ulysses))
    const peak = (run: Run): number => {
      let most = 0
      const { memory } = run
      for (let i = 0; i < memory.op.length; i++)
        if (memory.rank[i] === 1 && TIERS[memory.tier[i]] === 'device' && memory.step[i] === 2) most = Math.max(most, memory.total_bytes[i])
      return most
    }
    const device = group(compared, 'Peak of device memory')
    expect(device.total).toMatchObject({ a: peak(fpdt), b: peak(ulysses) })
    expect(betterOf(device.total as Difference)).toBe('a')
    expect(device.parts.map(({ name }) => name)).toContain('attention')
  })

  it('knows what stands on a tier that a step leaves alone', () => {
    const { total } = group(between('fpdt', 'ulysses'), 'Peak of host memory')
    const { memory } = runs.ulysses
    const standing = memory.total_bytes.reduce((most, bytes, i) => (TIERS[memory.tier[i]] === 'host' && memory.rank[i] === 0 ? Math.max(most, bytes) : most), 0)
    expect([total?.b, standing > 0]).toEqual([standing, true])
  })

  it('puts the steps side by side at their beginnings', () => {
    const compared = between('fpdt', 'slower', { stepA: 1, stepB: 2 })
    expect(compared.a.step.start_ns).toBe(compared.b.step.start_ns + compared.offset_ns)
    expect([compared.a.step.step, compared.b.step.step]).toEqual([1, 2])
    expect(between('fpdt', 'slower', { stepA: 77 }).a.step.step).toBe(2)
  })

  it('names the sides by what tells them apart', () => {
    const names = ({ a, b }: Comparison): string[] => [a.name, b.name]
    expect(names(between('fpdt', 'ulysses'))).toEqual(['FPDT', 'Ulysses'])
    expect(names(between('fpdt', 'largeChunks'))).toEqual(['2048 tokens in 4 chunks', '2048 tokens in 2 chunks'])
    expect(names(between('fpdt', 'fpdt', { stepA: 1, stepB: 2 }))).toEqual(['step 1', 'step 2'])
  })

  it('compares ops one by one where both runs have the same, and not elsewhere', () => {
    const compared = between('fpdt', 'slower')
    expect(compared.sameOps).toBe(true)
    const { duration_ns } = compared.a.run.spans
    expect(compared.ops.length).toBeGreaterThan(100)
    for (const { rowA, rowB, a_ns, b_ns } of compared.ops) {
      expect([a_ns, b_ns]).toEqual([duration_ns[rowA], compared.b.run.spans.duration_ns[rowB]])
      expect(compared.a.run.spans.op[rowA]).toBe(compared.b.run.spans.op[rowB])
    }
    const sizes = compared.ops.map(({ a_ns, b_ns }) => Math.abs(b_ns - a_ns))
    expect(sizes).toEqual([...sizes].sort((x, y) => y - x))
    expect(compared.ops[0].words).toMatch(/^(backward|forward|recompute) of layer 0|^loss|^optimizer|^embedding/)
    expect(between('fpdt', 'largeChunks')).toMatchObject({ sameOps: false, ops: [], moved: [] })
  })

  it('makes steps of different length comparable by their tokens', () => {
    const compared = between('fpdt', 'longer')
    const each = row(compared, 'Speed', 'time of 1000 tokens')
    expect(each.a).toBeCloseTo((1000 * compared.a.step.duration_ns) / 2048, 6)
    expect(each.b).toBeCloseTo((1000 * compared.b.step.duration_ns) / 4096, 6)
    expect(between('fpdt', 'slower').groups[0].parts.map(({ name }) => name)).not.toContain('time of 1000 tokens')
  })

  it('says which is better and by how much', () => {
    const compared = between('fpdt', 'slower')
    const duration = row(compared, 'Speed', 'duration')
    expect(betterOf(duration)).toBe('a')
    expect(differenceOf(duration)).toBe(compared.b.step.duration_ns - compared.a.step.duration_ns)
    expect(betterOf(row(compared, 'Speed', 'tokens a second'))).toBe('a')
    expect(betterOf({ name: '', unit: 'count', best: 'neither', a: 1, b: 2 })).toBe('neither')
    expect(betterOf({ name: '', unit: 'share', best: 'more', a: null, b: 2 })).toBe('neither')
  })

  it('says when the picture holds the beginning of a step alone', () => {
    expect(between('fpdt', 'longer').notes).toEqual([])
    // Without accounts nobody knows how long the rest computed: what is missing is idle by no known cause.
    const uncounted = fixture(small)
    for (const step of uncounted.head.steps) step.accounts = []
    const idle = row(compareRuns(runs.fpdt, openRun(uncounted)) as Comparison, 'Time of the compute stream', 'idle, by no known cause')
    const [{ rank, idle_ns }] = runs.fpdt.head.steps[1].accounts
    expect([rank, idle.a, idle.b]).toEqual([0, 0, Object.values(idle_ns).reduce((sum, part) => sum + part, 0)])
    const cut = compareRuns(openRun(accounted), openRun(keepNewest(accounted, 300))) as Comparison
    expect(cut.notes).toEqual([expect.stringMatching(/only the beginning of step 2 is in this picture/)])
    expect(row(cut, 'Time of the compute stream', 'compute: ops that are not in this picture')).toMatchObject({ a: 0 })
    expect(group(cut, 'Time of the compute stream').total).toMatchObject({ a: cut.a.step.duration_ns, b: cut.a.step.duration_ns })
    expect(row(cut, 'Time of the compute stream', 'idle: waits for fetch')).toMatchObject({ a: 100, b: 100 })
  })

  it('parts copies into those under compute and those beside it', () => {
    const { total, parts } = group(compareRuns(openRun(accounted), openRun(accounted)) as Comparison, 'Copies')
    expect([total?.a, ...parts.map(({ a }) => a)]).toEqual([1000, 900, 100])
  })

  it('has nothing to say of a run without a step', () => {
    const empty = openRun({ ...runs.fpdt, head: { ...runs.fpdt.head, steps: [] } })
    expect(compareRuns(runs.fpdt, empty)).toBeNull()
  })
})

describe('a comparison in words', () => {
  it('says what is more and what is better, and nothing of what is not known', () => {
    const compared = between('fpdt', 'slower')
    const words = (difference: Omit<Difference, 'name'>): string[] => [
      differenceWords({ name: '', ...difference }),
      betterWords({ name: '', ...difference }, compared),
    ]
    const { a, b } = compared
    expect(words({ unit: 'time', best: 'less', a: 2e6, b: 1e6 })).toEqual(['−1.00\u202fms (−50.0\u202f%)', b.name])
    expect(words({ unit: 'bytes', best: 'less', a: 0, b: 2 ** 20 })).toEqual(['+1.00\u202fMiB', a.name])
    expect(words({ unit: 'share', best: 'more', a: 0.4, b: 0.5 })).toEqual(['+10.0 points (+25.0\u202f%)', b.name])
    expect(words({ unit: 'count', best: 'neither', a: 4, b: 4 })).toEqual(['equal', 'equal'])
    expect(words({ unit: 'share', best: 'more', a: null, b: 0.5 })).toEqual(['–', ''])
  })

  it('begins with the sentences that matter', () => {
    expect(headlines(between('fpdt', 'fpdt'))).toContainEqual(expect.stringMatching(/^Time of the step is equal: /))
    expect(headlines(between('fpdt', 'slower'))).toContainEqual(expect.stringMatching(/^Both have the same ops: [\d,]+ ops took another time, /))
    const said = headlines(between('fpdt', 'ulysses'))
    expect(said).toContainEqual(expect.stringMatching(/^Peak of device memory: FPDT takes .*, Ulysses .*: [\d.]+ times as much\.$/))
    expect(said.at(-1)).toMatch(/different ops/)
  })
})

describe('the better side', () => {
  it('stands first in either order, and the ratio is that of the numbers as they stand', () => {
    for (const [a, b] of [
      ['fpdt', 'slower'],
      ['slower', 'fpdt'],
    ]) {
      const compared = between(a, b)
      const fast = a === 'fpdt' ? compared.a : compared.b
      const slow = a === 'fpdt' ? compared.b : compared.a
      const [said] = headlines(compared)
      expect(said.indexOf(fast.name)).toBeLessThan(said.indexOf(slow.name))
      expect(said).toMatch(/^Time of the step: .* takes .*: 1\.25 times as long\.$/)
    }
  })

  it('is never named without the word predicted where it is a prediction', () => {
    const foretold = openRun(fixture({ ...small, origin: 'predicted' }))
    const compared = compareRuns(foretold, runs.oneRank) as Comparison
    expect([compared.a.name, compared.b.name]).toEqual(['2 ranks (predicted)', '1 rank'])
    for (const difference of rowsOf(compared)) if (betterOf(difference) === 'a') expect(betterWords(difference, compared)).toMatch(/predicted/)
    for (const said of headlines(compared)) if (said.includes('2 ranks')) expect(said).toContain('2 ranks (predicted)')
  })
})

describe('runs to choose from', () => {
  const withHead = (change: (head: RunTables['head']) => void): Run => {
    const tables = fixture({ ...small, steps: 1 })
    change(tables.head)
    return openRun(tables)
  }
  const base = withHead(() => {})

  it('say what differs where their titles do not', () => {
    const ahead = withHead(({ sequence }) => {
      sequence.prefetch = 2
    })
    const far = withHead(({ sequence }) => {
      sequence.prefetch = 3
      sequence.lookAhead = 0
    })
    const plan = withHead((head) => {
      head.origin = 'predicted'
      head.sequence.prefetch = 0
    })
    const names = choiceNames(base, [ahead, far, plan])
    expect(new Set(names).size).toBe(3)
    for (const [i, name] of names.entries()) expect(name).toContain(`prefetch ${[2, 3, 0][i]}`)
    expect(names[1]).toContain('look-ahead 0')
    expect(names.map((name) => name.includes('predicted'))).toEqual([false, false, true])
    expect(choiceNames(base, [runs.ulysses])).toEqual([runs.ulysses.head.title])
  })

  it('say when they were made where their settings are one', () => {
    const [first, second] = ['2026-01-01T10:00:00Z', '2026-01-01T11:00:00Z'].map((created) =>
      withHead((head) => {
        head.created = created
      }),
    )
    expect(choiceNames(base, [first, second]).map((name) => name.slice(-20))).toEqual(
      ['(2026-01-01 10:00:00Z)', '(2026-01-01 11:00:00Z)'].map((name) => name.slice(-20)),
    )
  })
})

describe('a prediction beside its run', () => {
  const foretold = (tables: Parameters<typeof openRun>[0]): Comparison => {
    const run = openRun(tables)
    const compared = compareRuns(predictedRun(run) as Run, run)
    if (!compared) throw new Error('there is a step')
    return compared
  }

  it('is equal to it in everything where the machine did as predicted', () => {
    const compared = foretold(fixture({ ...small, steps: 1, predicted: 1 }))
    expect([compared.a.name, compared.b.name]).toEqual(['predicted', 'measured'])
    for (const difference of rowsOf(compared)) if (difference.a !== null) expect([difference.name, betterOf(difference)]).toEqual([difference.name, 'equal'])
    expect([compared.ops, compared.moved]).toEqual([[], []])
  })

  it('differs from it by what the machine did otherwise, and not in bytes', () => {
    const compared = foretold(fixture({ ...small, steps: 1, predicted: 0.5 }))
    const duration = row(compared, 'Speed', 'duration')
    expect((duration.a as number) / (duration.b as number)).toBeCloseTo(0.5, 4)
    for (const part of group(compared, 'Arenas').parts) expect(betterOf(part)).toBe('equal')
    expect(betterOf(group(compared, 'Bytes moved').total as Difference)).toBe('equal')
    expect(compared.sameOps).toBe(true)
  })

  it('finds the ops that began in another place', () => {
    const tables = fixture({ ...small, steps: 1, predicted: 1 })
    const { predicted } = tables
    if (!predicted) throw new Error('asked for a prediction')
    // The first offload of rank 0, begun with the first op.
    const offloaded = (i: number): boolean => predicted.rank[i] === 0 && STREAMS[predicted.stream[i]] === 'offload'
    const first = predicted.op.findIndex((_, i) => offloaded(i))
    const others = predicted.start_ns.filter((start) => start < predicted.start_ns[first]).length
    expect(others).toBeGreaterThan(0)
    predicted.start_ns[first] = 0
    const moved = foretold({ ...tables, predicted }).moved
    expect(moved[0]).toMatchObject({ op: predicted.op[first] })
    expect(moved[0].placeB).toBeGreaterThan(moved[0].placeA)
  })

  it('comes back from a notebook as it was, and counts among the spans that fit one', async () => {
    const tables = fixture({ ...small, steps: 3, predicted: 1 })
    const back = await decodeSavedRun(structuredClone(await saveRun(tables)))
    expect(back.predicted).toEqual(tables.predicted)
    expect(back.head.predicted_ns).toBe(tables.head.predicted_ns)
    const step = tables.spans.op.length / 3
    for (const most of [400, step, 2 * step, 3 * step]) {
      const kept = keepNewest(tables, most)
      expect(kept.spans.op.length + (kept.predicted as typeof kept.spans).op.length).toBeLessThanOrEqual(most)
      expect(kept.spans.op.length).toBeGreaterThan(0)
    }
  })

  it('is as long as the plan said, even where its spans were cut to fit', () => {
    const tables = fixture({ ...small, steps: 1, predicted: 1 })
    const cut = predictedRun(openRun(keepNewest(tables, 400)))
    expect(cut?.head.steps[0].duration_ns).toBe(tables.head.predicted_ns)
    expect(cut?.spans.op.length).toBeLessThanOrEqual(200)
  })

  it('is not there for a run without one, nor for a plan', () => {
    expect(predictedRun(runs.slower)).toBeNull()
    expect(predictedRun(openRun(fixture({ ...small, origin: 'predicted' })))).toBeNull()
  })
})
