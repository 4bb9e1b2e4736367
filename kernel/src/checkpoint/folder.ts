/**
 * Checkpoints of a folder: which there are, the newest first, and how one is added so that a kill at any instant leaves the former.
 *
 *   run/
 *     checkpoints.json          names the whole ones, newest first; replaced by a rename: that instant is when a checkpoint is saved
 *     step-000120/              whole, and never changed, once it has this name
 *     step-000110/
 *     .saving-5f1c…/            on its way, or left by a kill
 *
 * What a kill left, the run's next save takes away: also a folder that got its name and was not yet in the list, or no longer. A kill
 * in the first save may leave folders and no list: then the folders are the list.
 */
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync } from 'node:fs'
import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { FpdtError } from '../errors.js'
import { asDiskError, syncFolder, writeWhole } from '../files/whole-file.js'
import { type Manifest, readManifest } from './manifest.js'
import { checkSize, type FileMark } from './states.js'

/** A checkpoint of a folder. Checkpoints of one run follow each other; those of other runs are left alone. */
export interface Saved {
  /** Name of its folder. */
  readonly name: string
  /** Id of the run that it is of, the same through all resumptions. */
  readonly run: string
  readonly step: number
}

export const LIST = 'checkpoints.json'
const FORMAT = { format: 'fpdt checkpoints', version: 1 }
const NAME = /^step-\d{6,16}(\.\d{1,6})?$/
/** Folders on their way in, and on their way out: whatever has such a name may be deleted. */
const [COMING, GOING] = ['.saving-', '.removing-']
/** A list that a kill kept from its place. */
const HALF_LIST = /^checkpoints\.json\.\d+\.part$/
/** A list names a handful of folders. */
const LONGEST_LIST = 2 ** 20

/**
 * Adds a checkpoint: `write` fills a folder with synced files; then it gets its name, then the list names it, and only then do those
 * of the same run go that are more than `keep`. Gives its path. Throws FpdtError `disk_full` or `disk`; what was there before then
 * stays as it was, and nothing of the new one is left. One run at a time saves into a folder.
 */
export async function addCheckpoint(dir: string, { run, step }: Omit<Saved, 'name'>, keep: number, write: (folder: string) => Promise<void>): Promise<string> {
  let there: string | undefined // what is not saved yet, and has to go if it cannot be
  try {
    const made = await mkdir(dir, { recursive: true })
    if (made) await syncFolder(dirname(resolve(made)))
    const before = existsSync(join(dir, LIST)) ? await readList(dir) : await wholeOnes(dir)
    for (const name of await readdir(dir))
      if (name.startsWith(COMING) || name.startsWith(GOING) || HALF_LIST.test(name)) await rm(join(dir, name), { recursive: true })
    there = join(dir, `${COMING}${randomBytes(6).toString('hex')}`)
    await mkdir(there) // not mkdtemp, whose folder nobody else may read
    await write(there)
    await syncFolder(there)
    const name = freeName(dir, step)
    await rename(there, join(dir, name))
    there = join(dir, name)
    await syncFolder(dir)
    const ofRun = before.filter((saved) => saved.run === run && saved.step !== step).slice(0, keep - 1)
    const staying = before.filter((saved) => saved.run !== run || ofRun.includes(saved))
    await writeList(dir, [{ name, run, step }, ...staying])
    there = undefined
    const listed = [name, ...staying.map((saved) => saved.name)]
    for (const other of await namesIn(dir)) {
      const own = before.some((saved) => saved.name === other) || (await identify(dir, other))?.run === run
      if (own && !listed.includes(other)) await remove(dir, other)
    }
    return join(dir, name)
  } catch (error) {
    if (there) await rm(there, { recursive: true, force: true })
    throw asDiskError(error, dir)
  }
}

/** Whether a run was saved there, or may have been: `listCheckpoints` says whether any of it is whole. */
export function isBegun(dir: string): boolean {
  return existsSync(dir) && readdirSync(dir).some((name) => name === LIST || NAME.test(name))
}

/** Checkpoints of a folder, newest first. Throws FpdtError `checkpoint` when there is none, or the list cannot be understood. */
export async function listCheckpoints(dir: string): Promise<Saved[]> {
  if (existsSync(join(dir, LIST))) return readList(dir)
  if (!existsSync(dir)) throw new FpdtError('checkpoint', `there is no folder ${dir}; give the one that run.save() was given.`)
  const whole = await wholeOnes(dir)
  if (whole.length > 0) return whole
  const names = await namesIn(dir)
  throw new FpdtError(
    'checkpoint',
    `${dir} has no ${LIST}, and ${names.length > 0 ? `none of ${names.join(', ')} is whole` : 'no checkpoint was saved there'}. Give the folder that run.save() was given.`,
  )
}

/** The folders that hold all of a checkpoint, newest first. Values are checked by their checksums when they are read. */
async function wholeOnes(dir: string): Promise<Saved[]> {
  const found: (Saved & { readonly created: string })[] = []
  for (const name of await namesIn(dir)) {
    const manifest = await identify(dir, name)
    if (manifest && (await hasAll(join(dir, name), manifest.files))) found.push({ name, run: manifest.run, step: manifest.step, created: manifest.created })
  }
  found.reverse().sort((a, b) => Number(a.created < b.created) - Number(a.created > b.created))
  return found.map(({ created: _, ...saved }) => saved)
}
async function hasAll(folder: string, files: readonly FileMark[]): Promise<boolean> {
  const found = await Promise.allSettled(files.map((file) => checkSize(folder, file)))
  return found.every(({ status }) => status === 'fulfilled')
}

async function namesIn(dir: string): Promise<string[]> {
  return (await readdir(dir)).filter((name) => NAME.test(name)).sort()
}
/** What a folder says that it is, if it says so. */
function identify(dir: string, name: string): Promise<Manifest | undefined> {
  return readManifest(join(dir, name)).catch(() => undefined)
}

async function readList(dir: string): Promise<Saved[]> {
  const path = join(dir, LIST)
  const refuse = (problem: string): never => {
    throw new FpdtError('checkpoint', `${path} ${problem}. It names the checkpoints of ${dir}; give the path of one of them instead, ${join(dir, 'step-…')}.`)
  }
  if ((await stat(path)).size > LONGEST_LIST) refuse(`is longer than ${LONGEST_LIST} bytes`)
  let read: Partial<typeof FORMAT> & { newestFirst?: unknown } = {}
  try {
    read = Object(JSON.parse(await readFile(path, 'utf8')))
  } catch (error) {
    refuse(`is not JSON (${(error as Error).message})`)
  }
  const { format, version, newestFirst } = read
  if (format !== FORMAT.format || version !== FORMAT.version)
    refuse(`says format ${JSON.stringify(format)}, version ${JSON.stringify(version)}; known is ${JSON.stringify(FORMAT)}`)
  if (!Array.isArray(newestFirst) || !newestFirst.every(isSaved)) return refuse('does not name steps by name, run and step')
  return newestFirst
}

function isSaved(value: unknown): value is Saved {
  const { name, run, step } = Object(value)
  return typeof name === 'string' && NAME.test(name) && typeof run === 'string' && Number.isSafeInteger(step) && step >= 0
}

function writeList(dir: string, newestFirst: readonly Saved[]): Promise<void> {
  return writeWhole(join(dir, LIST), (append) => append(Buffer.from(`${JSON.stringify({ ...FORMAT, newestFirst }, null, 2)}\n`)))
}

/** Another run, or an earlier save of this one, may have been at the same step. */
function freeName(dir: string, step: number): string {
  const name = `step-${String(step).padStart(6, '0')}`
  let free = name
  for (let n = 2; existsSync(join(dir, free)); n++) free = `${name}.${n}`
  return free
}

/** Renamed first, so that a kill in between leaves nothing that looks whole. */
async function remove(dir: string, name: string): Promise<void> {
  if (!existsSync(join(dir, name))) return
  const going = join(dir, `${GOING}${name}`)
  await rename(join(dir, name), going)
  await rm(going, { recursive: true })
}
