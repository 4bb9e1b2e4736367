/** A magic that is not there, or not written as it must be. Named as in IPython; for a person, so nothing but a text. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
