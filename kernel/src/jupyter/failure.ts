/** Errors as the protocol has them. */
import type { Failure } from '../cells/protocol.js'

export function asFailure(error: { readonly name: string; readonly message: string }): Failure {
  return { status: 'error', ename: error.name, evalue: error.message, traceback: [`${error.name}: ${error.message}`] }
}

/** The content of an `error` output. */
export function errorOutput({ ename, evalue, traceback }: Failure): Omit<Failure, 'status'> {
  return { ename, evalue, traceback }
}
