/** Native work under the notebook's interrupt. */
import { displayHost } from '../../display.js'
import type { FpdtError } from '../../errors.js'

/**
 * Awaits `work`. An interrupt, or whoever else may ask for one (`onStop`), calls `cancel` and rejects at once with what `stopped` makes; the work then ends by itself, at
 * the next op boundary, and whoever starts more must have waited for that.
 */
export async function interruptible<T>(
  work: Promise<T>,
  cancel: () => void,
  stopped: () => FpdtError,
  onStop: (stop: () => void) => () => void = () => () => {},
): Promise<T> {
  const releases: (() => void)[] = []
  const interrupted = new Promise<never>((_, reject) => {
    const stop = (): void => {
      cancel()
      reject(stopped())
    }
    releases.push(displayHost()?.onInterrupt(stop) ?? (() => {}), onStop(stop))
  })
  work.catch(() => {}) // after an interrupt nobody else may be listening
  try {
    return await Promise.race([work, interrupted])
  } finally {
    for (const release of releases) release()
  }
}
