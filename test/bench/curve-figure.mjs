/** The picture of `curve.mjs`: above the losses of each model, below how far each is from PyTorch in fp64. On white, readable anywhere. */
import { fileURLToPath } from 'node:url'
import { createCanvas, GlobalFonts } from '@napi-rs/canvas'

const [WIDTH, HEIGHT, SCALE] = [1200, 620, 2]
const FONT = 'FPDT Bench'
const INK = '#1f2328'
const MUTED = '#59636e'
const GRID = '#e3e6ea'
/** Ours stand before PyTorch's, which are dashed in a lighter tone. */
const LINES = {
  f32: { our: '#0b57b0', their: '#6aa5e8' },
  bf16: { our: '#b33c00', their: '#f0975f' },
}
const [LEFT, GAP, RIGHT, LOSS_TOP, LOSS_HEIGHT, DISTANCE_TOP, DISTANCE_HEIGHT] = [64, 76, 20, 58, 210, 340, 220]

/**
 * @param {readonly { name: string, fp64: readonly number[], spread: number, curves: readonly { dtype: 'f32' | 'bf16', our: readonly number[], their: readonly number[] }[] }[]} panels
 * @returns {Uint8Array} a PNG
 */
export function drawCurves(panels) {
  if (!GlobalFonts.has(FONT)) GlobalFonts.registerFromPath(fileURLToPath(new URL('../../kernel/assets/DejaVuSans.ttf', import.meta.url)), FONT)
  const canvas = createCanvas(WIDTH * SCALE, HEIGHT * SCALE)
  const context = canvas.getContext('2d')
  context.scale(SCALE, SCALE)
  context.fillStyle = '#ffffff'
  context.fillRect(0, 0, WIDTH, HEIGHT)
  const width = (WIDTH - LEFT - RIGHT - GAP * (panels.length - 1)) / panels.length
  for (const [column, panel] of panels.entries()) drawPanel(context, panel, LEFT + column * (width + GAP), width)
  drawLegend(context)
  return canvas.toBuffer('image/png')
}

function drawPanel(context, { name, fp64, spread, curves }, x, width) {
  const steps = fp64.length
  const across = (step) => x + (width * step) / (steps - 1)
  const highest = Math.ceil(Math.max(...fp64))
  const loss = (value) => LOSS_TOP + LOSS_HEIGHT * (1 - value / highest)
  write(context, `${name}: loss`, x, LOSS_TOP - 14, { bold: true })
  for (let value = 0; value <= highest; value += 2) gridLine(context, x, width, loss(value), `${value}`)
  line(context, fp64, across, loss, { colour: '#9aa4af', width: 6 })
  for (const { dtype, our } of curves)
    line(context, our, across, loss, { colour: LINES[dtype].our, width: dtype === 'f32' ? 2.4 : 1, dash: dtype === 'f32' ? [] : [4, 4] })

  const distances = curves.flatMap(({ our, their }) => [our, their].flatMap((curve) => curve.map((value, step) => Math.abs(value - fp64[step]))))
  const [low, high] = [Math.floor(Math.log10(Math.max(1e-9, least(distances)))), Math.ceil(Math.log10(Math.max(spread, ...distances)))]
  const distance = (value) => DISTANCE_TOP + DISTANCE_HEIGHT * (1 - (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low))
  write(context, `${name}: distance from PyTorch in fp64`, x, DISTANCE_TOP - 14, { bold: true })
  for (let power = low; power <= high; power++) gridLine(context, x, width, distance(10 ** power), `1e${power}`)
  for (const { dtype, our, their } of curves)
    for (const [curve, style] of [
      [their, { colour: LINES[dtype].their, width: 1, dash: [3, 2] }],
      [our, { colour: LINES[dtype].our, width: 1.2 }],
    ])
      line(context, smooth(curve.map((value, step) => Math.abs(value - fp64[step]))), across, distance, style)
  line(context, [spread, spread], (end) => x + end * width, distance, { colour: INK, width: 1, dash: [1, 3] })
  write(context, 'seed to seed', x + width - 4, distance(spread) - 9, { align: 'right', colour: MUTED })
  for (const [step, align] of [
    [1, 'left'],
    [steps / 2, 'center'],
    [steps, 'right'],
  ])
    write(context, `step ${step}`, across(step - 1), HEIGHT - 40, { align, colour: MUTED })
}

function drawLegend(context) {
  let x = LEFT
  const entry = (text, style) => {
    line(
      context,
      [0, 0],
      (end) => x + 26 * end,
      () => 20,
      style,
    )
    write(context, text, x + 32, 20, { colour: INK })
    context.font = `12px "${FONT}"`
    x += 32 + context.measureText(text).width + 22
  }
  entry('PyTorch, fp64', { colour: '#9aa4af', width: 6 })
  for (const [dtype, { our, their }] of Object.entries(LINES)) {
    entry(`ours, ${dtype}`, { colour: our, width: 2 })
    entry(`PyTorch, ${dtype === 'f32' ? 'fp32' : 'bf16 autocast'}`, { colour: their, width: 1.4, dash: [3, 2] })
  }
  write(context, 'distances are means of 10 steps', x, 20, { colour: MUTED })
}

function gridLine(context, x, width, y, label) {
  line(
    context,
    [0, 0],
    (end) => x + end * width,
    () => y,
    { colour: GRID, width: 1 },
  )
  write(context, label, x - 8, y, { align: 'right', colour: MUTED })
}

/** Values at places across, at heights down. */
function line(context, values, across, down, { colour, width, dash = [] }) {
  context.beginPath()
  for (const [i, value] of values.entries()) {
    if (i === 0) context.moveTo(across(i), down(value))
    else context.lineTo(across(i), down(value))
  }
  context.strokeStyle = colour
  context.lineWidth = width
  context.lineJoin = 'round'
  context.setLineDash(dash)
  context.stroke()
}

function write(context, text, x, y, { align = 'left', colour = INK, bold = false } = {}) {
  context.font = `${bold ? 'bold 13' : '12'}px "${FONT}"`
  context.textAlign = align
  context.textBaseline = 'middle'
  context.fillStyle = colour
  context.fillText(text, x, y)
}

const least = (numbers) => numbers.reduce((low, number) => (number > 0 ? Math.min(low, number) : low), Number.POSITIVE_INFINITY)
/** Means of 10 steps, the first ones of as many as there are. */
const smooth = (values) =>
  values.map((_, step) => values.slice(Math.max(0, step - 9), step + 1).reduce((sum, value) => sum + value, 0) / Math.min(step + 1, 10))
