/** What every cell knows without an import, as the language server is told. Whoever adds a global in the executor adds its type here. */
export const GLOBALS = `
interface DisplayOptions {
  /** By which later updates reach this output: \`display.update(id, value)\`. */
  id?: string
  /** Replaces what that id shows. */
  update?: boolean
  metadata?: Record<string, unknown>
}
interface DisplayHandle {
  readonly id: string
  /** Shows something else in the place of what is shown. */
  update(value: unknown): void
}
/** Shows text, or a template. */
interface DisplayText {
  (text: string): DisplayHandle
  (template: TemplateStringsArray, ...values: unknown[]): DisplayHandle
}
/** Shows a value in the output of this cell: as it shows itself, else as text. */
declare function display(value: unknown, options?: DisplayOptions): DisplayHandle
declare namespace display {
  /** Changes what was shown with that id, from any cell. */
  function update(id: string, value: unknown): DisplayHandle
  /** Clears the outputs of this cell, with \`wait\` when the next one comes. */
  function clear(options?: { wait?: boolean }): void
  /** HTML. Values in a template are escaped; \`{ 'text/html': … }\` is not. */
  const html: DisplayText
  const svg: DisplayText
  /** Markdown. Backslashes in a template are kept, as formulas need them. */
  const markdown: DisplayText
  /** A formula. Backslashes in a template are kept. */
  const latex: DisplayText
  /** A tree that can be folded. */
  function json(value: unknown, options?: { expanded?: boolean }): DisplayHandle
  /** Rows (objects, arrays, anything iterable), columns (an object of arrays), or an Arrow table. */
  function table(rows: object, options?: { columns?: readonly string[] }): DisplayHandle
  /** Bytes, a path, a URL, or a canvas. */
  function image(source: string | URL | Uint8Array | ArrayBuffer | object, options?: { width?: number; height?: number; alt?: string }): DisplayHandle
}
interface ProgressOptions {
  /** What is under way. */
  label?: string
  /** How many steps there are; without it only count and rate are shown. */
  total?: number
  /** What a step is, in the plural. */
  unit?: string
}
interface Progress {
  /** So many more steps are done. */
  step(count?: number): void
  /** So many steps are done in all. */
  set(done: number): void
  /** Leaves the bar where it is. */
  end(): void
}
/** A progress bar over the items of a loop, or for a number from 0 on; without items one to step by hand. */
declare function progress<T>(items: AsyncIterable<T>, options?: ProgressOptions): AsyncIterable<T>
declare function progress<T>(items: Iterable<T>, options?: ProgressOptions): Iterable<T>
declare function progress(count: number, options?: ProgressOptions): Iterable<number>
declare function progress(options?: ProgressOptions): Progress
`
