/** Pointer, wheel and keys of the picture, told in words of the panel. */

export interface Gestures {
  used(): void
  /** Where the pointer is, in CSS pixels of the stage; null when it has left. */
  point(at: { x: number; y: number } | null): void
  click(at: { x: number; y: number }): void
  /** Pixels to the right since the last call. */
  drag(pixels: number): void
  /** Answers whether anything changed. */
  zoom(factor: number, x: number): boolean
  key(action: 'left' | 'right' | 'in' | 'out' | 'whole' | 'next' | 'previous' | 'unpin'): void
}

const KEYS: Readonly<Record<string, Parameters<Gestures['key']>[0]>> = {
  ArrowLeft: 'left',
  a: 'left',
  ArrowRight: 'right',
  d: 'right',
  w: 'in',
  '+': 'in',
  '=': 'in',
  s: 'out',
  '-': 'out',
  '0': 'whole',
  n: 'next',
  p: 'previous',
  Escape: 'unpin',
}

/** A hand is not still: a press that moves less is a click. */
const DRAG_FROM = 4

export function listen(stage: HTMLElement, gestures: Gestures): { dispose(): void } {
  const ended = new AbortController()
  const { signal } = ended
  const at = (event: MouseEvent): { x: number; y: number } => {
    const box = stage.getBoundingClientRect()
    return { x: event.clientX - box.left, y: event.clientY - box.top }
  }
  let pressed: { id: number; from: number; last: number; moved: boolean } | null = null

  stage.addEventListener('focus', () => gestures.used(), { signal })
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
      if (gestures.zoom(Math.exp(Math.min(1, Math.max(-1, event.deltaY / 300))), at(event).x)) event.preventDefault()
    },
    { signal, passive: false },
  )
  stage.addEventListener(
    'keydown',
    (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return
      const action = KEYS[event.key]
      if (!action) return
      gestures.key(action)
      event.preventDefault()
      event.stopPropagation()
    },
    { signal },
  )
  return { dispose: () => ended.abort() }
}
