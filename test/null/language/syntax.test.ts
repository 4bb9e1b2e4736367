import { describe, expect, it } from 'vitest'
import { type Node, parse, walk } from '../../../kernel/src/language/syntax.js'

const root = (source: string) => parse(source).program as unknown as Node

describe('walk', () => {
  it('parents come first, then children in the order of the text', () => {
    const entered: string[] = []
    walk(root('f(a, (b) => b + 1)\nlet [c, , d] = e'), ({ type, name }) => void entered.push((name as string | undefined) ?? type))
    expect(entered.join(' ')).toBe(
      'Program ExpressionStatement CallExpression f a ArrowFunctionExpression b BinaryExpression b Literal VariableDeclaration VariableDeclarator ArrayPattern c d e',
    )
  })

  it('false leaves out what stands in a node, and nothing beside it', () => {
    const names: unknown[] = []
    walk(root('a(() => b)\nc'), ({ type, name }) => {
      if (name !== undefined) names.push(name)
      return type !== 'ArrowFunctionExpression'
    })
    expect(names).toEqual(['a', 'c'])
  })

  it('sums and chains may be as long as V8 runs them', () => {
    for (const [source, type] of [
      [Array(8000).fill('x').join('+'), 'Identifier'],
      [`f${'.f()'.repeat(8000)}`, 'CallExpression'],
    ] as const) {
      let found = 0
      walk(root(source), (node) => {
        if (node.type === type) found++
      })
      expect(found).toBe(8000)
    }
  })
})
