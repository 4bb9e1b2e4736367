/** What a kernel weighs that has run a cell without a name: types are looked at from the first one on, and need a parser and the language server. */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { descendants, TestKernel } from './client.js'

/** The aim is 120 MB; half as much again is room for other Nodes and machines. */
const BOUND_MB = 180

let kernel: TestKernel
let supervisor: number
let processes: readonly number[]
beforeAll(async () => {
  kernel = await TestKernel.start()
  expect((await kernel.run('1 + 1')).result).toBe('2')
  supervisor = kernel.process.pid as number
  processes = descendants(supervisor)
})
afterAll(() => kernel.close())

/** Files of addons that a process has mapped. */
function addonsOf(pid: number): string[] {
  const maps = readFileSync(`/proc/${pid}/maps`, 'utf8')
  return [...new Set([...maps.matchAll(/\/([^/\n]+\.node)$/gm)].map(([, name]) => name as string))]
}

function pss_MB(pid: number): number {
  return Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]) / 1000
}

describe.runIf(process.platform === 'linux')('an idle kernel', () => {
  it('has no language server: two processes are all', () => {
    expect(processes).toHaveLength(1)
  })

  it('has loaded ZeroMQ in one process, the parser in the other, and no addon besides', () => {
    expect(addonsOf(supervisor)).toEqual(['addon.node'])
    expect(processes.flatMap(addonsOf).filter((name) => !/^(?:parser|transform)\./.test(name))).toEqual([])
  })

  it('weighs no library', () => {
    expect([supervisor, ...processes].map(pss_MB).reduce((sum, MB) => sum + MB)).toBeLessThan(BOUND_MB)
  })
})
