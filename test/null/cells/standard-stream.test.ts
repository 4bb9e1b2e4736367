import { finished } from 'node:stream/promises'
import { setImmediate } from 'node:timers/promises'
import { expect, it, vi } from 'vitest'
import { type Cell, cells } from '../../../kernel/src/cells/cell.js'
import { StandardStream } from '../../../kernel/src/cells/standard-stream.js'

const cell = (id: number) => ({ id }) as Cell

it('writes at once, and calls back after the code that wrote, in order and in its own cell', async () => {
  const written: unknown[] = []
  const called: unknown[] = []
  const stream = new StandardStream(1, (chunk) => written.push(chunk))
  for (const [id, text] of [
    [1, 'a'],
    [1, 'b'],
    [2, 'c'],
    [1, 'd'],
  ] as const)
    cells.run(cell(id), () => stream.write(text, () => called.push([text, cells.getStore()?.id])))
  expect(written).toEqual(['a', 'b', 'c', 'd'])
  expect(called).toEqual([])
  await setImmediate()
  expect(called).toEqual([
    ['a', 1],
    ['b', 1],
    ['c', 2],
    ['d', 1],
  ])
})

it('calls the others back when one of them throws', async () => {
  const stream = new StandardStream(2, () => {})
  const called: string[] = []
  const thrown = vi.fn()
  process.prependOnceListener('uncaughtException', thrown)
  const others = process.listeners('uncaughtException').filter((listener) => listener !== thrown)
  for (const listener of others) process.off('uncaughtException', listener)
  try {
    for (const text of ['a', 'b', 'c'])
      stream.write(text, () => {
        called.push(text)
        if (text === 'b') throw new Error('of a callback')
      })
    await setImmediate()
    await setImmediate()
  } finally {
    process.off('uncaughtException', thrown)
    for (const listener of others) process.on('uncaughtException', listener)
  }
  expect(called).toEqual(['a', 'b', 'c'])
  expect(thrown.mock.calls.map(([error]) => error.message)).toEqual(['of a callback'])
})

it('tells who ends it, and goes on', async () => {
  const written: unknown[] = []
  const stream = new StandardStream(1, (chunk) => written.push(chunk))
  const ended = finished(stream, { readable: false })
  stream.end('last')
  await ended
  stream.write('more')
  expect(written).toEqual(['last', 'more'])
})
