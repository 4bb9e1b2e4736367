/**
 * The language server's life: started by the first question, again after its end; at once the first time, then later and later, so that one that
 * cannot live costs nothing. Why it ended is said on the kernel's stderr, once.
 */
import { LanguageServer } from './language-server.js'
import type { Notebook } from './notebook.js'
import { CONFIG, Workspace } from './workspace.js'

export interface Living {
  readonly server: LanguageServer
  readonly workspace: Workspace
}

const FIRST_PAUSE_MS = 1000
const LONGEST_PAUSE_MS = 60_000
/** One that lived so long and answered had nothing wrong with it. */
const SOUND_MS = 30_000

export class ServerLife {
  #living: Promise<Living> | undefined
  #failures = 0
  #startedAt = 0
  #notBefore = 0
  #isWarm = false
  readonly #said = new Set<string>()

  constructor(
    private readonly folder: string,
    private readonly notebook: Notebook,
    private readonly globals: ReadonlySet<string>,
    private readonly startServer: typeof LanguageServer.start = LanguageServer.start,
  ) {}

  /** Starts one where there is none. Rejects while it is too early for that, or when it cannot be started. */
  async current(): Promise<Living> {
    const wait_ms = this.#notBefore - performance.now()
    if (this.#living === undefined && wait_ms > 0) throw new Error(`the language server is started again in ${Math.ceil(wait_ms / 1000)} s`)
    this.#living ??= this.#start()
    return this.#living
  }

  /** The server works. */
  answered(): void {
    this.#isWarm = true
    if (performance.now() - this.#startedAt > SOUND_MS) this.#failures = 0
  }

  /** It has answered before; the first answer takes longer. */
  get isWarm(): boolean {
    return this.#isWarm
  }

  close(): void {
    void this.#living?.then(({ server }) => server.close()).catch(() => {})
    this.#living = undefined
    this.#isWarm = false
  }

  async #start(): Promise<Living> {
    this.#startedAt = performance.now()
    let hasEnded = false
    const ended = (why: string): void => {
      if (!hasEnded) this.#ended(why)
      hasEnded = true
    }
    try {
      const server = await this.startServer(this.folder, CONFIG, ended)
      return { server, workspace: new Workspace(this.folder, this.notebook, this.globals, server) }
    } catch (error) {
      ended((error as Error).message) // it could not even be started
      throw error
    }
  }

  #ended(why: string): void {
    this.#living = undefined
    this.#isWarm = false
    const pause_ms = this.#failures++ === 0 ? 0 : Math.min(FIRST_PAUSE_MS * 2 ** (this.#failures - 2), LONGEST_PAUSE_MS)
    this.#notBefore = performance.now() + pause_ms
    if (this.#said.has(why)) return
    this.#said.add(why)
    process.stderr.write(`fpdt kernel: the language server ${why}; completion, inspection and type checks wait for another, cells run on\n`)
  }
}
