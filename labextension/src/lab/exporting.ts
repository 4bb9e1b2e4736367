/** A run as a file on the reader's disk: what is in the payload, made on the page, with no kernel and no server. */
import { type Context2D, chromeTrace, count, encodeRunFile, memoryCsv, type Run, runSvg, type Surface, sheetOf, spansCsv } from 'fpdt/trace'
import { EXPORTS, type ExportKind } from './export-kinds.js'
import type { Session, Shown } from './session.js'

/** Of a picture, CSS pixels; and pixels of the file per CSS pixel. */
const WIDTH = 1200
const SCALE = 2
/** The page may answer its reader between two stretches of work. */
const STRETCH_MS = 40

/** Downloads the run; answers what was saved, in a sentence. */
export async function exportRun({ shown }: Session, kind: ExportKind): Promise<string> {
  const { run } = shown
  const name = `${fileName(run)}.${ENDINGS[kind]}`
  const file = await blobOf(shown, kind)
  download(file, name)
  return `${EXPORTS[kind]} saved as ${name}: ${contents(run, kind)}.`
}

const ENDINGS: Readonly<Record<ExportKind, string>> = { png: 'png', svg: 'svg', spans: 'ops.csv', memory: 'memory.csv', arrow: 'arrow', trace: 'trace.json' }

function blobOf(shown: Shown, kind: ExportKind): Promise<Blob> {
  const { run, theme, window } = shown
  switch (kind) {
    case 'png':
      return pngOf(shown)
    case 'svg':
      return textBlob([runSvg(rulerOf(), theme, run, window, WIDTH)], 'image/svg+xml')
    case 'spans':
      return textBlob(spansCsv(run), 'text/csv')
    case 'memory':
      return textBlob(memoryCsv(run), 'text/csv')
    case 'trace':
      return textBlob(chromeTrace(run), 'application/json')
    case 'arrow':
      return textBlob(encodeRunFile(run), 'application/vnd.apache.arrow.stream')
    default:
      return kind satisfies never
  }
}

async function textBlob(pieces: Iterable<string | Uint8Array>, type: string): Promise<Blob> {
  const parts: BlobPart[] = []
  let since_ms = performance.now()
  for (const piece of pieces) {
    parts.push(piece as BlobPart)
    if (performance.now() - since_ms < STRETCH_MS) continue
    await new Promise((resolve) => setTimeout(resolve))
    since_ms = performance.now()
  }
  return new Blob(parts, { type })
}

async function pngOf({ run, theme, window }: Shown): Promise<Blob> {
  const sheet = sheetOf({ context: rulerOf(), theme, labels: [] }, run, window, WIDTH)
  const canvas = document.createElement('canvas')
  canvas.width = WIDTH * SCALE
  canvas.height = Math.round(sheet.height * SCALE)
  const context = contextOf(canvas)
  context.scale(SCALE, SCALE)
  const surface: Surface = { context, theme, labels: [] }
  sheet.paint(surface)
  const file = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, 'image/png'))
  // A browser gives the memory of a canvas back when it is collected, which may be late.
  canvas.width = canvas.height = 0
  if (!file) throw new Error('this browser could not make a PNG of the picture; save it as SVG')
  return file
}

function rulerOf(): Context2D {
  return contextOf(document.createElement('canvas'))
}
function contextOf(canvas: HTMLCanvasElement): Context2D & CanvasRenderingContext2D {
  return canvas.getContext('2d') as Context2D & CanvasRenderingContext2D
}

/** `fpdt-llama-2-256-4096-tokens-in-8-chunks-2-ranks-step-2`. */
function fileName({ head, spans }: Run): string {
  const words = head.title
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
    .slice(0, 80)
  let [first, last] = [Number.POSITIVE_INFINITY, 0]
  for (const step of spans.step) {
    first = Math.min(first, step)
    last = Math.max(last, step)
  }
  const steps = last === 0 ? '' : first === last ? `-step-${last}` : `-steps-${first}-${last}`
  return `${words || 'fpdt-run'}${steps}`
}

/** What the file holds; where the payload was cut, of how much. */
function contents({ head, spans, memory }: Run, kind: ExportKind): string {
  if (kind === 'memory') return `${count(memory.op.length)} events`
  if (kind === 'png' || kind === 'svg') return 'the window of time in view'
  const { of } = head.kept
  return spans.op.length < of ? `${count(spans.op.length)} of ${count(of)} ops, those that the notebook keeps` : `all ${count(spans.op.length)} ops`
}

function download(file: Blob, name: string): void {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(file)
  link.download = name
  link.click()
  // The browser reads it after this turn of the event loop.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000)
}
