/**
 * Compiles CUDA sources to machine code and PTX. Results lie in the user's cache folder under a key of all that they depend on: the text of the source and of
 * every header of ours, the compiler, the options. A second run compiles nothing.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, dirname, join, relative } from 'node:path'
import { root, type Toolkit } from './toolkit.js'

/** Architectures that the build compiles for with FPDT_CUDA_ARCHITECTURES=all. */
export const ARCHITECTURES = [80, 86, 89, 90, 100, 120] as const
export type Architecture = (typeof ARCHITECTURES)[number]

const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'fpdt', 'figures')
/** Those of native/cmake/cuda.cmake, and what the assembler has to say of registers and memory. Not -Werror: a kernel that spills has figures too. */
const FLAGS = ['-std=c++20', '-O3']
const CODE = ['-Xptxas', '-v,-warn-spills,-warn-lmem-usage', '-cubin']

/** The source and the headers that it includes by "...", each once, by content. */
function closure(path: string, seen = new Map<string, string>()): Map<string, string> {
  if (seen.has(path) || !existsSync(path)) return seen
  const text = readFileSync(path, 'utf8')
  seen.set(path, text)
  for (const [, name] of text.matchAll(/^#include "(.+)"/gm)) closure(join(dirname(path), name as string), seen)
  return seen
}

/** A file that `make` writes, made once for these ingredients. What fails is not kept. */
async function kept(ingredients: readonly string[], extension: string, make: (path: string) => Promise<void>): Promise<string> {
  const path = join(cache, `${createHash('sha256').update(ingredients.join('\0')).digest('hex')}.${extension}`)
  if (!existsSync(path)) {
    mkdirSync(cache, { recursive: true })
    const unfinished = `${path}.${process.pid}`
    await make(unfinished)
    renameSync(unfinished, path)
  }
  return path
}
function ingredients(toolkit: Toolkit, source: string, options: readonly string[]): string[] {
  const files = [...closure(source)].flatMap(([path, text]) => [relative(root, path), text])
  return [toolkit.version, ...options, ...files]
}

export interface Machine {
  readonly cubin: string
  /** What the compiler said: registers of every kernel, and warnings. */
  readonly log: string
}
/** Machine code of a source for one architecture. */
export async function machineCode(toolkit: Toolkit, source: string, architecture: number): Promise<Machine> {
  const options = [...FLAGS, ...CODE, '-gencode', `arch=compute_${architecture},code=sm_${architecture}`]
  const given = ingredients(toolkit, source, options)
  let log: string | undefined
  const cubin = await kept(given, 'cubin', async (to) => {
    log = await toolkit.run('nvcc', ...options, source, '-o', to)
  })
  const words = await kept([...given, 'log'], 'log', async (to) => {
    writeFileSync(to, log ?? (await toolkit.run('nvcc', ...options, source, '-o', `${to}.cubin`)))
  })
  return { cubin, log: readFileSync(words, 'utf8') }
}

/** Numbers that `read` takes out of a cubin: kept too, since taking them costs a second of disassembly. `reader` is the text of what reads. */
export async function numbersOf<T>({ cubin }: Machine, reader: string, read: () => Promise<T>): Promise<T> {
  const path = await kept([basename(cubin), reader], 'json', async (to) => writeFileSync(to, JSON.stringify(await read())))
  return JSON.parse(readFileSync(path, 'utf8')) as T
}

/** PTX of a source for compute_80, as the build embeds it. */
export async function ptxOf(toolkit: Toolkit, source: string, text?: string): Promise<string> {
  const options = [...FLAGS, '-ptx', '-arch=compute_80']
  const path = await kept([...ingredients(toolkit, source, options), text ?? ''], 'ptx', async (to) => {
    if (text === undefined) return void (await toolkit.run('nvcc', ...options, source, '-o', to))
    writeFileSync(`${to}.cu`, text)
    await toolkit.run('nvcc', ...options, '-I', dirname(source), `${to}.cu`, '-o', to)
  })
  return readFileSync(path, 'utf8')
}

/** Calls `work` on all items, `width` at a time, and gives the results in their order. */
export async function pooled<T, R>(items: readonly T[], width: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  let next = 0
  const worker = async (): Promise<void> => {
    for (let i = next++; i < items.length; i = next++) results[i] = await work(items[i] as T)
  }
  await Promise.all(Array.from({ length: width }, worker))
  return results
}
