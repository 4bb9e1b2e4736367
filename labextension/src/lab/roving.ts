/**
 * A toolbar is one stop of the Tab key: arrow keys, Home and End go between its controls, and Tab comes back to the one that was used
 * last (the toolbar pattern of WAI-ARIA). Fields are left with Up and Down as they know them.
 */
export class Roving {
  readonly #toolbar: HTMLElement
  #stop: HTMLElement | null = null

  constructor(toolbar: HTMLElement) {
    this.#toolbar = toolbar
    toolbar.addEventListener('focusin', ({ target }) => {
      if (target instanceof HTMLElement && this.#controls().includes(target)) this.#stop = target
      this.settle()
    })
    toolbar.addEventListener('keydown', (event) => this.#key(event))
    this.settle()
  }

  /** To be called when controls have come, have gone, or are hidden. */
  settle(): void {
    const controls = this.#controls()
    if (!this.#stop || !controls.includes(this.#stop)) this.#stop = controls[0] ?? null
    // What is hidden is no stop when it is shown, either.
    for (const control of this.#all()) control.tabIndex = control === this.#stop ? 0 : -1
  }

  #key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || event.defaultPrevented) return
    const controls = this.#controls()
    const at = controls.indexOf(event.target as HTMLElement)
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: controls.length - 1 }[event.key]
    if (at < 0 || to === undefined) return
    controls[(to + controls.length) % controls.length].focus()
    event.preventDefault()
    // These keys move the picture elsewhere in the panel.
    event.stopPropagation()
  }

  #controls(): HTMLElement[] {
    return this.#all().filter((control) => !control.hasAttribute('disabled') && !control.closest('[hidden]'))
  }

  /** Those of an opened menu are the menu's. */
  #all(): HTMLElement[] {
    return [...this.#toolbar.querySelectorAll<HTMLElement>('button, select')].filter((control) => !control.closest('[role="menu"]'))
  }
}
