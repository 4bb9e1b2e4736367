import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TestKernel } from './client.js'

let kernel: TestKernel
beforeAll(async () => {
  kernel = await TestKernel.start()
  writeFileSync(`${kernel.folder}/helpers.ts`, 'export const x = 1\n')
  writeFileSync(`${kernel.folder}/broken.ts`, 'import "./nowhere.ts"\n')
})
afterAll(() => kernel.close())

describe('an import that finds nothing says', () => {
  it.each([
    ['import "./helper"', /no file helper in .*; did you mean helpers\.ts\?/],
    ['import "./helpers.json"', /no file helpers\.json in .*; did you mean helpers\.ts\?/],
    ['await import("./deep/a.ts")', /there is no folder .*\/deep/],
    ['import "./broken.ts"', /no file nowhere\.ts, which .*broken\.ts.* imports, in /],
    ['import _ from "npm:lodash@4/fp"', /import … from 'lodash\/fp', after %npm install lodash@4$/],
    ['import "jsr:@std/path"', /import … from '@std\/path', after !npx jsr add @std\/path$/],
    ['import "https://esm.sh/lodash"', /not loaded from addresses/],
    ['import "./view.tsx"', /JSX is not supported/],
  ])('%s what to do', async (code, words) => {
    const { error } = await kernel.run(`1\n${code}`)
    expect(error).toMatchObject({ ename: 'FpdtError', evalue: expect.stringMatching(words), traceback: expect.stringMatching(/Cell \[\d+\] line 2:/) })
    expect(error?.traceback).not.toMatch(/node:internal|cells\.mjs/)
  })
})
