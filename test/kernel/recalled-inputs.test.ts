import { afterAll, beforeAll, expect, it } from 'vitest'
import { TestKernel } from './client.js'

let kernel: TestKernel
beforeAll(async () => {
  kernel = await TestKernel.start()
})
afterAll(() => kernel.close())

it('the texts of the cells outlive a process that ends', async () => {
  await kernel.run('const first = 1')
  expect((await kernel.run('process.exit(3)')).error?.evalue).toContain('texts of the cells (In) stay')
  const { result } = await kernel.run('JSON.stringify([typeof first, In[1], In[2], In.length, _i])')
  expect(result).toBe(`'["undefined","const first = 1","process.exit(3)",4,"process.exit(3)"]'`)
})
