import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { LanguageServer } from '../../../kernel/src/assist/language-server.js'
import { Notebook } from '../../../kernel/src/assist/notebook.js'
import { ServerLife } from '../../../kernel/src/assist/server-life.js'

/** How each server that was started is told to end. */
let ends: ((why: string) => void)[]
let life: ServerLife
let said: string[]
const start: typeof LanguageServer.start = async (_folder, _config, onEnd) => {
  ends.push(onEnd)
  return { close: () => {} } as LanguageServer
}
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'] })
  said = []
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => said.push(String(text)) > 0)
  ends = []
  life = new ServerLife('.', new Notebook([]), new Set(), start)
})
afterEach(() => {
  vi.restoreAllMocks()
  vi.useRealTimers()
})

const end = (why = 'was ended by SIGKILL') => ends.at(-1)?.(why)

it('starts one server for all who ask, and another at once when the first one ended', async () => {
  const [one, two] = await Promise.all([life.current(), life.current()])
  expect(two).toBe(one)
  life.answered()
  expect(life.isWarm).toBe(true)
  end()
  expect(life.isWarm).toBe(false)
  expect(await life.current()).not.toBe(one)
  expect(ends).toHaveLength(2)
})

it('starts one that does not live less and less often, at last once a minute', async () => {
  await life.current()
  end()
  for (const pause_s of [1, 2, 4, 8, 16, 32, 60, 60]) {
    await life.current()
    end()
    await expect(life.current()).rejects.toThrow(`the language server is started again in ${pause_s} s`)
    vi.advanceTimersByTime(pause_s * 1000 - 1)
    await expect(life.current()).rejects.toThrow('in 1 s')
    vi.advanceTimersByTime(1)
  }
})

it('forgets the failures before when one has lived for half a minute and answered', async () => {
  for (let failures = 0; failures < 2; failures++) {
    await life.current()
    end()
  }
  vi.advanceTimersByTime(1000)
  await life.current()
  vi.advanceTimersByTime(30_001)
  life.answered()
  end()
  await expect(life.current()).resolves.toBeDefined()
})

it('says each reason once, and that of a server that could not be started', async () => {
  for (const why of ['was ended by SIGKILL', 'was ended by SIGKILL', 'said nothing for 8 s']) {
    vi.advanceTimersByTime(60_000)
    await life.current()
    end(why)
  }
  expect(said.map((text) => /the language server ([^;]*);/.exec(text)?.[1])).toEqual(['was ended by SIGKILL', 'said nothing for 8 s'])

  const missing = new ServerLife('.', new Notebook([]), new Set(), () => Promise.reject(new Error('is missing')))
  await expect(missing.current()).rejects.toThrow('is missing')
  expect(said.at(-1)).toContain('the language server is missing;')
})
