/** The button that shows what was predicted below what was measured; it stands where there is a prediction. */
import { predictedRun } from 'fpdt/trace'
import { button } from './button.js'
import type { PartOfToolbar } from './toolbar-parts.js'

export const predictedToggle: PartOfToolbar = (session) => {
  const node = button('Predicted', 'Predicted: below each lane, what the plan predicted of the step', () =>
    session.change({ predicted: !session.shown.predicted }),
  )
  const show = (): void => {
    const { run, predicted } = session.shown
    node.hidden = predictedRun(run) === null
    node.setAttribute('aria-pressed', String(predicted))
  }
  show()
  const listening = session.onChange((_, changed) => {
    if (changed.has('run') || changed.has('predicted')) show()
  })
  return { node, dispose: () => listening.dispose() }
}
