import { expect, it } from 'vitest'
import { gpt } from '../../../kernel/src/model/gpt.js'
import { initialGroup } from '../../../kernel/src/model/initialise.js'
import { type Group, groupsOf, parameterLayout } from '../../../kernel/src/model/parameters.js'

const model = gpt({ layers: 8, width: 64, heads: 4, vocab: 512, positions: 256, tied: false })
const layout = parameterLayout(model, 3)

function part(group: Group, name: string): Float32Array {
  const { offset, shape } = group.parts.find((candidate) => candidate.name === name) as Group['parts'][number]
  return initialGroup(model, group, 7).subarray(offset, offset + shape.reduce((product, extent) => product * extent, 1))
}
function deviation(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length)
}

it('starts norms at 1 and 0, biases at 0', () => {
  const [layer] = layout.layers as [Group]
  const first = (name: string): number[] => [...new Set(part(layer, name))]
  expect(['norm1', 'norm2'].map(first)).toEqual([[1], [1]])
  expect(['norm1Bias', 'norm2Bias', 'qkvBias', 'outBias', 'upBias', 'downBias'].map(first)).toEqual(Array(6).fill([0]))
  expect([...new Set(part(layout.head, 'norm'))]).toEqual([1])
  expect([...new Set(part(layout.head, 'normBias'))]).toEqual([0])
})

it('draws tables and matrices from N(0, 0.02), what writes into the residual stream from N(0, 0.02 / √(2L))', () => {
  // Of 16,384 values and more the deviation is known to 0.55 %; the bound is 1.6 %.
  const [layer] = layout.layers as [Group]
  for (const values of [part(layout.embedding, 'table'), part(layout.positions as Group, 'table'), part(layer, 'up'), part(layout.head, 'matrix')])
    expect(deviation(values) / 0.02).toBeCloseTo(1, 1.5)
  expect((deviation(part(layer, 'down')) / 0.02) * Math.sqrt(2 * model.layers)).toBeCloseTo(1, 1.5)
})

it('gives every tensor a stream of its own, the same for any number of ranks', () => {
  const values = groupsOf(layout).map((group) => initialGroup(model, group, 7))
  const alone = groupsOf(parameterLayout(model, 1)).map((group) => initialGroup(model, group, 7))
  values.forEach((group, i) => {
    const count = groupsOf(layout)[i]?.count
    expect(group.findIndex((value, at) => value !== (at < (count as number) ? alone[i]?.[at] : 0))).toBe(-1)
  })
  expect(part(layout.layers[0] as Group, 'up')).not.toEqual(part(layout.layers[1] as Group, 'up'))
})
