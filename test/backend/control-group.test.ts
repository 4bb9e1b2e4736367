/** Limits of control groups: what a container or a batch system grants is found wherever in the tree it was set. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const source = (path: string): string => new URL(path, import.meta.url).pathname
let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'fpdt-groups-'))
  const sources = [source('control-group.cc'), source('../../native/host/control_group.cc')]
  execFileSync(process.env.CXX ?? 'c++', ['-std=c++20', '-O1', '-o', join(folder, 'program'), ...sources])
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Memory, free memory and cores, as `membership` and files below the mounted root say. */
function limits(membership: string, files: Record<string, string>): (number | null)[] {
  const root = mkdtempSync(join(folder, 'root-'))
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  writeFileSync(join(root, 'membership'), membership)
  const said = execFileSync(join(folder, 'program'), [join(root, 'membership'), root])
    .toString()
    .trim()
    .split(' ')
  return said.map((word) => (word === 'none' ? null : Number(word)))
}

describe('limits of control groups', () => {
  it('are none where no group sets one, or there are no groups', () => {
    expect(limits('0::/user.slice\n', { 'user.slice/memory.max': 'max\n', 'user.slice/cpu.max': 'max 100000\n' })).toEqual([null, null, null])
    expect(limits('', {})).toEqual([null, null, null])
    expect(limits('not a line\n7:memory\n', {})).toEqual([null, null, null])
  })

  it('are the least from the own group up, in version 2; caches count as free', () => {
    const files = {
      'memory.max': '9000\n',
      'memory.current': '100\n',
      'slurm/memory.max': '5000\n',
      'slurm/memory.current': '4500\n',
      'slurm/memory.stat': 'anon 3000\nfile 1500\nactive_file 700\ninactive_file 300\n',
      'slurm/job/memory.max': '6000\n',
      'slurm/job/memory.current': '10\n',
      'slurm/job/cpu.max': '250000 100000\n',
      'slurm/cpu.max': '400000 100000\n',
    }
    expect(limits('0::/slurm/job\n', files)).toEqual([5000, 1500, 2.5])
  })

  it('are those of version 1, where unlimited is a very large number and a quota of -1', () => {
    const files = {
      'memory/memory.limit_in_bytes': '9223372036854771712\n',
      'memory/memory.usage_in_bytes': '123\n',
      'memory/job/memory.limit_in_bytes': '4096\n',
      'memory/job/memory.usage_in_bytes': '5000\n',
      'memory/job/memory.stat': 'cache 50\ntotal_active_file 1000\ntotal_inactive_file 904\n',
      'cpu/job/cpu.cfs_quota_us': '-1\n',
      'cpu/job/cpu.cfs_period_us': '100000\n',
      'cpu/cpu.cfs_quota_us': '150000\n',
      'cpu/cpu.cfs_period_us': '100000\n',
    }
    expect(limits('4:memory:/job\n2:cpu,cpuacct:/job\n0::/\n', files)).toEqual([4096, 1000, 1.5])
  })

  it('are those of the root where a container is named by a path that it does not see', () => {
    expect(limits('0::/system.slice/docker-1.scope\n', { 'memory.max': '700\n', 'memory.current': '200\n' })).toEqual([700, 500, null])
    expect(limits('0::/../../outside\n', { 'memory.max': '700\n', 'memory.current': '900\n' })).toEqual([700, 0, null])
  })
})
