// biome-ignore-all lint/suspicious/noTemplateCurlyInString: programs are code in strings
/** Where there is no /proc, Node's own pipes are used, and all but what names one holds too. */
import type { ChildProcess } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, expect, it } from 'vitest'
import { Printed, spawnPrinting } from '../../kernel/src/jupyter/executor-pipes.js'

const PRELUDE = "const { execSync } = require('node:child_process'); const { fstatSync, writeSync } = require('node:fs');"
const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

function start(code: string) {
  const child = spawnPrinting(process.execPath, ['-e', PRELUDE + code], { stdio: ['pipe', 'pipe', 'pipe'] })
  children.push(child)
  const text = { 1: '', 2: '' }
  const printed = new Printed(child, (fd, chunk) => {
    text[fd] += chunk
  })
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.on('close', async (code, signal) => {
      await printed.end()
      resolve({ code, signal })
    })
  })
  return { child, text, printed, ended }
}

it('what a process printed is whole when it has ended, however that was; its id and its end are its own', async () => {
  const { child, text, ended } = start(
    "writeSync(1, `${process.pid} `); writeSync(1, 'x'.repeat(60_000)); writeSync(2, 'last words'); process.kill(process.pid, 'SIGKILL')",
  )
  expect(await ended).toEqual({ code: null, signal: 'SIGKILL' })
  expect(text).toEqual({ 1: `${child.pid} ${'x'.repeat(60_000)}`, 2: 'last words' })
  expect(await start('process.exit(3)').ended).toEqual({ code: 3, signal: null })
})

it.runIf(process.platform === 'linux')('they are pipes that programs can open by their names', async () => {
  const { text, ended } = start(
    "writeSync(1, `${fstatSync(1).isFIFO()} ${fstatSync(2).isFIFO()} `); execSync('echo out > /dev/stdout; echo err > /dev/stderr', { stdio: 'inherit' })",
  )
  await ended
  expect(text).toEqual({ 1: 'true true out\n', 2: 'err\n' })
})

it('while reading is paused, a process that prints waits, and goes on when it is resumed', async () => {
  const { child, text, printed, ended } = start(
    "const mib = 'x'.repeat(2 ** 20); writeSync(1, 'begun'); process.stdin.once('data', () => { for (let i = 0; i < 8; i++) writeSync(1, mib); writeSync(2, 'done'); process.exit() })",
  )
  while (text[1] === '') await delay(10)
  printed.pause()
  child.stdin?.write('go')
  await delay(500)
  expect(text).toEqual({ 1: 'begun', 2: '' })
  printed.resume()
  await ended
  expect(text[1].length).toBe(5 + 8 * 2 ** 20)
  expect(text[2]).toBe('done')
})

it('the end is waited for while a subprocess holds the pipe', async () => {
  const { text, ended } = start("require('node:child_process').spawn('sh', ['-c', 'sleep 0.3; echo late'], { stdio: 'inherit' }).unref()")
  await ended
  expect(text[1]).toBe('late\n')
})

it('keeps the whole environment, also names that no shell knows', async () => {
  process.env['a.b-c'] = 'kept'
  try {
    const { text, ended } = start("writeSync(1, String(process.env['a.b-c']))")
    await ended
    expect(text[1]).toBe('kept')
  } finally {
    delete process.env['a.b-c']
  }
})
