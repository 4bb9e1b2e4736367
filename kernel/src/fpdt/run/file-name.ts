/** Where a file of a run is to be written, checked before anything is computed for it. */
import { statSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import { FpdtError } from '../../errors.js'
import { asDiskError } from '../../files/whole-file.js'

/** The whole path. `call` and `ending`: what to try instead, `run.trace` and `.arrow`. Throws FpdtError `disk` (a folder, or the system refuses the name), `config`. */
export function wholePath(path: string, call: string, ending: string): string {
  const advice = (name: string): string => `${call}(${JSON.stringify(name)})`
  if (path.includes('\0'))
    throw new FpdtError('config', `${JSON.stringify(path)} has a NUL character, which no file name can have; try ${advice(`step${ending}`)}.`)
  if (isFolder(path)) throw new FpdtError('disk', `${path} is a folder; give a file in it: ${advice(`${path}/step${ending}`)}.`)
  if (basename(path) === ending) throw new FpdtError('config', `${JSON.stringify(path)} is an ending without a name; try ${advice(`step${ending}`)}.`)
  return resolve(path)
}

function isFolder(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
  } catch (error) {
    throw asDiskError(error, path)
  }
}
