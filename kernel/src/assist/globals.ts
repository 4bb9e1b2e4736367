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
/**
 * Asks the user for a line and waits for it, as in a browser; null when the user ends the input instead. An empty answer is the default, if there is one.
 * Throws StdinNotImplementedError where nobody can answer (nbconvert, papermill). Nothing else of the notebook runs meanwhile; an interrupt ends it.
 * \`process.stdin\`, and so \`node:readline\`, is at its end from the start: clients of Jupyter answer questions and have no stream.
 */
declare function prompt(message?: string, defaultValue?: string): string | null
declare namespace prompt {
  /** The same; what is typed is not shown. */
  function password(message?: string): string | null
}
/** Asks for yes or no; anything but y or yes is no. */
declare function confirm(message?: string): boolean
/** Shows a message and waits until the user has pressed Enter. */
declare function alert(message?: string): void
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
/** Runs a command of the shell and gives the lines it prints; what it says on stderr is shown. Throws when it fails. */
declare function sh(command: string): Promise<string[]>
/** The texts of the cells, by number. */
declare let In: string[]
/** The results of the cells, by number. They stay in memory until they are deleted here, or by \`%reset out\`. */
declare let Out: Record<number, any>
/** The last result. */
declare let _: any
/** The last result but one. */
declare let __: any
/** The last result but two. */
declare let ___: any
/** The text of the cell before this one. */
declare let _i: string
declare let _ii: string
declare let _iii: string
/** With what the last \`!command\` ended; 0 is success. */
declare let _exit_code: number
/** What lines such as \`!ls\` and \`%time f()\` become. */
declare const $$words: {
  now(): { readonly wall_ns: bigint }
  time<T>(begun: { readonly wall_ns: bigint }, value: T): T
  start(): void
  stop(): void
  timeit(options: { loops?: number | undefined; repeats?: number | undefined }, statement: () => unknown): Promise<void>
  shell(command: string): Promise<void>
  lines(command: string): Promise<string[]>
  text(value: unknown): string
  line(name: 'cd', text: string): Promise<void>
  line(name: 'pwd', text: string): Promise<string>
  line(name: 'sx' | 'system' | 'who_ls', text: string): Promise<string[]>
  line(name: string, text: string): Promise<any>
  body(name: string, text: string, body: string): Promise<void>
  misplaced(name: string): never
}
`
