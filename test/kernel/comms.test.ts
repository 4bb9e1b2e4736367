import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Message } from '../../kernel/src/jupyter/message.js'
import { eventually, TestKernel } from './client.js'

let kernel: TestKernel
beforeAll(async () => {
  kernel = await TestKernel.start()
  await kernel.run("import { onComm, openComm } from 'fpdt/comm'")
  await kernel.run("onComm('echo', (comm) => comm.onMessage(({ data, metadata, buffers }) => comm.send(data, { metadata, buffers })))")
})
afterAll(() => kernel.close())

const open = (id: string, target: string, data: object = {}) => kernel.send('shell', 'comm_open', { comm_id: id, target_name: target, data })
const tell = (id: string, data: object, buffers: readonly Uint8Array[] = []) => kernel.send('shell', 'comm_msg', { comm_id: id, data }, { buffers })
/** comm_open, comm_msg, comm_close of the kernel on that comm. */
const heard = (id: string): Message[] =>
  kernel.received.filter(({ header, content }) => /^comm_(open|msg|close)$/.test(header.msg_type) && content.comm_id === id)
const info = async (content: object = {}) => (await kernel.request('shell', 'comm_info_request', content)).comms as Record<string, { target_name: string }>

describe('a comm that the front end opens', () => {
  it('echoes data, metadata and any buffers, with the message as parent and one session', async () => {
    await kernel.idle(open('e1', 'echo'))
    for (const sizes of [[], [7], [1, 0, 4099]]) {
      const buffers = sizes.map((size) => randomBytes(size))
      const sent = kernel.send('shell', 'comm_msg', { comm_id: 'e1', data: { sizes } }, { buffers, metadata: { version: 2 } })
      await kernel.idle(sent)
      const [echo] = heard('e1').filter(({ parent }) => parent.msg_id === sent)
      expect(echo?.content.data).toEqual({ sizes })
      expect(echo?.metadata).toEqual({ version: 2 })
      expect(echo?.buffers.map((buffer) => Buffer.from(buffer))).toEqual(buffers)
    }
    expect(new Set(kernel.received.map(({ header }) => header.session)).size).toBe(1)
  })

  it('is listed by target while it is open, and no more when the front end closed it', async () => {
    await kernel.run("onComm('listed', (comm) => comm.onClose(({ data }) => console.log('closed', data)))")
    await kernel.idle(open('l1', 'listed'))
    expect(await info({ target_name: 'listed' })).toEqual({ l1: { target_name: 'listed' } })
    expect(await info()).toMatchObject({ l1: { target_name: 'listed' }, e1: { target_name: 'echo' } })
    const closing = kernel.send('shell', 'comm_close', { comm_id: 'l1', data: { why: 'done' } })
    await kernel.idle(closing)
    expect(kernel.outputsOf(closing)).toEqual([{ type: 'stream', content: { name: 'stdout', text: "closed { why: 'done' }\n" } }])
    expect(await info({ target_name: 'listed' })).toEqual({})
    expect(heard('l1')).toEqual([])
  })

  it('is closed by the kernel when nobody registered its target', async () => {
    const sent = open('u1', 'nobody')
    await kernel.idle(sent)
    expect(heard('u1').map(({ header, parent, content }) => [header.msg_type, parent.msg_id, content.data])).toEqual([['comm_close', sent, {}]])
    await kernel.idle(tell('u1', {}))
    expect(Object.keys(await info())).not.toContain('u1')
  })

  it('is closed, and the error shown, when the function of its target throws', async () => {
    await kernel.run("onComm('broken', () => { throw new RangeError('no room') })")
    const sent = open('b1', 'broken')
    await kernel.idle(sent)
    expect(kernel.outputsOf(sent).map(({ type, content }) => [type, content.ename])).toEqual([
      ['comm_close', undefined],
      ['error', 'RangeError'],
    ])
    expect(Object.keys(await info())).not.toContain('b1')
  })

  it('gets 1,000 messages in order, and answers in order', async () => {
    await kernel.idle(open('e2', 'echo'))
    const sent = Array.from({ length: 1000 }, (_, index) => tell('e2', { index }))
    await kernel.idle(sent.at(-1) as string)
    expect(heard('e2').map(({ content }) => (content.data as { index: number }).index)).toEqual(sent.map((_, index) => index))
  })
})

describe('a comm that a cell opens', () => {
  it('is announced with data and buffers between the prints around it, and carries messages both ways', async () => {
    const { outputs } = await kernel.run(`
      console.log('before')
      const mine = openComm('figure', { title: 'loss' }, { buffers: [new Float64Array([1.5, 2])] })
      const heard = []
      mine.onMessage(({ data }) => heard.push(data))
      console.log('between')
      mine.send({ step: 1 })
      console.log('after')`)
    expect(outputs.map(({ type, content }) => [type, content.text ?? content.target_name ?? content.data])).toEqual([
      ['stream', 'before\n'],
      ['comm_open', 'figure'],
      ['stream', 'between\n'],
      ['comm_msg', { step: 1 }],
      ['stream', 'after\n'],
    ])
    const opened = kernel.received.find(({ content }) => content.target_name === 'figure') as Message
    expect(new Float64Array(new Uint8Array(opened.buffers[0] as Uint8Array).buffer)).toEqual(new Float64Array([1.5, 2]))
    const id = opened.content.comm_id as string
    await kernel.idle(tell(id, { from: 'front end' }))
    expect((await kernel.run('heard')).result).toBe("[ { from: 'front end' } ]")
    await kernel.run("mine.close({ why: 'enough' })")
    expect(heard(id).at(-1)).toMatchObject({ header: { msg_type: 'comm_close' }, content: { data: { why: 'enough' } } })
    expect((await kernel.run('mine.send({})')).error).toMatchObject({ ename: 'FpdtError', evalue: expect.stringContaining('openComm') })
    expect(Object.keys(await info())).not.toContain(id)
  })

  it('refuses data that is no JSON object where it is sent', async () => {
    expect((await kernel.run('openComm("figure", [1])')).error?.evalue).toContain('not a JSON object')
    expect((await kernel.run('openComm("figure", { big: 1n })')).error?.evalue).toContain('BigInt')
    expect((await kernel.run('1 + 1')).result).toBe('2')
  })

  it('is announced from a silent cell too', async () => {
    const { outputs } = await kernel.run("console.log('unheard'); openComm('quiet')", { silent: true })
    expect(outputs.map(({ type }) => type)).toEqual(['comm_open'])
  })
})

describe('messages of comms', () => {
  it('are answered while a cell awaits, and overtake those queued behind it', async () => {
    await kernel.run("onComm('waker', (comm) => comm.onMessage(({ data }) => wake(data.word)))")
    await kernel.idle(open('w1', 'waker'))
    const running = kernel.execute('await new Promise((resolve) => { globalThis.wake = resolve })')
    const queued = kernel.execute("'queued'")
    const told = tell('e1', { while: 'waiting' })
    const idle = await kernel.idle(told)
    expect(heard('e1').at(-1)?.content.data).toEqual({ while: 'waiting' })
    // The kernel is busy with the cell, whatever it answered meanwhile.
    const lastStatus = () => kernel.received.findLast(({ header }) => header.msg_type === 'status')
    await eventually(() => lastStatus()?.parent.msg_id === running)
    expect(lastStatus()?.content).toEqual({ execution_state: 'busy' })
    // At once: no page draws a light that goes out and on.
    const next = kernel.received[kernel.received.indexOf(idle) + 1]
    expect([next?.content.execution_state, next?.parent.msg_id]).toEqual(['busy', running])
    expect(kernel.received.some(({ header, parent }) => header.msg_type === 'execute_reply' && parent.msg_id === running)).toBe(false)
    tell('w1', { word: 'woken' })
    expect((await kernel.finished(running)).result).toBe("'woken'")
    expect((await kernel.finished(queued)).result).toBe("'queued'")
  })

  it('may be awaited by the handler of another of the same comm', async () => {
    await kernel.run(`onComm('dialogue', (comm) => {
      let answered
      comm.onMessage(async ({ data }) => {
        if (data.answer !== undefined) return answered(data.answer)
        const answer = await new Promise((resolve) => { answered = resolve; comm.send({ question: 'x?' }) })
        comm.send({ thanks: answer })
      })
    })`)
    await kernel.idle(open('d1', 'dialogue'))
    const asked = tell('d1', { begin: true })
    await kernel.until(({ content }) => (content.data as { question?: string } | undefined)?.question === 'x?')
    await kernel.idle(tell('d1', { answer: 42 }))
    await kernel.idle(asked)
    expect(heard('d1').at(-1)?.content.data).toEqual({ thanks: 42 })
  })

  it('have what their handlers print before their idle, also after an await', async () => {
    await kernel.run("onComm('printer', (comm) => comm.onMessage(async ({ data }) => { console.log('got', data.n); await null; display('shown') }))")
    await kernel.idle(open('p1', 'printer'))
    const sent = tell('p1', { n: 1 })
    await kernel.idle(sent)
    const idle = kernel.received.findIndex(({ parent, content }) => parent.msg_id === sent && content.execution_state === 'idle')
    const outputs = kernel.outputsOf(sent)
    expect(outputs.map(({ type }) => type)).toEqual(['stream', 'display_data'])
    expect(kernel.received.findLastIndex(({ parent }) => parent.msg_id === sent)).toBe(idle)
  })

  it('whose handler throws show the error with the line of its cell, and end nothing', async () => {
    const { reply } = await kernel.run("onComm('thrower', (comm) => {\n  comm.onMessage(() => { throw new Error('on purpose') })\n})")
    await kernel.idle(open('t1', 'thrower'))
    const sent = tell('t1', {})
    await kernel.idle(sent)
    const [output] = kernel.outputsOf(sent)
    expect(output).toMatchObject({ type: 'error', content: { ename: 'Error', evalue: 'on purpose' } })
    expect(String(output?.content.traceback)).toContain(`Cell [${reply.execution_count}] line 2`)
    await kernel.idle(tell('e1', { still: 'here' }))
    expect(heard('e1').at(-1)?.content.data).toEqual({ still: 'here' })
  })

  it('that are malformed are refused, and the next one is answered', async () => {
    const malformed = [{}, { comm_id: 7 }, { comm_id: 'm1' }].map((content) => kernel.send('shell', 'comm_open', content))
    for (const sent of malformed) await kernel.idle(sent)
    await kernel.idle(tell('e1', { after: 'nonsense' }))
    expect(heard('e1').at(-1)?.content.data).toEqual({ after: 'nonsense' })
    // Comm messages have no reply, and theirs is not one either.
    expect(kernel.received.filter(({ parent }) => malformed.includes(parent.msg_id as string)).map(({ header }) => header.msg_type)).toEqual(
      malformed.flatMap(() => ['status', 'status']),
    )
  })

  it('whose handler does not end are interrupted', async () => {
    await kernel.run("onComm('loop', (comm) => comm.onMessage(() => { console.log('go'); for (;;) {} }))")
    await kernel.idle(open('i1', 'loop'))
    const sent = tell('i1', {})
    await kernel.until(({ parent, content }) => parent.msg_id === sent && content.text === 'go\n')
    await kernel.interrupt()
    await kernel.idle(sent)
    expect(kernel.outputsOf(sent).map(({ content }) => content.ename)).toEqual([undefined, 'KeyboardInterrupt'])
    expect((await kernel.run('1 + 1')).result).toBe('2')
  })
})

describe('the end of the executor', () => {
  it('loses nothing that was sent or shown before it', async () => {
    const sent = kernel.execute(
      "const last = openComm('last words', {}, { buffers: [new Uint8Array(2 ** 20)] })\ndisplay('shown')\nprocess.kill(process.pid, 'SIGKILL')",
    )
    const { outputs } = await kernel.finished(sent)
    expect(outputs.map(({ type }) => type)).toEqual(['comm_open', 'display_data', 'error'])
    expect(kernel.received.find(({ content }) => content.target_name === 'last words')?.buffers[0]).toHaveLength(2 ** 20)
    await kernel.run("import { onComm, openComm } from 'fpdt/comm'\nonComm('echo', (comm) => comm.onMessage(() => {}))")
  })

  it('closes its comms, and the next process knows none of them', async () => {
    await kernel.idle(open('x1', 'echo'))
    await kernel.run('process.exit(1)')
    await kernel.until(({ header, content }) => header.msg_type === 'comm_close' && content.comm_id === 'x1')
    expect(await info()).toEqual({})
    await kernel.idle(open('x2', 'echo'))
    expect(heard('x2').map(({ header }) => header.msg_type)).toEqual(['comm_close'])
  })
})
