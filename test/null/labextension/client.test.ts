import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { CREDIT, LIVE_VERSION, type PageMessage } from '../../../kernel/src/trace/live/messages.js'
import { LiveClient } from '../../../labextension/src/live/client.js'
import { LiveRun } from '../../../labextension/src/live/live-run.js'
import { fixture } from '../trace/fixture.js'
import { type Channel, FakeKernel, wire } from './fake-kernel.js'

const TABLES = fixture({ ranks: 1, layers: 1, chunks: 2, steps: 2 })
const ID = TABLES.head.run_id
const ALL = TABLES.spans.op.length
const whole = (): LiveRun => new LiveRun(() => ({ steps: 4, spans: 200_000, frames: 10 }))
const client = (kernel: FakeKernel): LiveClient<LiveRun> => new LiveClient(kernel, whole)

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})
const soon = (ms = 1000): Promise<unknown> => vi.advanceTimersByTimeAsync(ms)
const sent = (kernel: FakeKernel, op: PageMessage['op']): PageMessage[] => kernel.received_.filter((message) => message.op === op)

function following(): { kernel: FakeKernel; page: LiveClient<LiveRun>; run: LiveRun; stop(): void } {
  const kernel = new FakeKernel()
  kernel.add(TABLES)
  const page = client(kernel)
  const follow = page.follow(ID)
  follow.sink.onChange(() => {})
  page.wake()
  return { kernel, page, run: follow.sink, stop: () => follow.dispose() }
}

describe('a page and a kernel', () => {
  it('a run is followed as it goes on, to the same picture as the saved run', async () => {
    const { kernel, run } = following()
    await soon()
    for (let i = 0; i < ALL; i += 7) {
      kernel.run(ID, 7)
      await soon(50)
    }
    await soon()
    expect(run.run?.spans).toEqual(TABLES.spans)
    expect(run.run?.memory.total_bytes).toEqual(TABLES.memory.total_bytes)
    expect(run.run?.memory.time_ns).toEqual(TABLES.memory.time_ns)
    expect(sent(kernel, 'follow').length).toBe(1)
  })

  it('acknowledges half of the credit at once, what is less after a second', async () => {
    const { kernel } = following()
    await soon(100)
    for (let i = 0; i < CREDIT / 2 - 2; i++) kernel.run(ID, 1)
    await soon(10)
    expect(sent(kernel, 'ack')).toEqual([])
    kernel.run(ID, 1)
    await soon(10)
    expect(sent(kernel, 'ack')).toEqual([{ op: 'ack', run_id: ID, seq: CREDIT / 2 }])
    kernel.run(ID, 1)
    await soon(900)
    expect(sent(kernel, 'ack').length).toBe(1)
    await soon(200)
    expect(sent(kernel, 'ack').at(-1)).toEqual({ op: 'ack', run_id: ID, seq: CREDIT / 2 + 1 })
  })

  it('takes what comes twice once, and asks for nothing', async () => {
    const { kernel, run } = following()
    kernel.channel = (message) => [message, message]
    for (let i = 0; i < 5; i++) {
      kernel.run(ID, 3)
      await soon(50)
    }
    await soon()
    expect(run.run?.spans.op).toEqual(TABLES.spans.op.subarray(0, 15))
    expect(sent(kernel, 'follow').length).toBe(1)
  })

  it('asks once for two users of a run, and lets go with the last', async () => {
    const { kernel, page, stop, run } = following()
    const second = page.follow(ID)
    expect(second.sink).toBe(run)
    await soon()
    expect(sent(kernel, 'follow').length).toBe(1)
    stop()
    stop()
    expect(sent(kernel, 'unfollow')).toEqual([])
    second.dispose()
    expect(sent(kernel, 'unfollow').length).toBe(1)
  })

  it('leaves nothing behind when it is disposed of', async () => {
    const { kernel, page } = following()
    await soon()
    kernel.run(ID, 5)
    await soon(10)
    page.dispose()
    expect([kernel.openComms, kernel.listeners]).toEqual([0, 0])
    expect(vi.getTimerCount()).toBe(0)
  })

  it('leaves nothing behind of comms that could not be opened, and says why', async () => {
    const kernel = new FakeKernel()
    const page = client(kernel)
    const before = kernel.listeners
    kernel.isDead = true
    for (let i = 0; i < 3; i++) {
      page.wake()
      await soon(2000)
    }
    expect(kernel.listeners).toBe(before)
    expect(page.reach(ID).reason).toBe('The kernel cannot be asked for its runs: Kernel is dead')
    kernel.isDead = false
    kernel.add(TABLES)
    page.wake()
    await soon()
    expect([kernel.openComms, page.reach(ID).reason]).toEqual([1, ''])
    page.dispose()
    expect(kernel.listeners).toBe(0)
  })

  it('two notebooks of one kernel both follow and ask, and one that is closed leaves the other', async () => {
    const { kernel, page, run } = following()
    const other = client(kernel)
    const { sink } = other.follow(ID)
    other.wake()
    await soon()
    kernel.run(ID, 9)
    await soon()
    expect([run.run?.spans.op.length, sink.run?.spans.op.length]).toEqual([9, 9])
    kernel.answer = (message) => (message.op === 'control' ? { op: 'done', request: message.request, words: message.do.verb } : null)
    const asked = [page.control(ID, { verb: 'pause' }), other.control(ID, { verb: 'resume' })]
    await Promise.all([expect(asked[0]).resolves.toBe('pause'), expect(asked[1]).resolves.toBe('resume'), soon()])
    page.dispose()
    kernel.run(ID, 9)
    await soon()
    expect([run.run?.spans.op.length, sink.run?.spans.op.length]).toEqual([9, 18])
    expect([kernel.openComms, other.reach(ID).reason]).toEqual([1, ''])
  })

  it('finds no fpdt, and tries again when an output of a run appears', async () => {
    const kernel = new FakeKernel()
    kernel.isThere = false
    const page = client(kernel)
    page.wake()
    await soon(10)
    expect(page.reach(ID).reason).toMatch(/does not have this run/)
    kernel.isThere = true
    kernel.add(TABLES)
    page.wake()
    page.wake()
    await soon(2000)
    expect(page.reach(ID)).toMatchObject({ reason: '', status: { activity: 'running' } })
    expect(kernel.comms).toBe(2)
  })

  it('a restart is told, refuses what is asked, and the next run is followed', async () => {
    const { kernel, page, run } = following()
    await soon()
    kernel.run(ID, 9)
    await soon()
    const asked = page.control(ID, { verb: 'pause' })
    kernel.restart()
    await expect(asked).rejects.toThrow(/restarted/)
    await soon()
    expect(page.reach(ID)).toEqual({ status: null, reason: expect.stringMatching(/restarted/), isForeign: false })
    expect(run.run?.head.state).toBe('lost')
    expect(run.run?.spans.op.length).toBe(9)
    await expect(page.control(ID, { verb: 'pause' })).rejects.toThrow(/restarted/)
    const next = { ...TABLES, head: { ...TABLES.head, run_id: 'next' } }
    kernel.isThere = true
    kernel.add(next)
    const { sink } = page.follow('next')
    page.wake()
    await soon(2000)
    kernel.run('next', 3)
    await soon()
    expect(sink.run?.spans.op.length).toBe(3)
    expect(page.reach(ID).reason).toMatch(/restarted/)
  })

  it('a process that dies closes the comm: its runs are lost', async () => {
    const { kernel, page, run } = following()
    await soon()
    kernel.isThere = false
    kernel.closeFromHere()
    await soon(3000)
    expect(page.reach(ID).reason).toMatch(/process .* is gone/)
    expect(run.run?.head.state).toBe('lost')
  })

  it('a kernel that took the page for left is asked again, and the run goes on', async () => {
    const { kernel, page, run } = following()
    await soon()
    kernel.run(ID, 9)
    await soon()
    kernel.closeFromHere()
    kernel.run(ID, 9)
    await soon(3000)
    expect(page.reach(ID).reason).toBe('')
    expect(run.run?.spans.op).toEqual(TABLES.spans.op.subarray(0, 18))
  })

  it('a kernel that was restarted while the page was away has lost its runs', async () => {
    const { kernel, page } = following()
    await soon()
    kernel.connectionStatusChanged.emit('connecting')
    expect(page.reach(ID).reason).toMatch(/lost its connection/)
    kernel.runs.clear()
    kernel.connectionStatusChanged.emit('connected')
    await soon()
    expect(page.reach(ID).reason).toMatch(/process .* is gone/)
  })

  it('answers find their requests, refusals reject in the words of the kernel', async () => {
    const { kernel, page } = following()
    await soon()
    kernel.answer = (message) =>
      message.op === 'control'
        ? message.do.verb === 'pause'
          ? { op: 'done', request: message.request, words: 'paused after op 12' }
          : { op: 'refused', request: message.request, words: 'it is between two steps' }
        : null
    const [pause, stop] = [page.control(ID, { verb: 'pause' }), page.control(ID, { verb: 'stop' })]
    await Promise.all([expect(pause).resolves.toBe('paused after op 12'), expect(stop).rejects.toThrow('it is between two steps'), soon()])
  })

  it.each([
    ['no object', 'hello', /is no object/],
    ['of a newer kernel', { op: 'runs', version: LIVE_VERSION + 1, runs: 'new' }, /^This page is of an older fpdt than the kernel .*: reload the page/],
    ['of an older kernel', { op: 'runs', version: 0, runs: [] }, /^This page is of a newer fpdt than the kernel .*: reload the page; .* restart the kernel/],
    ['of no version', { op: 'runs', runs: [] }, /^This page is of another fpdt than the kernel .*: reload the page/],
    ['no list', { op: 'runs', version: LIVE_VERSION, runs: {} }, /runs is no list/],
  ])('a message that is %s ends the talk in words', async (_, message, words) => {
    const { kernel, page } = following()
    await soon()
    kernel.sayAnything(message)
    await soon()
    expect(page.reach(ID)).toMatchObject({ reason: expect.stringMatching(words), isForeign: true })
    expect(kernel.openComms).toBe(0)
    page.wake()
    await soon(2000)
    expect(page.reach(ID)).toMatchObject({ reason: '', isForeign: false })
  })

  it.each([
    ['bytes that are no table', { op: 'spans', run_id: ID, seq: 2, step: 1, attempt: 1, of: 1 }, new Uint8Array(99), /no Arrow stream/],
    ['no buffer', { op: 'spans', run_id: ID, seq: 2, step: 1, attempt: 1, of: 1 }, null, /0 buffers/],
    ['a step that is no number', { op: 'spans', run_id: ID, seq: 2, step: 'x', attempt: 1, of: 1 }, null, /buffers|step/],
    ['a head of another run', { op: 'step', run_id: ID, seq: 2, head: { run_id: 'other' } }, null, /another run/],
  ])('%s: the run is followed no further, others are', async (_, message, buffer, words) => {
    const { kernel, page, run } = following()
    await soon()
    kernel.run(ID, 0)
    kernel.sayAnything({ ...message, status: kernel.status(ID) }, buffer ? [buffer] : [])
    await soon()
    expect(page.reach(ID).reason).toMatch(words)
    expect(sent(kernel, 'unfollow').length).toBe(1)
    kernel.run(ID, 5)
    await soon()
    expect(run.arrived).toBe(0)
    expect(kernel.openComms).toBe(1)
  })

  it('a kernel whose numbers never fit is asked four times a second at most', async () => {
    const { kernel } = following()
    kernel.channel = (message) => {
      const data = message.data as { seq?: number; op: string }
      return [data.op === 'spans' ? { ...message, data: { ...data, seq: (data.seq as number) + 5 } } : message]
    }
    kernel.run(ID, 1)
    await soon(3000)
    expect(sent(kernel, 'follow').length).toBeLessThanOrEqual(14)
    expect(sent(kernel, 'follow').length).toBeGreaterThan(2)
  })
})

describe('a channel that loses, repeats and reorders', () => {
  type Fate = 'arrives' | 'lost' | 'twice' | 'late'
  const fate = fc.constantFrom<Fate>('arrives', 'arrives', 'arrives', 'lost', 'twice', 'late')
  const event = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('run' as const), count: fc.integer({ min: 1, max: 9 }), wait: fc.constantFrom(0, 10, 60, 1100) }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'reconnect' as const, count: 0, wait: 100 }) },
    { weight: 1, arbitrary: fc.constant({ kind: 'tell' as const, count: 0, wait: 0 }) },
  )

  it('once it carries all again, the page has every span once, in order', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 40 }), fc.infiniteStream(fate), async (events, fates) => {
        const { kernel, page, run } = following()
        let late: Parameters<Channel>[0][] = []
        kernel.channel = (message) => {
          const next = fates.next().value as Fate
          if (next === 'lost') return []
          if (next === 'late') {
            late.push(message)
            return []
          }
          const now = [message, ...(next === 'twice' ? [message] : []), ...late]
          late = []
          return now
        }
        for (const { kind, count, wait } of events) {
          if (kind === 'run') kernel.run(ID, count)
          else if (kind === 'tell') kernel.tell()
          else {
            kernel.connectionStatusChanged.emit('connecting')
            await soon(20)
            kernel.connectionStatusChanged.emit('connected')
          }
          await soon(wait)
        }
        kernel.channel = wire
        kernel.tell()
        await soon(200_000)
        const { ran } = kernel.runs.get(ID)!
        expect(run.run?.spans.start_ns).toEqual(TABLES.spans.start_ns.subarray(0, ran))
        expect(run.run?.spans.op).toEqual(TABLES.spans.op.subarray(0, ran))
        expect(page.reach(ID).reason).toBe('')
        page.dispose()
        expect(vi.getTimerCount()).toBe(0)
      }),
      { numRuns: 150 },
    )
  })
})
