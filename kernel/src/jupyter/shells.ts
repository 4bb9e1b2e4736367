/**
 * The main shell and the subshells that clients created (JEP 91). Each subshell counts its own cells from 1, and its history is a session of its own
 * beside that of the main shell: found by tail and search, by range under the number they give. (ipykernel has one count and one history for all.)
 * Variables are shared by all; all are interrupted and shut down together.
 */
import { randomUUID } from 'node:crypto'
import { FpdtError } from '../errors.js'
import type { Message } from './message.js'
import { Shell } from './shell.js'

export class Shells {
  readonly main: Shell
  readonly #subshells = new Map<string, Shell>()
  #created = 0

  constructor(private readonly execute: ConstructorParameters<typeof Shell>[2]) {
    this.main = new Shell(undefined, undefined, execute)
  }

  /** The shell that a request is for; throws for the id of none. */
  of({ header }: Message): Shell {
    const { subshell_id } = header
    return subshell_id === undefined || subshell_id === null ? this.main : this.#get(subshell_id)
  }

  /** The content of a create_subshell_reply. */
  create(): object {
    const id = randomUUID()
    this.#subshells.set(id, new Shell(id, ++this.#created, this.execute))
    return { status: 'ok', subshell_id: id }
  }

  /** The content of a delete_subshell_reply. A cell that runs goes on to its end and is answered; what waits behind it is not run. */
  delete({ content }: Message): object {
    const shell = this.#get(content.subshell_id)
    shell.abort('its subshell was deleted')
    this.#subshells.delete(shell.id as string)
    return { status: 'ok' }
  }

  /** The content of a list_subshell_reply. */
  list(): object {
    return { status: 'ok', subshell_id: [...this.#subshells.keys()] }
  }

  abort(why: string): void {
    for (const shell of this.#all) shell.abort(why)
  }

  get #all(): readonly Shell[] {
    return [this.main, ...this.#subshells.values()]
  }

  #get(id: unknown): Shell {
    const shell = this.#subshells.get(id as string)
    if (shell !== undefined) return shell
    const known = this.#subshells.size === 0 ? 'there is none' : `there are ${[...this.#subshells.keys()].join(', ')}`
    throw new FpdtError('unknown-subshell', `there is no subshell ${JSON.stringify(id)}, it may have been deleted; ${known}`)
  }
}
