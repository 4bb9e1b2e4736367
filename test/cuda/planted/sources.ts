/** Compiles a .cu file of native/cuda with an edit, to PTX alone. What was compiled once is kept in .cache by what went into it. */
import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findToolkit } from '../figures/toolkit.js'

const native = new URL('../../../native', import.meta.url).pathname
const cache = new URL('../../../.cache/planted', import.meta.url).pathname
const FLAGS = ['-std=c++20', '-O3', '-arch=compute_80', '-ptx'] // those of native/cmake/cuda.cmake that PTX depends on

export interface Edit {
  /** The file that is compiled, and the header that is edited where it is not the file itself. */
  readonly file: string
  readonly header?: string
  /** Must be there exactly once. */
  readonly find: string
  readonly replace: string
}

const read = (path: string): string => readFileSync(join(native, path), 'utf8')
const headers = (folder: string): string[] => readdirSync(join(native, folder)).filter((name) => /\.cuh?$|\.h$/.test(name))
/** undefined: there is none, and only what ships can be tested. */
export const toolkit = findToolkit()

/** PTX of the file, edited or as it is. */
export async function compile({ file, header = file, find, replace }: Edit | (Pick<Edit, 'file'> & Partial<Edit>)): Promise<string> {
  if (!toolkit) throw new Error('there is no nvcc')
  const text = read(`cuda/${header}`)
  if (find !== undefined && text.split(find).length !== 2) throw new Error(`${header} has ${text.split(find).length - 1} times: ${find}`)
  const edited = find === undefined ? text : text.replace(find, () => replace as string)

  const hash = createHash('sha256').update(JSON.stringify([toolkit.version, FLAGS, file, header, edited]))
  for (const folder of ['cuda', 'core'])
    for (const name of headers(folder)) if (name === file || /h$/.test(name)) hash.update(name).update(read(`${folder}/${name}`))
  const kept = join(cache, `${hash.digest('hex').slice(0, 32)}.ptx`)
  if (existsSync(kept)) return readFileSync(kept, 'utf8')

  // A folder like native/, so that includes find what they name.
  const scratch = mkdtempSync(join(tmpdir(), 'fpdt-planted-'))
  try {
    symlinkSync(join(native, 'core'), join(scratch, 'core'))
    mkdirSync(join(scratch, 'cuda'))
    for (const name of headers('cuda')) if (name === file || /h$/.test(name)) copyFileSync(join(native, 'cuda', name), join(scratch, 'cuda', name))
    writeFileSync(join(scratch, 'cuda', header), edited)
    await toolkit.run('nvcc', ...FLAGS, join(scratch, 'cuda', file), '-o', join(scratch, 'out.ptx'))
    mkdirSync(cache, { recursive: true })
    copyFileSync(join(scratch, 'out.ptx'), `${kept}.${process.pid}`)
    renameSync(`${kept}.${process.pid}`, kept)
    return readFileSync(kept, 'utf8')
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}
