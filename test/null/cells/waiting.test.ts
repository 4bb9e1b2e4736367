import { expect, it } from 'vitest'
import { cellOf, cells } from '../../../kernel/src/cells/cell.js'
import { wait } from '../../../kernel/src/cells/waiting.js'

const cell = () => cellOf({ kind: 'cell', cell: 1, file: 'Cell [1]', canAsk: false, code: '', silent: false, expressions: {} })

it('an await is known while it lasts and not after, however it ends', async () => {
  const running = cell()
  await cells.run(running, async () => {
    let [resolve, reject] = [(_: number) => {}, (_: Error) => {}]
    const kept = wait(new Promise<number>((done) => (resolve = done)))
    const broken = wait(new Promise<number>((_, fail) => (reject = fail)))
    expect(running.waiting.size).toBe(2)
    resolve(1)
    reject(new Error('no'))
    expect(await kept).toBe(1)
    await expect(broken).rejects.toThrow('no')
  })
  expect(running.waiting.size).toBe(0)
})

it('what is no object is not waited for', () => {
  const running = cell()
  cells.run(running, () => expect([wait(1), wait('x'), wait(null), wait(undefined)]).toEqual([1, 'x', null, undefined]))
  expect(running.waiting.size).toBe(0)
})
