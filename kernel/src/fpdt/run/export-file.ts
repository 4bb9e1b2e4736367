/** `run.export(path)`: what is recorded of a run as a file for other tools; the ending of its name says which. */
import { FpdtError } from '../../errors.js'
import { writeWhole } from '../../files/whole-file.js'
import { chromeTrace } from '../../trace/export/chrome.js'
import { memoryCsv, spansCsv } from '../../trace/export/csv.js'
import { figure, figureSvg } from '../../trace/figure.js'
import { encodeRunFile } from '../../trace/file.js'
import { openRun } from '../../trace/model/run.js'
import type { RunTables } from '../../trace/schema.js'
import { wholePath } from './file-name.js'

/** Longer endings first: `ops.memory.csv` is a CSV of memory. */
const FORMATS: readonly (readonly [ending: string, words: string, pieces: (tables: RunTables) => Iterable<string | Uint8Array>])[] = [
  ['.memory.csv', 'what began and ended in memory, a line each', (tables) => memoryCsv(openRun(tables))],
  ['.csv', 'ops as they ran, a line each', (tables) => spansCsv(openRun(tables))],
  ['.json', 'a Chrome trace, which ui.perfetto.dev opens', (tables) => chromeTrace(openRun(tables))],
  ['.svg', 'the picture', (tables) => [figureSvg(tables)]],
  ['.png', 'the picture', (tables) => [figure(tables).png]],
  ['.arrow', 'all of it, which JupyterLab opens', encodeRunFile],
]

/** Writes beside the place and renames; a former file stays until then. Gives the whole path. Throws FpdtError `config`, `disk`, `disk_full`. */
export async function exportFile(path: string, tables: () => RunTables): Promise<string> {
  const format = typeof path === 'string' ? FORMATS.find(([ending]) => path.endsWith(ending)) : undefined
  if (!format) {
    const known = FORMATS.map(([ending, words]) => `step${ending} (${words})`).join(', ')
    throw new FpdtError('config', `${JSON.stringify(path)} does not say by its ending what to write; try run.export('step.json'). Known: ${known}.`)
  }
  const whole = wholePath(path, 'run.export', format[0])
  const pieces = format[2](tables())
  await writeWhole(whole, async (append) => {
    const encoder = new TextEncoder()
    for (const piece of pieces) await append(typeof piece === 'string' ? encoder.encode(piece) : piece)
  })
  return whole
}
