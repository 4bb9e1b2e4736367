/** How an executor ended, in words that say what to do about it. Pure. */

/** What V8 prints before it aborts. */
const HEAP_FULL = 'JavaScript heap out of memory'
/** How much of the end of stderr has to be looked at: V8's message, and the stack that it prints after it. */
export const LAST_WORDS_BYTES = 8192

/** Completes "the process that runs the cells …". `lastWords`: the end of what it wrote to stderr. */
export function describeEnd(code: number | null, signal: NodeJS.Signals | null, lastWords: string): string {
  if (signal === null) return `exited with code ${code}`
  if (lastWords.includes(HEAP_FULL)) {
    return 'ran out of memory (the heap of JavaScript was full; for a larger one start Jupyter with NODE_OPTIONS=--max-old-space-size=MEBIBYTES)'
  }
  // The kernel's own kills are told apart before they come here.
  if (signal === 'SIGKILL') return 'was ended by SIGKILL (as the system does when memory runs out)'
  return `was ended by ${signal}`
}
