/** The real server, which takes a signal as any process; only the clock is not. */
import { readFileSync } from 'node:fs'
import { expect, it, onTestFinished, vi } from 'vitest'
import { LanguageServer } from '../../../kernel/src/assist/language-server.js'

it('that says nothing for eight seconds, with a question open, is ended; whoever asked is told', async () => {
  const ends: string[] = []
  const server = await LanguageServer.start(process.cwd(), 'tsconfig.json', (why) => ends.push(why))
  onTestFinished(() => server.close())
  const pid = server.pid as number
  process.kill(pid, 'SIGSTOP')
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  onTestFinished(() => void vi.useRealTimers())

  const late = server.request('workspace/symbol', { query: '' }, { limit_ms: 500 })
  const open = server.request('workspace/symbol', { query: '' }, { limit_ms: 60_000 })
  const outcomes = Promise.allSettled([late, open])
  vi.advanceTimersByTime(7999)
  expect(ends).toEqual([])
  vi.advanceTimersByTime(1)
  expect(ends).toEqual(['said nothing for 8 s'])
  const [first, second] = await outcomes
  expect(first).toMatchObject({ reason: { message: 'workspace/symbol took more than 500 ms' } })
  expect(second).toMatchObject({ reason: { message: 'the language server said nothing for 8 s' } })
  await expect(server.request('workspace/symbol', { query: '' }, { limit_ms: 500 })).rejects.toThrow('said nothing for 8 s')
  vi.useRealTimers()
  await vi.waitUntil(() => !isRunning(pid), 10_000)
})

function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
