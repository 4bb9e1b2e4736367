/** Stack frames in the words of the notebook: cells and local files with their own lines, without frames of the kernel. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Position, type Positions, transpileModule } from '../language/transpile.js'

interface Origin {
  readonly source: string
  readonly positions: Positions
}

const cellOrigins = new Map<string, Origin>()
const REMEMBERED_CELLS = 2000
/** Node's 10 do not always reach from the depths of a package to the cell. */
const FRAMES = 50

/** Call before a cell's code runs: from now on its frames are shown with the positions of `source`. */
export function rememberCell(file: string, source: string, positions: Positions): void {
  cellOrigins.delete(file) // a Map keeps the place of a key that is set again
  cellOrigins.set(file, { source, positions })
  if (cellOrigins.size > REMEMBERED_CELLS) cellOrigins.delete(cellOrigins.keys().next().value as string)
}

/** Makes `error.stack` itself right, so that what user code prints or logs is right too. */
export function installStackTraces(): void {
  const internals = new URL('./', import.meta.url).href
  Error.stackTraceLimit = FRAMES
  Error.prepareStackTrace = (error, callSites) => {
    const frames = callSites.map((site) => inCells(String(site))).filter((frame) => !frame.includes(internals) && !frame.includes('processTicksAndRejections'))
    // Below the outermost cell there is only how this kernel came to call it.
    const outermost = frames.findLastIndex((frame) => SHOWN_CELL.test(frame))
    const shown = outermost < 0 ? frames : frames.slice(0, outermost + 1)
    return [headOf(error), ...shown.map((frame) => `    at ${frame}`)].join('\n')
  }
}

function headOf(error: Error): string {
  try {
    return Error.prototype.toString.call(error)
  } catch {
    return 'Error' // a hostile `name` or `message`
  }
}

const CELL = String.raw`(?:Cell \[[\d*]+\](?: of subshell \d+)?|expression [^\s:()]+)`
const FRAME = new RegExp(String.raw`(${CELL}):(\d+):(\d+)|(file:\/\/[^\s()]+\.m?ts)\?v=\w+:(\d+):(\d+)`, 'g')
const SHOWN_CELL = new RegExp(String.raw`(${CELL}) line (\d+):(\d+)`)
const SHOWN_FILE = /(\/[^()]+\.m?ts):(\d+):(\d+)/

function inCells(frame: string): string {
  return frame.replace(FRAME, (all, cell, line, column, url, moduleLine, moduleColumn) => {
    if (cell !== undefined) {
      const at = cellOrigins.get(cell)?.positions(Number(line), Number(column))
      return at === undefined ? cell : `${cell} line ${at.line}:${at.column}`
    }
    const path = fileURLToPath(url)
    const at = modulePositions(path)?.(Number(moduleLine), Number(moduleColumn))
    return at === undefined ? all : `${path}:${at.line}:${at.column}`
  })
}

/** The hooks thread keeps no maps; the file is transpiled again, which takes less than a millisecond and happens only for errors. */
function modulePositions(path: string): Positions | undefined {
  try {
    return transpileModule(readFileSync(path, 'utf8'), path).positions
  } catch {
    return undefined // edited since, or gone
  }
}

/** Where a frame is, with the text around it; undefined unless that is a cell or a local file of the user. */
export function placeOf(frame: string): (Position & { readonly file: string; readonly source: string }) | undefined {
  const [, cell, line, column] = SHOWN_CELL.exec(frame) ?? []
  if (cell !== undefined) {
    const source = cellOrigins.get(cell)?.source
    return source === undefined ? undefined : { file: cell, source, line: Number(line), column: Number(column) }
  }
  const [, path, fileLine, fileColumn] = (/\/node_modules\//.test(frame) ? null : SHOWN_FILE.exec(frame)) ?? []
  if (path === undefined) return undefined
  try {
    return { file: path, source: readFileSync(path, 'utf8'), line: Number(fileLine), column: Number(fileColumn) }
  } catch {
    return undefined // gone since
  }
}

/** Whether a frame says nothing to the user: Node's own, and the library's that every call of it goes through. */
export function isInternal(frame: string): boolean {
  return /\(?node:/.test(frame) || frame.includes(OWN_FOLDER) || frame.includes(fileURLToPath(OWN_FOLDER))
}

const OWN_FOLDER = new URL('../', import.meta.url).href
