/**
 * Every `await` of cells and local files waits for its value or the interruption of its cell, whichever comes first; the interruption is thrown there, so
 * that `catch` and `finally` around it run. Of functions that wait for each other the innermost is interrupted, and the others get what comes of it: so
 * the cleanup of a callee ends before that of its caller begins, though it may wait itself.
 */
import { type Cell, cells } from './cell.js'
import { KeyboardInterrupt } from './keyboard-interrupt.js'

type PromiseEnds = Parameters<ConstructorParameters<typeof Promise<unknown>>[0]>

/** An `await` under way: how to end the promise it waits for. */
export interface Waiter {
  readonly resolve: PromiseEnds[0]
  readonly reject: PromiseEnds[1]
}

/**
 * The operand of an `await`. The promise between `value` and the one returned can be rejected early; no link of the chain is a function that V8 cannot look
 * through, or `Error.stack` would end at the `await`. Nothing is left on `value` by then but what an `await` leaves.
 */
export function wait(value: unknown): unknown {
  const cell = cells.getStore()
  if (cell === undefined) return value
  if (cell.interrupted) throw new KeyboardInterrupt()
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return value
  const { waiting } = cell
  let waiter: Waiter | undefined
  const either = new Promise((resolve, reject) => {
    waiter = { resolve, reject }
    waiting.add(waiter)
    Promise.resolve(value).then(resolve, reject)
  })
  return either.then(
    (result) => {
      waiting.delete(waiter as Waiter)
      return result
    },
    (reason) => {
      waiting.delete(waiter as Waiter)
      throw reason
    },
  )
}

/** The operand of a `for await`: each step is waited for as by an `await`. */
export function each(items: unknown): unknown {
  const { [Symbol.asyncIterator]: later, [Symbol.iterator]: now } = Object(items) as Partial<AsyncIterable<unknown> & Iterable<unknown>>
  // JavaScript's own words for what cannot be iterated.
  if (typeof later !== 'function' && typeof now !== 'function') return items
  const iterator = typeof later === 'function' ? later.call(items) : awaitingEach(items as Iterable<unknown>)
  const { next } = iterator
  return {
    [Symbol.asyncIterator]: () => ({
      next: () => wait(next.call(iterator)),
      ...(iterator.return === undefined ? {} : { return: (value: unknown) => iterator.return?.(value) }),
    }),
  }
}

async function* awaitingEach(items: Iterable<unknown>): AsyncGenerator<unknown> {
  yield* items
}

/** Throws at every innermost `await` of a cell. False when it is at none. */
export function interruptWaiting(cell: Cell): boolean {
  const waiters = [...cell.waiting]
  void findInterruptions(waiters).then((interruptions) => {
    const outer = new Set(interruptions.flatMap(({ frames }) => frames.slice(1).map((_, index) => String(frames.slice(index + 1)))))
    // Functions that wait for nothing that can be told are outer to none.
    for (const { frames, happen } of interruptions) if (frames.length === 0 || !outer.has(String(frames))) happen()
  })
  return waiters.length > 0
}

/** All code of a cell that goes on after its end ends at its `await`. */
export function endWaiting(cell: Cell): void {
  cell.interrupted = true
  for (const { reject } of cell.waiting) reject(new KeyboardInterrupt())
}

interface Interruption {
  /** Who waits there, and who waits for that, and so on. */
  readonly frames: readonly string[]
  happen(): void
}

/** V8 knows who waits for what: it says so in the stack of an error that is made where the waiter's promise is about to be rejected. */
function findInterruptions(waiters: readonly Waiter[]): Promise<readonly Interruption[]> {
  return Promise.all(
    waiters.map(
      ({ resolve, reject }) =>
        new Promise<Interruption>((found) => {
          Promise.resolve()
            .then(() => {
              const interrupt = new KeyboardInterrupt()
              const frames = (interrupt.stack ?? '').split('\n').filter((line) => line.startsWith('    at '))
              return new Promise((_, happen) => found({ frames, happen: () => happen(interrupt) }))
            })
            .then(resolve, reject)
        }),
    ),
  )
}
