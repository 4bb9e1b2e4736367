/** Memory into which a disk does not read past the page cache, as a driver's can be: found when the arena is made, and gone around. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
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

describe('a disk arena whose transfers use', () => {
  const moved = (memory: string): string => execFileSync(join(folder, 'program'), [folder, memory]).toString().trim()
  it.each(['ordinary', 'refused'])('%s memory: every byte comes back', (memory) => {
    // Where the folder's file system has no direct way, nothing is bounced.
    expect(moved(memory)).toMatch(memory === 'refused' ? /^(direct bounced|cached straight) 0 wrong$/ : /^(direct|cached) straight 0 wrong$/)
  })
})
