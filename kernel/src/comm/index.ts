/**
 * `fpdt/comm`: messages between code in cells and code in the front end (widgets), both ways, with buffers.
 *
 *     const comm = openComm('my-target', { title: 'loss' })       JupyterLab calls what is registered for 'my-target'
 *     comm.onMessage(({ data, buffers }) => { ... })
 *     comm.send({ step: 3 }, { buffers: [new Float32Array(losses)] })
 *
 *     onComm('my-target', (comm, { data }) => { ... })            the front end opened one
 *
 * Messages arrive while a cell awaits or native work runs, not while JavaScript of a cell keeps the thread.
 */
import { FpdtError } from '../errors.js'
import type { Comm, CommOptions, Comms, TargetHandler } from './comms.js'

export type { Comm, CommHandler, CommMessage, CommOptions, TargetHandler } from './comms.js'

/** Key of the process's comms on `globalThis`; the kernel's executor puts them there. */
export const COMM_HOST: unique symbol = Symbol.for('fpdt.comm.host') as never

/** Opens a comm to what the front end registered for `target`. Throws FpdtError 'no-front-end' outside a Jupyter kernel, TypeError for data that is no JSON object. */
export function openComm(target: string, data: Readonly<Record<string, unknown>> = {}, options: CommOptions = {}): Comm {
  return host('openComm').open(target, data, options)
}

/**
 * Calls `handler` for every comm of `target` that the front end opens; a later registration replaces an earlier one. Register `onMessage` in it before
 * its first `await`, or messages that follow at once are missed. When it throws, the comm is closed. Returns the function that ends the registration.
 * Throws FpdtError 'no-front-end' outside a Jupyter kernel.
 */
export function onComm(target: string, handler: TargetHandler): () => void {
  return host('onComm').register(target, handler)
}

function host(caller: string): Comms {
  const comms = (globalThis as { [COMM_HOST]?: Comms })[COMM_HOST]
  if (comms === undefined) throw new FpdtError('no-front-end', `${caller} needs a front end; run it in a cell of a notebook with the fpdt kernel`)
  return comms
}
