import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FpdtError } from '../../../kernel/src/errors.js'
import { ALIGNMENT } from '../../../kernel/src/plan/arena.js'
import { lower } from '../../../kernel/src/plan/lower.js'
import { type Plan, plan } from '../../../kernel/src/plan/plan.js'
import { COLLECTIVE_PARAMETERS, NO_TIER, OPCODES } from '../../../kernel/src/plan/program.js'
import { at, compute, fetch, free, offload, toHeads } from '../../../kernel/src/schedule/emit.js'
import { KERNEL_NAMES, KERNELS } from '../../../kernel/src/schedule/kernels.js'
import { accesses, type Op, streamOf } from '../../../kernel/src/schedule/ops.js'
import { printOp } from '../../../kernel/src/schedule/print.js'
import type { Standing } from '../../../kernel/src/schedule/standing.js'
import { rows, type Value } from '../../../kernel/src/schedule/values.js'
import { KINDS, NONE, PHASES, STREAMS, TIERS } from '../../../kernel/src/trace/schema.js'
import { type RandomSchedule, randomSchedule, workspace } from './random-schedule.js'

const planOf = ({ ops, initial, ranks }: RandomSchedule): Plan => plan(ops, { ranks, initial, workspace })
const value = (name: string, shape: number[], dtype: Value['dtype'] = 'f32'): Value => ({ name, dtype, shape, category: 'hidden' })
const noWorkspace = () => 0

describe('arena', () => {
  it('gives no two residencies that live at once the same byte, and ends with the last one used', () => {
    fc.assert(
      fc.property(randomSchedule(), (schedule) => {
        const { residencies, arenaBytes } = planOf(schedule)
        for (const tier of TIERS) {
          const here = residencies.filter((r) => r.tier === tier && r.bytes > 0)
          for (const [i, a] of here.entries()) {
            expect(a.offset % ALIGNMENT[tier]).toBe(0)
            for (const b of here.slice(0, i)) {
              const together = a.birth < b.death && b.birth < a.death
              if (together) expect(a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset).toBe(true)
            }
          }
          expect(arenaBytes[tier]).toBe(here.reduce((end, r) => Math.max(end, r.offset + r.bytes), 0))
        }
      }),
    )
  })

  it('is at least the live peak, and of equal sizes exactly that', () => {
    fc.assert(
      fc.property(randomSchedule(), (schedule) => {
        const { arenaBytes, peaks } = planOf(schedule)
        for (const tier of TIERS) expect(arenaBytes[tier]).toBeGreaterThanOrEqual(peaks[tier].bytes)
      }),
    )
    // Chunks of one size, fetched two ahead and freed after use: three are alive at most, and three are what it takes.
    const chunks = Array.from({ length: 9 }, (_, i) => value(`x[${i}]`, [64]))
    const initial: Standing[] = chunks.map((chunk) => ({ value: chunk, tier: 'host', written: true }))
    function* ops(): Generator<Op> {
      for (const [i, chunk] of chunks.entries()) {
        yield fetch(at('forward', 0, i), chunk)
        if (i >= 2) yield* free(at('forward', 0, i), 'device', chunks[i - 2])
      }
      yield* free(at('forward', 0), 'device', ...chunks.slice(-2))
    }
    expect(plan(ops(), { ranks: 1, initial, workspace: noWorkspace }).arenaBytes).toEqual({ device: 3 * 256, host: 9 * 256, disk: 0 })
  })

  it('holds what stands between steps at the same place from first to last', () => {
    fc.assert(
      fc.property(randomSchedule(), (schedule) => {
        const made = planOf(schedule)
        for (const { value: standing, tier } of schedule.initial) {
          const offsets = [-1, (schedule.ops.length - 1) >> 1, schedule.ops.length - 1].map((line) => made.offsetOf(standing.name, tier, line))
          expect(new Set(offsets).size).toBe(1)
        }
      }),
    )
  })
})

describe('peaks', () => {
  it('are the largest sum of bytes alive at any line', () => {
    fc.assert(
      fc.property(randomSchedule(), (schedule) => {
        const { residencies, peaks, listing } = planOf(schedule)
        for (const tier of TIERS) {
          const aliveAt = (line: number): number =>
            residencies.reduce((sum, r) => sum + (r.tier === tier && r.birth <= line && r.death > line ? r.bytes : 0), 0)
          const sums = Array.from({ length: listing.length + 1 }, (_, i) => aliveAt(i - 1))
          expect(peaks[tier].bytes).toBe(Math.max(...sums))
          expect(aliveAt(peaks[tier].line)).toBe(peaks[tier].bytes)
          expect(peaks[tier].residencies.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(peaks[tier].bytes)
        }
      }),
    )
  })
})

describe('plan', () => {
  const [x, y, w] = [value('x', [8, 16]), value('y', [8, 16]), value('w', [16])]
  const initial: Standing[] = [
    { value: w, tier: 'device', written: true },
    { value: x, tier: 'host', written: true },
    { value: y, tier: 'host', written: false },
  ]
  const ops: Op[] = [
    fetch(at('forward', 0, 1), x),
    compute(at('forward', 0, 1), 'norm', { out: y, x, weight: w }, { eps: 1e-5 }),
    ...free(at('forward', 0, 1), 'device', x),
    offload(at('forward', 0, 1), y),
    ...free(at('forward', 0, 1), 'device', y),
  ]
  const options = { ranks: 1, initial, workspace: () => 100 }

  it('refuses what is beyond a budget, naming tier, bytes, the op of the peak and what is alive there', () => {
    expect(plan(ops, { ...options, budgets: { device: 1380 } }).arenaBytes.device).toBe(1380)
    const error = caught(() => plan(ops, { ...options, budgets: { device: 1379 } }))
    expect(error.code).toBe('out_of_memory')
    for (const words of ['device tier', '1380', '1379', 'norm y = x w eps=1e-5', 'forward · layer 0 · q 1', 'x 512\u202fB', 'workspace of norm 100\u202fB'])
      expect(error.message).toContain(words)
  })

  it('says where a value is, and where it is when it is not there', () => {
    const made = plan(ops, options)
    expect(made.offsetOf('y', 'device', 1)).toBe(made.residencies.find((r) => r.name === 'y' && r.tier === 'device')?.offset)
    expect(caught(() => made.offsetOf('x', 'device', 2)).message).toBe('x is not on the device tier after op 2: it is on the host tier')
    expect(caught(() => made.offsetOf('z', 'device')).code).toBe('not_resident')
  })

  it('counts what a step takes', () => {
    const { totals } = plan(ops, options)
    expect(totals).toEqual({ flops: 4 * 128, bytes: { compute: 1088, fetch: 512, offload: 512, collective: 0, load: 0, spill: 0 } })
  })

  it('does not take an unsound schedule', () => {
    expect(caught(() => plan(ops.slice(1), options)).code).toBe('schedule')
  })

  it('plans a hundred thousand ops in seconds', () => {
    function* many(): Generator<Op> {
      for (let i = 0; i < 20_000; i++) yield* ops
    }
    const made = plan(many(), options)
    expect(made.listing.length).toBe(100_000)
    expect(made.arenaBytes.device).toBe(1380)
  }, 20_000)
})

describe('lower', () => {
  it('keeps every op that runs, with its operands where the plan put them', () => {
    fc.assert(
      fc.property(randomSchedule(), (schedule) => {
        const made = planOf(schedule)
        const program = lower(made)
        const running = schedule.ops.map((op, line) => ({ op, line })).filter(({ op }) => op.kind !== 'free')
        expect(program.length).toBe(running.length)
        for (const [e, { op, line }] of running.entries()) {
          expect([program.op[e], STREAMS[program.stream[e]], KINDS[program.kind[e]], PHASES[program.phase[e]]]).toEqual([
            line,
            streamOf(op),
            op.kind,
            op.place.phase,
          ])
          expect([program.layer[e], program.q[e], program.kv[e]]).toEqual([op.place.layer ?? NONE, op.place.q ?? NONE, op.place.kv ?? NONE])
          expect(made.listing[line]).toBe(printOp(op))
          const operands = Array.from({ length: program.operandStart[e + 1] - program.operandStart[e] }, (_, k) => program.operandStart[e] + k)
          const there = operands.filter((o) => program.operandTier[o] !== NO_TIER)
          for (const [k, access] of accesses(op).entries()) {
            const offset = made.offsetOf(access.value.name, access.tier, line)
            expect(TIERS[program.operandTier[there[k]]]).toBe(access.tier)
            expect(program.operandOffset[there[k]]).toBe(offset + access.range[0])
            expect(program.operandBytes[there[k]]).toBe(access.range[1] - access.range[0])
          }
          if (op.kind === 'compute') {
            const spec = KERNELS[op.kernel]
            const parameters = program.parameters.slice(program.parameterStart[e], program.parameterStart[e + 1])
            expect(operands.length).toBe(spec.operands.length + 1)
            expect(program.code[e]).toBe(spec.code)
            expect(KERNEL_NAMES[program.kernel[e]]).toBe(op.kernel)
            expect(parameters.length).toBe(spec.parameterNames.length)
            expect(program.operandBytes[operands[spec.operands.length]]).toBe(workspace(op.kernel, [...parameters]))
          } else if (op.kind !== 'free') expect(program.code[e]).toBe(OPCODES[op.kind])
        }
      }),
    )
  })

  it('tells collectives their sizes', () => {
    const [local, q, k] = [value('qkv', [4, 12, 8]), value('q', [8, 4, 8]), value('k', [8, 2, 8])]
    const place = at('forward', 0, 0)
    const ops: Op[] = [compute(place, 'zero', { out: local }), toHeads(place, local, [q, k]), ...free(place, 'device', local, q, k)]
    const program = lower(plan(ops, { ranks: 2, initial: [], workspace: noWorkspace }))
    const numbers = [...program.parameters.slice(program.parameterStart[1], program.parameterStart[2])]
    expect(COLLECTIVE_PARAMETERS.allToAll).toEqual(['tokens', 'headSize', 'elementBytes', 'direction', 'heads…'])
    expect(numbers).toEqual([4, 8, 4, 0, 8, 4])
  })

  it('places a view inside its whole', () => {
    const whole = value('x', [8, 16])
    const place = at('forward')
    const ops: Op[] = [compute(place, 'zero', { out: whole }), compute(place, 'zero', { out: rows(whole, 'low', 4, 2) }), ...free(place, 'device', whole)]
    const program = lower(plan(ops, { ranks: 1, initial: [], workspace: noWorkspace }))
    const view = program.operandStart[1]
    expect([program.operandOffset[view] - program.operandOffset[0], program.operandBytes[view]]).toEqual([4 * 16 * 4, 2 * 16 * 4])
  })
})

function caught(run: () => unknown): FpdtError {
  try {
    run()
  } catch (error) {
    if (error instanceof FpdtError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}
