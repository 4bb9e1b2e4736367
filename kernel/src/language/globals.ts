/** What every cell knows without an import, as the language server is told. Whoever adds a global in the executor adds its type here. */
export const GLOBALS = `
/** Shows a value in the output of this cell: its own MIME bundle if it has one, else as text. */
declare function display(value: unknown, options?: { id?: string; update?: boolean; metadata?: Record<string, unknown> }): void
declare namespace display {
  /** Clears the outputs of this cell, with \`wait\` when the next one comes. */
  function clear(options?: { wait?: boolean }): void
}
`

