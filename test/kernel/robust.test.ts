/** What user code can do to the descriptors and the processes around it, and how the kernel goes on. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { eventually, isAlive, type Setup, TestKernel } from './client.js'

let kernel: TestKernel
const start = async (setup: Setup = {}) => {
  kernel = await TestKernel.start(undefined, setup)
}
afterEach(() => kernel.close())

const SPAWN = "const { spawn, execSync } = require('node:child_process'); const { pid } = spawn('sleep', ['1000'], { stdio: 'inherit', detached: true });"
/** Of a shell that Node could not name: the executor prints into Node's sockets. */
const SOCKETS = { env: { 'BASH_FUNC_module%%': '() { :; }' } }

for (const [what, setup] of [
  ['pipes', {}],
  ['sockets', SOCKETS],
] as const) {
  it(`the end of an executor is seen while a process it detached holds its ${what}`, async () => {
    await start(setup)
    let sleeping = 0
    try {
      const ended = await kernel.run(`${SPAWN} console.log(pid); process.exit(3)`)
      sleeping = Number(ended.stdout)
      expect(sleeping).toBeGreaterThan(0)
      expect(ended.error?.evalue).toMatch('exited with code 3 while this cell ran')
      expect((await kernel.run('1 + 1')).result).toBe('2')
    } finally {
      if (sleeping > 0) process.kill(sleeping, 'SIGKILL')
    }
  })
}

it('text of a cell is never taken for a sign of the kernel', async () => {
  await start(SOCKETS)
  const { stdout, error } = await kernel.run("for (let i = 0; i < 3; i++) { console.log('pipes'); await new Promise((resolve) => setTimeout(resolve, 50)) }")
  expect(error).toBeUndefined()
  expect(stdout).toBe('pipes\npipes\npipes\n')
})

it('bytes that a cell writes among the notes end its process with words, also where they announce a long note', async () => {
  await start()
  const { error } = await kernel.run("require('node:fs').writeSync(5, Buffer.from([255, 255, 0, 0, 0, 0, 0, 0])); 1")
  expect(error?.evalue).toMatch(/wrote to file descriptor 5, which is the kernel's, and was ended/)
  expect((await kernel.run('1 + 1')).result).toBe('2')
})

it('a cell that ends within a character leaves nothing of it to the next', async () => {
  await start()
  expect((await kernel.run('process.stdout.write(Buffer.from([0xe2, 0x82])); 1')).stdout).toBe('\ufffd')
  expect((await kernel.run("console.log('next')")).stdout).toBe('next\n')
  const parted = "process.stdout.write(Buffer.from([0xe2, 0x82])); process.stderr.write('x'); process.stdout.write(Buffer.from([0xac]))"
  expect((await kernel.run(parted)).stdout).toBe('€')
})

it('what runs long is heard, however much else begins and ends meanwhile', async () => {
  await start()
  await kernel.run(
    "import { onComm } from 'fpdt/comm'; onComm('t', (comm) => comm.onMessage(async ({ data }) => { if (data.train) { await new Promise((go) => { globalThis.go = go }); console.log('trained') } }))",
  )
  kernel.send('shell', 'comm_open', { comm_id: 'a', target_name: 't', data: {} })
  const training = kernel.send('shell', 'comm_msg', { comm_id: 'a', data: { train: true } })
  let last = ''
  for (let i = 0; i < 300; i++) last = kernel.send('shell', 'comm_msg', { comm_id: 'a', data: { i } })
  await kernel.idle(last)
  await kernel.run('globalThis.go()')
  await kernel.idle(training)
  expect(kernel.outputsOf(training)).toEqual([{ type: 'stream', content: { name: 'stdout', text: 'trained\n' } }])

  const { subshell_id } = await kernel.request('control', 'create_subshell_request', {})
  const code =
    "const shown = display('old'); setTimeout(function look() { if (globalThis.late) shown.update('new'); else setTimeout(look, 20) }, 20); await new Promise((go) => { globalThis.go = go }); console.log(prompt('who'))\n42"
  const long = kernel.execute(code, { allow_stdin: true }, subshell_id as string)
  await kernel.until(({ header, parent }) => parent.msg_id === long && header.msg_type === 'display_data')
  const burst = async () => {
    const cells = Array.from({ length: 300 }, () => kernel.execute('1'))
    await kernel.finished(cells.at(-1) as string)
  }
  await burst()
  void kernel.execute('globalThis.go()')
  await kernel.until(({ header, parent }) => parent.msg_id === long && header.msg_type === 'input_request')
  kernel.send('stdin', 'input_reply', { value: 'me' })
  const { stdout, result } = await kernel.finished(long)
  expect({ stdout, result }).toEqual({ stdout: 'me\n', result: '42' })

  // It ended long ago, and what it shows can still change.
  await burst()
  await kernel.run('globalThis.late = true')
  const update = await kernel.until(({ header }) => header.msg_type === 'update_display_data')
  expect(update.content.data).toMatchObject({ 'text/plain': "'new'" })
})

it('what is refused is said in words, where clients look for it', async () => {
  await start()
  const lost = kernel.execute('1', {}, 'nope')
  const { reply, error } = await kernel.finished(lost)
  expect(reply).toMatchObject({ status: 'error', execution_count: 0, evalue: expect.stringContaining('there is no subshell "nope"') })
  expect(error?.evalue).toBe(reply.evalue)
  expect((await kernel.run("display('x', { id: 5 as any })")).error?.evalue).toBe("display: its id is a number, not a string; write { id: 'plot' }")
  const named = await kernel.run('1', { user_expressions: JSON.parse('{ "__proto__": "2", "a": "3" }') })
  expect(Object.keys(named.reply.user_expressions as object)).toEqual(['__proto__', 'a'])
})

it('a cell that its process has not begun when it ended runs in the next one, which says so; one that has begun never runs twice', async () => {
  await start()
  const gone = (how: string) => `The process that runs the cells ${how} since the last cell. All variables are gone.\n`
  const executor = await kernel.executor()
  // Sent when the process has ended, and its pipes are still open.
  const sleeping = Number((await kernel.run(`${SPAWN} setTimeout(() => process.exit(7), 100); pid`)).result)
  try {
    await eventually(() => !isAlive(executor))
    expect(await kernel.run('const x = 2; x')).toMatchObject({ result: '2', stderr: gone('exited with code 7'), error: undefined })
  } finally {
    process.kill(sleeping, 'SIGKILL')
  }
  // Sent while a timer keeps the process busy that ends it.
  await kernel.run(
    "setTimeout(() => { require('node:fs').writeFileSync('busy', ''); for (const end = Date.now() + 500; Date.now() < end; ); process.exit(8) }, 50)",
  )
  await eventually(() => existsSync(join(kernel.folder, 'busy')))
  expect(await kernel.run('const y = 3; y')).toMatchObject({ result: '3', stderr: gone('exited with code 8'), error: undefined })
  const { matches } = await kernel.complete('y.toF', 5)
  expect(matches).toContain('toFixed')

  const { error } = await kernel.run("require('node:fs').appendFileSync('begun', 'x'); process.kill(process.pid, 'SIGKILL')")
  expect(error?.ename).toBe('ExecutorDied')
  await kernel.run('1')
  expect(readFileSync(join(kernel.folder, 'begun'), 'utf8')).toBe('x')
})

it('the second interrupt ends a cell in native code while a process it detached holds its pipes', async () => {
  await start()
  const sent = kernel.execute(`${SPAWN} console.log(pid); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000)`)
  const printed = await kernel.until(({ header, parent }) => parent.msg_id === sent && header.msg_type === 'stream')
  try {
    await kernel.interrupt()
    await kernel.until(({ content }) => content.name === 'stderr')
    await kernel.interrupt()
    expect((await kernel.finished(sent)).error?.evalue).toMatch('the cell was ended together with its process')
  } finally {
    process.kill(Number(printed.content.text), 'SIGKILL')
  }
})
