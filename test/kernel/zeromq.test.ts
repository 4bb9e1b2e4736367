import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { expect, it } from 'vitest'
import { Router } from 'zeromq'

it('comes built for every platform that we run on, and the one of this platform is what was loaded', () => {
  const folder = dirname(createRequire(import.meta.url).resolve('zeromq/package.json'))
  for (const platform of ['linux/x64', 'linux/arm64', 'darwin/x64', 'darwin/arm64', 'win32/x64'])
    expect(existsSync(join(folder, 'build', platform)), platform).toBe(true)
  new Router().close()
  // What this process has mapped.
  const loaded = readFileSync('/proc/self/maps', 'utf8').match(/\/\S*zeromq\S*\.node/g) ?? []
  expect(new Set(loaded.map((path) => path.includes(`/build/${process.platform}/${process.arch}/`)))).toEqual(new Set([true]))
})
