/** A view whose columns are time. Views of this kind lie below each other: they begin and end at the same columns, and move and zoom together. */
import { leftOf, type Surface, timeAt } from 'fpdt/trace'
import { pan, zoom } from '../actions.js'
import type { Shown } from '../session.js'
import { CanvasView } from './canvas-view.js'

interface TimeLaid {
  readonly height: number
  /** The columns that are time. */
  readonly plot: { readonly x: number; readonly width: number }
}

export abstract class TimeView<Laid extends TimeLaid> extends CanvasView<Laid> {
  /** Least x of the plot: right of the names of both runs while two are compared. */
  protected left(surface: Surface, { run, other }: Shown): number {
    return Math.max(leftOf(surface, run), other ? leftOf(surface, other) : 0)
  }

  protected override timeAt({ window }: Shown, layout: Laid, x: number): number | null {
    const { plot } = layout
    return x < plot.x || x > plot.x + plot.width ? null : timeAt(layout, window, x)
  }

  protected override drag(_: Shown, { plot }: Laid, units: number): void {
    pan(this.session, -units / plot.width)
  }

  protected override zoom({ window }: Shown, layout: Laid, factor: number, x: number): boolean {
    return zoom(this.session, factor, timeAt(layout, window, x))
  }
}
