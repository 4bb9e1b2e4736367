import { setTimeout as delay } from 'node:timers/promises'
import { expect, it } from 'vitest'
import type { Outcome } from '../../../kernel/src/cells/protocol.js'
import { TypeCheck } from '../../../kernel/src/jupyter/type-check.js'

const never = new Promise<never>(() => {})

/** Whether the reply of a session's first cell goes while the language server has not answered. */
async function isAnswered(outcome: Outcome): Promise<boolean> {
  const check = new TypeCheck(
    () => never,
    [],
    new Set(),
    () => {},
  ).begin(1, 'Cell [1]', 'const n: number = "a"')
  const reply = check?.ended(outcome, never).reply
  return Promise.race([Promise.resolve(reply).then(() => reply !== undefined), delay(20, false)])
}

it('a server that is yet to start holds back the reply of a cell, and not that of an interrupted one', async () => {
  expect(await isAnswered({ expressions: {} })).toBe(false)
  const error = { status: 'error', ename: 'KeyboardInterrupt', evalue: 'interrupted', traceback: [] } as const
  expect(await isAnswered({ error, expressions: {} })).toBe(true)
})
