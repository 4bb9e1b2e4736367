import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { simulate } from '../../../../kernel/src/execute/simulate.js'
import { stepAccounts } from '../../../../kernel/src/fpdt/run/step-accounts.js'
import { lower } from '../../../../kernel/src/plan/lower.js'
import { plan } from '../../../../kernel/src/plan/plan.js'
import { at, compute, fetch, free, offload } from '../../../../kernel/src/schedule/emit.js'
import type { Op } from '../../../../kernel/src/schedule/ops.js'
import type { Value } from '../../../../kernel/src/schedule/values.js'
import { accountsOf, hiddenShare, timesOf } from '../../../../kernel/src/trace/ask/accounts.js'
import {
  COPY_STREAMS,
  IDLE_CAUSES,
  type IdleCause,
  type RankAccount,
  type RunTables,
  STREAMS,
  type StepSummary,
  WRITES,
} from '../../../../kernel/src/trace/schema.js'
import { fixture } from '../fixture.js'
import { watched } from '../watched.js'
import { randomRun } from './random-run.js'

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
const wall = ({ busy_ns, idle_ns }: RankAccount): number => busy_ns.compute + sum(Object.values(idle_ns))
const backendOf = (shared: boolean): string => (shared ? 'cpu' : 'cuda')

describe('accountsOf', () => {
  it('lays every nanosecond of a step, on every rank, to compute or to one cause', () => {
    fc.assert(
      fc.property(randomRun(), fc.nat(50), fc.nat(50), ({ tables, steps, shared }, before, after) => {
        for (const step of steps) {
          for (const longer of [step, { ...step, start_ns: Math.max(0, step.start_ns - before), duration_ns: step.duration_ns + after }]) {
            for (const account of accountsOf(tables, longer, backendOf(shared))) {
              const parts = [...Object.values(account.busy_ns), ...Object.values(account.idle_ns), account.hidden_copy_ns, account.exposed_copy_ns]
              expect(parts.every((part) => Number.isSafeInteger(part) && part >= 0)).toBe(true)
              expect(wall(account)).toBe(longer.duration_ns)
              expect(account.hidden_copy_ns).toBeLessThanOrEqual(sum(COPY_STREAMS.map((stream) => account.busy_ns[stream])))
              expect(account.exposed_copy_ns).toBeLessThanOrEqual(sum(Object.values(account.idle_ns)))
            }
          }
        }
      }),
    )
  })

  it('adds up for steps that are shorter than their spans, and for spans that overlap or have parts of a nanosecond', () => {
    fc.assert(
      fc.property(randomRun(60), fc.nat(100), fc.infiniteStream(fc.nat(40)), ({ tables, steps: [step], shared }, cut, shifts) => {
        const { spans } = tables
        const start_ns = spans.start_ns.map((time) => time + (shifts.next().value as number) / 8)
        const shorter = { ...step, start_ns: step.start_ns + cut, duration_ns: Math.max(0, step.duration_ns - 2 * cut) }
        for (const account of accountsOf({ ...tables, spans: { ...spans, start_ns } }, shorter, backendOf(shared)))
          expect(wall(account)).toBe(shorter.duration_ns)
      }),
    )
  })

  it('agrees with an oracle that asks at every instant', () => {
    fc.assert(
      fc.property(randomRun(80), ({ tables, steps, shared }) => {
        for (const step of steps) {
          const found = accountsOf(tables, step, backendOf(shared)).map(({ rank, idle_ns }) => ({ rank, idle_ns }))
          expect(found).toEqual(instantByInstant(tables, step, shared))
        }
      }),
    )
  })

  it('hides a copy exactly as far as compute runs beside it, of any rank where they share the cores', () => {
    fc.assert(
      fc.property(randomRun(80), ({ tables: { spans }, tables, steps: [step], shared }) => {
        for (const { rank, hidden_copy_ns } of accountsOf(tables, step, backendOf(shared))) {
          const all = [...spans.op.keys()].filter((row) => spans.step[row] === step.step)
          const rows = all.filter((row) => spans.rank[row] === rank)
          const overlap = (a: number, b: number): number =>
            Math.max(
              0,
              Math.min(spans.start_ns[a] + spans.duration_ns[a], spans.start_ns[b] + spans.duration_ns[b]) - Math.max(spans.start_ns[a], spans.start_ns[b]),
            )
          const computing = (shared ? all : rows).filter((row) => spans.stream[row] === 0) // shared cores: one op at a time
          const copies = rows.filter((row) => (COPY_STREAMS as readonly string[]).includes(STREAMS[spans.stream[row]]))
          expect(hidden_copy_ns).toBe(sum(copies.map((copy) => sum(computing.map((op) => overlap(copy, op))))))
        }
      }),
    )
  })

  it('lays the whole step of a rank that never computes to the copies it waits for, and the rest to nothing', () => {
    const x = value('x')
    const here = at('forward')
    const ops = [fetch(here, x), ...free(here, 'device', x)]
    const [account] = accounts(ops, [{ value: x, tier: 'host', written: true }], [10], 12)
    expect(account.idle_ns).toEqual({ fetch: 10, collective: 0, disk: 0, memory: 0, turn: 0, nothing: 2 })
    expect(account.exposed_copy_ns).toBe(10)
  })

  it('lays a gap to the copy that compute waited for', () => {
    // fetch 0..10, norm 10..15: compute stands still for the fetch, and none of the copy is hidden.
    const [x, out] = ['x', 'out'].map(value)
    const here = at('forward')
    const ops = [fetch(here, x), compute(here, 'norm', { out, x, weight }, { eps: 1 }), ...free(here, 'device', x, out)]
    const found = accounts(ops, [{ value: x, tier: 'host', written: true }, standing], [10, 5])
    expect(found[0].idle_ns).toMatchObject({ fetch: 10, nothing: 0 })
    expect(found[0].busy_ns).toMatchObject({ compute: 5, fetch: 10 })
    expect(timesOf({ start_ns: 0, duration_ns: 15, accounts: found })).toMatchObject({ exposedCopy_ns: 10, exposedCollective_ns: 0, hiddenCopyShare: 0 })
  })

  it('knows no hidden share where nothing was copied', () => {
    const here = at('forward')
    const found = accounts([compute(here, 'zero', { out: value('x') }), ...free(here, 'device', value('x'))], [], [5])
    expect(timesOf({ start_ns: 0, duration_ns: 5, accounts: found }).hiddenCopyShare).toBeNull()
    const copied: RankAccount = { ...found[0], busy_ns: { ...found[0].busy_ns, fetch: 8 }, hidden_copy_ns: 6 }
    expect(hiddenShare([copied, ...found])).toBe(6 / 8)
  })

  it('lays what that copy had waited for to memory, when it took over the bytes of another', () => {
    // zero x 0..5, offload x 5..25, then y is fetched into the bytes of x 25..35, norm 35..40.
    const [x, y, out] = ['x', 'y', 'out'].map(value)
    const here = at('forward')
    const toHost = [compute(here, 'zero', { out: x }), offload(here, x), ...free(here, 'device', x), ...free(here, 'host', x)]
    const ops = [...toHost, fetch(here, y), compute(here, 'norm', { out, x: y, weight }, { eps: 1 }), ...free(here, 'device', y, out)]
    const [account] = accounts(ops, [{ value: y, tier: 'host', written: true }, standing], [5, 20, 10, 5])
    expect(account.idle_ns).toEqual({ fetch: 10, collective: 0, disk: 0, memory: 20, turn: 0, nothing: 0 })
    expect(account).toMatchObject({ exposed_copy_ns: 30, hidden_copy_ns: 0, busy_ns: { compute: 10 } })
  })

  it('lays an offload that compute waits for to memory, and one that a fetch of the same value waits for to the host link', () => {
    const [x, out] = ['x', 'out'].map(value)
    const here = at('forward')
    const overwritten = [
      compute(here, 'zero', { out: x }),
      offload(here, x),
      compute(here, 'zero', { out: x }),
      ...free(here, 'device', x),
      ...free(here, 'host', x),
    ]
    expect(accounts(overwritten, [], [5, 20, 5])[0].idle_ns).toMatchObject({ memory: 20, fetch: 0 })
    const round = [
      ...[compute(here, 'zero', { out: x }), offload(here, x), ...free(here, 'device', x), fetch(here, x)],
      ...[compute(here, 'norm', { out, x, weight }, { eps: 1 }), ...free(here, 'device', x, out), ...free(here, 'host', x)],
    ]
    expect(accounts(round, [standing], [5, 20, 10, 5])[0].idle_ns).toMatchObject({ memory: 0, fetch: 30 })
  })

  it('lays time to the turn of other ranks only where ranks share their cores', () => {
    const out = value('out')
    const here = at('forward')
    const ops = [compute(here, 'zero', { out }), ...free(here, 'device', out)]
    const made = plan(ops, { ranks: 2, initial: [], workspace: () => 0 })
    const program = lower(made)
    const idle = (sharedCompute: boolean, backend: string): RankAccount['idle_ns'][] => {
      const spans = simulate(program, () => 10, { pools: sharedCompute ? 1 : program.ranks })
      return stepAccounts(made, program, { step: 1, spans }, { start_ns: 0, duration_ns: sharedCompute ? 20 : 10 }, backend).map(({ idle_ns }) => idle_ns)
    }
    expect(idle(true, 'cpu').map(({ turn, nothing }) => [turn, nothing])).toEqual([
      [0, 10],
      [10, 0],
    ]) // prettier-ignore
    expect(idle(true, 'cuda').map(({ turn, nothing }) => [turn, nothing])).toEqual([
      [0, 10],
      [0, 10],
    ]) // prettier-ignore
    expect(idle(false, 'cpu').map(({ turn, nothing }) => [turn, nothing])).toEqual([
      [0, 0],
      [0, 0],
    ]) // prettier-ignore
  })

  it('reads as much of a span of a long step as of one of a short step', () => {
    const readsPerSpan = (chunks: number): number => {
      const { spans, ...tables } = fixture({ layers: 4, chunks, steps: 1 })
      const [step] = tables.head.steps
      const watch = { reads: 0 }
      const found = accountsOf({ ...tables, spans: watched(spans, watch) }, step, 'cpu')
      expect(found.map(wall)).toEqual([step.duration_ns, step.duration_ns])
      return watch.reads / spans.op.length
    }
    expect(readsPerSpan(16)).toBeLessThan(1.5 * readsPerSpan(4)) // nine times as many spans
  })
})

const weight: Value = { name: 'w', dtype: 'f32', shape: [8], category: 'parameters' }
const standing = { value: weight, tier: 'device' as const, written: true }

function value(name: string): Value {
  return { name, dtype: 'f32', shape: [4, 8], category: 'hidden' }
}

function accounts(ops: Op[], initial: Parameters<typeof plan>[1]['initial'], durations: number[], duration_ns?: number): RankAccount[] {
  const made = plan(ops, { ranks: 1, initial, workspace: () => 0 })
  const program = lower(made)
  const spans = simulate(program, (entry) => durations[entry])
  return stepAccounts(made, program, { step: 1, spans }, { start_ns: 0, duration_ns: duration_ns ?? Math.max(...spans.end_ns) }, 'cuda')
}

/** The rule of the file, said of one instant: what does the op that compute runs next wait for now? */
function instantByInstant({ spans, waits, uses }: RunTables, step: StepSummary, shared: boolean): { rank: number; idle_ns: Record<string, number> }[] {
  const all = [...spans.op.keys()].filter((row) => spans.step[row] === step.step)
  const start = (row: number): number => spans.start_ns[row]
  const end = (row: number): number => spans.start_ns[row] + spans.duration_ns[row]
  const instants = [...new Set([step.start_ns, step.start_ns + step.duration_ns, ...all.flatMap((row) => [start(row), end(row)])])].sort((a, b) => a - b)
  return [...new Set(spans.rank)]
    .sort((a, b) => a - b)
    .map((rank) => {
      const rows = all.filter((row) => spans.rank[row] === rank)
      const idle_ns = Object.fromEntries(IDLE_CAUSES.map((cause) => [cause, 0]))
      for (const [i, from] of instants.slice(0, -1).entries()) {
        const running = (row: number): boolean => spans.stream[row] === 0 && start(row) <= from && end(row) > from
        if (!rows.some(running)) idle_ns[causeAt(from, all.some(running))] += instants[i + 1] - from
      }
      return { rank, idle_ns }

      function causeAt(time: number, othersCompute: boolean): IdleCause {
        const next = rows.filter((row) => spans.stream[row] === 0 && start(row) >= time && spans.duration_ns[row] >= 0).sort((a, b) => start(a) - start(b))[0]
        if (next !== undefined) return why(next, shared && othersCompute ? 'turn' : 'nothing')
        const lasts = STREAMS.flatMap((_, code) => rows.filter((row) => spans.stream[row] === code).sort((a, b) => start(b) - start(a))[0] ?? [])
        return follow(latest(lasts), 'nothing', () => 'data')

        function why(row: number, own: IdleCause): IdleCause {
          const before = rows
            .filter((other) => spans.stream[other] === spans.stream[row] && spans.op[other] < spans.op[row])
            .sort((a, b) => spans.op[b] - spans.op[a])[0]
          const waited = [...waits.op.keys()]
            .filter((w) => waits.op[w] === spans.op[row])
            .map((w) => rows.find((other) => spans.op[other] === waits.on[w]) as number)
          const last = latest([...waited, ...(before === undefined ? [] : [before])])
          return follow(last, own, (on) => (on === before && !waited.some((other) => end(other) === end(on)) ? 'queue' : touches(row, on) ? 'data' : 'bytes'))
        }
        function follow(on: number | undefined, own: IdleCause, how: (on: number) => 'data' | 'bytes' | 'queue'): IdleCause {
          if (on === undefined || end(on) <= time) return own
          const way = how(on)
          const byStream = { compute: own, fetch: 'fetch', offload: 'fetch', collective: 'collective', load: 'disk', spill: 'disk' } as const
          const isQueue = way === 'queue' && own !== 'turn' && own !== 'nothing'
          const cause = way === 'bytes' ? 'memory' : isQueue ? own : byStream[STREAMS[spans.stream[on]]]
          return start(on) <= time ? cause : why(on, cause)
        }
      }
      function latest(candidates: number[]): number | undefined {
        return candidates.reduce<number | undefined>((best, row) => (best === undefined || end(row) > end(best) ? row : best), undefined)
      }
      function touches(row: number, on: number): boolean {
        const of = (op: number, bit: number): number[] =>
          [...uses.op.keys()].filter((u) => uses.op[u] === op && uses.access[u] & bit).map((u) => uses.buffer[u])
        return of(spans.op[on], WRITES).some((buffer) => of(spans.op[row], 3).includes(buffer))
      }
    })
}
