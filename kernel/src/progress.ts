/**
 * How far long work is, in an output that is updated in its place: in a notebook, in what nbconvert makes of it (the last state alone), in a terminal.
 *
 *     for (const file of progress(files, { label: 'files' })) …        any iterable; `progress(100)` counts from 0 to 99
 *     for await (const row of progress(rows, { total: 5000 })) …       any async iterable
 *     const bar = progress({ total: bytes, unit: 'B' }); bar.step(4096); bar.end()
 *
 * Bars that are open at the same time share one output, a line each: loops within loops do not leave a bar for each turn.
 */
import { type DisplayHost, displayHost, type MimeBundle } from './display.js'
import { escapeHtml } from './escape-html.js'

/** Least time between two drawings of one output. */
const EVERY_MS = 100
const CELLS = 20
const SHOWN_BARS = 10

export interface ProgressOptions {
  /** What is under way. */
  readonly label?: string
  /** How many steps there are; without it only count and rate are shown. 1 stands for the whole: only the share is shown. */
  readonly total?: number
  /** What a step is, in the plural: `tokens`. */
  readonly unit?: string
  /** When the work began, as `performance.now()` counts; without it, now. */
  readonly begin?: number
}

export function progress<T>(items: AsyncIterable<T>, options?: ProgressOptions): AsyncIterable<T>
export function progress<T>(items: Iterable<T>, options?: ProgressOptions): Iterable<T>
export function progress(count: number, options?: ProgressOptions): Iterable<number>
export function progress(options?: ProgressOptions): Progress
export function progress<T>(what: AsyncIterable<T> | Iterable<T> | number | ProgressOptions = {}, options: ProgressOptions = {}): unknown {
  if (typeof what === 'number') return each(Array(what).keys(), { total: what, ...options })
  if (Symbol.iterator in Object(what)) return each(what as Iterable<T>, { ...sizeOf(what), ...options })
  if (Symbol.asyncIterator in Object(what)) return eachLater(what as AsyncIterable<T>, options)
  return new Progress(what as ProgressOptions)
}

function* each<T>(items: Iterable<T>, options: ProgressOptions): Generator<T, void> {
  const bar = new Progress(options)
  try {
    for (const item of items) {
      yield item
      bar.step()
    }
    bar.complete()
  } finally {
    bar.end() // also when the body throws, breaks, or is interrupted
  }
}

async function* eachLater<T>(items: AsyncIterable<T>, options: ProgressOptions): AsyncGenerator<T, void> {
  const bar = new Progress(options)
  try {
    for await (const item of items) {
      yield item
      bar.step()
    }
    bar.complete()
  } finally {
    bar.end()
  }
}

function sizeOf(items: unknown): { total?: number } {
  const { length, size } = items as { length?: unknown; size?: unknown }
  const total = typeof length === 'number' ? length : size
  return typeof total === 'number' ? { total } : {}
}

/** One bar. */
export class Progress {
  readonly #begin: number
  readonly #output: ProgressOutput
  readonly #label: string
  readonly #unit: string
  #total: number | undefined
  #done = 0
  /** Set when it has ended. */
  #seconds: number | undefined

  /** In `output`, or in the one that the other open bars of this cell share. */
  constructor({ label = '', total, unit = '', begin = performance.now() }: ProgressOptions = {}, output: ProgressOutput = ProgressOutput.current()) {
    this.#label = label
    this.#total = total
    this.#unit = unit
    this.#begin = begin
    this.#output = output
    output.open(this)
  }

  get isEnded(): boolean {
    return this.#seconds !== undefined
  }

  /** So many more steps are done. */
  step(count = 1): void {
    this.set(this.#done + count)
  }

  /** So many steps are done in all. */
  set(done: number): void {
    if (this.isEnded) return
    this.#done = done
    this.#output.changed()
  }

  /** Nothing is left to do: what was done is all there was. */
  complete(): void {
    this.#total ??= this.#done
    this.end()
  }

  /** Leaves the bar where it is. */
  end(): void {
    if (this.isEnded) return
    this.#seconds = (performance.now() - this.#begin) / 1000
    this.#output.ended()
  }

  [Symbol.dispose](): void {
    this.end()
  }

  inWords(): string {
    const share = this.#share
    const bar = share === undefined ? '' : `${String(Math.floor(100 * share)).padStart(3)} % |${'█'.repeat(Math.round(CELLS * share)).padEnd(CELLS, '·')}|`
    return [this.#label, bar, this.#figures()].filter((part) => part !== '').join('  ')
  }

  toHtml(): string {
    const share = this.#share
    // A bar without a value would be animated for ever, in a saved notebook too.
    const bar = share === undefined ? '' : `<progress max="1" value="${share.toFixed(4)}"></progress> ${Math.floor(100 * share)} %`
    return `<div>${[escapeHtml(this.#label), bar, `<small>${escapeHtml(this.#figures())}</small>`].filter((part) => part !== '').join(' ')}</div>`
  }

  get #share(): number | undefined {
    if (this.#total === undefined) return undefined
    return this.#total > 0 ? Math.min(1, Math.max(0, this.#done / this.#total)) : 1
  }

  /** `45 of 100 tokens · 12.3/s · 4 s, 5 s left` */
  #figures(): string {
    const [total, done] = [this.#total, this.#done]
    const seconds = this.#seconds ?? (performance.now() - this.#begin) / 1000
    const isKnown = done > 0 && seconds >= 0.01
    const figures: string[] = []
    if (total !== 1) figures.push(`${shorten(done)}${total === undefined ? '' : ` of ${shorten(total)}`}${this.#unit === '' ? '' : ` ${this.#unit}`}`)
    if (total !== 1 && isKnown) figures.push(done > seconds ? `${shorten(done / seconds)}/s` : `${time(seconds / done)} each`)
    if (this.isEnded) figures.push(total !== undefined && done >= total ? time(seconds) : `ended after ${time(seconds)}`)
    else if (isKnown && total !== undefined && done < total) figures.push(`${time(seconds)}, ${time((seconds / done) * (total - done))} left`)
    else if (seconds >= 0.1) figures.push(time(seconds))
    return figures.join(' · ')
  }
}

const currentOutputs = new WeakMap<object, ProgressOutput>()
let outputs = 0

/** Where bars are drawn. */
export class ProgressOutput {
  readonly #host: DisplayHost | undefined
  #bars: Progress[] = []
  #shown = false
  #drawn_ms = Number.NEGATIVE_INFINITY
  #later: NodeJS.Timeout | undefined

  constructor(private readonly displayId = `progress-${process.pid}-${Math.random().toString(36).slice(2)}-${++outputs}`) {
    this.#host = displayHost() ?? (process.stderr.isTTY ? terminalLine(process.stderr) : undefined)
  }

  /** The one with open bars of this cell, or a new one. */
  static current(): ProgressOutput {
    const host = displayHost()
    const owner = host?.owner?.() ?? host ?? ProgressOutput
    let output = currentOutputs.get(owner)
    if (output?.isOpen !== true) {
      output = new ProgressOutput()
      currentOutputs.set(owner, output)
    }
    return output
  }

  get isOpen(): boolean {
    return this.#bars.some((bar) => !bar.isEnded)
  }

  /** Bars that have ended make room: the next turn of an outer loop begins a bar anew. */
  open(bar: Progress): void {
    this.#bars = [...this.#bars.filter((other) => !other.isEnded), bar]
    this.changed()
  }

  changed(): void {
    if (this.#later !== undefined) {
      // The timer cannot fire while a loop does not yield.
      if (performance.now() - this.#drawn_ms >= EVERY_MS) this.#draw()
      return
    }
    const wait_ms = this.#drawn_ms + EVERY_MS - performance.now()
    if (wait_ms <= 0) this.#draw()
    else this.#later = setTimeout(() => this.#draw(), wait_ms).unref()
  }

  ended(): void {
    if (this.isOpen) this.changed()
    else this.#draw()
  }

  #draw(): void {
    clearTimeout(this.#later)
    this.#later = undefined
    this.#drawn_ms = performance.now()
    this.#host?.display(this.#bundle(), { displayId: this.displayId, update: this.#shown })
    this.#shown = true
    if (this.#host !== undefined && LINE_ENDS in this.#host && !this.isOpen) (this.#host as TerminalLine)[LINE_ENDS]()
  }

  #bundle(): MimeBundle {
    const bars = this.#bars.slice(0, SHOWN_BARS)
    const more = this.#bars.length > bars.length ? [`and ${this.#bars.length - bars.length} more`] : []
    const lines = [...bars.map((bar) => bar.inWords()), ...more]
    if (this.#host?.wordsOnly === true) return { 'text/plain': lines.join('  ·  ') }
    return { 'text/plain': lines.join('\n'), 'text/html': [...bars.map((bar) => bar.toHtml()), ...more].join('') }
  }
}

const LINE_ENDS = Symbol('line ends')
type TerminalLine = DisplayHost & { [LINE_ENDS](): void }

/** In plain Node: the bottom line of the terminal. */
function terminalLine(out: NodeJS.WriteStream): TerminalLine {
  return {
    wordsOnly: true,
    display: (bundle) => void out.write(`\r\x1b[K${String(bundle['text/plain']).slice(0, (out.columns ?? 80) - 1)}`),
    onInterrupt: () => () => {},
    [LINE_ENDS]: () => void out.write('\n'),
  }
}

function shorten(value: number): string {
  if (value >= 1e5)
    return `${Number((value / (value >= 1e9 ? 1e9 : value >= 1e6 ? 1e6 : 1e3)).toPrecision(4))} ${value >= 1e9 ? 'G' : value >= 1e6 ? 'M' : 'k'}`
  return String(Number.isInteger(value) ? value : Number(value.toPrecision(3)))
}

function time(seconds: number): string {
  if (seconds < 9.95) return `${seconds < 0.01 ? (seconds * 1000).toFixed(1) : seconds.toFixed(seconds < 1 ? 2 : 1)} ${seconds < 0.01 ? 'ms' : 's'}`
  const whole = Math.round(seconds)
  if (whole < 60) return `${whole} s`
  const [minutes, hours] = [Math.floor(whole / 60) % 60, Math.floor(whole / 3600)]
  return hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min ${whole % 60} s`
}
