/**
 * Lines of a listing, taken apart: what `kernel/src/schedule/print.ts` writes is read here alone.
 *
 *   attend state[0,3] += q[0,3] k[0,1] v[0,1] @compute
 *   verb   operands, the subject first        stream
 *
 * Listings come from anywhere: of a line that is nothing of the kind the parts are empty.
 */
import type { Run } from '../model/run.js'

/** The printed form of an op; one that the listing does not hold is named by its number. */
export function opLine({ listing }: Run, op: number): string {
  return listing[op]?.trim() || `op ${op}`
}

/** The same without its stream and without numbers of its kernel, for the inside of a sentence: `adamW weight:wPart[0] = master[0] m[0] v[0]`. */
export function opBrief(run: Run, op: number): string {
  return opLine(run, op).replace(/ (?:@\w+|\w+=-?[\d.]+(?:e[+-]?\d+)?)(?=\s|$)/g, '')
}

export function withoutStream(line: string): string {
  return line.replace(/\s+@\w+$/, '')
}

export function verbOf(line: string): string {
  return line.trim().split(/\s/, 1)[0]
}

/** Names of the values of an op, what it writes first; a copy has one. */
export function operandsOf(line: string): string[] {
  const words = line.trim().split(/\s+/).slice(1)
  return words.filter((word) => !NO_VALUE.test(word)).map((word) => word.replace(/^\w+:|@\w+$/g, ''))
}
/** `=`, `+=`, `->`, `+>`, the stream, flags and `heads=0,2`. */
const NO_VALUE = /^(?:\+?=|[-+]>|@\w+|\w+=.*|toTokens)$/

/** The name of the value that an op makes or moves; '' where it names none. */
export function subjectOf(line: string): string {
  return operandsOf(line)[0] ?? ''
}

/** Whether an all-to-all brings values from heads back to tokens. */
export function isToTokens(line: string): boolean {
  return /\stoTokens(?:\s|$)/.test(line)
}
