/** Drawing a run: functions of a 2D context, a theme and a window of time. The lab extension and the PNG share all of it. */

export { predictedRun } from '../ask/predicted.js'
export { type Extent, type Lane, openRun, type Run, stackFor } from '../model/run.js'
export { levelAt, type Stack } from '../model/stack.js'
export { sameTarget, type Target } from '../model/target.js'
export { panned, shown, type View, zoomed } from '../model/view.js'
export { byteRate, bytes, count, counted, duration, flopRate, flops, percent } from '../words/format.js'
export { type Fact, facts, keptWords, levelWords, opLine, opWords, placeWords, stateWords, summaryWords } from '../words/run.js'
export { contrast, hexOf, luminance, parseColour, type Rgb } from './colour.js'
export {
  CURVE_AXES,
  type Curve,
  type CurveAxis,
  type CurvesLayout,
  curvesOf,
  type DrawnCurve,
  drawCurves,
  drawCurvesPointer,
  layOutCurves,
  placesOf,
  smoothed,
  stepAtPoint,
} from './curves.js'
export { hidesRanks, type Layout, type LayoutOptions, layOut, leftOf, timeAt, xOf } from './layout.js'
export { draw, drawPointer, levelsAt, type Picture, type Pointed, targetAt } from './picture.js'
export { type Context2D, type Label, overlaps, type PixelRect, type Surface } from './surface.js'
export { contrastOf, DARK_PAGE, LIGHT_PAGE, type PageColours, type Theme, themeFor } from './theme.js'
