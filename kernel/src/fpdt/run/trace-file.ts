/** `run.trace(path)`: all that is kept of a run in one file, which JupyterLab opens with a double click (`trace/file.ts`). */
import { FpdtError } from '../../errors.js'
import { writeWhole } from '../../files/whole-file.js'
import { encodeRunFile } from '../../trace/file.js'
import type { RunTables } from '../../trace/schema.js'
import { wholePath } from './file-name.js'

/** Writes table after table beside the place and renames; a former file stays until then. Throws FpdtError `config`, `disk`, `disk_full`. */
export async function writeTrace(path: string, tables: RunTables): Promise<string> {
  if (typeof path !== 'string' || path === '') throw noFile(path)
  const whole = wholePath(path, 'run.trace', '.arrow')
  if (!path.endsWith('.arrow')) throw noFile(path)
  await writeWhole(whole, async (append) => {
    for (const part of encodeRunFile(tables)) await append(part)
  })
  return whole
}

function noFile(path: unknown): FpdtError {
  return new FpdtError('config', `${JSON.stringify(path)} is not the name of an .arrow file; try run.trace('step.arrow').`)
}
