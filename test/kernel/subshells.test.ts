import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TestKernel } from './client.js'

let kernel: TestKernel
beforeAll(async () => {
  kernel = await TestKernel.start()
})
afterAll(() => kernel.close())

const create = async () => (await kernel.request('control', 'create_subshell_request', {})).subshell_id as string
const remove = (subshell_id: string) => kernel.request('control', 'delete_subshell_request', { subshell_id })
const list = async () => (await kernel.request('control', 'list_subshell_request', {})).subshell_id as string[]
const on = (subshell: string, code: string, options: object = {}) => kernel.finished(kernel.execute(code, options, subshell))
const WAIT = 'await new Promise((resolve) => setTimeout(resolve, 60_000))'
const isReplied = (sent: string) => kernel.received.some(({ header, parent }) => header.msg_type === 'execute_reply' && parent.msg_id === sent)
/** Resolves when the cell has printed. */
const printed = (sent: string) => kernel.until(({ header, parent }) => header.msg_type === 'stream' && parent.msg_id === sent)

describe('subshells', () => {
  it('are offered, created, listed and deleted', async () => {
    expect((await kernel.request('shell', 'kernel_info_request', {})).supported_features).toContain('kernel subshells')
    expect(await list()).toEqual([])
    const [one, two] = [await create(), await create()]
    expect(await list()).toEqual([one, two])
    expect(await remove(one)).toEqual({ status: 'ok' })
    expect(await list()).toEqual([two])
    expect(await remove(one)).toMatchObject({ status: 'error', evalue: expect.stringContaining(two) })
    await remove(two)
  })

  it('of an unknown id are an error of the request, between busy and idle', async () => {
    const sent = kernel.execute('1', {}, 'nowhere')
    const { reply, outputs } = await kernel.finished(sent)
    expect(reply).toMatchObject({ status: 'error', evalue: expect.stringContaining('no subshell "nowhere"') })
    expect(outputs).toMatchObject([{ type: 'error', content: { evalue: reply.evalue } }])
  })

  it('run while a cell of the main shell awaits, and see its variables', async () => {
    const subshell = await create()
    const waiting = kernel.execute('const shared = 7\nconsole.log("waiting")\nawait new Promise((resolve) => { globalThis.wake = resolve })')
    await printed(waiting)
    expect((await on(subshell, 'shared + 1')).result).toBe('8')
    expect(isReplied(waiting)).toBe(false)
    await on(subshell, 'wake("from the subshell")')
    expect((await kernel.finished(waiting)).result).toBe("'from the subshell'")
    await remove(subshell)
  })

  it('run one cell after another each', async () => {
    const subshell = await create()
    const first = kernel.execute('await new Promise((resolve) => setTimeout(resolve, 50)); globalThis.order = ["first"]', {}, subshell)
    const second = kernel.execute('order.push("second"); order', {}, subshell)
    expect((await kernel.finished(second)).result).toBe("[ 'first', 'second' ]")
    expect(isReplied(first)).toBe(true)
    await remove(subshell)
  })

  it('count their own cells, and stop only their own on an error', async () => {
    const subshell = await create()
    const main = (await kernel.run('0')).reply.execution_count as number
    expect((await on(subshell, '0')).reply.execution_count).toBe(1)
    expect((await on(subshell, '0')).reply.execution_count).toBe(2)
    expect((await kernel.run('0')).reply.execution_count).toBe(main + 1)

    const blocker = kernel.execute('await new Promise((resolve) => { globalThis.wake = resolve })')
    const queuedOnMain = kernel.execute("'main went on'")
    const failing = kernel.execute("throw new Error('in the subshell')", {}, subshell)
    const queued = kernel.execute("'never'", {}, subshell)
    expect((await kernel.finished(failing)).error?.traceback).toMatch(/at Cell \[3\] of subshell \d+ line 1:7/)
    expect((await kernel.finished(queued)).reply).toMatchObject({ status: 'error', ename: 'Aborted' })
    await on(subshell, 'wake()')
    await kernel.finished(blocker)
    expect((await kernel.finished(queuedOnMain)).result).toBe("'main went on'")
    await remove(subshell)
  })

  it('show their outputs in their own cells, also late ones, while others print', async () => {
    const subshell = await create()
    const printer = (name: string) => `for (let i = 0; i < 50; i++) { console.log('${name}', i); await new Promise((resolve) => setTimeout(resolve, 1)) }
setTimeout(() => console.log('${name} late'), 100)`
    const [a, b] = [kernel.execute(printer('a')), kernel.execute(printer('b'), {}, subshell)]
    await Promise.all([kernel.finished(a), kernel.finished(b)])
    for (const [name, sent] of [
      ['a', a],
      ['b', b],
    ] as const) {
      await kernel.until(({ parent, content }) => parent.msg_id === sent && String(content.text ?? '').endsWith('late\n'))
      const text = kernel
        .outputsOf(sent)
        .map(({ content }) => content.text)
        .join('')
      expect(text).toBe([...Array.from({ length: 50 }, (_, i) => `${name} ${i}\n`), `${name} late\n`].join(''))
    }
    await remove(subshell)
  })

  it("leave what native code writes to the main shell's cell while one runs", async () => {
    const subshell = await create()
    const waiting = kernel.execute('console.log("waiting")\nawait new Promise((resolve) => { globalThis.wake = resolve })')
    await printed(waiting)
    const { stdout } = await on(
      subshell,
      "import { execSync } from 'node:child_process'\nexecSync('echo native', { stdio: 'inherit' })\nconsole.log('own')\nwake()",
    )
    expect(stdout).toBe('own\n')
    expect((await kernel.finished(waiting)).stdout).toBe('waiting\nnative\n')
    // With no such cell it is that of the subshell.
    expect((await on(subshell, "execSync('echo native', { stdio: 'inherit' })")).stdout).toBe('native\n')
    await remove(subshell)
  })

  it('are all interrupted at once, those that wait and the one that keeps the thread', async () => {
    const [one, two] = [await create(), await create()]
    const waiting = [kernel.execute(`console.log('in one'); ${WAIT}`, {}, one), kernel.execute(`console.log('in two'); ${WAIT}`, {}, two)]
    await Promise.all(waiting.map(printed))
    const spinning = kernel.execute("console.log('spins'); for (;;) {}")
    await printed(spinning)
    await kernel.interrupt()
    for (const sent of [...waiting, spinning]) expect((await kernel.finished(sent)).error?.ename).toBe('KeyboardInterrupt')
    expect((await on(one, '1 + 1')).result).toBe('2')
    await Promise.all([remove(one), remove(two)])
  })

  it('are deleted while they run: that cell ends as it would, what waits behind it does not run', async () => {
    const subshell = await create()
    const running = kernel.execute("console.log('running'); await new Promise((resolve) => { globalThis.wake = resolve }); 'ended'", {}, subshell)
    const queued = kernel.execute('globalThis.ran = true', {}, subshell)
    await printed(running)
    expect(await remove(subshell)).toEqual({ status: 'ok' })
    expect((await on(subshell, '1')).reply.status).toBe('error')
    await kernel.run('wake()')
    expect((await kernel.finished(running)).result).toBe("'ended'")
    expect((await kernel.finished(queued)).reply).toMatchObject({ status: 'error', ename: 'Aborted', evalue: expect.stringContaining('deleted') })
    expect((await kernel.run('typeof ran')).result).toBe("'undefined'")
  })

  it('all end when their process does, and go on in the next one', async () => {
    const subshell = await create()
    const waiting = kernel.execute(`console.log('waits'); ${WAIT}`, {}, subshell)
    await printed(waiting)
    const { error } = await kernel.run('process.exit(4)')
    expect(error?.evalue).toContain('exited with code 4')
    expect((await kernel.finished(waiting)).error?.evalue).toContain('exited with code 4')
    expect((await on(subshell, '1 + 1')).result).toBe('2')
    await remove(subshell)
  })
})
