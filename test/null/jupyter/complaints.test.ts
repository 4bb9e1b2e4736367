import { afterEach, describe, expect, it, vi } from 'vitest'
import { Complaints } from '../../../kernel/src/jupyter/complaints.js'

afterEach(() => vi.useRealTimers())

describe('complaints', () => {
  it('are said at once the first time, and then as one line with their count', () => {
    vi.useFakeTimers()
    const lines: string[] = []
    const complaints = new Complaints((line) => lines.push(line))
    for (let n = 0; n < 100_000; n++) complaints.say(n % 4 === 0 ? 'wrong signature' : 'no message')
    expect(lines).toEqual(['fpdt kernel: wrong signature\n', 'fpdt kernel: no message\n'])
    vi.advanceTimersByTime(10_000)
    expect(lines.slice(2)).toEqual(['fpdt kernel: wrong signature (24999 more times)\n', 'fpdt kernel: no message (74999 more times)\n'])
    vi.advanceTimersByTime(60_000)
    expect(lines).toHaveLength(4)
    complaints.say('no message')
    expect(lines).toHaveLength(5)
  })

  it('of ever new words are no way to fill the terminal or the memory', () => {
    const lines: string[] = []
    const complaints = new Complaints((line) => lines.push(line))
    for (let n = 0; n < 10_000; n++) complaints.say(`ignored "type${n}"`)
    expect(lines).toHaveLength(100)
    complaints.sum()
    expect(lines.at(-1)).toBe('fpdt kernel: other complaints (9900 more times)\n')
  })
})
