/** Errors in the words of the notebook: frames name cells with their own lines, the kernel's frames are left out, the failing line is shown. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { types } from 'node:util'
import { plain } from './present.js'
import type { Failure } from './protocol.js'
import { SourceError } from './syntax.js'
import { type Position, type Positions, transpileModule } from './transpile.js'

interface Origin {
  readonly source: string
  readonly positions: Positions
}

const cellOrigins = new Map<string, Origin>()
const REMEMBERED_CELLS = 2000

/** Call before a cell's code runs: from now on its frames are shown with the positions of `source`. */
export function rememberCell(file: string, source: string, positions: Positions): void {
  cellOrigins.delete(file) // a Map keeps the place of a key that is set again
  cellOrigins.set(file, { source, positions })
  if (cellOrigins.size > REMEMBERED_CELLS) cellOrigins.delete(cellOrigins.keys().next().value as string)
}

/** Makes `error.stack` itself right, so that what user code prints or logs is right too. */
export function installStackTraces(): void {
  const internals = new URL('./', import.meta.url).href
  Error.prepareStackTrace = (error, callSites) => {
    const frames = callSites.map((site) => inCells(String(site))).filter((frame) => !frame.includes(internals) && !frame.includes('processTicksAndRejections'))
    // Below the outermost cell there is only how this kernel came to call it.
    const outermost = frames.findLastIndex((frame) => SHOWN_FRAME.test(frame))
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

const FRAME = /(Cell \[[\d*]+\]):(\d+):(\d+)|(file:\/\/[^\s()]+\.m?ts)\?v=\w+:(\d+):(\d+)/g
const SHOWN_FRAME = /(Cell \[[\d*]+\]) line (\d+):(\d+)/

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

/** What the cell reports for whatever it threw. */
export function failureOf(thrown: unknown): Failure {
  if (thrown instanceof SourceError) {
    const at = `${thrown.file} line ${thrown.line}:${thrown.column}`
    return failure('SyntaxError', thrown.message, [`SyntaxError: ${thrown.message}`, `    at ${at}`, ...excerpt(thrown.file, thrown.source, thrown)])
  }
  if (types.isNativeError(thrown) || thrown instanceof Error) {
    const text = describe(thrown)
    return failure(String(thrown.name ?? 'Error'), String(thrown.message), [...text.split('\n'), ...excerptOf(text)])
  }
  return failure(thrown === null ? 'null' : typeof thrown, describe(thrown), [`Uncaught ${describe(thrown)}`])
}

function failure(ename: string, evalue: string, traceback: readonly string[]): Failure {
  return { status: 'error', ename, evalue, traceback }
}

function describe(thrown: unknown): string {
  try {
    return plain(thrown)
  } catch {
    return 'a value that cannot be shown: its inspection throws'
  }
}

/** The line of the innermost frame in a cell. */
function excerptOf(text: string): string[] {
  const [, cell, line, column] = SHOWN_FRAME.exec(text) ?? []
  const source = cell === undefined ? undefined : cellOrigins.get(cell)?.source
  return cell === undefined || source === undefined ? [] : excerpt(cell, source, { line: Number(line), column: Number(column) })
}

/** A line with its neighbours and a caret under the column. */
function excerpt(file: string, source: string, { line, column }: Position): string[] {
  const lines = source.split('\n')
  const from = Math.max(1, line - 2)
  const to = Math.min(lines.length, line + 2)
  const width = String(to).length
  const shown = ['', file]
  for (let number = from; number <= to; number++) {
    shown.push(`${number === line ? '>' : ' '} ${String(number).padStart(width)} | ${lines[number - 1]}`)
    if (number === line) shown.push(`  ${' '.repeat(width)} | ${' '.repeat(column - 1)}^`)
  }
  return shown
}
