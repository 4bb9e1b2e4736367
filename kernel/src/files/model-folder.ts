/**
 * A folder with a model, changed so that a kill at any instant leaves a whole one in it:
 *
 *   .saving-XXXXXX/   files on their way, of no use to anyone
 *   .saved/           all files of the new model, from when they are on the disk until they are also in their places
 *   config.json …     a model in its places; without config.json they are not whole, and `.saved` is
 */
import { existsSync } from 'node:fs'
import { copyFile, link, mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { syncFile, syncFolder } from './whole-file.js'

const STAGE = '.saving-'
const SAVED = '.saved'
const CONFIG = 'config.json'
/** Files of weights that a save replaces. */
const WEIGHTS = /^model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$/

/** The folder that has a whole model: `dir`, or what a save left in it that was killed as it put its files in their places. */
export function wholeModelIn(dir: string): string | undefined {
  return [dir, join(dir, SAVED)].find((folder) => existsSync(join(folder, CONFIG)))
}

/** A folder for the files of a new model. What a killed save left is put in order first. */
export async function newStage(dir: string): Promise<string> {
  if (existsSync(join(dir, SAVED))) await (wholeModelIn(dir) === dir ? drop(dir) : putInPlace(dir))
  for (const left of (await readdir(dir)).filter((name) => name.startsWith(STAGE))) await rm(join(dir, left), { recursive: true })
  return mkdtemp(join(dir, STAGE))
}

/** Makes the files of a stage, all of them synced, the model of the folder. Other files there stay as they are. */
export async function takeStage(dir: string, stage: string): Promise<void> {
  await syncFolder(stage)
  await rename(stage, join(dir, SAVED))
  await syncFolder(dir)
  await putInPlace(dir)
}

/** May be begun again after a kill: `.saved` keeps its files until the end. */
async function putInPlace(dir: string): Promise<void> {
  await rm(join(dir, CONFIG), { force: true })
  await syncFolder(dir)
  for (const former of (await readdir(dir)).filter((name) => WEIGHTS.test(name))) await rm(join(dir, former))
  for (const name of (await readdir(join(dir, SAVED))).filter((other) => other !== CONFIG)) await twin(join(dir, SAVED, name), join(dir, name))
  await syncFolder(dir)
  await twin(join(dir, SAVED, CONFIG), join(dir, CONFIG))
  await syncFolder(dir)
  await drop(dir)
}

/** Renamed first, so that no part of it is ever taken for all. */
async function drop(dir: string): Promise<void> {
  const stage = await mkdtemp(join(dir, STAGE))
  await rename(join(dir, SAVED), stage)
  await rm(stage, { recursive: true })
}

/** A second name for a file, or a copy where the file system has no such names. */
async function twin(from: string, to: string): Promise<void> {
  await rm(to, { force: true })
  try {
    await link(from, to)
  } catch {
    const copy = `${to}.${process.pid}.part`
    await copyFile(from, copy)
    await syncFile(copy)
    await rename(copy, to)
  }
}
