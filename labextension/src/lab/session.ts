/**
 * What is shown of one run, in one place: its views read it, change it through `change`, and are told. So a click in one view is
 * a selection in all, and one cursor runs through every axis of time.
 */
import type { Phase, Run, Target, View } from 'fpdt/trace'

/** In the order in which they stand below each other. */
export const VIEWS = ['timeline', 'chunks', 'where', 'lesson', 'numbers', 'curves', 'compare', 'ops'] as const
export type ViewName = (typeof VIEWS)[number]

export interface Shown {
  readonly run: Run
  /** The run it is compared with, aligned at the start of a step. */
  readonly other: Run | null
  /** Time in view, and the rank whose memory and chunks are shown. */
  readonly window: View
  /** Layer and phase of the chunk views. */
  readonly layer: number
  readonly phase: Phase
  /** The instant that is kept: chunk and where views show it; null: they show the pointer's, or the end of the window. */
  readonly cursor_ns: number | null
  /** The instant under the pointer. */
  readonly pointer_ns: number | null
  readonly hover: Target | null
  readonly pinned: Target | null
  readonly views: ReadonlySet<ViewName>
  /** Larger type, one view at a time, arrow keys step from op to op. */
  readonly presentation: boolean
}
export type Changed = ReadonlySet<keyof Shown>

/** A view of a session: draws into its node, and redraws what a change concerns. */
export interface RunView {
  readonly name: ViewName
  readonly node: HTMLElement
  /** At most once a frame, and only while the node is on the page. `changed` holds every key the first time. */
  update(shown: Shown, changed: Changed): void
  /** Keys that the view itself knows (the panel knows those of all views); true when it was one of them. */
  key?(event: KeyboardEvent): boolean
  dispose(): void
}

export class Session {
  #shown: Shown
  readonly #listeners = new Set<(shown: Shown, changed: Changed) => void>()

  constructor(shown: Shown) {
    this.#shown = shown
  }
  get shown(): Shown {
    return this.#shown
  }
  /** The instant that views without an axis of time show. */
  get instant_ns(): number {
    const { pointer_ns, cursor_ns, window } = this.#shown
    return pointer_ns ?? cursor_ns ?? window.end_ns
  }
  change(patch: Partial<Shown>): void {
    const changed = new Set((Object.keys(patch) as (keyof Shown)[]).filter((key) => patch[key] !== this.#shown[key]))
    if (changed.size === 0) return
    this.#shown = { ...this.#shown, ...patch }
    for (const listener of this.#listeners) listener(this.#shown, changed)
  }
  onChange(listener: (shown: Shown, changed: Changed) => void): { dispose(): void } {
    this.#listeners.add(listener)
    return { dispose: () => this.#listeners.delete(listener) }
  }
}
