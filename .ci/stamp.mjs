/**
 * Content stamps: a stage of set-up is skipped when what it reads and what it is told hash to the value of its last success
 * and what it makes is still there. Modification times are not trusted: a checkout changes them, a copy keeps them.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { root } from './task.mjs'

const generated = new Set(['node_modules', 'lib', 'build', 'dist'])

/**
 * Files below `folder` whose names `matches` accepts, sorted; generated folders are left out.
 * @param {string} folder
 * @param {RegExp} matches
 * @returns {string[]}
 */
export function sources(folder, matches) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => !entry.isDirectory() || !generated.has(entry.name))
    .flatMap((entry) => {
      const path = join(folder, entry.name)
      return entry.isDirectory() ? sources(path, matches) : matches.test(entry.name) ? [path] : []
    })
    .sort()
}

/**
 * Hash of the names and contents of `files` and of `values`.
 * @param {string[]} files
 * @param {unknown} values
 */
export function fingerprint(files, values = null) {
  const hash = createHash('sha256').update(JSON.stringify(values))
  for (const file of files) {
    const content = statSync(file).isFile() ? readFileSync(file) : ''
    hash.update(`\n${relative(root, file)} ${content.length}\n`).update(content)
  }
  return hash.digest('hex')
}

/**
 * Does `work` unless the stamp at `path` holds `print` and all of `makes` exist.
 * @param {string} path
 * @param {string} print
 * @param {string[]} makes
 * @param {() => Promise<void>} work
 */
export async function unlessStamped(path, print, makes, work) {
  if (existsSync(path) && readFileSync(path, 'utf8') === print && makes.every((made) => existsSync(made))) return
  rmSync(path, { force: true })
  await work()
  const missing = makes.filter((made) => !existsSync(made))
  if (missing.length > 0) throw new Error(`${missing.join(', ')} was to be made but is not there`)
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, print)
}
