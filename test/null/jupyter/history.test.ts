import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { History, historyPath } from '../../../kernel/src/jupyter/history.js'

let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fpdt-history-'))
  path = join(folder, 'fpdt', 'history.jsonl')
})
afterEach(() => rmSync(folder, { recursive: true }))

const find = (history: History, request: object) => (history.reply(request as never) as { history: unknown[][] }).history

describe('history', () => {
  it('lies in the data directory of Jupyter', () => {
    expect(historyPath({ JUPYTER_DATA_DIR: '/data' })).toBe('/data/fpdt/history.jsonl')
    expect(historyPath({ JUPYTER_DATA_DIR: '', XDG_DATA_HOME: '/xdg' })).toBe('/xdg/jupyter/fpdt/history.jsonl')
  })

  it('finds by tail, range and search, over sessions', async () => {
    const earlier = new History(path)
    earlier.add(1, 'old', '1')
    await new Promise((resolve) => setTimeout(resolve, 5)) // a session is named by its millisecond
    const now = new History(path)
    for (const [line, source] of ['a()', 'b()', 'a()'].entries()) now.add(line + 1, source, undefined)
    expect(find(now, { hist_access_type: 'tail', n: 3 }).map(([, , source]) => source)).toEqual(['a()', 'b()', 'a()'])
    expect(find(now, { hist_access_type: 'range', session: 0, start: 2, stop: 3 }).map(([, line, source]) => [line, source])).toEqual([[2, 'b()']])
    expect(find(now, { hist_access_type: 'range', session: -1, start: 1, stop: null, output: true }).map(([, , pair]) => pair)).toEqual([['old', '1']])
    expect(find(now, { hist_access_type: 'search', pattern: '?()', unique: true }).map(([, , source]) => source)).toEqual(['a()', 'b()'])
    expect(find(now, { hist_access_type: 'search', pattern: '*)', n: 1 }).map(([, line]) => line)).toEqual([3])
  })

  it('has a session for each subshell, whose lines are not those of the main shell', () => {
    const history = new History(path)
    history.add(1, 'main', undefined)
    history.add(1, 'sub', undefined, 2)
    const range = (session: number) => find(history, { hist_access_type: 'range', session, start: 1, stop: 9 }).map(([, , source]) => source)
    expect(range(0)).toEqual(['main'])
    expect(range(-1)).toEqual([])
    const tail = find(history, { hist_access_type: 'tail', n: 9 })
    expect(tail.map(([, , source]) => source)).toEqual(['main', 'sub'])
    expect(range(tail[1]?.[0] as number)).toEqual(['sub'])
  })

  it('survives a torn line and keeps the newest 10,000', async () => {
    new History(path).add(1, 'first', undefined)
    await setImmediate() // written after the reply
    const line = (n: number) => JSON.stringify({ session: 1, line: n, source: `${n}` })
    writeFileSync(path, `${Array.from({ length: 20_001 }, (_, i) => line(i)).join('\n')}\n{"session":1,"li`)
    const history = new History(path)
    expect(find(history, { hist_access_type: 'tail', n: 1 })[0]?.[2]).toBe('20000')
    expect(readFileSync(path, 'utf8').trimEnd().split('\n')).toHaveLength(10_000)
  })

  it('passes over lines that are no entries, and is for its user alone', async () => {
    const first = new History(path)
    first.add(1, 'first', undefined)
    await setImmediate()
    expect(statSync(path).mode & 0o777).toBe(0o600)
    appendFileSync(path, ['null', '5', '[]', '{}', '{"session":1,"line":"2","source":"x"}', '{"session":1,"line":2,"source":"kept"}', ''].join('\n'))
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(find(new History(path), { hist_access_type: 'tail', n: 9 }).map(([, , source]) => source)).toEqual(['first', 'kept'])
  })

  it('works without a place to write', () => {
    writeFileSync(join(folder, 'fpdt'), 'a file where the folder should be')
    const history = new History(path)
    history.add(1, 'kept in memory', undefined)
    expect(find(history, { hist_access_type: 'tail', n: 1 })[0]?.[2]).toBe('kept in memory')
  })
})
