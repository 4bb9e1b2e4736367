/**
 * The pipes that an executor prints into. What Node calls a pipe is a pair of Unix sockets: the writer waits after 280 prints however short, so 10,000
 * of them take thrice as long, and no program can open /dev/stdout. Pipes cannot be made in Node, but a shell makes one of each here-document: it
 * points its output there and becomes the executor, and this process opens the other ends through /proc. Where that cannot be, Node's sockets do.
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, openSync, readSync } from 'node:fs'
import { Socket } from 'node:net'
import type { Readable } from 'node:stream'

/** Where the executor has the ends for reading of what it prints on 1 and 2; a pipe begins with the one empty line of its here-document. */
const READ_FDS = { 1: 6, 2: 7 } as const
/** Of this process alone: text that is printed is never taken for it. */
const SIGN = `pipes ${randomBytes(8).toString('hex')}\n`
/**
 * Old shells make files of here-documents, and /proc may be missing or closed: then it goes on with the sockets it was given. The sign comes when the
 * ends for writing are open: a pipe that nobody could write to has ended for whoever reads it.
 */
const SCRIPT = `exec ${READ_FDS[1]}<<A ${READ_FDS[2]}<<B

A

B
{ [ -p /proc/self/fd/${READ_FDS[1]} ] && [ -p /proc/self/fd/${READ_FDS[2]} ] && true >/proc/self/fd/${READ_FDS[1]}; } 2>/dev/null || exec "$@"
exec 8>/proc/self/fd/${READ_FDS[1]} 9>/proc/self/fd/${READ_FDS[2]}
printf '${SIGN.replace('\n', '\\n')}'
exec "$@" >&8 2>&9 8>&- 9>&-`
const SHELL = '/bin/sh'

let isUsable = process.platform === 'linux' && existsSync(SHELL)

/** As `spawn`, with the same process id and end; file descriptors 1 and 2 are for `Printed` to read. */
export function spawnPrinting(command: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  // A shell drops variables that it could not name itself.
  const isKept = Object.keys(process.env).every((name) => /^[A-Za-z_]\w*$/.test(name))
  return isUsable && isKept ? spawn(SHELL, ['-c', SCRIPT, SHELL, command, ...args], options) : spawn(command, args, options)
}

/** What a process of `spawnPrinting` prints. */
export class Printed {
  readonly #sources: Readable[] = []
  readonly #ends: Promise<unknown>[] = []
  #isPaused = false

  constructor(
    private readonly child: ChildProcess,
    private readonly onBytes: (fd: 1 | 2, chunk: Buffer) => void,
  ) {
    this.#read(1, child.stdout as Readable)
    this.#read(2, child.stderr as Readable)
  }

  /** When all has been read; call it when the process has ended. */
  async end(): Promise<void> {
    await Promise.all(this.#ends)
  }

  /** Nothing more of it is read, whoever else still holds the pipes. */
  destroy(): void {
    for (const source of this.#sources) source.destroy()
  }

  pause(): void {
    this.#isPaused = true
    for (const source of this.#sources) source.pause()
  }

  resume(): void {
    this.#isPaused = false
    for (const source of this.#sources) source.resume()
  }

  #read(fd: 1 | 2, source: Readable): void {
    this.#sources.push(source)
    this.#ends.push(new Promise((resolve) => source.once('close', resolve)))
    source.on('data', (chunk: Buffer) => {
      if (fd === 1 && this.#sources.length === 2 && chunk.equals(Buffer.from(SIGN))) this.#openPipes()
      else this.onBytes(fd, chunk)
    })
    if (this.#isPaused) source.pause()
  }

  #openPipes(): void {
    try {
      for (const fd of [1, 2] as const) {
        const end = openSync(`/proc/${this.child.pid}/fd/${READ_FDS[fd]}`, 'r')
        readSync(end, Buffer.alloc(1))
        this.#read(fd, new Socket({ fd: end, readable: true, writable: false }))
      }
    } catch (error) {
      // It has ended already, or nobody may look into it: the next one gets sockets.
      isUsable = false
      process.stderr.write(`fpdt kernel: the executor's pipes: ${(error as Error).message}\n`)
      this.child.kill('SIGKILL')
    }
  }
}
