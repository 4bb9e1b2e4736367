/**
 * Commands of the shell in a cell: what they print arrives while they run, an interrupt ends them with all they started. Each has a process group
 * of its own for that, so it would outlive a killed kernel; a guard in the group waits at a pipe of ours and ends it when the pipe closes.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { onInterrupt } from '../interrupt.js'

/** The guard reads a line when all is well. It holds none of the command's descriptors. */
const GUARD = '( read -r _ <&3 || kill -KILL 0 ) </dev/null >/dev/null 2>&1 & exec 3<&-; exec "$@"'
const GUARD_FD = 3
/** How long an interrupted command may clean up. */
const KILL_MS = 500
/** How long after a command's end its output is waited for: a process that it left in the background may hold the pipes open. */
const DRAIN_MS = 200

interface Run {
  readonly input?: string
  readonly folder?: string
  readonly out: (text: string) => void
}

/** Runs a program and gives its exit code, or 128 + the number of the signal that ended it, as shells do. Its errors are printed in the cell. */
async function run(program: readonly string[], { input, folder, out }: Run): Promise<number> {
  const child = spawn('/bin/sh', ['-c', GUARD, 'sh', ...program], {
    cwd: folder ?? process.cwd(),
    stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe', 'pipe'],
    detached: true,
  })
  const guard = child.stdio[GUARD_FD] as Writable
  guard.on('error', () => {}) // of a group that is gone
  child.stdin?.on('error', () => {}).end(input)
  child.stdout?.setEncoding('utf8').on('data', out)
  child.stderr?.setEncoding('utf8').on('data', (text: string) => process.stderr.write(text))
  // Not `close`: that would wait for the guard, which waits for us.
  const closed = Promise.all([finished(child.stdout as Readable), finished(child.stderr as Readable)]).then(() => guard.end('\n'))
  const ended = once(child, 'exit') as Promise<[code: number | null, signal: NodeJS.Signals | null]>
  const signal = (name: NodeJS.Signals) => {
    try {
      process.kill(-(child.pid as number), name)
    } catch {
      // The whole group has ended.
    }
  }
  const isOver = onInterrupt(() => {
    signal('SIGINT')
    setTimeout(() => signal('SIGKILL'), KILL_MS).unref()
  })
  try {
    const [code, by] = await ended
    await Promise.race([closed, delay(DRAIN_MS)])
    return code ?? 128 + ((await import('node:os')).constants.signals[by as NodeJS.Signals] ?? 0)
  } finally {
    isOver()
  }
}

/** A command ended with an exit code that is not 0. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly #exitCode: number

  constructor(command: string, exitCode: number) {
    super(`\`${command}\` ended with exit code ${exitCode}; what it said is above`)
    this.#exitCode = exitCode
  }

  /** Not a property of its own: the message says it to people. */
  get exitCode(): number {
    return this.#exitCode
  }
}

const shell = (command: string) => ['/bin/sh', '-c', command]

/** Prints what the command prints. Gives its exit code. */
export function printed(command: string, folder?: string): Promise<number> {
  return run(shell(command), { out: (text) => process.stdout.write(text), ...(folder === undefined ? {} : { folder }) })
}

/** The lines that the command prints. */
export async function lines(command: string): Promise<{ readonly code: number; readonly lines: string[] }> {
  let text = ''
  const code = await run(shell(command), {
    out: (more) => {
      text += more
    },
  })
  return { code, lines: text === '' ? [] : text.replace(/\r?\n$/, '').split(/\r?\n/) }
}

/** Gives `script` to a program as its input. Throws when that fails. */
export async function scripted(program: readonly string[], script: string): Promise<void> {
  const code = await run(program, { input: script, out: (text) => process.stdout.write(text) })
  if (code !== 0) throw new CommandError(program.join(' '), code)
}

/** `sh` of cells. */
export async function sh(command: string): Promise<string[]> {
  const found = await lines(command)
  if (found.code !== 0) throw new CommandError(command, found.code)
  return found.lines
}
