/**
 * Makes code interruptible. JavaScript that does not yield cannot be interrupted from outside without losing the process
 * (terminateExecution aborts Node 20 inside AsyncLocalStorage), so it asks: at every loop head and function entry it looks at a flag that the
 * control worker sets through shared memory, and every `await` waits for the interruption of its cell too.
 *
 *     while (c) body        ->   while (c) { if($$stop[0])$$stop.raise(); body }
 *     x => value            ->   x => ($$stop[0]&&$$stop.raise(),value)
 *     await value           ->   await $$stop.wait(value)
 *     for await (x of y)    ->   for await (x of $$stop.each(y))
 *
 * Costs 16 % on an empty loop. `interrupt.ts` is what `$$stop` is at run time; `as-written.ts` has the exact texts.
 */
import type MagicString from 'magic-string'
import { BLOCK, CHECK, CHECKED, CLOSE, CLOSE_BLOCK, EACH, WAIT } from './as-written.js'
import { isFunction, type Node, walk } from './syntax.js'

const LOOPS = new Set(['WhileStatement', 'DoWhileStatement', 'ForStatement', 'ForInStatement', 'ForOfStatement'])

/**
 * Edits are outer before inner, opening text with `appendLeft` and closing text with `prependRight`: where two nodes begin or end at one place
 * that is the order which nests them rightly.
 */
export function makeInterruptible(program: Node, code: MagicString): void {
  walk(program, (node) => {
    if (LOOPS.has(node.type)) {
      if (node.await === true) wrap(node.right as Node, EACH, CLOSE, code)
      guardBody(node.body as Node, CHECK, code)
    } else if (isFunction(node) && node.body !== null) {
      const body = node.body as Node
      if (node.type === 'ArrowFunctionExpression' && node.expression === true) wrap(body, CHECKED, CLOSE, code)
      else guardBody(body, CHECK, code)
    } else if (node.type === 'AwaitExpression') {
      wrap(node.argument as Node, WAIT, CLOSE, code)
    }
  })
}

function guardBody(body: Node, check: string, code: MagicString): void {
  if (body.type !== 'BlockStatement') {
    wrap(body, BLOCK + check, CLOSE_BLOCK, code)
    return
  }
  // 'use strict' means something only as the first statement.
  const directives = (body.body as Node[]).filter((statement) => typeof statement.directive === 'string')
  code.appendLeft(directives.at(-1)?.end ?? body.start + 1, check)
}

function wrap(node: Node, before: string, after: string, code: MagicString): void {
  code.appendLeft(node.start, before)
  code.prependRight(node.end, after)
}
