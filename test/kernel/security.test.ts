import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { descendants, eventually, isAlive, KEY, MAIN, type Setup, TestKernel } from './client.js'

const PORTS = ['shell', 'control', 'iopub', 'stdin', 'hb'] as const

async function start(setup?: Setup): Promise<TestKernel> {
  const kernel = await TestKernel.start(undefined, setup)
  onTestFinished(() => kernel.close())
  return kernel
}

function temporary(): string {
  const folder = mkdtempSync(join(tmpdir(), 'fpdt-security-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return folder
}

/** What a kernel says that does not start. */
async function refusal(fields: object, folder: string): Promise<{ code: number | null; said: string }> {
  const path = join(folder, 'connection.json')
  writeFileSync(path, JSON.stringify({ key: KEY, shell_port: 1, control_port: 2, iopub_port: 3, stdin_port: 4, hb_port: 5, ...fields }), { mode: 0o600 })
  const child = spawn(process.execPath, [MAIN, path], { stdio: ['ignore', 'ignore', 'pipe'], cwd: folder })
  const chunks: Buffer[] = []
  child.stderr.on('data', (chunk) => chunks.push(chunk))
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve))
  return { code, said: Buffer.concat(chunks).toString() }
}

/** Inodes of the sockets that a process holds. */
function sockets(pid: number): Set<string> {
  const links = readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`)
    } catch {
      return '' // closed since
    }
  })
  return new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []))
}

/** Where a process listens: `127.0.0.1:5001`, or the path of a socket file. */
function listeners(pid: number): string[] {
  const own = sockets(pid)
  const rows = (table: string) =>
    readFileSync(`/proc/${pid}/net/${table}`, 'utf8')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
  const internet = ['tcp', 'tcp6', 'udp', 'udp6'].flatMap((table) =>
    // State 0A is LISTEN; a UDP socket is 07 as soon as it is bound.
    rows(table).flatMap((row) => (['0A', '07'].includes(row[3] as string) && own.has(row[9] as string) ? [ip(row[1] as string)] : [])),
  )
  const files = rows('unix').flatMap((row) => (row[3] === '00010000' && own.has(row[6] as string) ? [row[7] ?? ''] : []))
  return [...internet, ...files].sort()
}

/** `0100007F:1389` is 127.0.0.1:5001: the address in the order of this machine's bytes, the port in that of the network. */
function ip(hex: string): string {
  const [address, port] = hex.split(':') as [string, string]
  const bytes = address.match(/../g)?.reverse() ?? []
  return `${bytes.map((byte) => Number.parseInt(byte, 16)).join('.')}:${Number.parseInt(port, 16)}`
}

describe('the sockets of a kernel', () => {
  it('are where the connection file says and nowhere else; the processes it starts listen nowhere', async () => {
    const kernel = await start()
    await kernel.run('setTimeout(() => process.exit(1), 10); await new Promise(() => {})')
    await kernel.run('"in a second executor"')
    await kernel.request('shell', 'complete_request', { code: 'Math.', cursor_pos: 5 })
    const pid = kernel.process.pid as number
    const wanted = PORTS.map((port) => kernel.addresses[port].replace('tcp://', ''))
    expect(listeners(pid)).toEqual(wanted.sort())
    const children = descendants(pid)
    expect(children.length).toBeGreaterThanOrEqual(2)
    for (const child of children) expect(listeners(child)).toEqual([])
  })

  it('over ipc are files for their owner alone, which go with the kernel', async () => {
    const folder = temporary()
    const kernel = await start({ connection: { transport: 'ipc', ip: join(folder, 'kernel-ipc') } })
    const files = PORTS.map((port) => kernel.addresses[port].replace('ipc://', ''))
    expect((await kernel.run('6 * 7')).result).toBe('42')
    for (const file of files) expect((statSync(file).mode & 0o777).toString(8)).toBe('600')
    expect(listeners(kernel.process.pid as number)).toEqual(files.sort())
    expect((await kernel.run('process.umask().toString(8)')).result).toBe(`'${process.umask().toString(8)}'`)
    await kernel.request('control', 'shutdown_request', { restart: false })
    await kernel.exit
    expect(readdirSync(folder)).toEqual([])
  })

  it('over ipc replace those of a kernel that was killed', async () => {
    const folder = temporary()
    const connection = { transport: 'ipc', ip: join(folder, 'kernel-ipc'), shell_port: 1, control_port: 2, iopub_port: 3, stdin_port: 4, hb_port: 5 }
    const killed = await start({ connection })
    killed.process.kill('SIGKILL')
    await killed.exit
    expect(readdirSync(folder)).toHaveLength(5)
    expect((await (await start({ connection })).run('6 * 7')).result).toBe('42')
  })
})

describe('a kernel that cannot start says why in one line, and ends', () => {
  it('when a file that is no socket lies where one of ipc should be; the file stays', async () => {
    const folder = temporary()
    const path = join(folder, 'letter-3')
    writeFileSync(path, 'precious')
    const { code, said } = await refusal({ transport: 'ipc', ip: join(folder, 'letter') }, folder)
    expect({ code, said }).toEqual({
      code: 1,
      said: `fpdt kernel: cannot bind iopub to ipc://${path}, where the connection file says: a file is there that is no socket\n`,
    })
    expect(readFileSync(path, 'utf8')).toBe('precious')
  })

  it('when another program has the port, or the folder of ipc is not there', async () => {
    const folder = temporary()
    const taken = createServer().listen(0, '127.0.0.1')
    onTestFinished(() => void taken.close())
    await eventually(() => taken.listening)
    const { port } = taken.address() as { port: number }
    const used = await refusal({ shell_port: 61_001, control_port: 61_002, iopub_port: 61_003, stdin_port: 61_004, hb_port: port }, folder)
    expect(used).toEqual({
      code: 1,
      said: expect.stringMatching(new RegExp(`^fpdt kernel: cannot bind hb to tcp://127.0.0.1:${port}, .*: Address already in use\\n$`)),
    })
    const nowhere = await refusal({ transport: 'ipc', ip: join(folder, 'none/kernel') }, folder)
    expect(nowhere).toEqual({ code: 1, said: expect.stringMatching(/^fpdt kernel: cannot bind \w+ to ipc:.*\n$/) })
  })

  it('when a field is wrong, without a word of the key', async () => {
    const folder = temporary()
    const { code, said } = await refusal({ hb_port: 99_999 }, folder)
    expect({ code, said }).toEqual({
      code: 1,
      said: `fpdt kernel: ${join(folder, 'connection.json')}: hb_port is 99999, not a port number from 1 to 65535: the client chooses the ports\n`,
    })
    expect((await refusal({ key: [KEY] }, folder)).said).not.toContain(KEY)
  })
})

describe('a kernel', () => {
  it('leaves the connection file as it is, and its key out of the log, the environment and the arguments of its processes', async () => {
    const kernel = await start()
    const path = join(kernel.folder, 'connection.json')
    const before = { text: readFileSync(path, 'utf8'), mode: statSync(path).mode }
    await kernel.sendFrames(
      'shell',
      kernel.frames('execute_request', { code: '1' }).map((frame) => Buffer.from(frame).reverse()),
    )
    await kernel.run('throw new Error("wrong")')
    for (const pid of [kernel.process.pid as number, ...descendants(kernel.process.pid as number)]) {
      for (const file of ['cmdline', 'environ']) expect(readFileSync(`/proc/${pid}/${file}`, 'latin1')).not.toContain(KEY)
    }
    await kernel.request('control', 'shutdown_request', { restart: false })
    await kernel.exit
    expect(kernel.log).not.toContain(KEY)
    expect({ text: readFileSync(path, 'utf8'), mode: statSync(path).mode }).toEqual(before)
  })

  it('without a key takes messages without a signature, and says so when others can reach it', async () => {
    const kernel = await start({ connection: { key: '', ip: '*' } })
    expect((await kernel.run('6 * 7')).result).toBe('42')
    await eventually(() => kernel.log.includes('messages are not signed')) // through a pipe, beside the sockets
  })

  it('outlives the terminal of its server', async () => {
    const kernel = await start()
    kernel.process.stderr?.destroy()
    await delay(50)
    const spoiled = () => kernel.frames('execute_request', { code: '1' }).map((frame, index) => (index === 2 ? Buffer.from(frame).reverse() : frame))
    for (let n = 0; n < 5; n++) await kernel.sendFrames('shell', spoiled())
    await kernel.sendFrames('control', spoiled())
    expect((await kernel.run('6 * 7')).result).toBe('42')
    expect(isAlive(kernel.process.pid as number)).toBe(true)
    expect(existsSync(kernel.folder)).toBe(true)
  })
})
