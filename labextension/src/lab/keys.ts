/** The keys of a panel: what each does, and how a reader is told of it. */
import { keepInstant, PAN, pan, showWholeRun, stepOp, stepStep, ZOOM, zoom } from './actions.js'
import type { Session } from './session.js'

export interface Key {
  /** `KeyboardEvent.key` of each. */
  readonly keys: readonly string[]
  readonly words: string
  do(session: Session): void
}

export const KEYS: readonly Key[] = [
  { keys: ['a', 'ArrowLeft'], words: 'earlier', do: (session) => pan(session, -PAN) },
  { keys: ['d', 'ArrowRight'], words: 'later', do: (session) => pan(session, PAN) },
  { keys: ['w', '+', '='], words: 'zoom in', do: (session) => zoom(session, ZOOM, session.shown.pointer_ns ?? undefined) },
  { keys: ['s', '-'], words: 'zoom out', do: (session) => zoom(session, 1 / ZOOM, session.shown.pointer_ns ?? undefined) },
  { keys: ['0'], words: 'the whole run', do: showWholeRun },
  { keys: ['n'], words: 'next op of the lane', do: (session) => stepOp(session, 1) },
  { keys: ['p'], words: 'previous op of the lane', do: (session) => stepOp(session, -1) },
  { keys: [']'], words: 'next step', do: (session) => stepStep(session, 1) },
  { keys: ['['], words: 'previous step', do: (session) => stepStep(session, -1) },
  { keys: [' '], words: 'keep the instant shown, or let go of it', do: keepInstant },
  { keys: ['Escape'], words: 'let go of everything that is kept', do: (session) => session.change({ pinned: null, cursor_ns: null }) },
]
