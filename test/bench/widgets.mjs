/**
 * What views cost in a browser: headless Chromium on the built modules, a run that was planned for real and whose times a clock
 * simulates, cut to the number of spans. Software rendering; each figure includes what the canvas needs until its pixels can be read.
 */

import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { extname, join, normalize } from 'node:path'
import { chromium } from 'playwright'
import { findChromium } from '../../.ci/system.mjs'
import { root, TaskError } from '../../.ci/task.mjs'
import { durations } from '../../kernel/lib/cost/durations.js'
import { simulate } from '../../kernel/lib/execute/simulate.js'
import { planTraining } from '../../kernel/lib/fpdt/plan/training-plan.js'
import { newHead } from '../../kernel/lib/fpdt/run/head.js'
import { runTables } from '../../kernel/lib/fpdt/run/show.js'
import { llama } from '../../kernel/lib/model/llama.js'
import { lower } from '../../kernel/lib/plan/lower.js'
import { encodeRunFile } from '../../kernel/lib/trace/file.js'
import { memoryOf } from '../../kernel/lib/trace/memory.js'
import { FAMILIES } from '../../kernel/lib/trace/schema.js'
import { pickRows } from '../../kernel/lib/trace/spans.js'
import { device, printTable } from './measure.mjs'
import { intoReadme, markdown } from './readme.mjs'

const SPANS = [10_000, 100_000, 1_000_000]
const RANKS = 2
const CHUNK = 512
const RATES = {
  flopsPerSecond: Object.fromEntries(FAMILIES.map((family) => [family, 250e9])),
  memoryBytesPerSecond: 20e9,
  copyBytesPerSecond: 5e9,
  linkBytesPerSecond: 5e9,
  opOverhead_ns: 20_000,
}

export async function widgets() {
  const executablePath = findChromium()
  if (!executablePath) throw new TaskError('no browser: install chromium (or google-chrome), or name one in the environment variable CHROMIUM')
  const whole = longRun(Math.max(...SPANS))
  let bytes = new Uint8Array(0)
  const server = createServer((request, response) => void serve(request.url, response, () => bytes))
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
  let height = 0
  const rows = [['spans', 'file', 'load', 'full redraw', 'zoomed redraw', 'hover']]
  try {
    for (const spans of SPANS) {
      bytes = new Uint8Array(Buffer.concat([...encodeRunFile(beginning(whole, spans))]))
      const page = await browser.newPage({ viewport: { width: 1300, height: 1000 } })
      page.on('pageerror', (error) => console.error(error))
      await page.goto(`http://127.0.0.1:${server.address().port}/page`)
      const { load, redraw, zoomed, hover, ...size } = await page.evaluate(() => globalThis.measured)
      height = size.height
      await page.close()
      rows.push([count(spans), `${(bytes.length / 1e6).toFixed(1)} MB`, ...[load, redraw, zoomed, hover].map(spread)])
    }
  } finally {
    await browser.close()
    server.close()
  }
  const title = `Timeline and memory of ${RANKS} ranks in headless Chromium, 1200 × ${height} pixels, in ms (best · median · 95th percentile): bytes of a run file to ready, everything in view, a ten-thousandth of it, pointing at ops and memory`
  printTable(title, rows)
  intoReadme('widgets', [`${title}.`, markdown(rows)])
}

/** Of as many steps as there must be, a long one each. */
export function longRun(spans) {
  const model = llama({ layers: 4, width: 256, heads: 8, headSize: 32, feedForward: 688, vocab: 2048 })
  const sizes = { sequence: 24 * CHUNK, chunk: CHUNK, ranks: RANKS, feedForwardRows: CHUNK / RANKS / 2, hidden: 'bf16' }
  const training = planTraining(model, sizes, { budgets: {}, threads: 2 })
  const program = lower(training.plan)
  const head = newHead(training, { ...device.info(), diskFolder: '', budgets: { device: null, host: null, disk: null } }, 'predicted')
  const times = durations(program, RATES)
  const records = []
  for (let had = 0, start_ns = 0; had < spans; ) {
    const step = records.length + 1
    const simulated = simulate(program, times, { sharedCompute: true, start_ns })
    const end_ns = Math.round(simulated.end_ns.reduce((last, time) => Math.max(last, time), start_ns))
    const of = { loss: null, tokens: sizes.sequence, tokens_per_second: 0, model_flops: 0, mfu: null, mfu_formula: '', gradient_norm: null, accounts: [] }
    head.steps.push({ step, start_ns, duration_ns: end_ns - start_ns, ...of })
    records.push({ step, spans: simulated })
    had += simulated.entry.length
    start_ns = end_ns + 1e6
  }
  return runTables(training.plan, program, head, records)
}

/** The first spans in time, and the memory of what they did. */
function beginning(tables, spans) {
  const byTime = Uint32Array.from(tables.spans.op.keys()).sort((a, b) => tables.spans.start_ns[a] - tables.spans.start_ns[b])
  const kept = pickRows(tables.spans, byTime.subarray(0, spans).sort())
  const last = kept.step.reduce((most, step) => Math.max(most, step), 0)
  return { ...tables, head: { ...tables.head, steps: tables.head.steps.slice(0, last) }, spans: kept, memory: memoryOf(tables, kept) }
}

// ---- the page ------------------------------------------------------------------------------------------------------

/** Modules as they are built; apache-arrow is written for a resolver, so its names are mapped. */
const PAGE = `<!doctype html><canvas id="picture"></canvas><canvas id="pointer"></canvas>
<script type="importmap">{ "imports": {
  "apache-arrow": "/node_modules/apache-arrow/Arrow.dom.mjs",
  "flatbuffers": "/node_modules/flatbuffers/mjs/flatbuffers.js",
  "json-with-bigint": "/node_modules/json-with-bigint/json-with-bigint.js",
  "tslib": "/node_modules/tslib/tslib.es6.js"
} }</script>
<script type="module">globalThis.measured = (${measure})()</script>`

const TYPES = { '.js': 'text/javascript', '.mjs': 'text/javascript' }

async function serve(url, response, bytes) {
  try {
    if (url === '/page') response.setHeader('Content-Type', 'text/html').end(PAGE)
    else if (url === '/run') response.end(bytes())
    else {
      const text = await readFile(join(root, normalize(url)))
      response.setHeader('Content-Type', TYPES[extname(url)] ?? 'application/octet-stream').end(text)
    }
  } catch {
    response.writeHead(404).end()
  }
}

/** Runs in the page. */
async function measure() {
  const { decodeRunFile, draw, drawPointer, layOut, LIGHT_PAGE, openRun, targetAt, themeFor } = await import('/kernel/lib/trace/index.js')
  const buffer = await (await fetch('/run')).arrayBuffer()
  const [picture, pointer] = ['picture', 'pointer'].map((id) => document.getElementById(id))
  const theme = themeFor({ ...LIGHT_PAGE, font: 'sans-serif' })
  const timed = (rounds, work) => {
    const times = Array.from({ length: rounds }, (_, i) => {
      const begin = performance.now()
      work(i)
      return performance.now() - begin
    }).sort((a, b) => a - b)
    return { best: times[0], median: times[times.length >> 1], p95: times[Math.floor(0.95 * (times.length - 1))] }
  }
  let run
  const load = timed(5, () => {
    run = openRun(decodeRunFile(new Uint8Array(buffer)))
  })
  const context = picture.getContext('2d', { willReadFrequently: true })
  const over = pointer.getContext('2d', { willReadFrequently: true })
  const view = { ...run.extent, rank: run.ranks[0] }
  const surface = { context, theme, labels: [] }
  const { height } = layOut(surface, run, view, 1200)
  for (const canvas of [picture, pointer]) Object.assign(canvas, { width: 1200, height })
  const redraw = (window) => {
    const layout = layOut(surface, run, window, 1200)
    draw({ ...surface, labels: [] }, run, window, layout)
    context.getImageData(0, 0, 1, 1)
    return layout
  }
  const length = run.extent.end_ns - run.extent.start_ns
  const inside = (i) => ({
    ...view,
    start_ns: view.start_ns + 0.4 * length + (i * length) / 1e4,
    end_ns: view.start_ns + 0.4 * length + ((i + 1) * length) / 1e4,
  })
  const warm = () => {
    for (let i = 0; i < 5; i++) redraw(view)
    for (let i = 0; i < 5; i++) redraw(inside(i))
  }
  warm()
  const full = timed(40, () => redraw(view))
  const zoomed = timed(40, (i) => redraw(inside(i)))
  const layout = redraw(view)
  const hover = timed(200, (i) => {
    const x = layout.plot.x + ((i * 37) % layout.plot.width)
    const { y } = i % 2 ? layout.lanes[i % layout.lanes.length] : layout.charts[0]
    const target = targetAt(run, view, layout, x, y + 5)
    over.clearRect(0, 0, layout.width, layout.height)
    const pointer_ns = view.start_ns + ((x - layout.plot.x) / layout.plot.width) * length
    drawPointer(over, theme, run, view, layout, { pointer_ns, cursor_ns: null, targets: target ? [target] : [] })
    over.getImageData(0, 0, 1, 1)
  })
  return { load, redraw: full, zoomed, hover, height }
}

const count = (number) => number.toLocaleString('en')
const ms = (time) => time.toFixed(time < 10 ? 1 : 0)
const spread = ({ best, median, p95 }) => [best, median, p95].map(ms).join(' · ')
