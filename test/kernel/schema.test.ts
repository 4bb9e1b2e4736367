/** One session that makes the kernel send every type of message it has; schema.py validates what came. */
import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Message } from '../../kernel/src/jupyter/message.js'
import { TestKernel } from './client.js'

interface Report {
  readonly wrong: readonly string[]
  readonly types: readonly string[]
  readonly lax: readonly string[]
}

let kernel: TestKernel
let messages: readonly Message[]
let report: Report

async function session(): Promise<void> {
  const shell = (type: string, content: object = {}) => kernel.request('shell', type, content)
  const control = (type: string, content: object = {}) => kernel.request('control', type, content)
  await control('kernel_info_request')
  await shell('kernel_info_request')

  await kernel.run('console.log("out"); console.error("err"); ({ a: 1 })', { user_expressions: { good: '1 + 1', bad: 'missing' } })
  await kernel.run('display({ "text/html": "<b>b</b>", "application/json": { a: [1] } }, { id: "shown" })')
  await kernel.run('display({ "text/plain": "again" }, { id: "shown", update: true }); display.clear({ wait: true })')
  await kernel.run('JSON.stringify?')
  await kernel.run('silent = 1', { silent: true })
  const failing = ['throw new RangeError("wrong")', '1'].map((code) => kernel.execute(code))
  for (const cell of failing) await kernel.finished(cell)
  await kernel.run('const x = ')
  await shell('execute_request', { code: 5 })

  const asking = kernel.execute('prompt("Name?")', { allow_stdin: true })
  await kernel.until(({ header }) => header.msg_type === 'input_request')
  kernel.send('stdin', 'input_reply', { value: 'Ada' })
  await kernel.finished(asking)

  await shell('complete_request', { code: 'Math.', cursor_pos: 5 })
  await shell('complete_request', { code: 'Math.', cursor_pos: -1 })
  await shell('inspect_request', { code: 'JSON.stringify', cursor_pos: 6, detail_level: 0 })
  await shell('inspect_request', { code: '      ', cursor_pos: 2, detail_level: 1 })
  for (const code of ['1', 'if (x) {', 'const = 1', '('.repeat(5000)]) await shell('is_complete_request', { code })
  for (const content of [
    { hist_access_type: 'tail', n: 3, output: true },
    { hist_access_type: 'range', session: 0, start: 1, stop: 3 },
    { hist_access_type: 'search', pattern: '*', n: 2 },
  ]) {
    await shell('history_request', { output: false, raw: true, ...content })
  }

  await kernel.run(
    "import { onComm, openComm } from 'fpdt/comm'; onComm('echo', (comm) => comm.onMessage(({ data, buffers }) => comm.send(data, { buffers })))",
  )
  await kernel.idle(kernel.send('shell', 'comm_open', { comm_id: 'known', target_name: 'echo', data: {} }))
  await kernel.idle(kernel.send('shell', 'comm_msg', { comm_id: 'known', data: { n: 1 } }, { buffers: [Buffer.from([1, 2, 3])] }))
  await shell('comm_info_request', {})
  await shell('comm_info_request', { target_name: 'echo' })
  await kernel.idle(kernel.send('shell', 'comm_close', { comm_id: 'known', data: {} }))
  await kernel.idle(kernel.send('shell', 'comm_open', { comm_id: 'unknown', target_name: 'nobody', data: {} }))
  await kernel.run('const comm = openComm("mine", { a: 1 }); comm.send({ b: 2 }); comm.close()')

  const { subshell_id } = await control('create_subshell_request')
  await kernel.finished(kernel.execute('console.log("beside")', {}, subshell_id as string))
  await control('list_subshell_request')
  await control('delete_subshell_request', { subshell_id })
  await control('delete_subshell_request', { subshell_id: 'gone' })

  const endless = kernel.execute('console.log("go"); while (true) {}')
  await kernel.until(({ content, parent }) => parent.msg_id === endless && content.text === 'go\n')
  await control('interrupt_request')
  await kernel.finished(endless)
  await kernel.run('process.exit(3)')
  await kernel.run('1')
  await control('shutdown_request', { restart: false })
  await kernel.exit
}

async function validate(all: readonly Message[]): Promise<Report> {
  const file = (path: string) => fileURLToPath(new URL(path, import.meta.url))
  const child = spawn(file('../../.venv/bin/python'), [file('./schema.py')], { stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin.end(
    all.map(({ header, parent, metadata, content }) => `${JSON.stringify({ header, parent_header: parent, metadata, content, buffers: [] })}\n`).join(''),
  )
  return JSON.parse(await text(child.stdout)) as Report
}

describe('the messages of a kernel', () => {
  beforeAll(async () => {
    kernel = await TestKernel.start()
    await session()
    messages = [...kernel.received]
    report = await validate(messages)
  })
  afterAll(() => kernel.close())

  it('are as the protocol says', () => {
    expect(report.wrong).toEqual([])
  })

  it('were of every type that it sends, errors among them', () => {
    expect(report.types).toEqual([
      ...['clear_output', 'comm_close', 'comm_info_reply', 'comm_msg', 'comm_open', 'complete_reply', 'complete_reply:error', 'create_subshell_reply'],
      ...['delete_subshell_reply', 'delete_subshell_reply:error', 'display_data', 'error', 'execute_input', 'execute_reply', 'execute_reply:error'],
      ...['execute_result', 'history_reply', 'input_request', 'inspect_reply', 'interrupt_reply', 'iopub_welcome', 'is_complete_reply', 'kernel_info_reply'],
      ...['list_subshell_reply', 'shutdown_reply', 'status', 'stream', 'update_display_data'],
    ])
  })

  it('would not have been, with any field spoiled: the schema says something of each', () => {
    expect(report.lax).toEqual([])
  })

  it('have one session, ids of their own, and parents that the client sent', () => {
    expect(new Set(messages.map(({ header }) => header.session)).size).toBe(1)
    expect(new Set(messages.map(({ header }) => header.msg_id)).size).toBe(messages.length)
    const free = messages.filter(({ parent }) => parent.msg_id === undefined).map(({ header }) => header.msg_type)
    expect([...new Set(free)].sort()).toEqual(['iopub_welcome', 'status'])
  })
})
