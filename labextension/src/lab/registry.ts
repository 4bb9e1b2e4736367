/** The runs drawn on this page. The renderer and the plugin are one container of modules, so they share this list. */

/** What a command can do with a drawn run. */
export interface DrawnRun {
  readonly tableShown: boolean
  showWholeRun(): void
  toggleTable(): void
}

/** In order of use, the last used at the end. */
const runs: DrawnRun[] = []

export function use(run: DrawnRun): void {
  forget(run)
  runs.push(run)
}

export function forget(run: DrawnRun): void {
  const at = runs.indexOf(run)
  if (at >= 0) runs.splice(at, 1)
}

export function lastUsed(): DrawnRun | undefined {
  return runs.at(-1)
}
