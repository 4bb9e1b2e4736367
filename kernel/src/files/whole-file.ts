/** Files that are there whole or not at all: written beside their place, and renamed when all of them is on the disk. */
import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { FpdtError } from '../errors.js'

/** Puts a file in its place whole: written beside, synced, renamed, and the folder synced. Throws FpdtError `disk_full`, `disk`. */
export async function writeWhole(path: string, write: (append: (bytes: Uint8Array) => Promise<void>) => Promise<void>): Promise<void> {
  const beside = `${path}.${process.pid}.part`
  let written = 0
  let file: FileHandle | undefined
  try {
    file = await open(beside, 'w')
    const handle = file
    await write(async (bytes) => {
      for (let done = 0; done < bytes.byteLength; ) {
        const { bytesWritten } = await handle.write(bytes, done)
        done += bytesWritten
      }
      written += bytes.byteLength
    })
    await file.sync()
    await file.close()
    file = undefined
    await rename(beside, path)
    await syncFolder(dirname(path))
  } catch (error) {
    await file?.close()
    await rm(beside, { force: true }).catch(() => {}) // where the path leads nowhere there is none
    throw asDiskError(error, path, written)
  }
}

/** A rename is on the disk when its folder is. */
export function syncFolder(folder: string): Promise<void> {
  return syncFile(folder)
}
export async function syncFile(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

const FULL: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full; free some space or give another folder',
  EDQUOT: 'the quota of this user is full; free some space or give another folder',
  EFBIG: 'a file may not grow that large here (`ulimit -f`, or the file system); raise the limit or give another folder',
}

const MISLED: Readonly<Record<string, string>> = {
  ENAMETOOLONG: 'the name is too long; give a shorter one',
  ENOTDIR: 'a part of the path is a file, not a folder; is the path right?',
  ENOENT: 'there is no such folder; make it, or give another',
  ELOOP: 'its links lead in a circle; is the path right?',
  EACCES: 'this user may not write there; give another folder',
  EROFS: 'the file system is read-only; give another folder',
}

/** What the system said of a path, in words; an error that is not of the system stays as it is. */
export function asDiskError(error: unknown, path: string, written = 0): unknown {
  const { code, syscall } = error as NodeJS.ErrnoException
  if (error instanceof FpdtError || typeof code !== 'string' || !syscall) return error
  const problem = FULL[code] ?? MISLED[code] ?? `the system says ${code} to ${syscall}; is the path right?`
  return new FpdtError(code in FULL ? 'disk_full' : 'disk', `${path} could not be written${written > 0 ? ` after ${written} bytes` : ''}: ${problem}`, {
    cause: error,
  })
}
