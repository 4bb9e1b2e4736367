/**
 * Jupyter messages as data, after jupyter_client's "Messaging in Jupyter" (protocol 5.5). Knows nothing of sockets or signatures.
 */
import { randomUUID } from 'node:crypto'
import { userInfo } from 'node:os'

export const PROTOCOL_VERSION = '5.5'

export type Content = Record<string, unknown>

export interface Header {
  readonly msg_id: string
  /** One id per kernel process: JupyterLab drops comm messages whose session differs from the one of kernel_info_reply. */
  readonly session: string
  readonly username: string
  /** ISO 8601 with zone. */
  readonly date: string
  readonly msg_type: string
  readonly version: string
  /** Of requests: the subshell they are for (JEP 91); the main shell without. */
  readonly subshell_id?: string | null
}

export interface Message {
  /** ZeroMQ routing prefix: whom a reply goes back to. On IOPub: the one topic frame. */
  readonly identities: readonly Uint8Array[]
  readonly header: Header
  /** Header of the request that caused this message; empty for messages nobody asked for. */
  readonly parent: Header | Record<string, never>
  readonly metadata: Content
  readonly content: Content
  /** Binary frames after the JSON ones; not covered by the signature (the protocol says so). */
  readonly buffers: readonly Uint8Array[]
}

/** What a message of ours may carry beside its content. */
export interface MessageExtra {
  readonly metadata?: Content
  readonly buffers?: readonly Uint8Array[]
}

const username = (() => {
  try {
    return userInfo().username
  } catch {
    return 'kernel' // a uid without a passwd entry, common in containers
  }
})()

export class Session {
  readonly id = randomUUID()
  #sent = 0

  /** A message of ours. `parent` gives it the request's header and, for replies, its routing prefix. */
  message(type: string, content: object, parent?: Message, extra: MessageExtra = {}): Message {
    return {
      identities: parent?.identities ?? [],
      header: {
        msg_id: `${this.id}_${this.#sent++}`,
        session: this.id,
        username,
        date: new Date().toISOString(),
        msg_type: type,
        version: PROTOCOL_VERSION,
      },
      parent: parent?.header ?? {},
      metadata: extra.metadata ?? {},
      content: content as Content,
      buffers: extra.buffers ?? [],
    }
  }
}
