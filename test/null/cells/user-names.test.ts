import { afterEach, describe, expect, it } from 'vitest'
import { Results } from '../../../kernel/src/cells/results.js'
import { UserNames } from '../../../kernel/src/cells/user-names.js'

const global = globalThis as Record<string, unknown>
afterEach(() => {
  for (const name of ['tool', '_', '__', 'Out', 'In', '_1', '_2', '_3']) delete global[name]
})

describe('what the kernel offers', () => {
  it('is the kernel’s again when the user’s is forgotten, however it was taken', () => {
    const names = new UserNames()
    names.offer('tool', 1)
    names.write('tool', 'mine')
    names.offer('tool', 2)
    expect(global.tool).toBe('mine')
    expect(names.forget('tool')).toBe(true)
    expect(global.tool).toBe(2)
    global.tool = 'mine'
    names.offer('tool', 3)
    expect(global.tool).toBe('mine')
    names.offer('tool', 'mine')
    names.offer('tool', 4)
    expect(global.tool).toBe('mine')
    names.forgetAll()
    expect(global.tool).toBe(4)
    delete global.tool
    names.offer('tool', 5)
    expect(global.tool).toBe(5)
  })

  it('the last results come back after a reset', () => {
    const names = new UserNames()
    const results = new Results(names)
    results.keep(1, 'a')
    for (const name of ['_', 'Out']) names.write(name, 'mine')
    results.keep(2, 'b')
    expect([global._, global.__, global.Out]).toEqual(['mine', 'a', 'mine'])
    names.forgetAll()
    results.forget('out')
    results.keep(3, 'c')
    expect([global._, global.__, global.Out]).toEqual(['c', undefined, { 3: 'c' }])
  })
})
