/**
 * A comm of this page, made of the messages of the connection that it has to a kernel. JupyterLab's own comms are those of a page's
 * first connection to a kernel: a second notebook on that kernel has none, not even when the first is closed.
 *
 * Two things follow. That first connection hears every comm_close of the kernel and logs `Comm not found for comm id` on the console for one
 * of this page: it drops what it does not know but says so, and a comm can be made known to it from its own notebook alone. And messages go to
 * the main shell: the kernels that have runs let them overtake cells (ARCHITECTURE.md), on any other a comm_open waits for the cell that runs
 * and is then closed, for which no subshell need be made.
 */
import { UUID } from '@lumino/coreutils'
import type { Buffers } from './incoming.js'

export interface SignalLike<T> {
  connect(slot: (sender: unknown, value: T) => void): unknown
  disconnect(slot: (sender: unknown, value: T) => void): unknown
}
/** What a kernel publishes, to whomever. */
export interface Published {
  readonly header: { readonly msg_type: string }
  readonly content: unknown
  readonly buffers?: Buffers
}
type CommType = 'comm_open' | 'comm_msg' | 'comm_close'
/** A message to a kernel, with all that JupyterLab wants to see in one. */
export interface CommMessage {
  readonly channel: 'shell'
  readonly header: {
    readonly msg_id: string
    readonly msg_type: CommType
    readonly session: string
    readonly username: string
    readonly date: string
    readonly version: string
  }
  readonly parent_header: object
  readonly metadata: object
  readonly content: { readonly comm_id: string; readonly data: object; readonly target_name?: string }
  readonly buffers: []
}
/** A connection to a kernel as JupyterLab has it. */
export interface KernelLike {
  readonly isDisposed: boolean
  readonly clientId: string
  readonly username: string
  readonly statusChanged: SignalLike<string>
  readonly connectionStatusChanged: SignalLike<string>
  readonly iopubMessage: SignalLike<Published>
  sendShellMessage(message: CommMessage): unknown
}

/** What it says may come late, twice, in another order or not at all. */
export class PageComm {
  onMsg: (data: unknown, buffers: Buffers) => void = () => {}
  onClose: () => void = () => {}
  readonly #id = UUID.uuid4()

  constructor(private readonly kernel: KernelLike) {}

  /** Throws what JupyterLab does where nothing can be sent to the kernel, and then hears nothing. */
  open(target_name: string, data: object): void {
    this.kernel.iopubMessage.connect(this.#hear)
    try {
      this.#say('comm_open', { target_name, data })
    } catch (error) {
      this.dispose()
      throw error
    }
  }
  send(data: object): void {
    this.#say('comm_msg', { data })
  }
  /** Hears no more, and tells the kernel so. */
  close(): void {
    this.dispose()
    this.#say('comm_close', { data: {} })
  }
  /** Hears no more. */
  dispose(): void {
    this.kernel.iopubMessage.disconnect(this.#hear)
  }

  readonly #hear = (_: unknown, { header, content, buffers }: Published): void => {
    const { comm_id, data } = content as { comm_id?: unknown; data?: unknown }
    if (comm_id !== this.#id) return
    if (header.msg_type === 'comm_msg') this.onMsg(data, buffers ?? [])
    else if (header.msg_type === 'comm_close') {
      this.dispose()
      this.onClose()
    }
  }

  #say(msg_type: CommType, content: { readonly data: object; readonly target_name?: string }): void {
    const { clientId, username } = this.kernel
    const header = { msg_id: UUID.uuid4(), msg_type, session: clientId, username, date: new Date().toISOString(), version: '5.2' }
    this.kernel.sendShellMessage({ channel: 'shell', header, parent_header: {}, metadata: {}, content: { ...content, comm_id: this.#id }, buffers: [] })
  }
}
