import { createRequire } from 'node:module'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventually, TestKernel } from './client.js'

let kernel: TestKernel
beforeAll(async () => {
  kernel = await TestKernel.start()
})
afterAll(() => kernel.close())

const states = (id: string) =>
  kernel.received.filter(({ header, parent }) => parent.msg_id === id && header.msg_type === 'status').map(({ content }) => content.execution_state)

describe('requests', () => {
  it('stand between busy and idle, on shell and on control, and all messages have one session', async () => {
    for (const channel of ['shell', 'control'] as const) {
      const sent = kernel.send(channel, 'kernel_info_request', {})
      await kernel.idle(sent)
      expect(states(sent)).toEqual(['busy', 'idle'])
    }
    expect(new Set(kernel.received.map(({ header }) => header.session)).size).toBe(1)
  })

  it('that are forged, malformed or unknown are dropped, and the next one is answered', async () => {
    const forged = kernel.frames('execute_request', { code: 'globalThis.forged = true' })
    forged[1] = Buffer.from('0'.repeat(64))
    await kernel.sendFrames('shell', forged)
    const replayed = kernel.frames('execute_request', { code: 'globalThis.replays = (globalThis.replays ?? 0) + 1' })
    await kernel.sendFrames('shell', replayed)
    await kernel.sendFrames('shell', replayed)
    await kernel.sendFrames('shell', [Buffer.from('nonsense')])
    await kernel.sendFrames('control', [Buffer.from('<IDS|MSG>')])
    await kernel.sendFrames('shell', kernel.frames('invented_request', { a: 1 }))
    await kernel.sendFrames('shell', kernel.frames('execute_request', { code: 7 }))
    expect((await kernel.run('[typeof forged, replays]')).result).toBe("[ 'undefined', 1 ]")
    // Through a pipe, beside the sockets.
    await eventually(() => kernel.log.includes('wrong signature') && kernel.log.includes('invented_request'))
  })

  it('on control are answered while a cell runs', async () => {
    const sent = kernel.execute('console.log("go"); await new Promise(() => {})')
    await kernel.until(({ parent, content }) => parent.msg_id === sent && content.text === 'go\n')
    expect((await kernel.request('control', 'kernel_info_request', {})).status).toBe('ok')
    expect(states(sent)).not.toContain('idle')
    await kernel.interrupt()
    await kernel.finished(sent)
  })

  it('about the kernel are answered with the version of the language it runs', async () => {
    const { version } = createRequire(import.meta.url)('typescript/package.json') as { version: string }
    expect(await kernel.request('shell', 'kernel_info_request', {})).toMatchObject({ language_info: { name: 'typescript', version, file_extension: '.ts' } })
  })

  it('of the heartbeat are echoed', async () => {
    await kernel.sendFrames('hb', [Buffer.from(''), Buffer.from('ping')])
    expect((await kernel.receiveHeartbeat()).map(String)).toEqual(['', 'ping'])
  })
})

describe('execute_request', () => {
  it('counts only what is stored', async () => {
    const count = async (options: object) => (await kernel.run('0', options)).reply.execution_count as number
    const before = await count({})
    expect(await count({ store_history: false })).toBe(before)
    expect(await count({ silent: true })).toBe(before)
    expect(await count({})).toBe(before + 1)
  })

  it('that is silent publishes nothing but its status', async () => {
    const { outputs, reply } = await kernel.run('console.log("x"); display("y"); 5', { silent: true })
    expect(outputs).toEqual([])
    expect(reply.status).toBe('ok')
  })

  it('evaluates user expressions, each by itself', async () => {
    const { reply } = await kernel.run('const u = 3\nconst late = () => { throw new Error("x") }', { user_expressions: { good: 'u + 1', bad: 'nowhere' } })
    expect(reply.user_expressions).toMatchObject({ good: { status: 'ok', data: { 'text/plain': '4' } }, bad: { status: 'error', ename: 'ReferenceError' } })
    // Lines of the cell are still its own, not those of the expressions.
    expect((await kernel.run('late()')).error?.traceback).toContain(`at late (Cell [${reply.execution_count}] line 2:28)`)
  })

  it('that fails stops those queued behind it, unless told otherwise', async () => {
    const burst = (stop_on_error: boolean) =>
      ['throw new Error("first")', 'globalThis.second = true'].map((code) => kernel.send('shell', 'execute_request', { code, stop_on_error }))
    const stopped = await Promise.all(burst(true).map((id) => kernel.finished(id)))
    expect(stopped[1]?.reply).toMatchObject({ status: 'error', ename: 'Aborted' })
    expect((await kernel.run('typeof second')).result).toBe("'undefined'")
    const continued = await Promise.all(burst(false).map((id) => kernel.finished(id)))
    expect(continued[1]?.reply.status).toBe('ok')
  })
})

describe('is_complete_request', () => {
  it('knows complete, incomplete and invalid', async () => {
    expect(await kernel.request('shell', 'is_complete_request', { code: 'for (const a of b) {\n  c(' })).toEqual({ status: 'incomplete', indent: '    ' })
  })
})

describe('history_request', () => {
  it('finds what was run, with its result', async () => {
    await kernel.run('"needle" + 1')
    const { history } = (await kernel.request('shell', 'history_request', {
      hist_access_type: 'search',
      pattern: '*needle*',
      output: true,
      raw: true,
      n: 1,
    })) as { history: unknown[][] }
    expect(history[0]?.[2]).toEqual(['"needle" + 1', "'needle1'"])
  })
})
