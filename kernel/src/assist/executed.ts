/** A cell that ran or runs. Who runs it makes one, and says later that it has failed. */
export interface Executed {
  readonly code: string
  /** How messages name it. */
  readonly file: string
  /** Undefined while it runs. */
  hasFailed?: boolean | undefined
}
