/** Memory into which a disk does not read past the page cache, as a driver's can be: found when the arena is made, and gone around. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const source = (path: string): string => new URL(path, import.meta.url).pathname
let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'fpdt-disk-memory-'))
  const sources = [source('disk-memory.cc'), source('../../native/host/disk.cc')]
  execFileSync(process.env.CXX ?? 'c++', ['-std=c++20', '-O1', '-o', join(folder, 'program'), ...sources])
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const TMPFS_MAGIC = 0x01021994
/** Whether the file system of the folder reads and writes past the page cache; one in memory has nothing to go past. */
function hasDirect(): boolean {
  if (statfsSync(folder).type === TMPFS_MAGIC) return false
  const file = join(folder, 'block')
  const dd = (...words: string[]): boolean => spawnSync('dd', ['bs=4096', 'count=1', ...words], { stdio: 'ignore' }).status === 0
  return dd('if=/dev/zero', `of=${file}`, 'oflag=direct') && dd(`if=${file}`, 'of=/dev/null', 'iflag=direct')
}

describe('a disk arena whose transfers use', () => {
  const moved = (memory: string): string => execFileSync(join(folder, 'program'), [folder, memory]).toString().trim()
  it('ordinary memory: every byte comes back, past the page cache where there is a way', () => {
    expect(moved('ordinary')).toBe(`${hasDirect() ? 'direct' : 'cached'} straight 0 wrong`)
  })
  it('refused memory: every byte comes back, past the page cache by another block', ({ skip }) => {
    if (!hasDirect())
      skip(`the file system of ${tmpdir()} has no way past the page cache, where nothing need be gone around: name a folder on a disk with TMPDIR`)
    expect(moved('refused')).toBe('direct bounced 0 wrong')
  })
})
