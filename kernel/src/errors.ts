/**
 * The one error type for mistakes a user can make and mend. Common ground: every folder may throw it.
 * The message names the value, the place and what to try; `code` is stable, for programs.
 */
export class FpdtError extends Error {
  override readonly name = 'FpdtError'

  constructor(
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}
