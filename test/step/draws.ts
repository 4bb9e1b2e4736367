/** Random draws of a property: how many, and how long a draw that fails is made smaller. */

/** Whether the whole number is drawn: the files of test/long that say so run those of test/step again. */
export const IS_WHOLE = process.env.FPDT_TEST_DRAWS === 'whole'
/** In test/step so many that each path of the code is reached, in test/long the whole number. */
export const draws = (few: number, whole: number): number => (IS_WHOLE ? whole : few)

/** How long a smaller draw that fails is looked for. */
const SMALLER_MS = 60_000

/**
 * A property that is looked at in every draw, however slow the machine: only when one has failed does a clock run, and after it every
 * smaller one is let pass, so that the failure is told before the test times out.
 */
export function untilTold<T>(property: (drawn: T) => Promise<void>): (drawn: T) => Promise<void> {
  let failed_ms: number | undefined
  return async (drawn) => {
    if (failed_ms !== undefined && performance.now() - failed_ms > SMALLER_MS) return
    try {
      await property(drawn)
    } catch (error) {
      failed_ms ??= performance.now()
      throw error
    }
  }
}
