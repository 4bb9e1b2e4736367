/** What runs and schedules of the user's own have alike: one thing at a time is under way, and head and pages are told how it ends. */
import { FpdtError } from '../../errors.js'
import type { RunHead } from '../../trace/schema.js'
import type { RunControl } from './control.js'

/** Throws FpdtError `busy` where something is under way. */
export function refuseBusy(what: string, underWay: string | undefined): void {
  if (!underWay) return
  const end = underWay === 'a stepper' ? '; close it with await stepper.close()' : ''
  throw new FpdtError('busy', `${what} cannot begin while ${underWay} is under way${end}.`)
}

/** Pages hear of it too. */
export function setState(head: RunHead, control: RunControl, state: RunHead['state'], message = head.message): void {
  head.state = state
  head.message = message
  control.changed()
}
export function setFailed(head: RunHead, control: RunControl, error: unknown): void {
  const isStopped = error instanceof FpdtError && error.code === 'stopped'
  setState(head, control, isStopped ? 'stopped' : 'failed', error instanceof Error ? error.message : String(error))
}
