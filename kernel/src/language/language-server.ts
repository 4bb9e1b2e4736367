/** TypeScript 7's language server (`tsc --lsp --stdio`), started at the first request: a client of the few methods that assist.ts needs. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

interface Answer {
  readonly id?: number | string
  readonly method?: string
  readonly params?: { readonly items?: readonly unknown[] }
  readonly result?: unknown
  readonly error?: { readonly message: string }
}

const REQUEST_MS = 3000

export class LanguageServer {
  readonly #child: ChildProcess
  readonly #pending = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>()
  #received = Buffer.alloc(0)
  #sent = 0
  #isOpen = true

  private constructor(folder: string) {
    this.#child = spawn(executable(), ['--lsp', '--stdio'], { cwd: folder, stdio: ['pipe', 'pipe', 'ignore'] })
    this.#child.stdout?.on('data', (chunk: Buffer) => this.#read(chunk))
    this.#child.stdin?.on('error', () => this.close())
    this.#child.on('error', () => this.close())
    this.#child.on('exit', () => this.close())
  }

  static async start(folder: string): Promise<LanguageServer> {
    const server = new LanguageServer(folder)
    await server.request('initialize', { processId: process.pid, rootUri: null, capabilities: { textDocument: { hover: { contentFormat: ['markdown'] } } } })
    server.notify('initialized', {})
    return server
  }

  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Rejects when the server says so, ends, or takes longer than a completion is worth waiting for. */
  request(method: string, params: object): Promise<unknown> {
    const id = ++this.#sent
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settle(id, { error: { message: `${method} took more than ${REQUEST_MS} ms` } }), REQUEST_MS)
      const done =
        <T>(settle: (value: T) => void) =>
        (value: T) => {
          clearTimeout(timer)
          settle(value)
        }
      this.#pending.set(id, { resolve: done(resolve), reject: done(reject) })
      this.#write({ id, method, params })
    })
  }

  notify(method: string, params: object): void {
    this.#write({ method, params })
  }

  close(): void {
    this.#isOpen = false
    this.#child.kill('SIGKILL')
    for (const id of [...this.#pending.keys()]) this.#settle(id, { error: { message: 'the language server ended' } })
  }

  #write(message: object): void {
    const body = Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message }))
    this.#child.stdin?.write(`Content-Length: ${body.length}\r\n\r\n`)
    this.#child.stdin?.write(body)
  }

  #read(chunk: Buffer): void {
    this.#received = Buffer.concat([this.#received, chunk])
    for (;;) {
      const bodyStart = this.#received.indexOf('\r\n\r\n') + 4
      if (bodyStart < 4) return
      const length = Number(/content-length: *(\d+)/i.exec(this.#received.toString('latin1', 0, bodyStart))?.[1])
      if (!(this.#received.length >= bodyStart + length)) return
      this.#receive(JSON.parse(this.#received.toString('utf8', bodyStart, bodyStart + length)))
      this.#received = this.#received.subarray(bodyStart + length)
    }
  }

  #receive(message: Answer): void {
    if (message.method === undefined) this.#settle(message.id as number, message)
    // What the server asks of an editor (settings, file watching) has no answer here, but it waits for one.
    else if (message.id !== undefined) this.#write({ id: message.id, result: message.params?.items?.map(() => null) ?? null })
  }

  #settle(id: number, answer: Answer): void {
    const pending = this.#pending.get(id)
    this.#pending.delete(id)
    if (answer.error === undefined) pending?.resolve(answer.result)
    else pending?.reject(new Error(answer.error.message))
  }
}

/** The Go binary of TypeScript's platform package; through its JavaScript launcher the first answer takes twice as long. */
function executable(): string {
  const typescript = createRequire(import.meta.url).resolve('typescript/package.json')
  const platform = createRequire(typescript).resolve(`@typescript/typescript-${process.platform}-${process.arch}/package.json`)
  return join(dirname(platform), 'lib', 'tsc')
}
