/** Pages that follow and drive what trains, over a comm of the real kernel. Needs the addon. */
import { setTimeout } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { MOST_BEHIND, MOST_ROWS } from '../../kernel/src/fpdt/live/follower.js'
import { CREDIT, type RunStatus } from '../../kernel/src/trace/live/messages.js'
import type { Grid } from '../../kernel/src/trace/model/grid.js'
import { decodeSavedRun } from '../../kernel/src/trace/saved.js'
import { RUN_MIME, type RunTables, SPAN_COLUMNS } from '../../kernel/src/trace/schema.js'
import { eventually as soon, TestKernel } from './client.js'
import { LivePage } from './live-page.js'

const MODEL = 'llama({ layers: 2, width: 128, heads: 4, kvHeads: 2, feedForward: 256 })'

/** Steps take seconds where the machine has much to do. */
const PATIENCE_MS = 40_000
const eventually = (holds: () => boolean): Promise<void> => soon(holds, PATIENCE_MS)
const finished = (code: string): ReturnType<TestKernel['finished']> => kernel.finished(kernel.execute(code), PATIENCE_MS)

let kernel: TestKernel
beforeAll(async () => {
  kernel = await TestKernel.start()
  await begin()
})
afterEach(() => kernel.interrupt()) // a cell that a failed test left paused
afterAll(() => kernel.close())

/** A run of half a second a step, in a fresh process or in the one there is. */
async function begin(): Promise<string> {
  const { error, result } = await kernel.run(`
    import { Device, llama, longText, ops, random, value } from 'fpdt'
    const device = await Device.cpu({ memory: '1 GiB', host: '2 GiB' })
    const run = await device.train(${MODEL}, { sequence: 2048, chunk: 512, ranks: 2 })
    const text = longText('lib.dom.d.ts')
    run.head.run_id`)
  expect(error).toBeUndefined()
  return (result as string).slice(1, -1)
}
const id = async (): Promise<string> => ((await kernel.run('run.head.run_id')).result as string).slice(1, -1)
const open = async (): Promise<LivePage> => {
  const page = new LivePage(kernel)
  await page.next('runs')
  return page
}
/** The run as the kernel would save it. */
async function saved(): Promise<RunTables> {
  const { outputs } = await kernel.run('display(await run.bundle(), { id: String(Math.random()) }); 0')
  const shown = outputs.find(({ type }) => type === 'display_data')?.content.data as Record<string, unknown>
  return decodeSavedRun(shown[RUN_MIME])
}
const answer = async (page: LivePage, run: string, what: object): Promise<string> => (await page.control(run, what)).words

describe('a page that follows', () => {
  it('gets the plan, and in the end exactly the spans and the steps that are saved', async () => {
    const run = await id()
    const page = await open()
    page.follow(run)
    const plan = await page.next('plan')
    expect(plan.data).toMatchObject({ seq: 1, run_id: run, head: { run_id: run, steps: [], origin: 'measured' } })
    await finished('for await (const _ of run.steps(text, 3));')
    const tables = await saved()
    await eventually(() => page.steps(run).length === 3 && page.rows(run) === tables.spans.op.length)
    expect(page.plan(run)).toEqual({ listing: tables.listing, names: tables.names, buffers: tables.buffers, uses: tables.uses, waits: tables.waits })
    const live = page.spans(run)
    for (const column of Object.keys(SPAN_COLUMNS) as (keyof typeof SPAN_COLUMNS)[]) expect(live[column], column).toEqual(tables.spans[column])
    await eventually(() => JSON.stringify(page.steps(run)) === JSON.stringify(tables.head.steps)) // MFU is restated after the last
    expect(page.seqs(run)).toEqual(page.seqs(run).map((_, i) => i + 1))
    for (const { data } of page.of('spans')) expect(data.of).toBeGreaterThan(0)
    page.close()
  })

  it('hears at most 20 times a second, of at most so many spans at once, and nothing of steps when it follows no run', async () => {
    const run = await id()
    const from = performance.now() // before there is a page: all that it hears comes after
    const [page, idle] = [await open(), await open()]
    page.follow(run)
    await page.next('plan')
    await finished('for await (const _ of run.steps(text, 3));')
    await setTimeout(200)
    expect(page.of('spans').length).toBeGreaterThan(2)
    const seconds = (performance.now() - from) / 1000
    for (const kind of ['spans', 'step', 'runs'] as const) expect(page.of(kind).length).toBeLessThanOrEqual(20 * seconds + 2)
    for (const { buffers } of page.of('spans')) expect(buffers[0].byteLength).toBeLessThanOrEqual(64 * MOST_ROWS + 8192)
    expect([idle.of('spans'), idle.of('step'), idle.of('plan')]).toEqual([[], [], []])
    page.close()
    idle.close()
  })

  it('stops hearing when it acknowledges nothing, catches up when it does, and has all from the start when it follows again', async () => {
    const run = await id()
    const [deaf, page] = [await open(), await open()]
    deaf.acknowledges = false
    deaf.follow(run)
    page.follow(run)
    while (deaf.seqs(run).length < CREDIT) await finished('await run.step(text)')
    await finished('await run.step(text)')
    await setTimeout(500)
    expect(deaf.seqs(run).length).toBe(CREDIT)
    await eventually(() => page.seqs(run).length > CREDIT)
    const tables = await saved()
    deaf.acknowledges = true
    deaf.acknowledge(run)
    await eventually(() => deaf.rows(run) === page.rows(run))
    expect(deaf.spans(run)).toEqual(page.spans(run))
    expect(page.rows(run)).toBe(Math.min(MOST_BEHIND, tables.head.kept.of))
    deaf.follow(run)
    await eventually(() => deaf.of('plan').length === 2 && deaf.rows(run) === page.rows(run))
    expect(deaf.spans(run)).toEqual(page.spans(run))
    expect(deaf.seqs(run)[0]).toBe(1)
    for (const one of [deaf, page]) one.close()
  })

  it('is told of runs that appear, run, and are closed', async () => {
    const page = await open()
    await kernel.run(`const other = await device.train(${MODEL}, { sequence: 1024, chunk: 512 })`)
    await kernel.run('await other.step(text)')
    const other = ((await kernel.run('other.head.run_id')).result as string).slice(1, -1)
    await eventually(() => page.status(other)?.step === 1 && page.status(other)?.activity === 'idle')
    expect(page.status(other)).toMatchObject({ state: 'done', can: ['pause'] } satisfies Partial<RunStatus>)
    expect(page.status(other)?.tokens_per_second).toBeGreaterThan(0)
    expect(page.status(other)?.device_bytes).toBeGreaterThan(0)
    const heard = page.of('runs').flatMap(({ data }) => data.runs.filter(({ run_id }) => run_id === other).map(({ activity }) => activity))
    expect(heard).toContain('running')
    await kernel.run('await other.close()')
    await eventually(() => page.lastList().every(({ run_id }) => run_id !== other))
    expect(page.of('runs').some(({ data }) => data.runs.some(({ run_id, activity }) => run_id === other && activity === 'closed'))).toBe(true)
    expect(await answer(page, other, { verb: 'pause' })).toContain('no run')
    page.close()
  })
})

describe('a page that controls', () => {
  it('pauses, steps, looks at values and resumes while the cell stays busy and the kernel answers; another page sees it', async () => {
    const run = await id()
    const [page, other] = [await open(), await open()]
    other.follow(run)
    const sent = kernel.execute('console.log("begin"); (await run.step(text)).loss')
    await eventually(() => page.status(run)?.activity === 'running')
    expect(await answer(page, run, { verb: 'pause' })).toMatch(/^paused: step \d+ after op \d+, /)
    await eventually(() => other.status(run)?.activity === 'paused')
    const { line: stands, words, can } = page.status(run) as RunStatus
    expect([words.length > 0, can]).toEqual([true, ['resume', 'step', 'until', 'stop']])
    expect((await kernel.request('shell', 'kernel_info_request', {})).status).toBe('ok')

    expect(await answer(page, run, { verb: 'step', unit: 'op' })).toContain('paused')
    const next = await answer(other, run, { verb: 'step', unit: 'chunk' })
    const later = Number(/after op (\d+)/.exec(next)?.[1])
    expect(later).toBeGreaterThan(stands)
    await eventually(() => page.status(run)?.line === later && page.status(run)?.words !== words)
    const until = await answer(page, run, { verb: 'until', place: { phase: 'backward', layer: 1, q: 2, kv: 1 } })
    expect(until).toContain('backward · layer 1 · q 2 · kv 1')

    const peeked = await page.peek(run, 'q[1,2]', 1, 100)
    expect(peeked.data).toMatchObject({ op: 'peeked', name: 'q[1,2]', rank: 1 })
    const { shape, rows, columns, block, cellRows, cellColumns, summary } = (peeked.data as unknown as { grid: Omit<Grid, 'values'> }).grid
    expect(cellRows * cellColumns).toBeLessThanOrEqual(100)
    expect(cellRows * cellColumns).toBeGreaterThan(10)
    expect([rows * columns, summary.count]).toEqual(Array(2).fill(shape.reduce((a, b) => a * b, 1)))
    expect([cellRows, cellColumns]).toEqual([Math.ceil(rows / block[0]), Math.ceil(columns / block[1])])
    expect(peeked.buffers[0].byteLength).toBe(4 * cellRows * cellColumns)
    expect(new Set(new Float32Array(new Uint8Array(peeked.buffers[0]).buffer)).size).toBeGreaterThan(10)
    expect((await page.peek(run, 'q[9,9]', 0, 100)).data).toMatchObject({ op: 'refused', words: expect.stringContaining('no value is called q[9,9]') })
    expect((await page.peek(run, 'x[0,0]', 7, 100)).data).toMatchObject({ op: 'refused', words: expect.stringContaining('rank 7') })

    expect(kernel.received.some(({ header, parent }) => parent.msg_id === sent && header.msg_type === 'execute_reply')).toBe(false)
    expect(await answer(page, run, { verb: 'resume' })).toContain('runs on')
    expect(Number((await kernel.finished(sent, PATIENCE_MS)).result)).toBeGreaterThan(0)
    expect((await page.peek(run, 'q[1,2]', 0, 100)).data).toMatchObject({ op: 'refused', words: expect.stringContaining('pause it first') })
    for (const one of [page, other]) one.close()
  })

  it('stops a paused step: its cell rejects with `stopped`, and the next step works', async () => {
    const run = await id()
    const page = await open()
    const sent = kernel.execute('await run.step(text)')
    await eventually(() => page.status(run)?.activity === 'running')
    await answer(page, run, { verb: 'pause' })
    expect(await answer(page, run, { verb: 'stop' })).toContain('is stopped')
    expect((await kernel.finished(sent, PATIENCE_MS)).error).toMatchObject({ ename: 'FpdtError', evalue: expect.stringContaining('stopped during step') })
    expect(await answer(page, run, { verb: 'stop' })).toContain('no step is under way')
    expect((await kernel.run('(await run.step(text)).step === run.stepsDone')).result).toBe('true')
    page.close()
  })

  it('leaves a paused step to the notebook’s interrupt, also when its page is gone', async () => {
    const run = await id()
    const page = await open()
    const sent = kernel.execute('await run.step(text)')
    await eventually(() => page.status(run)?.activity === 'running')
    await answer(page, run, { verb: 'pause' })
    page.close()
    await kernel.interrupt()
    expect((await kernel.finished(sent, PATIENCE_MS)).error?.ename).toMatch(/KeyboardInterrupt|FpdtError/)
    expect((await kernel.run('(await run.step(text)).step === run.stepsDone')).result).toBe('true')
    const again = await open()
    expect(again.status(run)).toMatchObject({ activity: 'idle', can: ['pause'] })
    again.close()
  })

  it('drives a stepper while no cell runs, and the kernel is idle', async () => {
    const run = await id()
    const page = await open()
    await kernel.run('const stepper = await run.stepper(text)')
    await eventually(() => page.status(run)?.activity === 'held')
    page.follow(run)
    expect(await answer(page, run, { verb: 'until', place: { phase: 'forward', layer: 0 } })).toContain('the stepper stands after op')
    const stands = Number((await kernel.run('stepper.line')).result)
    expect(stands).toBeGreaterThan(0)
    expect((await kernel.run('run.control.line')).result).toBe(String(stands))
    await eventually(() => page.status(run)?.line === stands && page.status(run)?.activity === 'held')
    await eventually(() => page.of('spans').length > 0)
    expect((await page.peek(run, 'x[1,0]', 0, 64)).data).toMatchObject({ op: 'peeked' })
    expect(await answer(page, run, { verb: 'resume' })).toContain('the stepper stands after op')
    expect((await kernel.run('(await stepper.complete()).step === run.stepsDone')).result).toBe('true')
    await eventually(() => page.status(run)?.activity === 'idle')
    page.close()
  })

  it('drives a schedule of the user’s own', async () => {
    const page = await open()
    await kernel.run(`
      const x = value('x', [64, 64], { dtype: 'f32' })
      const schedule = device.schedule([ops.fetch(ops.at('forward', 0), x), ops.offload(ops.at('forward', 1), x)], { inputs: { host: [x] }, results: { device: [x] } })
      const held = await schedule.stepper({ x: random([64, 64]) })`)
    const own = ((await kernel.run('schedule.head.run_id')).result as string).slice(1, -1)
    await eventually(() => page.status(own)?.activity === 'held')
    page.follow(own)
    expect(await answer(page, own, { verb: 'step', unit: 'op' })).toContain('after op 0: fetch x')
    expect((await page.peek(own, 'x', 0, 2 ** 20)).data).toMatchObject({ grid: { shape: [64, 64], cellRows: 64, cellColumns: 64, block: [1, 1] } })
    await answer(page, own, { verb: 'resume' })
    expect((await kernel.run("(await held.complete()).get('x').shape.join()")).result).toBe("'64,64'")
    await eventually(() => page.rows(own) === 2 && page.steps(own).length === 1)
    await kernel.run('await schedule.close()')
    page.close()
  })
})

describe('what a page should not send', () => {
  it('is refused in words, and the comm goes on', async () => {
    const run = await id()
    const page = await open()
    const wrong: [object, RegExp][] = [
      [{}, /op that is missing is not known/],
      [{ op: 'follow' }, /run_id that is missing is not text/],
      [{ op: 'follow', run_id: 'nobody' }, /no run "nobody"/],
      [{ op: 'control', run_id: run, request: 7 }, /do that is missing is not an object/],
      [{ op: 'control', run_id: run, request: 7, do: { verb: 'explode' } }, /verb "explode" is not known/],
      [{ op: 'control', run_id: run, request: 7, do: { verb: 'step', unit: 'year' } }, /unit "year"/],
      [{ op: 'control', run_id: run, request: 7, do: { verb: 'until', place: { phase: 'lunch' } } }, /phase "lunch"/],
      [{ op: 'peek', run_id: run, request: 7, name: 'x', rank: 0, most: 1e9 }, /most 1000000000 is not a whole number from 1 to/],
      [{ op: 'ack', run_id: run, seq: 'all' }, /seq "all"/],
    ]
    for (const [message, words] of wrong) {
      const refused = await page.ask(message, 'refused')
      expect(refused.data.words).toMatch(words)
      expect(refused.data.request).toBe('do' in message || 'request' in message ? 7 : -1)
    }
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(fc.constantFrom('op', 'run_id', 'seq', 'request', 'do', 'name', 'rank', 'most', 'other'), fc.jsonValue()),
        async (message) => {
          page.tell(message as object)
        },
      ),
      { numRuns: 200 },
    )
    page.tell({ op: 'ack', run_id: run, seq: Number.MAX_SAFE_INTEGER })
    page.follow(run)
    await page.next('plan')
    expect(kernel.received.some(({ header, content }) => header.msg_type === 'comm_close' && content.comm_id === page.id)).toBe(false)
    page.close()
  })
})

describe('a first step', () => {
  it('shows its plan when it begins, under its own id, and what came of it in the same place; the next cell shows it anew', async () => {
    await kernel.run(`const fresh = await device.train(${MODEL}, { sequence: 8192, chunk: 1024, ranks: 2 })`)
    const fresh = ((await kernel.run('fresh.head.run_id')).result as string).slice(1, -1)
    const sent = kernel.execute('await fresh.step(text); 0')
    const { outputs } = await kernel.finished(sent, PATIENCE_MS)
    const shown = outputs.filter(({ content }) => (content.transient as { display_id?: string } | undefined)?.display_id === fresh)
    expect(shown.map(({ type }) => type)).toEqual(['display_data', 'update_display_data'])
    const heads = shown.map(({ content }) => ((content.data as Record<string, unknown>)[RUN_MIME] as { head: object }).head)
    expect(heads).toMatchObject([
      { run_id: fresh, origin: 'predicted', state: 'running' },
      { run_id: fresh, origin: 'measured', state: 'done' },
    ])
    const again = await kernel.run('await fresh.step(text); await fresh.close(); 0')
    const anew = again.outputs.filter(({ type }) => type === 'display_data')
    expect(anew.map(({ content }) => content.transient)).toEqual([{ display_id: fresh }]) // where the training is, its controls are
  })
})

describe('the end of the process', () => {
  it('closes the comm; a page that opens it again hears of the new process alone', async () => {
    const page = await open()
    await kernel.run('process.exit(1)')
    await eventually(() => page.isClosed)
    const early = new LivePage(kernel)
    await eventually(() => early.isClosed)
    const run = await begin()
    const late = await open()
    expect(late.lastList().map(({ run_id }) => run_id)).toEqual([run])
    late.close()
  })
})
