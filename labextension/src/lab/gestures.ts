/** Pointer and wheel of a canvas view, told in its words. */

/** In CSS pixels of the stage. */
export interface Point {
  readonly x: number
  readonly y: number
}

export interface Gestures {
  /** Where the pointer is; null when it has left. */
  point(at: Point | null): void
  click(at: Point): void
  /** Pixels to the right since the last call. */
  drag(pixels: number): void
  /** Answers whether anything changed. */
  zoom(factor: number, at: Point): boolean
}

/** A hand is not still: a press that moves less is a click. */
const DRAG_FROM = 4

export function listen(stage: HTMLElement, gestures: Gestures, signal: AbortSignal): void {
  const at = (event: MouseEvent): Point => {
    const box = stage.getBoundingClientRect()
    return { x: event.clientX - box.left, y: event.clientY - box.top }
  }
  let pressed: { id: number; from: number; last: number; moved: boolean } | null = null

  stage.addEventListener(
    'pointerdown',
    (event) => {
      if (event.button !== 0) return
      stage.focus({ preventScroll: true })
      pressed = { id: event.pointerId, from: event.clientX, last: event.clientX, moved: false }
    },
    { signal },
  )
  stage.addEventListener(
    'pointermove',
    (event) => {
      if (pressed?.id === event.pointerId) {
        if (!pressed.moved && Math.abs(event.clientX - pressed.from) < DRAG_FROM) return
        if (!pressed.moved) stage.setPointerCapture(event.pointerId)
        pressed.moved = true
        gestures.drag(event.clientX - pressed.last)
        pressed.last = event.clientX
      }
      gestures.point(at(event))
    },
    { signal },
  )
  stage.addEventListener(
    'pointerup',
    (event) => {
      if (pressed && !pressed.moved) gestures.click(at(event))
      pressed = null
    },
    { signal },
  )
  stage.addEventListener('pointercancel', () => (pressed = null), { signal })
  stage.addEventListener('pointerleave', () => gestures.point(null), { signal })
  stage.addEventListener(
    'wheel',
    (event) => {
      // The wheel is the page's, unless the reader has put the focus here; and at the whole run it is the page's again.
      if (document.activeElement !== stage || event.deltaY === 0) return
      if (gestures.zoom(Math.exp(Math.min(1, Math.max(-1, event.deltaY / 300))), at(event))) event.preventDefault()
    },
    { signal, passive: false },
  )
}
