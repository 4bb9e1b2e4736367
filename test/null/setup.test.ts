import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { fingerprint, sources, unlessStamped } from '../../.ci/stamp.mjs'
import { requirePlatform } from '../../.ci/system.mjs'
import { follow, task } from '../../.ci/task.mjs'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fpdt-setup-'))
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

describe('stamp', () => {
  it('does the work once, and again when an input, a value or a product changes', async () => {
    const [input, product, stamp] = ['input.ts', 'product', 'stamp'].map((name) => join(folder, name)) as [string, string, string]
    writeFileSync(input, 'a')
    let done = 0
    const stage = (value: string) =>
      unlessStamped(stamp, fingerprint(sources(folder, /\.ts$/), value), [product], async () => {
        done++
        writeFileSync(product, '')
      })
    await stage('x')
    await stage('x')
    expect(done).toBe(1)
    writeFileSync(input, 'b')
    await stage('x')
    expect(done).toBe(2)
    await stage('y')
    expect(done).toBe(3)
    rmSync(product)
    await stage('y')
    expect(done).toBe(4)
  })

  it('is not set by work that fails or makes nothing', async () => {
    const stamp = join(folder, 'stamp')
    const attempts = [async () => Promise.reject(new Error('broken')), async () => {}]
    await expect(unlessStamped(stamp, 'x', [], attempts[0] as () => Promise<void>)).rejects.toThrow('broken')
    await expect(unlessStamped(stamp, 'x', [join(folder, 'product')], attempts[1] as () => Promise<void>)).rejects.toThrow(/product was to be made/)
    let done = false
    await unlessStamped(stamp, 'x', [], async () => {
      done = true
    })
    expect(done).toBe(true)
  })
})

describe('task', () => {
  it('fails with the end of the output and the command', async () => {
    await expect(task('failing task', process.execPath, ['-e', 'console.log("the reason"); process.exit(3)'])).rejects.toThrow(/exit code 3: .*\n.*the reason/s)
  })

  it('ends a whole process group that takes too long, children too', async () => {
    const beats = join(folder, 'beats')
    const child = `setInterval(() => require('fs').appendFileSync(${JSON.stringify(beats)}, '.'), 10)`
    const parent = `require('child_process').spawn(process.execPath, ['-e', ${JSON.stringify(child)}]); setInterval(() => {}, 1000)`
    // A busy machine takes longer to start both.
    for (let seconds = 0.5; !existsSync(beats); seconds *= 2) expect(await follow(process.execPath, ['-e', parent], { minutes: seconds / 60 })).toBe('timeout')
    await new Promise((done) => setTimeout(done, 50))
    const length = readFileSync(beats).length
    await new Promise((done) => setTimeout(done, 200))
    expect(length).toBeGreaterThan(0)
    expect(readFileSync(beats).length).toBe(length)
  })
})

describe('platform', () => {
  const machine = { node: '20.19.0', platform: 'linux', arch: 'arm64', glibc: '2.36' }

  it.each(['20.19.0', '22.12.0', '24.1.0'])('takes Node %s', (node) => {
    expect(() => requirePlatform({ ...machine, node })).not.toThrow()
  })
  it.each([
    [{ node: '18.20.1' }, /Node 18\.20\.1 .* 20\.19/],
    [{ node: '22.11.0' }, /22\.12/],
    [{ platform: 'darwin' }, /darwin arm64 .* Linux on x86-64 or arm64/],
    [{ arch: 'riscv64' }, /linux riscv64/],
    [{ glibc: undefined }, /musl/],
  ])('refuses %j in words', (change, words) => {
    expect(() => requirePlatform({ ...machine, ...change })).toThrow(words)
  })
})
