/** Hostile messages against the sockets of the built kernel, in between valid ones; `test/null/jupyter/fuzz.test.ts` has those against the decoder. */
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { Dealer, XSubscriber } from 'zeromq'
import { Hostile, randomOf } from '../null/jupyter/hostile.js'
import { eventually, KEY, TestKernel } from './client.js'

const SEED = Number(process.env.FUZZ_SEED ?? 20_241_123)
const MESSAGES = 20_000
/** Between two valid requests. */
const BATCH = 100
const CHANNELS = ['shell', 'control', 'stdin', 'hb'] as const
/** Not those that end cells or the kernel, as they should. */
const TYPES = [
  ...['execute_request', 'complete_request', 'inspect_request', 'is_complete_request', 'history_request', 'kernel_info_request', 'comm_info_request'],
  ...['comm_open', 'comm_msg', 'comm_close', 'create_subshell_request', 'delete_subshell_request', 'list_subshell_request', 'debug_request', 'input_reply'],
  ...['toString', '__proto__', '', '_request', 'shutdown_reply', 'connect_request'],
]
/** Replays, and what piles up in queues, may take this much; a leak of what was refused would take more. */
const GROWTH_MIB = 120

const random = randomOf(SEED)
const hostile = new Hostile(random, KEY, TYPES)
let kernel: TestKernel

/** Valid requests are answered as ever. */
async function answers(n: number): Promise<void> {
  kernel.received.length = 0
  expect(await kernel.request('control', 'kernel_info_request', {})).toMatchObject({ status: 'ok', implementation: 'fpdt' })
  const run = () => kernel.run(`console.log(${n}); kept + ${n}`)
  let { result, stdout, reply } = await run()
  // A hostile cell before it failed and had asked for that.
  while (reply.ename === 'Aborted') ({ result, stdout, reply } = await run())
  expect({ result, stdout }).toEqual({ result: `${7 + n}`, stdout: `${n}\n` })
}

function rss_MiB(): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${kernel.process.pid}/status`, 'utf8'))?.[1]) / 1024
}

describe(`a kernel under hostile messages, seed ${SEED}`, () => {
  beforeAll(async () => {
    kernel = await TestKernel.start()
    await kernel.run('let kept = 7')
  })
  afterAll(() => kernel.close())

  it(`answers what is valid in between ${MESSAGES} of them on shell, control, stdin and heartbeat, keeps its variables and its memory, and says little`, async () => {
    const dealers = CHANNELS.map((channel) => {
      const dealer = new Dealer({ linger: 0, receiveHighWaterMark: 0 })
      dealer.connect(kernel.addresses[channel])
      void (async () => {
        for await (const _ of dealer); // what it answers to them is its own affair
      })()
      return dealer
    })
    const sent: Buffer[][] = []
    let warm_MiB = 0
    for (let n = 0; n < MESSAGES; n++) {
      const kind = random()
      const replayed = sent[Math.floor(random() * sent.length)]
      const frames = kind < 0.5 ? hostile.spoiled() : kind < 0.9 || replayed === undefined ? hostile.faulty() : replayed
      if (sent.length < 500) sent.push(frames)
      if (frames.length > 0) await dealers[Math.floor(random() * dealers.length)]?.send(frames)
      if (n % BATCH === 0) await answers(n)
      if (n === MESSAGES / 4) warm_MiB = rss_MiB()
    }
    await answers(MESSAGES)
    for (const dealer of dealers) dealer.close()
    expect(rss_MiB() - warm_MiB).toBeLessThan(GROWTH_MIB)
    expect(kernel.log.length).toBeLessThan(60_000)
    expect(kernel.log, 'an error that no handler foresaw').not.toMatch(/\n {4}at /)
  })

  it('takes no harm from subscriptions that are none, or are thousands', async () => {
    const subscriber = new XSubscriber({ linger: 0, sendHighWaterMark: 0 })
    subscriber.connect(kernel.addresses.iopub)
    for (let n = 0; n < 2000; n++) {
      const frame = [
        Buffer.from([1, 0xff, 0xfe]),
        Buffer.from([0, 1, 2]),
        Buffer.from([7]),
        Buffer.alloc(0),
        Buffer.from(`\u0001topic ${n}`),
        Buffer.alloc(50_000, 1),
      ][n % 6] as Buffer
      await subscriber.send(n % 7 === 0 ? [frame, frame] : frame)
      if (n % 500 === 0) await answers(n)
    }
    subscriber.close()
    await answers(1)
  })

  it('takes no harm from programs that do not speak ZeroMQ, or announce more than they send', async () => {
    const greeting = Buffer.concat([Buffer.from([0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0]), Buffer.from('NULL'.padEnd(20, '\0')), Buffer.alloc(32)])
    const ready = Buffer.concat([Buffer.from([4, 26, 5]), Buffer.from('READY\x0bSocket-Type\0\0\0\x06DEALER').subarray(0, 25)])
    const endless = Buffer.concat([Buffer.from([2, 0x3f]), Buffer.alloc(7, 0xff)])
    const texts = [
      Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
      Buffer.alloc(100_000, 0xff),
      greeting.subarray(0, 30),
      Buffer.concat([greeting, endless]),
      Buffer.concat([greeting, ready, endless, Buffer.alloc(1000)]),
      Buffer.from(Array.from({ length: 500 }, () => Math.floor(random() * 256))),
    ]
    const before = rss_MiB()
    for (const channel of [...CHANNELS, 'iopub'] as const) {
      const port = Number(/\d+$/.exec(kernel.addresses[channel])?.[0])
      for (const text of texts) {
        let isOver = false
        const socket = connect(port, '127.0.0.1', () => socket.end(text))
          .on('error', () => {})
          .on('close', () => {
            isOver = true
          })
          .resume()
        await eventually(() => isOver)
      }
      await answers(2)
    }
    expect(rss_MiB() - before).toBeLessThan(GROWTH_MIB)
  })

  it('answers code that would overflow the stack of the parser, and patterns that would take for ever', async () => {
    const deep = [
      '('.repeat(20_000),
      '['.repeat(5000),
      'a='.repeat(29_000),
      '()=>'.repeat(14_000),
      'a?b:'.repeat(14_000),
      '`${'.repeat(20_000),
      '1+'.repeat(200_000),
    ]
    for (const code of deep) {
      expect((await kernel.request('shell', 'is_complete_request', { code })).status).toBe('unknown')
      for (const type of ['complete_request', 'inspect_request']) {
        expect(await kernel.request('shell', type, { code, cursor_pos: 5 })).toMatchObject({
          status: 'error',
          evalue: expect.stringContaining('nests too deep'),
        })
      }
    }
    await kernel.run(`'${'a'.repeat(5000)}'`)
    expect(await kernel.request('shell', 'history_request', { hist_access_type: 'search', pattern: `${'*a'.repeat(30)}*b`, n: 5 })).toMatchObject({
      status: 'ok',
      history: [],
    })
    await answers(3)
  })

  it('answers wrong content with an error that names the field', async () => {
    const wrong = async (type: string, content: object) => (await kernel.request('shell', type, content)).evalue
    expect(await wrong('execute_request', { code: 5 })).toBe('execute_request: code is 5, not a string')
    expect(await wrong('execute_request', {})).toBe('execute_request: code is missing, not a string')
    expect(await wrong('execute_request', { code: '1', user_expressions: 'abc' })).toBe('execute_request: user_expressions is "abc", not an object of strings')
    expect(await wrong('execute_request', { code: '1', user_expressions: { a: 1 } })).toBe(
      'execute_request: user_expressions is {"a":1}, not an object of strings',
    )
    expect(await wrong('is_complete_request', { code: null })).toBe('is_complete_request: code is null, not a string')
    for (const cursor_pos of ['x', -1, 1.5, null]) {
      expect(await wrong('complete_request', { code: 'Math.', cursor_pos })).toBe(
        `complete_request: cursor_pos is ${JSON.stringify(cursor_pos)}, not a whole number from 0`,
      )
    }
    expect(await kernel.complete('Math.sqr', 1e9)).toMatchObject({ status: 'ok', matches: ['sqrt'] })
    expect(await wrong('inspect_request', { code: 'Math', detail_level: {} })).toBe('inspect_request: detail_level is {}, not 0 or 1')
    expect(await wrong('history_request', { hist_access_type: 'all' })).toBe('history_request: hist_access_type is "all", not "tail", "range" or "search"')
    expect(await wrong('history_request', { hist_access_type: 'tail', n: 'x' })).toBe('history_request: n is "x", not a whole number')
    expect(await wrong('history_request', { hist_access_type: 'search', pattern: [] })).toBe('history_request: pattern is [], not a string')
    const request = kernel.send('shell', 'comm_open', { comm_id: 'x' })
    await kernel.idle(request)
  })

  it('outlives metadata that is no JSON or nests too deep for it, and user code that looks for a parent process', async () => {
    const { error } = await kernel.run('const circle: any = {}; circle.self = circle; display({ "text/plain": "x" }, { metadata: circle })')
    expect(error).toMatchObject({ ename: 'TypeError', evalue: expect.stringContaining('circular') })
    for (let depth = 1000; depth < 20_000; depth += 1000) {
      const { reply, stderr } = await kernel.run(
        `let deep: any = 1; for (let n = 0; n < ${depth}; n++) deep = [deep]; display({ 'text/plain': 'x' }, { metadata: { deep } })`,
      )
      // Python's json, and so every client, ends at about a thousand; somewhere above it the executor's own does.
      if (reply.status === 'ok') expect(stderr).toBe('display_data could not be sent: it nests deeper than 1000 levels\n')
      else expect(reply.evalue).toContain('stack')
    }
    expect((await kernel.run('process.send?.("ready"); process.disconnect?.(); typeof process.send')).result).toBe("'undefined'")
    await answers(4)
  })

  it('is not harmed by cells that end the parser, or write to the descriptor of its notes, or close it', async () => {
    const other = await TestKernel.start()
    onTestFinished(() => other.close())
    const write = (bytes: readonly number[]) => `(await import('node:fs')).writeSync(5, Buffer.from(${JSON.stringify(bytes)}))`
    const harmful = {
      ['('.repeat(20_000)]: 'SIGSEGV',
      [write(Array(4096).fill(0x41))]: 'wrote to file descriptor 5',
      [write([...[4, 0, 0, 0], ...[0, 0, 0, 0], ...Buffer.from('null')])]: 'wrote to file descriptor 5',
      [write([...[3, 0, 0, 0], ...[0, 0, 0, 0], ...Buffer.from('{}}')])]: 'wrote to file descriptor 5',
      "(await import('node:fs')).closeSync(5)": 'SIGKILL',
    }
    for (const [code, how] of Object.entries(harmful)) {
      const { error } = await other.run(code)
      expect(error).toMatchObject({ ename: 'ExecutorDied', evalue: expect.stringContaining(how) })
      expect((await other.run('"next"')).result).toBe("'next'")
    }
  })
})
