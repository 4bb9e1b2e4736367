/** Native work under the notebook's interrupt. */
import { displayHost } from '../../display.js'
import type { FpdtError } from '../../errors.js'

/**
 * Awaits `work`. An interrupt calls `cancel` and rejects at once with what `stopped` makes; the work then ends by itself, at
 * the next op boundary, and whoever starts more must have waited for that.
 */
export async function interruptible<T>(work: Promise<T>, cancel: () => void, stopped: () => FpdtError): Promise<T> {
  let release = (): void => {}
  const interrupted = new Promise<never>((_, reject) => {
    release =
      displayHost()?.onInterrupt(() => {
        cancel()
        reject(stopped())
      }) ?? release
  })
  work.catch(() => {}) // after an interrupt nobody else may be listening
  try {
    return await Promise.race([work, interrupted])
  } finally {
    release()
  }
}
