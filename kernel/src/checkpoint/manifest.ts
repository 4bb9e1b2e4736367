/** `checkpoint.json`: all of a checkpoint but the values. It carries its own checksum, and those of the files beside it. */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { FpdtError } from '../errors.js'
import { writeWhole } from '../files/whole-file.js'
import type { FileMark } from './states.js'

/** How far a text has been read. */
export interface TextPosition {
  /** Where it was from, in words. */
  readonly source: string
  /** How many tokens it has, and a checksum of them, its labels and documents (of a text in files, of a sample): by these it is known again, wherever it lies. */
  readonly length: number
  readonly sha256: string
  /** Tokens read of it, more than `length` when it was repeated. */
  readonly position: number
}

export interface Manifest {
  /** Id of the run, the same through all resumptions. */
  readonly run: string
  /** Steps whose updates are in the parameters. */
  readonly step: number
  readonly created: string
  /** Objects, and no more is known of them here: whoever trains with them checks them as if a user had given them. */
  readonly model: object
  readonly options: object
  readonly texts: readonly TextPosition[]
  /** Where a loaded model was from; like the options no more is known of it here. */
  readonly source?: object
  readonly files: readonly FileMark[]
}

export const MANIFEST = 'checkpoint.json'
const FORMAT = { format: 'fpdt checkpoint', version: 1 }
/** A few hundred bytes a layer, a text and a file. */
const LONGEST = 64 * 2 ** 20

/** Throws FpdtError `disk_full`, `disk`; `checkpoint` for one that could not be read again. */
export async function writeManifest(folder: string, manifest: Manifest): Promise<void> {
  const text = `${JSON.stringify({ ...FORMAT, sha256: checksum(manifest), checkpoint: manifest }, null, 2)}\n`
  const bytes = Buffer.from(text)
  const path = join(folder, MANIFEST)
  if (bytes.length > LONGEST)
    throw new FpdtError('checkpoint', `${path} would have ${bytes.length} bytes, and more than ${LONGEST} are not read again; are the sources of texts long?`)
  return writeWhole(path, (append) => append(bytes))
}

/** Throws FpdtError `checkpoint`, naming the file and what is wrong with it. */
export async function readManifest(folder: string): Promise<Manifest> {
  const path = join(folder, MANIFEST)
  const refuse = (problem: string): never => {
    throw new FpdtError('checkpoint', `${path} ${problem}. Restore that file from a copy.`)
  }
  if (!existsSync(path)) refuse('is missing, so this is no checkpoint, or not all of one')
  const { size } = await stat(path)
  if (size > LONGEST) refuse(`has ${size} bytes; more than ${LONGEST} are none of ours`)
  let read: { format?: unknown; version?: unknown; sha256?: unknown; checkpoint?: unknown } = {}
  try {
    read = Object(JSON.parse(await readFile(path, 'utf8')))
  } catch (error) {
    refuse(`is not JSON (${(error as Error).message})`)
  }
  const { format, version, sha256, checkpoint } = read
  if (format !== FORMAT.format) refuse(`is not of a checkpoint: it says format ${JSON.stringify(format)}`)
  if (version !== FORMAT.version)
    throw new FpdtError(
      'checkpoint',
      `${path} is of version ${JSON.stringify(version)} of the format, and this program reads version ${FORMAT.version}; resume with the program that saved it, or a later one.`,
    )
  if (sha256 !== checksum(checkpoint))
    refuse('was changed after it was written: its checksum does not match. Options can be changed with device.resume(dir, { … })')
  return isManifest(checkpoint) ? checkpoint : refuse('does not have run, step, model, options, texts and files as a checkpoint has')
}

function checksum(value: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify(value) ?? '')
    .digest('hex')
}

function isManifest(value: unknown): value is Manifest {
  const { run, step, model, options, texts, files } = Object(value)
  if (![model, options].every((part) => typeof part === 'object' && part !== null)) return false
  return typeof run === 'string' && isCount(step) && Array.isArray(texts) && texts.every(isTextPosition) && Array.isArray(files) && files.every(isFileMark)
}
function isTextPosition(value: unknown): value is TextPosition {
  const { source, length, sha256, position } = Object(value)
  return typeof source === 'string' && isCount(length) && typeof sha256 === 'string' && isCount(position)
}
function isFileMark(value: unknown): value is FileMark {
  const { name, bytes, sha256 } = Object(value)
  return typeof name === 'string' && !name.includes('/') && isCount(bytes) && typeof sha256 === 'string'
}
function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
