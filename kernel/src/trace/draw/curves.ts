/**
 * Curves over the steps of a run: loss, speed, MFU, share of copies that compute hides. One x axis, a small chart each.
 *
 *   loss                         tokens a second
 *   10 ·.                        4k  ___/‾‾‾‾
 *    5   ' · . _ _               2k /
 *      1     50    100 steps        1     50    100 steps
 *
 * The line is the smoothed value, what was measured lies pale below it. However many steps there are, each pixel column shows
 * the lowest and the highest value of its steps, so no spike is lost. A step without a value leaves a gap.
 */
import { hiddenShare } from '../ask/accounts.js'
import { firstAfter } from '../model/search.js'
import type { RunHead, StepSummary } from '../schema.js'
import { count, duration, percent } from '../words/format.js'
import { line, type PixelRect, type Surface, textWidth, write } from './surface.js'
import { countTick, percentTick, roundTicks, type Scale, scaleOf } from './ticks.js'

/** What lies to the right. */
export const CURVE_AXES = ['step', 'tokens', 'time'] as const
export type CurveAxis = (typeof CURVE_AXES)[number]

export interface Curve {
  readonly name: string
  readonly title: string
  /** What it is, and its formula where it has one. */
  readonly hint: string
  /** A value per step of the head; NaN where the step has none. */
  readonly values: Float64Array
  /** Least range of the axis; a share reaches from 0 to 1. */
  readonly least: readonly [number, number] | null
  readonly words: (value: number) => string
  /** On the axis, where values are round. */
  readonly tick: (value: number) => string
}

/** The curves that have a value at all. */
export function curvesOf({ steps }: RunHead): Curve[] {
  const values = (of: (step: StepSummary) => number | null): Float64Array => {
    const found = new Float64Array(steps.length)
    for (let i = 0; i < steps.length; i++) found[i] = of(steps[i]) ?? Number.NaN
    return found
  }
  const formula = steps.findLast(({ mfu_formula }) => mfu_formula)?.mfu_formula ?? ''
  const curves: Curve[] = [
    {
      name: 'loss',
      title: 'loss',
      hint: 'Mean loss of the labels of a step.',
      values: values(({ loss }) => loss),
      least: null,
      words: (loss) => loss.toFixed(loss < 1 ? 4 : 3),
      tick: (loss) => String(Number(loss.toPrecision(6))),
    },
    {
      name: 'speed',
      title: 'tokens a second',
      hint: 'Tokens of a step by its time, all ranks together.',
      values: values(({ tokens, tokens_per_second }) => (tokens > 0 ? tokens_per_second : null)),
      least: [0, 0],
      words: count,
      tick: countTick,
    },
    { name: 'mfu', title: 'MFU', hint: formula, values: values(({ mfu }) => mfu), least: [0, 0], words: percent, tick: percentTick },
    {
      name: 'hidden',
      title: 'hidden share of copies',
      hint: HIDDEN_HINT,
      values: values(({ accounts }) => hiddenShare(accounts)),
      least: [0, 1],
      words: percent,
      tick: percentTick,
    },
    {
      name: 'duration',
      title: 'time of a run',
      hint: 'From its first op to its last.',
      // Of a schedule of the user's own, which has no tokens.
      values: values(({ tokens, duration_ns }) => (tokens > 0 ? null : duration_ns)),
      least: [0, 0],
      words: duration,
      tick: duration,
    },
  ]
  return curves.filter(({ values: found }) => found.some((value) => !Number.isNaN(value)))
}
const HIDDEN_HINT = 'Time of copies between tiers that lies under compute / time of copies, all ranks together.'

/** Where each step stands on an axis: its number, the tokens read up to its end, or the time of its end. */
export function placesOf({ steps }: RunHead, axis: CurveAxis): Float64Array {
  let tokens = 0
  return Float64Array.from(steps, (step) => {
    tokens += step.tokens
    return axis === 'step' ? step.step : axis === 'tokens' ? tokens : step.start_ns + step.duration_ns
  })
}

/**
 * Exponential mean, whose weights add up to 1 from the first step on: y'[i] = sum w^(i-j) y[j] / sum w^(i-j). `weight` from 0
 * (the values themselves) to below 1. A step without a value has none, and changes nothing.
 */
export function smoothed(values: Float64Array, weight: number): Float64Array {
  let [sum, weights] = [0, 0]
  return values.map((value) => {
    if (Number.isNaN(value)) return value
    sum = weight * sum + value
    weights = weight * weights + 1
    return sum / weights
  })
}

export interface CurveChart extends PixelRect, Scale {
  readonly curve: Curve
}
export interface CurvesLayout {
  readonly width: number
  readonly height: number
  readonly charts: readonly CurveChart[]
  readonly axis: CurveAxis
  readonly places: Float64Array
  /** Pixels of each step from the left edge of any chart. */
  readonly offsets: Float64Array
  /** Of the axis, left and right. */
  readonly from: number
  readonly to: number
}

const HEIGHT = 96
const TITLE = 20
const FOOT = 22
const GAP = 26
/** From this width on two charts stand beside each other. */
const TWO_COLUMNS = 640

export function layOutCurves(surface: Surface, head: RunHead, axis: CurveAxis, width: number): CurvesLayout {
  const curves = curvesOf(head)
  const places = placesOf(head, axis)
  const columns = width >= TWO_COLUMNS && curves.length > 1 ? 2 : 1
  const scales = curves.map((curve) => ({ curve, ...scaleOf(curve.values, curve.least, curve.tick) }))
  const left = Math.ceil(Math.max(0, ...scales.flatMap(({ ticks }) => ticks.map(({ label }) => textWidth(surface, label)))) + 10)
  const each = Math.floor((width - GAP * (columns - 1)) / columns)
  const charts = scales.map(
    (scale, i): CurveChart => ({
      ...scale,
      x: (i % columns) * (each + GAP) + left,
      y: Math.floor(i / columns) * (TITLE + HEIGHT + FOOT) + TITLE,
      width: Math.max(20, each - left - 6),
      height: HEIGHT,
    }),
  )
  const [from, to] = [places[0] ?? 0, places.at(-1) ?? 1]
  // Of one step the axis would have no length: its dot stands in the middle.
  const margin = from === to ? 0.5 : 0
  const perPlace = (charts[0]?.width ?? 0) / (to - from + 2 * margin)
  return {
    width,
    height: Math.ceil(curves.length / columns) * (TITLE + HEIGHT + FOOT),
    charts,
    axis,
    places,
    offsets: places.map((place) => (place - from + margin) * perPlace),
    from: from - margin,
    to: to + margin,
  }
}

/** What was drawn, for tests and for words beside the picture. */
export interface DrawnCurve extends PixelRect {
  readonly name: string
  /** Parts of the line between gaps. */
  readonly parts: number
}

/** `smoothing`: weight of the past in the line, 0 to below 1. */
export function drawCurves(surface: Surface, head: RunHead, layout: CurvesLayout, smoothing: number): DrawnCurve[] {
  const { context, theme } = surface
  context.fillStyle = theme.background
  context.fillRect(0, 0, layout.width, layout.height)
  return layout.charts.map((chart) => drawCurve(surface, head, layout, chart, smoothing))
}

/** What lies over the curves: the step that is pointed at, or else the one of that number that is picked, with its values; of none the last values. */
export function drawCurvesPointer(
  surface: Surface,
  head: RunHead,
  layout: CurvesLayout,
  smoothing: number,
  { hover, picked }: { readonly hover: number | null; readonly picked: number | null },
): void {
  const { context, theme } = surface
  const indexOf = (number: number | null): number => (number === null ? -1 : head.steps.findIndex(({ step }) => step === number))
  const [pointed, kept] = [indexOf(hover), indexOf(picked)]
  for (const chart of layout.charts) {
    const { curve } = chart
    for (const [index, colour] of [
      [kept, theme.marker],
      [pointed, theme.mutedText],
    ] as const) {
      if (index < 0) continue
      const x = Math.round(curveX(layout, chart, index)) + 0.5
      context.strokeStyle = colour
      context.lineWidth = 1
      line(context, x, chart.y, x, chart.y + chart.height)
      if (!Number.isNaN(curve.values[index])) dot(surface, x, curveY(chart, curve.values[index]), theme.marker)
    }
    const words = valueWords(head, curve, pointed >= 0 ? pointed : kept, smoothing)
    const free = chart.width - textWidth(surface, curve.title, { bold: true }) - 12
    const fitting = words.find((text) => textWidth(surface, text) <= free)
    if (fitting) write(surface, fitting, chart.x + chart.width, chart.y - 10, { role: 'figure', align: 'right', colour: theme.mutedText })
  }
}

/** The index of the step at a point of any chart; null beside them. */
export function stepAtPoint(layout: CurvesLayout, x: number, y: number): number | null {
  const chart = layout.charts.find((at) => y >= at.y - TITLE && y <= at.y + at.height + FOOT && x >= at.x - 6 && x <= at.x + at.width + 6)
  if (!chart || layout.places.length === 0) return null
  const place = layout.from + ((x - chart.x) / chart.width) * (layout.to - layout.from)
  const { places } = layout
  const next = firstAfter(places, (at) => at, place)
  const [low, high] = [Math.max(0, next - 1), Math.min(next, places.length - 1)]
  return place - places[low] <= places[high] - place ? low : high
}

function curveX(layout: CurvesLayout, chart: CurveChart, index: number): number {
  return chart.x + layout.offsets[index]
}
function curveY(chart: CurveChart, value: number): number {
  return chart.y + chart.height - ((value - chart.low) / (chart.high - chart.low)) * chart.height
}

const PALE = 0.35

function drawCurve(surface: Surface, head: RunHead, layout: CurvesLayout, chart: CurveChart, smoothing: number): DrawnCurve {
  const { context, theme } = surface
  const { curve } = chart
  context.lineWidth = 1
  context.strokeStyle = theme.grid
  for (const { value, label } of chart.ticks) {
    const y = Math.round(curveY(chart, value)) + 0.5
    line(context, chart.x, y, chart.x + chart.width, y)
    write(surface, label, chart.x - 6, y, { role: 'tick', align: 'right', colour: theme.mutedText })
  }
  drawFoot(surface, layout, chart)
  write(surface, curve.title, chart.x, chart.y - 10, { role: 'chart', bold: true })
  const colour = theme.families.attention
  if (smoothing > 0) {
    context.lineWidth = 1
    context.globalAlpha = PALE
    trace(surface, layout, chart, curve.values, colour)
    context.globalAlpha = 1
  }
  context.lineWidth = 1.5
  const parts = trace(surface, layout, chart, smoothed(curve.values, smoothing), colour)
  if (head.state === 'failed') drawFailure(surface, layout, chart)
  return { name: curve.name, parts, x: chart.x, y: chart.y, width: chart.width, height: chart.height }
}

/** `step 12: 3.210, smoothed 3.301`, and the same shorter; of no step the last one that has a value. */
function valueWords(head: RunHead, { values, words }: Curve, index: number, smoothing: number): string[] {
  const at = index >= 0 ? index : values.findLastIndex((value) => !Number.isNaN(value))
  const step = head.steps[at]
  if (!step) return []
  if (Number.isNaN(values[at])) return [`step ${step.step}: none`]
  const plain = `step ${step.step}: ${words(values[at])}`
  return [...(smoothing > 0 ? [`${plain}, smoothed ${words(smoothed(values.subarray(0, at + 1), smoothing)[at])}`] : []), plain, words(values[at])]
}

/** A line through the values, broken where there are none; a value that stands alone is a dot. Answers how many parts it has. */
function trace(surface: Surface, layout: CurvesLayout, chart: CurveChart, values: Float64Array, colour: string): number {
  const { context } = surface
  context.strokeStyle = colour
  const alone: number[] = []
  let parts = 0
  context.beginPath()
  for (let from = 0; from < values.length; from++) {
    if (Number.isNaN(values[from])) continue
    let to = from
    while (to + 1 < values.length && !Number.isNaN(values[to + 1])) to++
    parts++
    if (from === to) alone.push(from)
    else tracePart(surface, layout, chart, values, from, to)
    from = to
  }
  context.stroke()
  for (const at of alone) dot(surface, curveX(layout, chart, at), curveY(chart, values[at]), colour)
  return parts
}

/** Steps of one pixel column become its first, lowest, highest and last value: at most four points a column, whatever the number of steps. */
function tracePart({ context }: Surface, layout: CurvesLayout, chart: CurveChart, values: Float64Array, from: number, to: number): void {
  const { offsets } = layout
  for (let first = from, next = from; first <= to; first = next) {
    const end = Math.floor(offsets[first]) + 1
    let [low, high] = [first, first]
    for (next = first + 1; next <= to && offsets[next] < end; next++) {
      if (values[next] < values[low]) low = next
      if (values[next] > values[high]) high = next
    }
    for (const at of new Set([first, Math.min(low, high), Math.max(low, high), next - 1])) {
      const [x, y] = [curveX(layout, chart, at), curveY(chart, values[at])]
      if (at === from) context.moveTo(x, y)
      else context.lineTo(x, y)
    }
  }
}

function drawFoot(surface: Surface, layout: CurvesLayout, chart: CurveChart): void {
  const { theme } = surface
  const { axis } = layout
  const words = { step: (value: number) => `${value}`, tokens: countTick, time: duration }[axis]
  const right = chart.x + chart.width
  const y = chart.y + chart.height + 10
  const title = write(surface, axis, right, y, { role: 'axis', align: 'right', colour: theme.mutedText })
  let free = chart.x - 12
  for (const value of axisTicks(layout, chart.width)) {
    const x = chart.x + ((value - layout.from) / (layout.to - layout.from)) * chart.width
    const width = textWidth(surface, words(value))
    const at = Math.max(x - width / 2, chart.x - 12)
    if (at < free || at + width > title.x - 8) continue
    write(surface, words(value), at, y, { role: 'tick', colour: theme.mutedText })
    free = at + width + 10
  }
}

function axisTicks({ from, to, places, axis }: CurvesLayout, width: number): number[] {
  if (places.length === 1) return [places[0]]
  const ticks = roundTicks(from, to, Math.max(1, Math.floor(width / 90)))
  return axis === 'step' ? ticks.filter(Number.isInteger) : ticks
}

function drawFailure(surface: Surface, layout: CurvesLayout, chart: CurveChart): void {
  const { context, theme } = surface
  const x = layout.places.length > 0 ? curveX(layout, chart, layout.places.length - 1) : chart.x
  const y = chart.y + chart.height - 5
  context.strokeStyle = theme.budget
  context.lineWidth = 2
  line(context, x - 4, y - 4, x + 4, y + 4)
  line(context, x - 4, y + 4, x + 4, y - 4)
  const words = 'failed after this step'
  write(surface, words, x - textWidth(surface, words) - 8 < chart.x ? x + 8 : x - 8 - textWidth(surface, words), y, {
    role: 'note',
    colour: theme.budget,
    plate: true,
  })
}

function dot({ context }: Surface, x: number, y: number, colour: string): void {
  context.fillStyle = colour
  context.beginPath()
  context.arc(x, y, 3, 0, 2 * Math.PI)
  context.fill()
}
