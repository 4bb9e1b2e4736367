/** A schedule that a user writes, as a generator and as text: checked, planned, run, stepped through and drawn by the calls that train. */
import { afterAll, afterEach, describe, expect, it } from 'vitest'
import { DISPLAY_HOST, DISPLAY_ID, type DisplayHost, type MimeBundle, TO_MIME } from '../../kernel/src/display.js'
import {
  concat,
  Device,
  FpdtError,
  glossary,
  KERNELS,
  type Kernel,
  largestDifference,
  type Op,
  ops,
  parseListing,
  printListing,
  random,
  type ScheduleOptions,
  type Tensor,
  tensor,
  type Value,
  value,
} from '../../kernel/src/fpdt/index.js'
import { openRun } from '../../kernel/src/trace/model/run.js'
import { decodeSavedRun } from '../../kernel/src/trace/saved.js'
import { KINDS, RUN_MIME, STREAMS } from '../../kernel/src/trace/schema.js'
import { facts, summaryWords } from '../../kernel/src/trace/words/run.js'

const device = await Device.cpu({ memory: '64 MiB', host: '64 MiB', disk: '64 MiB', threads: 2 })
afterAll(() => device.close())
afterEach(() => {
  delete (globalThis as { [DISPLAY_HOST]?: DisplayHost })[DISPLAY_HOST]
})
const { at, compute, fetch, offload, free } = ops

async function refusal(attempt: () => unknown): Promise<string> {
  try {
    await attempt()
    return 'no error'
  } catch (error) {
    return error instanceof FpdtError ? `${error.code}: ${error.message}` : String(error)
  }
}

// ---- two chunks of attention, as a generator -----------------------------------------------------------------------

const [C, H, D] = [6, 2, 8]
const chunk = (name: string, i: number): Value => value(`${name}[${i}]`, [C, H, D], { category: 'attention', start: i * C })
const [q, k, v, o] = ['q', 'k', 'v', 'o'].map((name) => [chunk(name, 0), chunk(name, 1)] as const) as [
  [Value, Value],
  [Value, Value],
  [Value, Value],
  [Value, Value],
]
const state = value('state', [C, H, D + 2], { category: 'attention' })
const lse = [0, 1].map((i) => value(`lse[${i}]`, [H, C]))

function* twoChunks(): Generator<Op, void, undefined> {
  for (const i of [0, 1] as const) {
    yield fetch(at('forward', 0, i), q[i])
    for (const j of [0, 1] as const) {
      if (j > i) continue
      const here = at('forward', 0, i, j)
      yield fetch(here, k[j])
      yield fetch(here, v[j])
      yield compute(here, 'attend', { state, q: q[i], k: k[j], v: v[j] }, { first: j === 0 ? 1 : 0 })
      yield* free(here, 'device', k[j], v[j])
    }
    yield compute(at('forward', 0, i), 'finish', { o: o[i], lse: lse[i]!, state })
    yield* free(at('forward', 0, i), 'device', q[i], state)
    yield offload(at('forward', 0, i), o[i])
    yield* free(at('forward', 0, i), 'device', o[i])
  }
}
const OPTIONS: ScheduleOptions = { inputs: { host: [...q, ...k, ...v] }, results: { host: o, device: lse } }

const whole = ['q', 'k', 'v'].map((_, seed) => random([2 * C, H, D], seed + 1)) as [Tensor, Tensor, Tensor]
const inputs = Object.fromEntries(['q', 'k', 'v'].flatMap((name, n) => whole[n]!.chunks(2).map((part, i) => [`${name}[${i}]`, part])))

/** The same, written as text. */
const LISTING = `
value q[0] f32 (6, 2, 8) attention start 0
value q[1] f32 (6, 2, 8) attention start 6
value k[0] f32 (6, 2, 8) attention start 0
value k[1] f32 (6, 2, 8) attention start 6
value v[0] f32 (6, 2, 8) attention start 0
value v[1] f32 (6, 2, 8) attention start 6
value o[0] f32 (6, 2, 8) attention start 0
value o[1] f32 (6, 2, 8) attention start 6
value state f32 (6, 2, 10) attention
value lse[0] f32 (2, 6) hidden
value lse[1] f32 (2, 6) hidden

-- forward · layer 0 · q 0
fetch q[0] @fetch
fetch k[0] @fetch
fetch v[0] @fetch
attend state = q[0] k[0] v[0] @compute
free k[0]@device
free v[0]@device
finish o[0] lse[0] = state @compute
free q[0]@device
free state@device
offload o[0] @offload
free o[0]@device

-- forward · layer 0 · q 1
fetch q[1] @fetch
fetch k[0] @fetch
fetch v[0] @fetch
attend state = q[1] k[0] v[0] @compute
free k[0]@device
free v[0]@device
fetch k[1] @fetch
fetch v[1] @fetch
attend state += q[1] k[1] v[1] @compute
free k[1]@device
free v[1]@device
finish o[1] lse[1] = state @compute
free q[1]@device
free state@device
offload o[1] @offload
free o[1]@device
`
const BY_NAME: ScheduleOptions = {
  inputs: { host: ['q[0]', 'q[1]', 'k[0]', 'k[1]', 'v[0]', 'v[1]'] },
  results: { host: ['o[0]', 'o[1]'], device: ['lse[0]', 'lse[1]'] },
}

describe.each([
  ['a generator', twoChunks, OPTIONS],
  ['the generator that it returns', twoChunks(), OPTIONS],
  ['a list of ops', [...twoChunks()], OPTIONS],
  ['text', LISTING, BY_NAME],
  ['what is printed of it', printListing(twoChunks()), BY_NAME],
] as const)('two chunks of attention as %s', (_, source, options) => {
  it('are planned, simulated and run: attention over the whole, in the bytes that were predicted', async () => {
    const schedule = device.schedule(source, options)
    expect(schedule.plan.listing).toHaveLength(27)
    expect(schedule.plan.seconds).toBeGreaterThan(0)
    expect(String(schedule.plan)).toMatch(/27 ops · 1 rank \(predicted\)[\s\S]*alive on the device at op \d+: attend state/)
    const results = await schedule.run(inputs)
    const { o: expected } = await device.primitives.attention(...whole)
    expect(largestDifference(concat([results.get('o[0]'), results.get('o[1]')]), expected)).toBeLessThan(1e-6)
    expect(results.get('o[1]').start).toBe(C)
    expect(results.get('lse[1]').shape).toEqual([H, C])
    for (const tier of ['device', 'host'] as const) {
      const predicted = schedule.plan.bytes(tier)
      expect(schedule.memory(tier)).toEqual({ predicted, allocated: predicted, touched: predicted })
    }
    const again = await schedule.run(inputs)
    expect(again.get(o[0])).toEqual(results.get(o[0]))
    await schedule.close()
  })
})

describe('a run of it', () => {
  it('is drawn like training: a span for each op that runs, on its stream, at its place', async () => {
    const schedule = device.schedule(twoChunks, { ...OPTIONS, title: 'Two chunks' })
    await schedule.run(inputs)
    await schedule.run(inputs)
    const tables = await decodeSavedRun((await schedule.bundle())[RUN_MIME])
    const { head, listing, spans, memory } = tables
    expect([head.title, head.origin, head.state, head.system, head.steps.length]).toEqual(['Two chunks', 'measured', 'done', 'own', 2])
    const running = listing.flatMap((line, op) => (line.startsWith('free') ? [] : [op]))
    for (const step of [1, 2]) {
      const rows = Array.from(spans.op.keys()).filter((row) => spans.step[row] === step)
      expect(rows.map((row) => spans.op[row]!).sort((a, b) => a - b)).toEqual(running)
      for (const row of rows) expect(listing[spans.op[row]!]).toMatch(new RegExp(`@${STREAMS[spans.stream[row]!]}$`))
    }
    const last = Array.from(spans.op.keys()).find((row) => listing[spans.op[row]!] === 'attend state += q[1] k[1] v[1] @compute')!
    expect([spans.layer[last], spans.q[last], spans.kv[last], KINDS[spans.kind[last]!]]).toEqual([0, 1, 1, 'compute'])
    expect(Math.max(...memory.total_bytes)).toBeLessThanOrEqual(schedule.plan.bytes('device'))
    await schedule.close()
  })

  it('says what it took, and nothing of tokens, loss or MFU', async () => {
    const schedule = device.schedule(twoChunks, OPTIONS)
    await schedule.run(inputs)
    const run = openRun(await decodeSavedRun((await schedule.bundle())[RUN_MIME]))
    expect(facts(run.head).map(({ name }) => name)).toEqual(['time', 'device memory, per rank', 'host memory, per rank'])
    expect(summaryWords(run)).not.toMatch(/token|loss|MFU/)
    expect(String((await schedule.bundle())['text/plain'])).toMatch(
      /· done\ndevice .* \(equal\)[\s\S]*run 1: [\d.]+\s(µs|ms)\ncopies between device and host take/,
    )
    await schedule.close()
  })

  it('draws itself in a notebook, in one output', async () => {
    const shown: { id: string | undefined; update: boolean | undefined; bundle: MimeBundle }[] = []
    const host: DisplayHost = {
      display: (bundle, { displayId, update } = {}) => void shown.push({ id: displayId, update, bundle }),
      onInterrupt: () => () => {},
    }
    ;(globalThis as { [DISPLAY_HOST]?: DisplayHost })[DISPLAY_HOST] = host
    const schedule = device.schedule(twoChunks, OPTIONS)
    await schedule.run(inputs)
    await schedule.run(inputs)
    await schedule.close() // draws what waits to be drawn
    expect(shown.map(({ id, update }) => [id, update])).toEqual([
      [schedule[DISPLAY_ID], false],
      [schedule[DISPLAY_ID], true],
    ])
    expect((shown[1]!.bundle[RUN_MIME] as { head: { steps: unknown[] } }).head.steps).toHaveLength(2)
  })

  it('shows its plan before it has run, as predicted', async () => {
    const schedule = device.schedule(twoChunks, OPTIONS)
    const bundle = await schedule[TO_MIME]()
    const { head, spans } = await decodeSavedRun(bundle[RUN_MIME])
    expect([head.origin, spans.op.length]).toEqual(['predicted', 15])
    expect(bundle['text/plain']).toBe(String(schedule.plan))
    await schedule.close()
  })
})

describe('its stepper', () => {
  it('stops where it is told to, shows values where they stand, and completes to the same results', async () => {
    const schedule = device.schedule(twoChunks, OPTIONS)
    const results = await schedule.run(inputs)
    const stepper = await schedule.stepper(inputs)
    expect(await stepper.until({ q: 1, kv: 0 })).toBe('attend state = q[1] k[0] v[0] @compute (forward · layer 0 · q 1 · kv 0)')
    expect(Array.from(stepper.peek('q[1]').values)).toEqual(Array.from(inputs['q[1]']!.values))
    expect([stepper.peek('q[1]').tier, stepper.peek('k[1]').tier]).toEqual(['device', 'host'])
    expect(await refusal(() => stepper.peek('o[1]'))).toMatch(/^not_resident: o\[1\] is not in memory now, after op \d+: it /)
    expect(await refusal(() => schedule.run(inputs))).toMatch(/^busy: a run cannot begin while a stepper is under way; close it/)
    const completed = await stepper.complete()
    expect(completed.get('o[1]')).toEqual(results.get('o[1]'))
    expect(schedule.head.steps).toHaveLength(2)
    const dropped = await schedule.stepper(inputs)
    await dropped.next(3)
    await dropped.close()
    expect(schedule.head.steps).toHaveLength(2)
    expect((await schedule.run(inputs)).get('o[1]')).toEqual(results.get('o[1]'))
    await schedule.close()
  })
})

describe('several ranks', () => {
  it('each have their own inputs and results, and meet in collectives', async () => {
    const [local, heads] = [value('local', [3, 4, 2]), value('heads', [6, 2, 2])]
    const schedule = device.schedule([ops.toHeads(at('forward'), local, [heads])], { ranks: 2, inputs: { device: [local] }, results: { device: [heads] } })
    const given = random([6, 4, 2], 1).chunks(2)
    const results = await schedule.run({ local: given.map((one) => one.from(0)) })
    const [expected] = await device.primitives.allToAll(given)
    expect(results.get('heads', 0)).toEqual(expected![0])
    expect(results.get('heads', 1).at(0, 0, 0)).toBe(given[0]!.at(0, 2, 0))
    const same = await schedule.run({ local: given[0]! })
    expect(same.get(heads, 0).rows(0, 3).values).toEqual(same.get(heads, 0).rows(3, 6).values)
    expect(await refusal(() => schedule.run({ local: given.slice(0, 1) }))).toBe(
      'shape: local needs one tensor for each of 2 ranks, or one for all; got a list of 1.',
    )
    expect(await refusal(() => results.get('heads', 2))).toBe('config: rank 2 is not one of the 2 ranks, 0 to 1.')
    await schedule.close()
  })
})

describe('inputs and results', () => {
  const x = value('x', [4], { dtype: 'f32' })
  it('may be one value: what ops update in place comes back', async () => {
    const sum = value('sum', [1], { dtype: 'f64' })
    const schedule = device.schedule([compute(at('optimizer'), 'squaredNorm', { sum, gradient: x }, { first: 0 })], {
      inputs: { device: [x, sum] },
      results: { device: [sum] },
    })
    const results = await schedule.run({ x: tensor([1, 2, 3, 4]), sum: tensor([100], { dtype: 'f64' }) })
    expect(results.get(sum).at(0)).toBe(130)
    await schedule.close()
  })

  it('end with the op that frees them, give their bytes to others, and are there again in the next run', async () => {
    const [here, y] = [at('forward'), value('y', [4])]
    function* moves(): Generator<Op, void, undefined> {
      yield offload(here, x)
      yield* free(here, 'device', x)
      yield compute(here, 'zero', { out: y })
      yield offload(here, y)
      yield* free(here, 'device', y)
    }
    const schedule = device.schedule(moves, { inputs: { device: [x] }, results: { host: [x, y] } })
    expect(schedule.plan.bytes('device')).toBe(16)
    for (const seed of [1, 2]) {
      const results = await schedule.run({ x: random([4], seed) })
      expect([results.get(x), results.get(y)]).toEqual([random([4], seed), tensor([0, 0, 0, 0])])
    }
    await schedule.close()
  })

  it.each([
    [{}, 'config: run lacks its input x@device: x is given as f32 (4).'],
    [{ x: random([5]) }, 'shape: x is given as f32 (4), 16 bytes; got f32 (5).'],
    [{ x: random([4]).to('bf16') }, "dtype: x is given as f32 (4); got bf16 (4). to('f32') converts."],
    [{ x: [1, 2, 3, 4] as never }, 'shape: x needs one tensor for each of 1 rank, or one for all; got a list of 4.'],
    [{ x: 5 as never }, 'dtype: x is given as f32 (4); got number, not a tensor. tensor([[1, 2], [3, 4]]) makes one.'],
    [{ x: random([4]), y: random([4]) }, 'config: run({ y }) is not known; known are x.'],
  ])('are refused where they are not what the values say: %o', async (given, message) => {
    const schedule = device.schedule([offload(at('forward'), x)], { inputs: { device: [x] }, results: { host: [x] } })
    expect(await refusal(() => schedule.run(given))).toBe(message)
    expect((await schedule.run({ x: random([4]) })).get(x)).toEqual(random([4])) // and the schedule is as good as before
    expect(await refusal(async () => (await schedule.run({ x: random([4]) })).get('y'))).toBe('config: y is no result; results are x.')
    await schedule.close()
  })

  it('come with what an update needs', async () => {
    const names = ['master', 'm', 'v', 'gradient', 'scale'] as const
    const operands = Object.fromEntries(names.map((name) => [name, value(name, name === 'scale' ? [1] : [4])])) as Record<(typeof names)[number], Value>
    const flags = { beta1: 0.9, beta2: 0.95, eps: 1e-8, decay: 0, undecayed: 0, partition: 4, offset: 0 }
    const schedule = device.schedule([compute(at('optimizer'), 'adamW', operands, flags)], {
      inputs: { device: Object.values(operands) },
      results: { device: [operands.master] },
    })
    const zeros = tensor([0, 0, 0, 0])
    const given = { master: zeros, m: zeros, v: zeros, gradient: tensor([1, -2, 3, 0]), scale: tensor([1]) }
    expect(await refusal(() => schedule.run(given))).toMatch(/^config: this schedule has an adamW op, which needs a rate: run\(inputs, \{ rate: 3e-4/)
    const { master } = { master: (await schedule.run(given, { rate: 0.5, correction1: 0.1, correction2: 0.05 })).get('master') }
    expect(largestDifference(master, tensor([-0.5, 0.5, -0.5, 0]))).toBeLessThan(1e-6)
    await schedule.close()
  })
})

describe('a schedule that is wrong', () => {
  const here = at('forward')
  const [a, b] = [value('a', [2, 4]), value('b', [2, 4])]
  it.each([
    [
      'reads before it writes',
      () => device.schedule(() => twoChunks(), { ...OPTIONS, inputs: { host: [...k, ...v] } }),
      /^schedule: op 0: q\[0\]@host is read before it is written\n +0 {2}fetch q\[0\] @fetch {3}<-- here\n +1 {2}fetch k\[0\]/,
    ],
    [
      'reads on the wrong tier',
      () => device.schedule([fetch(here, a)], { inputs: { device: [a] } }),
      /^schedule: op 0: a@host is read before it is written; it is on the device tier: bring it/,
    ],
    [
      'leaves something behind',
      () => device.schedule(twoChunks, { ...OPTIONS, results: { host: [o[0]], device: lse } }),
      /^schedule: after the last op: o\[1\]@host is never freed \(made at op 25: offload o\[1\] @offload\)/,
    ],
    [
      'does not bring a result to its tier',
      () => device.schedule([compute(here, 'zero', { out: b }), offload(here, a)], { inputs: { device: [a] }, results: { host: [a, b], device: [b] } }),
      /^schedule: after the last op: b@host is a result and is not there; it is on the device tier: bring it/,
    ],
    [
      'never writes a result',
      () => device.schedule([offload(here, a)], { inputs: { device: [a] }, results: { host: [a, b] } }),
      /^schedule: after the last op: b@host is a result and is not there; no op writes it/,
    ],
    ['has too many ranks', () => device.schedule([fetch(here, a)], { ranks: 65 }), /^config: ranks 65 is not a whole number from 1 to 64\./],
    [
      'names inputs in no list',
      () => device.schedule([offload(here, a)], { inputs: { device: a as never } }),
      /^config: inputs\.device is a list of values or of their names\./,
    ],
    [
      'takes a tensor for an input',
      () => device.schedule([offload(here, a)], { inputs: { device: [random([2]) as never] } }),
      /^config: inputs\.device: what stands there is a tensor, and ops name values/,
    ],
    [
      'does not make a result',
      () => device.schedule([offload(here, a)], { inputs: { device: [a] }, results: { host: [a, 'b'] } }),
      /^config: results\.host: no op names a value b; they name a\./,
    ],
    [
      'has operands that do not fit',
      () =>
        device.schedule([compute(here, 'norm', { out: b, x: a, weight: value('w', [3]) }, { eps: 0 })], {
          inputs: { device: [a, 'w'] },
          results: { device: [b] },
        }),
      /^schedule: op 0: norm takes 4 elements as weight, and w has 3 \(3\)/,
    ],
    [
      'lacks a flag',
      () => device.schedule([compute(here, 'norm', { out: b, x: a, weight: value('w', [4]) })], { inputs: { device: [a, 'w'] }, results: { device: [b] } }),
      /^schedule: op 0: norm lacks its flag eps/,
    ],
    ['names no kernel', () => device.schedule([compute(here, 'nrom' as Kernel, {})]), /^schedule: op 0 computes "nrom", which is none of the kernels embed, /],
    [
      'forgets yield*',
      () => device.schedule([free(here, 'device', a)] as never),
      /^schedule: op 0 is several ops, not one: write yield\* before a call that yields many, as free\(…\) does/,
    ],
    ['yields nothing of use', () => device.schedule([undefined] as never), /^schedule: op 0 is undefined, not an op; make ops with compute/],
    [
      'gives a tensor for a value',
      () => device.schedule([fetch(here, random([2]) as never)]),
      /^schedule: op 0 is fetch, whose value is a tensor, and ops name values: value\('q\[0\]'/,
    ],
    ['lacks a value', () => device.schedule([ops.gather(here, a, undefined as never)]), /^schedule: op 0 is gather, whose full is undefined, not a value/],
    ['is at no place', () => device.schedule([fetch({} as never, a)]), /^schedule: op 0 is fetch at phase undefined, which is not one of embedding, forward, /],
    ['has no ops', () => device.schedule([]), /^schedule: a schedule has at least one op/],
    [
      'never ends',
      () =>
        device.schedule(
          function* () {
            for (;;) yield fetch(here, a)
          },
          { inputs: { host: [a] } },
        ),
      /^schedule: a plan holds at most 2000000 ops/,
    ], // prettier-ignore
    ['is no schedule', () => device.schedule(5 as never), /^schedule: a schedule is a listing, ops, or a generator of ops .* got 5/],
    ['is text with a word that is no op', () => device.schedule('-- forward\nfetsh a @fetch'), /^schedule: line 2: fetsh is no op\n {2}fetsh a @fetch/],
    [
      'names a tier that is none',
      () => device.schedule([fetch(here, a)], { inputs: { hots: [a] } as never }),
      /^config: inputs\(\{ hots \}\) is not known; known are device, host, disk/,
    ],
    [
      'has options that are none',
      () => device.schedule([fetch(here, a)], { input: {} } as never),
      /^config: schedule\(\{ input \}\) is not known; known are ranks, inputs, results, title/,
    ],
    [
      'does not fit',
      () => device.schedule([fetch(here, value('big', [2 ** 28]))], { inputs: { host: ['big'] }, results: { device: ['big'] } }),
      /^out_of_memory: the device tier needs 1073741824 bytes \(1\.00\sGiB\) a rank and is given 67108864/,
    ],
  ] as const)('%s', async (_, attempt, message) => {
    expect(await refusal(attempt)).toMatch(message)
  })

  it('fails with the op in words, and can be run again', async () => {
    const [tokens, table, x] = [value('tokens', [2], { dtype: 'i32' }), value('table', [5, 3]), value('x', [2, 3])]
    const schedule = device.schedule([compute(at('embedding'), 'embed', { x, tokens, table })], {
      inputs: { device: [tokens, table] },
      results: { device: [x] },
    })
    const run = (ids: number[]) => schedule.run({ tokens: tensor(ids, { dtype: 'i32' }), table: random([5, 3]) })
    expect(await refusal(() => run([1, 5]))).toMatch(/^token: embed x = tokens table @compute \(embedding\): .*token 5 in row 1.*The run is dropped\.$/)
    expect([schedule.head.state, schedule.head.steps.length]).toEqual(['failed', 0])
    expect((await schedule.bundle())['text/plain']).toMatch(/· failed\n[\s\S]*token 5 in row 1/)
    expect((await run([4, 0])).get('x').rows(1, 2).values).toEqual(random([5, 3]).rows(0, 1).values)
    expect(schedule.head.state).toBe('done')
    await schedule.close()
    expect(await refusal(() => run([4, 0]))).toMatch(/^closed: this schedule is closed, so a run cannot begin/)
  })

  it('is a value that is none', async () => {
    expect(await refusal(() => value('x', [2], { dtype: 'f16' as never }))).toBe(
      'schedule: value "x" has dtype "f16", which is not one of bf16, f32, f64, i32.',
    )
    expect(await refusal(() => value('x', [2], { categroy: 'hidden' } as never))).toBe(
      'config: value({ categroy }) is not known; known are dtype, category, start. The nearest is category.',
    )
    expect(await refusal(() => value('x', [2], { start: -1 }))).toBe('schedule: value "x" has start -1, which is not a position in a sequence.')
  })
})

describe('an interrupt', () => {
  it('drops the run at an op boundary, and the next run is whole', async () => {
    let interrupt = (): void => {}
    const host: DisplayHost = {
      display: () => {},
      onInterrupt: (callback) => {
        interrupt = callback
        return () => {}
      },
    } // prettier-ignore
    const [a, w] = [value('a', [512, 512]), value('w', [512, 512])]
    function* many(): Generator<Op, void, undefined> {
      for (let i = 0; i < 200; i++) yield compute(at('forward', i), 'project', { out: b, a, weight: w })
    }
    const b = value('b', [512, 512])
    const schedule = device.schedule(many, { inputs: { device: [a, w] }, results: { device: [b] } })
    const given = { a: random([512, 512], 1), w: random([512, 512], 2) }
    const expected = await schedule.run(given)
    ;(globalThis as { [DISPLAY_HOST]?: DisplayHost })[DISPLAY_HOST] = host
    const running = schedule.run(given)
    setTimeout(() => interrupt(), 5)
    expect(await refusal(() => running)).toBe('stopped: stopped; the run is dropped.')
    expect(schedule.head.state).toBe('stopped')
    expect(largestDifference((await schedule.run(given)).get(b), expected.get(b))).toBe(0)
    await schedule.close()
  })
})

describe('the words of a schedule', () => {
  it('are every kernel and every move, each in a form that reads back as that op', () => {
    const words = glossary()
    for (const [name, { roughly }] of Object.entries(KERNELS))
      expect(words).toMatch(new RegExp(`^${name} [^\\n]*@compute\\n {4}${roughly.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`, 'm'))
    const forms = words.split('\n').filter((line) => line.endsWith('@compute'))
    for (const form of forms) {
      const roles = [...new Set(form.match(/[A-Za-z]\w*/g)!.filter((word) => !form.startsWith(word) && word !== 'compute' && !form.includes(`${word}=`)))]
      const declared = roles.map((role) => `value ${role} f32 (2, 2) hidden`)
      const line = form.replace(/\[(\w+:\w+)\]/g, '$1').replaceAll('=…', '=1')
      const [op] = parseListing([...declared, 'value delta f32 (2, 2) hidden', '-- forward', line].join('\n'))
      expect(op).toMatchObject({ kind: 'compute', kernel: form.split(' ')[0] })
    }
  })
})
