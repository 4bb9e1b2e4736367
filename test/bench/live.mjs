/**
 * What it costs that a page follows a training: CPU time of the supervisor and of the executor's main thread with a headless client that
 * follows and acknowledges, less the same without one, as a share of the CPU time of the steps. Steps with and without take turns.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Dealer, Subscriber } from 'zeromq'
import { Session } from '../../kernel/lib/jupyter/message.js'
import { Wire } from '../../kernel/lib/jupyter/wire.js'
import { CREDIT, LIVE_TARGET, LIVE_VERSION } from '../../kernel/lib/trace/live/messages.js'

const ROUNDS = 4
/** Of the first notebook, on a shorter sequence: a step takes some seconds. */
const TRAIN = `
  import { Device, llama, longText } from 'fpdt'
  const device = await Device.cpu({ memory: '1 GiB', host: '4 GiB' })
  const model = llama({ layers: 4, width: 256, heads: 4, kvHeads: 2, feedForward: 688, vocab: 50257, tied: true })
  const run = await device.train(model, { sequence: '8K', chunk: '1K', ranks: 2 })
  const text = longText('lib.dom.d.ts')
  await run.step(text)
  run.head.run_id`
const MAIN = fileURLToPath(new URL('../../kernel/lib/main.js', import.meta.url))
const TARGET = 0.02

export async function live() {
  const kernel = await Kernel.start()
  try {
    const run_id = (await kernel.run(TRAIN)).slice(1, -1)
    const executor = Number(await kernel.run('process.pid'))
    const counts = { spans: 0, bytes: 0 }
    const follow = () => follower(kernel, run_id, counts)
    const total = { alone: noTime(), followed: noTime() }
    for (let round = 0; round < ROUNDS; round++) {
      for (const name of ['alone', 'followed']) {
        const stop = name === 'followed' ? await follow() : () => {}
        const before = times(kernel.pid, executor)
        await kernel.run('(await run.step(text)).step')
        const after = times(kernel.pid, executor)
        stop()
        for (const key of Object.keys(after)) total[name][key] += after[key] - before[key]
      }
    }
    report(total, counts)
  } finally {
    await kernel.close()
  }
}

function report({ alone, followed }, { spans, bytes }) {
  const row = (name, { supervisor, main, step, wall }) =>
    console.log(`  ${name.padEnd(10)} ${[supervisor, main, step, wall].map((seconds) => `${(seconds / ROUNDS).toFixed(2)} s`.padStart(12)).join('')}`)
  console.log(
    `\nFollowing a training (CPU time a step)\n  ${' '.repeat(10)} ${['supervisor', 'main thread', 'executor', 'clock'].map((word) => word.padStart(12)).join('')}`,
  )
  row('alone', alone)
  row('followed', followed)
  const extra = followed.supervisor + followed.main - alone.supervisor - alone.main
  console.log(
    `  following costs ${((100 * extra) / followed.step).toFixed(2)} % of a step's CPU time (${(100 * TARGET).toFixed(0)} % at most); ${(spans / followed.wall).toFixed(1)} messages and ${(bytes / followed.wall / 1024).toFixed(0)} KiB of spans a second`,
  )
}

/** CPU seconds so far. */
function times(supervisor, executor) {
  return {
    supervisor: cpuSeconds(`/proc/${supervisor}/stat`),
    main: cpuSeconds(`/proc/${executor}/task/${executor}/stat`),
    step: cpuSeconds(`/proc/${executor}/stat`),
    wall: performance.now() / 1000,
  }
}
function noTime() {
  return { supervisor: 0, main: 0, step: 0, wall: 0 }
}
/** utime and stime, in ticks of 10 ms. */
function cpuSeconds(file) {
  const fields = readFileSync(file, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Follows a run until the returned function is called. */
async function follower(kernel, run_id, counts) {
  const comm_id = `page-${Math.random()}`
  const tell = (data) => kernel.send('comm_msg', { comm_id, data })
  let acknowledged = 0
  let isCounted = false
  let isPlanned = () => {}
  const planned = new Promise((resolve) => {
    isPlanned = resolve
  })
  const forget = kernel.listen(({ header, content, buffers }) => {
    const { op, seq } = header.msg_type === 'comm_msg' && content.comm_id === comm_id ? content.data : {}
    if (op === 'plan') isPlanned()
    if (op === 'spans' && isCounted) {
      counts.spans++
      counts.bytes += buffers[0].byteLength
    }
    if (seq - acknowledged >= CREDIT / 2) {
      acknowledged = seq
      tell({ op: 'ack', run_id, seq })
    }
  })
  kernel.send('comm_open', { comm_id, target_name: LIVE_TARGET, data: { version: LIVE_VERSION } })
  tell({ op: 'follow', run_id })
  await planned
  await new Promise((resolve) => setTimeout(resolve, 1000)) // what there was of earlier steps has arrived
  isCounted = true
  return () => {
    forget()
    kernel.send('comm_close', { comm_id, data: {} })
  }
}

/** As little of a Jupyter client as this needs. */
class Kernel {
  static async start() {
    const folder = mkdtempSync(join(tmpdir(), 'fpdt-live-'))
    const names = ['shell', 'control', 'stdin', 'iopub', 'hb']
    const ports = await freePorts(names.length)
    const key = 'live'
    const connection = { transport: 'tcp', ip: '127.0.0.1', key, signature_scheme: 'hmac-sha256' }
    for (const [i, name] of names.entries()) Object.assign(connection, { [`${name}_port`]: ports[i] })
    const file = join(folder, 'connection.json')
    writeFileSync(file, JSON.stringify(connection), { mode: 0o600 })
    const child = spawn(process.execPath, [MAIN, file], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'inherit'],
      env: { ...process.env, JUPYTER_DATA_DIR: folder },
    })
    const kernel = new Kernel(child, folder, key)
    kernel.shell.connect(`tcp://127.0.0.1:${ports[0]}`)
    kernel.iopub.connect(`tcp://127.0.0.1:${ports[3]}`)
    kernel.iopub.subscribe()
    const welcome = kernel.message(({ header }) => header.msg_type === 'iopub_welcome')
    for (const socket of [kernel.shell, kernel.iopub]) void kernel.read(socket)
    await welcome
    return kernel
  }
  constructor(child, folder, key) {
    this.child = child
    this.folder = folder
    this.wire = new Wire(key)
    this.session = new Session()
    this.listeners = new Set()
    this.shell = new Dealer({ linger: 0 })
    this.iopub = new Subscriber({ linger: 0 })
    this.sending = Promise.resolve()
  }
  get pid() {
    return this.child.pid
  }
  async read(socket) {
    for await (const frames of socket) {
      const message = this.wire.decode(frames)
      for (const listener of [...this.listeners]) listener(message)
    }
  }
  listen(listener) {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }
  message(is) {
    return new Promise((resolve) => {
      const forget = this.listen((message) => {
        if (!is(message)) return
        forget()
        resolve(message)
      })
    })
  }
  send(type, content) {
    const message = this.session.message(type, content)
    this.sending = this.sending.then(() => this.shell.send(this.wire.encode(message)))
    return message.header.msg_id
  }
  /** The text of a cell's last value. */
  async run(code) {
    let text = ''
    const sent = this.send('execute_request', { code, silent: false, store_history: false, user_expressions: {}, allow_stdin: false, stop_on_error: true })
    const forget = this.listen(({ header, parent, content }) => {
      if (parent.msg_id !== sent) return
      if (header.msg_type === 'execute_result') text = content.data['text/plain']
      if (header.msg_type === 'error') text = `${content.ename}: ${content.evalue}`
    })
    const [{ content }] = await Promise.all([
      this.message(({ header, parent }) => header.msg_type === 'execute_reply' && parent.msg_id === sent),
      this.message(({ parent, content: { execution_state } }) => parent.msg_id === sent && execution_state === 'idle'),
    ])
    forget()
    if (content.status !== 'ok') throw new Error(`the cell failed: ${text}`)
    return text
  }
  async close() {
    this.child.kill('SIGTERM')
    await new Promise((resolve) => this.child.on('exit', resolve))
    for (const socket of [this.shell, this.iopub]) socket.close()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

async function freePorts(count) {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise((resolve) => {
          const server = createServer().listen(0, '127.0.0.1', () => resolve(server))
        }),
    ),
  )
  const ports = servers.map((server) => server.address().port)
  for (const server of servers) server.close()
  return ports
}
