/**
 * Runs one command of set-up or test: keeps its output in a log, shows one line of progress once it takes longer than two
 * seconds, ends its whole process group when it takes too long. Plain Node: it runs before anything is installed.
 *
 *   a terminal   one line, rewritten:   native build  34 s  [ 62%] Building CXX object …
 *   a log file   a line at two seconds, then one every twenty
 */
import { spawn } from 'node:child_process'
import { createWriteStream, mkdirSync, readFileSync } from 'node:fs'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))
export const cache = join(root, '.cache')

/** A failure whose message is all that its reader needs: printed without a stack. */
export class TaskError extends Error {}

/** Process groups now running, to be ended with us: a build leaves compilers behind, a test runner servers and browsers. */
const groups = new Set()
/** Time between asking and killing. A Jupyter client uses it to end its kernel, which is no member of its group. */
const GRACE_MS = 5000

function signalGroup(pid, signal) {
  try {
    process.kill(-pid, signal)
  } catch {
    // It ended by itself.
  }
}

for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
  process.once(signal, () => {
    for (const pid of groups) signalGroup(pid, 'SIGTERM')
    const started = Date.now()
    setInterval(() => {
      if (groups.size > 0 && Date.now() - started < GRACE_MS) return
      for (const pid of groups) signalGroup(pid, 'SIGKILL')
      process.exit(128 + constants.signals[signal])
    }, 50)
  })
}

/**
 * Runs `command`, showing its output as it comes. Resolves to its exit code, or to `timeout` when it took longer than `minutes`.
 * @param {string} command
 * @param {string[]} args
 * @param {{ minutes: number, cwd?: string, env?: NodeJS.ProcessEnv, output?: (chunk: Buffer) => void }} options
 * @returns {Promise<number | 'timeout'>}
 */
export function follow(command, args, { minutes, cwd = root, env = process.env, output }) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, detached: true, stdio: output ? ['ignore', 'pipe', 'pipe'] : ['ignore', 'inherit', 'inherit'] })
    let timedOut = false
    let grace
    const limit = setTimeout(() => {
      timedOut = true
      signalGroup(child.pid, 'SIGTERM')
      grace = setTimeout(() => signalGroup(child.pid, 'SIGKILL'), GRACE_MS)
    }, minutes * 60_000)
    if (child.pid) groups.add(child.pid)
    if (output) {
      child.stdout?.on('data', output)
      child.stderr?.on('data', output)
    }
    child.on('error', (error) => {
      clearTimeout(limit)
      reject(new TaskError(`cannot start ${command}: ${error.message}`))
    })
    // 'exit', not 'close': a daemon that inherited the pipes must not keep us waiting.
    child.on('exit', (code, signal) => {
      clearTimeout(limit)
      clearTimeout(grace)
      signalGroup(child.pid, 'SIGKILL')
      groups.delete(child.pid)
      // Output that is already in the pipes arrives in the next turns of the loop.
      setTimeout(() => resolve(timedOut ? 'timeout' : (code ?? 128 + constants.signals[signal ?? 'SIGKILL'])), output ? 20 : 0)
    })
  })
}

/**
 * Runs `command` quietly as the step `title`. Throws `TaskError` with the end of its output when it fails.
 * @param {string} title
 * @param {string} command
 * @param {string[]} args
 * @param {{ minutes?: number, cwd?: string, env?: NodeJS.ProcessEnv }} [options]
 */
export async function task(title, command, args, { minutes = 10, cwd = root, env = process.env } = {}) {
  mkdirSync(join(cache, 'logs'), { recursive: true })
  const logPath = join(cache, 'logs', `${title.replaceAll(/[^\w]+/g, '-')}.log`)
  const log = createWriteStream(logPath)
  const progress = showProgress(title)
  const code = await follow(command, args, {
    minutes,
    cwd,
    env,
    output: (chunk) => {
      log.write(chunk)
      progress.note(chunk.toString())
    },
  }).finally(() => progress.end())
  await new Promise((resolve) => log.end(resolve))
  if (code === 0) return
  const how = code === 'timeout' ? `did not end within ${minutes} minutes` : `failed with exit code ${code}`
  const tail = readFileSync(logPath, 'utf8').trimEnd().split('\n').slice(-40).join('\n')
  throw new TaskError(`${title} ${how}: ${[command, ...args].join(' ')}\n${tail}\n(whole output: ${logPath})`)
}

/** One line of progress, from the second second on. */
function showProgress(title) {
  const started = Date.now()
  const terminal = process.stdout.isTTY === true
  let last = ''
  let announced = -Infinity
  const seconds = () => Math.round((Date.now() - started) / 1000)
  const timer = setInterval(() => {
    if (seconds() < 2) return
    const line = `${title}  ${seconds()} s  ${last}`
    if (terminal) process.stdout.write(`\r\x1b[K${line.slice(0, (process.stdout.columns || 80) - 1)}`)
    else if (seconds() - announced >= 20) {
      announced = seconds()
      console.log(line.slice(0, 160))
    }
  }, 500)
  return {
    note(text) {
      const line = text
        .trim()
        .split(/[\r\n]+/)
        .at(-1)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: colours of the tools we call
      if (line) last = line.replaceAll(/\x1b\[[0-9;]*m/g, '')
    },
    end() {
      clearInterval(timer)
      if (seconds() < 2) return
      if (terminal) process.stdout.write('\r\x1b[K')
      console.log(`${title}  ${seconds()} s`)
    },
  }
}
