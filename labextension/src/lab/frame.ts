/**
 * When things are drawn: one animation frame for everything on the page. A painter is called when it is dirty and its node can be
 * seen, at most once a frame; while nothing changed, or what changed is detached, hidden or scrolled away, no frame is asked for.
 */

const painters = new Map<Element, { mark(): void; see(visible: boolean): void; resize(): void }>()
const due = new Set<() => void>()
let frame = 0

function request(paint: () => void): void {
  due.add(paint)
  if (frame !== 0) return
  frame = requestAnimationFrame(() => {
    frame = 0
    const now = [...due]
    due.clear()
    for (const each of now) each()
  })
}

/** Made with the first painter: modules of the extension are loaded in tests without a page, too. */
let observers: { seen: IntersectionObserver; sizes: ResizeObserver } | null = null

function observed(): { seen: IntersectionObserver; sizes: ResizeObserver } {
  observers ??= {
    seen: new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) painters.get(target)?.see(isIntersecting)
    }),
    sizes: new ResizeObserver((entries) => {
      for (const { target } of entries) painters.get(target)?.resize()
    }),
  }
  return observers
}

/** Gathers what changed, and hands it to `paint` in the next frame in which the node can be seen. A change of the node's width is one, too. */
export class Painter<Key> {
  readonly #node: Element
  readonly #changed = new Set<Key | 'size'>()
  readonly #run: () => void
  #visible = false
  #width = -1

  constructor(node: Element, paint: (changed: ReadonlySet<Key | 'size'>) => void) {
    this.#node = node
    this.#run = () => {
      const changed = new Set(this.#changed)
      this.#changed.clear()
      paint(changed)
    }
    painters.set(node, {
      mark: () => this.#ask(),
      see: (visible) => {
        this.#visible = visible
        this.#ask()
      },
      resize: () => {
        if (node.clientWidth === this.#width) return
        this.#width = node.clientWidth
        this.mark(['size'])
      },
    })
    observed().seen.observe(node)
    observed().sizes.observe(node)
  }

  mark(keys: Iterable<Key | 'size'>): void {
    for (const key of keys) this.#changed.add(key)
    this.#ask()
  }

  dispose(): void {
    due.delete(this.#run)
    painters.delete(this.#node)
    observers?.seen.unobserve(this.#node)
    observers?.sizes.unobserve(this.#node)
  }

  #ask(): void {
    if (this.#visible && this.#changed.size > 0) request(this.#run)
    else due.delete(this.#run)
  }
}
