import { afterEach, describe, expect, it } from 'vitest'
import { paceOf } from '../../../kernel/src/cli/report.js'
import { Terminal } from '../../../kernel/src/cli/terminal.js'
import { displayHost } from '../../../kernel/src/display.js'

function outputOf(isTTY: boolean) {
  const written: string[] = []
  return { written, out: { isTTY, columns: 20, write: (text: string) => written.push(text) } as unknown as NodeJS.WriteStream }
}
let terminal: Terminal | undefined
afterEach(() => terminal?.close())

describe('a terminal', () => {
  it('replaces lines, cuts them to its width, and keeps what is said', () => {
    const { written, out } = outputOf(true)
    terminal = new Terminal(out)
    terminal.show('a line that is too long for it')
    terminal.say('stays')
    terminal.say('too')
    displayHost()?.display({ 'text/plain': 'step 1: 40 %' })
    terminal.close()
    expect(written).toEqual(['\r\x1b[Ka line that is too ', '\r\x1b[Kstays\n', 'too\n', '\r\x1b[Kstep 1: 40 %', '\n'])
  })

  it('wipes the line that is shown away, and nothing where there is none', () => {
    const { written, out } = outputOf(true)
    terminal = new Terminal(out)
    terminal.show('fpdt: bytes')
    terminal.wipe()
    terminal.wipe()
    terminal.close()
    expect(written).toEqual(['\r\x1b[Kfpdt: bytes', '\r\x1b[K'])
  })

  it('elsewhere prints only what stays', () => {
    const { written, out } = outputOf(false)
    terminal = new Terminal(out)
    terminal.show('nothing')
    terminal.say('a line')
    expect(written).toEqual(['a line\n'])
  })

  it('interrupts what is under way when a signal comes, and is no host after it is closed', () => {
    const listeners = process.listenerCount('SIGTERM')
    terminal = new Terminal(outputOf(false).out)
    expect(process.listenerCount('SIGTERM')).toBe(listeners)
    terminal.listen()
    let interrupts = 0
    const release = displayHost()?.onInterrupt(() => interrupts++)
    process.emit('SIGTERM', 'SIGTERM')
    release?.()
    process.emit('SIGTERM', 'SIGTERM')
    expect([interrupts, terminal.interrupted]).toEqual([1, true])
    terminal.close()
    expect([process.listenerCount('SIGTERM'), displayHost()]).toEqual([listeners, undefined])
  })
})

it('the time that is left follows the pace of the steps of this process, also of a resumed run', () => {
  let now = 0
  const pace = paceOf(100, () => now)
  expect(pace(11)).toBe('')
  now = 60_000
  expect(pace(12)).toBe('88 min')
  now = 62_000
  expect([pace(13), pace(100)]).toEqual(['45 min', ''])
})
