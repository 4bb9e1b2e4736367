/** A small Jupyter client for tests: starts the built kernel with a connection file, speaks to all its sockets. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'
import { Dealer, Subscriber } from 'zeromq'
import { type Content, type Message, type MessageExtra, Session } from '../../kernel/src/jupyter/message.js'
import { Wire } from '../../kernel/src/jupyter/wire.js'
import { freePorts } from '../ports.js'

export const MAIN = fileURLToPath(new URL('../../kernel/lib/main.js', import.meta.url))
export const KEY = 'b7f1c3a0'
const CHANNELS = ['shell', 'control', 'stdin', 'hb'] as const
type Channel = (typeof CHANNELS)[number]
/** An answer of the language server that takes longer is not waited for. */
const GIVEN_UP_MS = 900

export interface Run {
  readonly reply: Content
  /** Everything on IOPub between `busy` and `idle`, without execute_input. */
  readonly outputs: readonly { readonly type: string; readonly content: Content }[]
  readonly stdout: string
  readonly stderr: string
  /** text/plain of the result. */
  readonly result: string | undefined
  /** Without colours. */
  readonly error: { readonly ename: string; readonly evalue: string; readonly traceback: string } | undefined
}

export interface Setup {
  /** Fields of the connection file that differ from the usual ones: 127.0.0.1, free ports, signed. */
  readonly connection?: Readonly<Record<string, unknown>>
  readonly env?: NodeJS.ProcessEnv
}

export class TestKernel {
  readonly received: Message[] = []
  readonly exit: Promise<number | null>
  /** What the supervisor wrote to the terminal of the server. */
  log = ''
  readonly #wire: Wire
  readonly #session = new Session()
  readonly #waiting = new Set<() => void>()
  readonly #iopub: Subscriber
  private readonly sockets: Record<Channel, Dealer>

  private constructor(
    readonly process: ChildProcess,
    readonly folder: string,
    /** Addresses, for further clients. */
    readonly addresses: Readonly<Record<Channel | 'iopub', string>>,
    key: string,
    security: object,
  ) {
    this.#wire = new Wire(key)
    // One name on all channels, as jupyter_client has it: the kernel asks for input where the request came from.
    const routingId = this.#session.id
    const connect = (channel: Channel) => {
      const socket = new Dealer({ linger: 0, routingId, ...security })
      socket.connect(addresses[channel])
      return socket
    }
    this.sockets = { shell: connect('shell'), control: connect('control'), stdin: connect('stdin'), hb: connect('hb') }
    this.#iopub = new Subscriber({ linger: 0, ...security })
    this.exit = new Promise((resolve) => process.on('exit', resolve))
    process.stderr?.on('data', (chunk) => {
      this.log += chunk
    })
    this.#iopub.connect(addresses.iopub)
    this.#iopub.subscribe()
    void this.#listen(this.#iopub)
    for (const channel of ['shell', 'control', 'stdin'] as const) void this.#listen(this.sockets[channel])
  }

  /** In a folder of its own, unless the test prepared one. */
  static async start(folder = mkdtempSync(join(tmpdir(), 'fpdt-kernel-')), { connection = {}, env = {} }: Setup = {}): Promise<TestKernel> {
    if (!existsSync(MAIN)) throw new Error(`${MAIN} is missing; build the kernel first: npx tsc -p kernel`)
    const ports = Object.fromEntries((await freePorts(5)).map((port, index) => [`${(['iopub', ...CHANNELS] as const)[index]}_port`, port]))
    const fields = { transport: 'tcp', ip: '127.0.0.1', key: KEY, signature_scheme: 'hmac-sha256', ...ports, ...connection } as Record<string, string>
    const file = join(folder, 'connection.json')
    writeFileSync(file, JSON.stringify(fields), { mode: 0o600 })
    const child = spawn(process.execPath, [MAIN, file], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, JUPYTER_DATA_DIR: folder, ...env },
    })
    const { curve_publickey: curvePublicKey, curve_secretkey: curveSecretKey } = fields
    const security = curvePublicKey === undefined ? {} : { curveServerKey: curvePublicKey, curvePublicKey, curveSecretKey }
    const ip = fields.ip === '*' ? '127.0.0.1' : fields.ip
    const at = (channel: string) => `${fields.transport}://${ip}${fields.transport === 'tcp' ? ':' : '-'}${fields[`${channel}_port`]}`
    const addresses = { iopub: at('iopub'), shell: at('shell'), control: at('control'), stdin: at('stdin'), hb: at('hb') }
    const kernel = new TestKernel(child, folder, addresses, fields.key as string, security)
    await kernel.until(({ header }) => header.msg_type === 'iopub_welcome')
    return kernel
  }

  /** Sends a request and waits for its reply and its idle, if one comes. */
  async request(channel: 'shell' | 'control', type: string, content: object): Promise<Content> {
    const sent = this.send(channel, type, content)
    const reply = await this.until(
      ({ header, parent }) => parent.msg_id === sent && header.msg_type === type.replace('_request', '_reply') && header.msg_type !== type,
    )
    await this.idle(sent)
    return reply.content
  }

  idle(request: string): Promise<Message> {
    return this.until(({ parent, content }) => parent.msg_id === request && content.execution_state === 'idle')
  }

  /** Returns the message's id. */
  send(
    channel: 'shell' | 'control' | 'stdin',
    type: string,
    content: object,
    { subshell, ...extra }: MessageExtra & { readonly subshell?: string } = {},
  ): string {
    const message = this.#session.message(type, content, undefined, extra)
    const header = subshell === undefined ? message.header : { ...message.header, subshell_id: subshell }
    void this.sendFrames(channel, this.#wire.encode({ ...message, header }))
    return message.header.msg_id
  }

  /** A signed request as frames, for tests that spoil it. */
  frames(type: string, content: object): Uint8Array[] {
    return this.#wire.encode(this.#session.message(type, content))
  }

  async sendFrames(channel: Channel, frames: Uint8Array[]): Promise<void> {
    const before = this.#sending.get(channel) ?? Promise.resolve()
    const sent = before.then(() => this.sockets[channel].send(frames))
    this.#sending.set(channel, sent)
    await sent
  }
  readonly #sending = new Map<Channel, Promise<void>>()

  receiveHeartbeat(): Promise<Buffer[]> {
    return this.sockets.hb.receive()
  }

  async run(code: string, options: object = {}): Promise<Run> {
    return this.finished(this.execute(code, options))
  }

  /** Sends an execute_request and does not wait; `finished` does. */
  execute(code: string, options: object = {}, subshell?: string): string {
    const content = { code, silent: false, store_history: true, user_expressions: {}, allow_stdin: false, stop_on_error: true, ...options }
    return this.send('shell', 'execute_request', content, subshell === undefined ? {} : { subshell })
  }

  /** The run that an execute_request of that id asked for. */
  async finished(sent: string, timeout_ms?: number): Promise<Run> {
    const reply = await this.until(({ header, parent }) => parent.msg_id === sent && header.msg_type === 'execute_reply', timeout_ms)
    await this.idle(sent)
    const outputs = this.outputsOf(sent)
    const text = (name: string) => outputs.flatMap(({ type, content }) => (type === 'stream' && content.name === name ? [content.text as string] : [])).join('')
    const result = outputs.find(({ type }) => type === 'execute_result')?.content.data as Record<string, string> | undefined
    const error = outputs.find(({ type }) => type === 'error')?.content as { ename: string; evalue: string; traceback: string[] } | undefined
    return {
      reply: reply.content,
      outputs,
      stdout: text('stdout'),
      stderr: text('stderr'),
      result: result?.['text/plain'],
      error: error && { ...error, traceback: stripVTControlCharacters(error.traceback.join('\n')) },
    }
  }

  outputsOf(sent: string): Run['outputs'] {
    return this.received
      .filter(({ header, parent }) => parent.msg_id === sent && !/^(status|execute_input|execute_reply)$/.test(header.msg_type))
      .map(({ header, content }) => ({ type: header.msg_type, content }))
  }

  /** The content of a complete_reply. Asks again where it is empty because the language server answered too late, as on a busy machine: `tries` says how often it asked. */
  async complete(code: string, cursor_pos: number): Promise<Content & { readonly tries: number }> {
    for (let tries = 1; ; tries++) {
      const asked_ms = performance.now()
      const reply = await this.request('shell', 'complete_request', { code, cursor_pos })
      if ((reply.matches as readonly string[]).length > 0 || performance.now() - asked_ms < GIVEN_UP_MS || tries === 10) return { ...reply, tries }
    }
  }

  async until(predicate: (message: Message) => boolean, timeout_ms = 20_000): Promise<Message> {
    const deadline = Date.now() + timeout_ms
    for (;;) {
      const found = this.received.find(predicate)
      if (found !== undefined) return found
      if (Date.now() > deadline) throw new Error(`no such message within ${timeout_ms} ms; the kernel said: ${this.log}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 200)
        const wake = () => {
          clearTimeout(timer)
          this.#waiting.delete(wake)
          resolve()
        }
        this.#waiting.add(wake)
      })
    }
  }

  interrupt(): Promise<Content> {
    return this.request('control', 'interrupt_request', {})
  }

  /** Process id of the executor. */
  async executor(): Promise<number> {
    return Number((await this.run('process.pid')).result)
  }

  /** Ends the kernel however it is, and removes its folder. */
  async close(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) {
      this.process.kill('SIGTERM')
      await this.exit
    }
    for (const socket of [...Object.values(this.sockets), this.#iopub]) socket.close()
    rmSync(this.folder, { recursive: true, force: true })
  }

  async #listen(socket: Dealer | Subscriber): Promise<void> {
    for await (const frames of socket) {
      const message = this.#wire.decode(frames as Buffer[])
      if ('refused' in message) throw new Error(`the kernel sent a message that is none: ${message.refused}`)
      this.received.push(message)
      for (const wake of [...this.#waiting]) wake()
    }
  }
}

/** Whether a process runs; one that is dead but not yet waited for does not. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

/** What a process has computed so far, all its threads together. Ticks of Linux are 10 ms. */
export function cpu_ms(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ')
  return 10 * (Number(fields[11]) + Number(fields[12])) // utime, stime
}

/** All living descendants of a process. */
export function descendants(pid: number): number[] {
  const children = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((id) => isAlive(id) && parentOf(id) === pid)
  return children.flatMap((child) => [child, ...descendants(child)])
}

function parentOf(pid: number): number | undefined {
  try {
    return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  } catch {
    return undefined
  }
}

/** Waits until a condition holds. */
export async function eventually(holds: () => boolean, timeout_ms = 10_000): Promise<void> {
  const deadline = Date.now() + timeout_ms
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`not within ${timeout_ms} ms: ${holds}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
