/** Native work in a cell: a training step under a real client. Needs the addon. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { TestKernel } from './client.js'

/** Steps of half a second: no test waits for the last one. */
const MANY = 1000

let kernel: TestKernel
beforeAll(async () => {
  kernel = await TestKernel.start()
})
afterAll(() => kernel.close())

it('a training step that is interrupted rejects at once with `stopped`; the kernel answers; the next step trains', async () => {
  const opened = await kernel.run(`
    import { Device, llama, longText } from 'fpdt'
    const device = await Device.cpu({ memory: '1 GiB', host: '2 GiB' })
    const run = await device.train(llama({ layers: 2, width: 128, heads: 4, kvHeads: 2, feedForward: 256 }), { sequence: 4096, chunk: 1024 })
    const text = longText('lib.dom.d.ts')
    let turns = 0
    const turn = () => { turns++; setImmediate(turn).unref() }
    const off = (globalThis as any)[Symbol.for('fpdt.display.host')].onInterrupt(turn)`)
  expect(opened.error).toBeUndefined()

  const sent = kernel.send('shell', 'execute_request', {
    code: `
      let stopped: any
      const steps = run.steps(text, ${MANY})[Symbol.asyncIterator]()
      for (;;) {
        const next = steps.next()
        next.catch(({ name, code }: any) => { stopped = { name, code, turns } })
        // Between two steps nothing native would hear of it.
        if (run.stepsDone > 0) for (; run.control.activity !== 'running'; ) await new Promise(setImmediate)
        if (run.stepsDone > 0) console.log('step', run.stepsDone + 1, 'runs')
        await next
      }`,
  })
  await kernel.until(({ parent, content }) => parent.msg_id === sent && String(content.text).startsWith('step 2 runs\n'))
  await kernel.interrupt()
  expect((await kernel.finished(sent)).error?.ename).toBe('KeyboardInterrupt')

  const { result } = await kernel.run('off(); JSON.stringify({ ...stopped, done: run.stepsDone })')
  const { done, ...stopped } = JSON.parse((result as string).slice(1, -1))
  // Before the event loop of the process came to anything else; the native step ends when its op does.
  expect(stopped).toEqual({ name: 'FpdtError', code: 'stopped', turns: 1 })
  expect(done).toBeGreaterThan(0)
  expect(done).toBeLessThan(MANY)
  expect((await kernel.run('(await run.step(text)).step')).result).toBe(String(done + 1))
})

it('comm messages are answered while a training step runs, also on the main shell', async () => {
  await kernel.run("import { onComm } from 'fpdt/comm'\nonComm('echo', (comm) => comm.onMessage(({ data }) => comm.send(data)))")
  await kernel.idle(kernel.send('shell', 'comm_open', { comm_id: 'c', target_name: 'echo', data: {} }))
  const sent = kernel.execute(`console.log('steps')\nfor await (const _ of run.steps(text, ${MANY}));`)
  await kernel.until(({ parent, content }) => parent.msg_id === sent && content.text === 'steps\n')
  const isDone = () => kernel.received.some(({ header, parent }) => parent.msg_id === sent && header.msg_type === 'execute_reply')
  let answered = 0
  for (; answered < 20; answered++) await kernel.idle(kernel.send('shell', 'comm_msg', { comm_id: 'c', data: { answered } }))
  expect(isDone()).toBe(false)
  expect(kernel.received.filter(({ header }) => header.msg_type === 'comm_msg')).toHaveLength(answered)
  await kernel.interrupt()
  expect((await kernel.finished(sent)).error?.ename).toBe('KeyboardInterrupt')
})

it('each cell that trains shows the run once, also when it is run again and after a cell that ended with the run', async () => {
  await kernel.run(
    'const small = await device.train(llama({ layers: 1, width: 64, heads: 4, kvHeads: 2, feedForward: 96, vocab: 50257 }), { sequence: 512, chunk: 256 })',
  )
  const id = ((await kernel.run('small.head.run_id')).result as string).slice(1, -1)
  const shownBy = async (code: string): Promise<number> => {
    const { error, outputs } = await kernel.run(code)
    expect(error).toBeUndefined()
    return outputs.filter(({ type, content }) => type === 'display_data' && (content.transient as { display_id?: string } | undefined)?.display_id === id)
      .length
  }
  const training = 'for (let i = 0; i < 3; i++) (await small.step(text)).loss'
  expect(await shownBy('small')).toBe(1)
  for (let times = 0; times < 3; times++) expect(await shownBy(training)).toBe(1)
  expect(await shownBy('await small.measurePeak()')).toBe(0)
  await kernel.run('await small.close()')
})
