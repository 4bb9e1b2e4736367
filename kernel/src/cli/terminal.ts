/**
 * A terminal in the place of a notebook: what a long call says of its progress becomes a line that is replaced, and SIGINT and SIGTERM
 * are the interrupt. Where there is no terminal, only lines that stay are printed.
 */
import { DISPLAY_HOST, type DisplayHost } from '../display.js'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
/** Exit code of a command that was interrupted. */
export const INTERRUPTED = 130

export class Terminal {
  readonly #callbacks = new Set<() => void>()
  #interrupted = false
  #shown = false

  /** `out`: where words go; it is a terminal where `isTTY` says so. Until `close` this process is a display host. */
  constructor(private readonly out: NodeJS.WriteStream) {
    const host: DisplayHost = {
      wordsOnly: true,
      display: (bundle) => this.show(String(bundle['text/plain'])),
      onInterrupt: (callback) => {
        this.#callbacks.add(callback)
        return () => this.#callbacks.delete(callback)
      },
    }
    ;(globalThis as { [DISPLAY_HOST]?: DisplayHost })[DISPLAY_HOST] = host
  }

  /** From here on signals interrupt. Until then they end the process: planning does not hear them, and there is nothing to save yet. */
  listen(): void {
    for (const signal of SIGNALS) process.on(signal, this.#interrupt)
    process.stdout.on('error', this.#interrupt) // nobody reads on: `fpdt train --json | head`
  }

  /** Whether a signal has come. */
  get interrupted(): boolean {
    return this.#interrupted
  }

  /** Whether a line can be replaced. */
  get inPlace(): boolean {
    return this.out.isTTY === true
  }

  /** A line in the place of the last one shown; nothing where that cannot be. */
  show(line: string): void {
    if (!this.inPlace) return
    this.#shown = true
    this.out.write(`\r\x1b[K${line.slice(0, (this.out.columns ?? 80) - 1)}`)
  }
  /** A line that stays. */
  say(line: string): void {
    this.out.write(this.#shown ? `\r\x1b[K${line}\n` : `${line}\n`)
    this.#shown = false
  }
  /** Wipes the line that is shown away. */
  wipe(): void {
    if (this.#shown) this.out.write('\r\x1b[K')
    this.#shown = false
  }
  /** Leaves the line that is shown where it is. */
  close(): void {
    if (this.#shown) this.out.write('\n')
    for (const signal of SIGNALS) process.off(signal, this.#interrupt)
    process.stdout.off('error', this.#interrupt)
    delete (globalThis as { [DISPLAY_HOST]?: DisplayHost })[DISPLAY_HOST]
  }

  readonly #interrupt = (what: NodeJS.Signals | Error): void => {
    // A second Ctrl-C does not wait: files are written beside their places, so whatever is cut short was not there yet.
    if (this.#interrupted && what === 'SIGINT') process.exit(INTERRUPTED)
    this.#interrupted = true
    for (const callback of this.#callbacks) callback()
  }
}
