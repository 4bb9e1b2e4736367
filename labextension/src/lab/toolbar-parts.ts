/** What stands at the end of every panel's toolbar. */
import { exportMenu } from './export-menu.js'
import { predictedToggle } from './predicted-toggle.js'
import type { Session } from './session.js'

export interface ToolbarPart {
  readonly node: HTMLElement
  dispose(): void
}

/** Called once for every panel; `panel` is its node. */
export type PartOfToolbar = (session: Session, panel: HTMLElement) => ToolbarPart

export const PARTS_OF_TOOLBAR: readonly PartOfToolbar[] = [predictedToggle, exportMenu]
