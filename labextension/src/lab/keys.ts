/** The keys of a panel: what each does, and the list that tells a reader. */
import { NOTATION } from 'fpdt/trace'
import { keepInstant, PAN, pan, showWholeRun, stepOp, stepStep, ZOOM, zoom } from './actions.js'
import { element } from './dom.js'
import { type KeyWords, type Session, VIEWS } from './session.js'
import { KINDS_OF_VIEW } from './views/index.js'

export interface Key extends KeyWords {
  do(session: Session): void
}

export const KEYS: readonly Key[] = [
  { keys: ['a', 'ArrowLeft'], words: 'earlier', do: (session) => pan(session, -PAN) },
  { keys: ['d', 'ArrowRight'], words: 'later', do: (session) => pan(session, PAN) },
  { keys: ['w', '+', '='], words: 'zoom in', do: (session) => zoom(session, ZOOM, session.shown.pointer_ns ?? undefined) },
  { keys: ['s', '-'], words: 'zoom out', do: (session) => zoom(session, 1 / ZOOM, session.shown.pointer_ns ?? undefined) },
  { keys: ['0'], words: 'show the whole run', do: showWholeRun },
  { keys: ['n'], words: 'go to the next op of the lane', do: (session) => stepOp(session, 1) },
  { keys: ['p'], words: 'go to the previous op of the lane', do: (session) => stepOp(session, -1) },
  { keys: [']'], words: 'show the next step', do: (session) => stepStep(session, 1) },
  { keys: ['['], words: 'show the previous step', do: (session) => stepStep(session, -1) },
  { keys: [' '], words: 'keep the instant that is shown, or let go of it', do: keepInstant },
  { keys: ['Escape'], words: 'let go of what is kept', do: (session) => session.change({ pinned: null, cursor_ns: null }) },
]

/** In presentation mode these keys do this instead. */
const PRESENTING: readonly KeyWords[] = [
  { keys: ['ArrowLeft', 'ArrowRight'], words: 'go to the previous or the next op' },
  { keys: ['ArrowUp', 'ArrowDown'], words: 'show the previous or the next view' },
  { keys: ['Escape'], words: 'leave' },
]

/** A number opens and closes its view, whichever are offered: `3` is always the same one. */
export function numberOf(name: (typeof VIEWS)[number]): string {
  return String(VIEWS.indexOf(name) + 1)
}

export function listOfKeys(ofViews: readonly { title: string; keys: readonly KeyWords[] }[]): HTMLElement {
  const offered = VIEWS.filter((name) => KINDS_OF_VIEW[name])
  return element(
    'div',
    'jp-FPDT-keys',
    [
      part('Everywhere', [...KEYS, { keys: ['?'], words: 'show or hide this list' }]),
      part(
        'Views',
        offered.map((name) => ({ keys: [numberOf(name)], words: KINDS_OF_VIEW[name]?.title ?? name })),
      ),
      part('While presenting', PRESENTING),
      ...ofViews.map(({ title, keys }) => part(title, keys)),
      element('div', '', [element('strong', '', 'Names of ops'), element('p', '', NOTATION)]),
    ],
    { role: 'region', 'aria-label': 'Keys', tabindex: '0' },
  )
}

function part(title: string, keys: readonly KeyWords[]): HTMLElement {
  const lines = keys.flatMap((key) => [
    element(
      'dt',
      '',
      key.keys.map((name) => element('kbd', '', NAMES[name] ?? name)),
    ),
    element('dd', '', key.words),
  ])
  return element('div', '', [element('strong', '', title), element('dl', '', lines)])
}

const NAMES: Readonly<Record<string, string>> = { ' ': 'Space', ArrowLeft: '←', ArrowRight: '→', ArrowUp: '↑', ArrowDown: '↓', Escape: 'Esc', '-': '−' }
