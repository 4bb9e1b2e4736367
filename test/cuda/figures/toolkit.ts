/** The CUDA compiler and NVIDIA's disassembler, where native/cmake/cuda.cmake looks for the compiler, and how to run them. */
import { execFile, execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../../..', import.meta.url))

export interface Toolkit {
  readonly nvcc: string
  /** As 13.0.88. */
  readonly version: string
  /** Runs one of the toolkit's programs; gives what it wrote to both streams, and throws an Error with that when it fails. */
  readonly run: (program: string, ...args: readonly string[]) => Promise<string>
}

function folders(): string[] {
  const { CUDA_HOME, CUDA_PATH, PATH = '' } = process.env
  const newestFirst = (folder: string, names: RegExp): string[] =>
    (existsSync(folder) ? readdirSync(folder) : [])
      .filter((name) => names.test(name))
      .sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
      .map((name) => join(folder, name))
  const wheels = newestFirst(join(root, '.venv/lib'), /^python3/).flatMap((python) => newestFirst(join(python, 'site-packages/nvidia'), /^cu/))
  return [
    ...[CUDA_HOME, CUDA_PATH].filter((home) => home !== undefined).map((home) => join(home, 'bin')),
    ...PATH.split(delimiter),
    ...[...newestFirst('/usr/local', /^cuda/), ...wheels].map((home) => join(home, 'bin')),
  ]
}
const find = (program: string): string | undefined =>
  folders()
    .map((folder) => join(folder, program))
    .find((path) => existsSync(path))

/** For suites that cannot do without nvcc: without it they fail, and say how to get it. */
export function requireToolkit(): Toolkit {
  const toolkit = findToolkit()
  if (!toolkit) throw new Error('there is no nvcc: neither on PATH nor in CUDA_HOME, /usr/local/cuda* or .venv, where npm run test:cuda installs it')
  return toolkit
}

/** undefined: there is no nvcc, which is normal. No disassembler beside an nvcc is an error, in words. */
export function findToolkit(): Toolkit | undefined {
  const nvcc = find('nvcc')
  if (!nvcc) return undefined
  const [version] = /(?<=release .*V)[\d.]+/.exec(execFileSync(nvcc, ['--version'], { encoding: 'utf8' })) ?? ['unknown']
  const run = (program: string, ...args: readonly string[]): Promise<string> =>
    new Promise((resolve, reject) => {
      const path = find(program)
      if (!path)
        return reject(new Error(`${program} was neither on PATH nor in CUDA_HOME, /usr/local/cuda* or .venv: npm run setup -- --test installs it there`))
      // cuobjdump starts nvdisasm, and nvcc its parts, from PATH.
      const besides = [path, find('nvdisasm') ?? path].map((file) => dirname(file))
      const env = { ...process.env, PATH: [...besides, process.env.PATH].join(delimiter) }
      execFile(path, args, { encoding: 'utf8', env, maxBuffer: 2 ** 28 }, (error, out, wrong) =>
        error ? reject(new Error(`${program} ${args.join(' ')}\n${out}${wrong}`)) : resolve(out + wrong),
      )
    })
  return { nvcc, version, run }
}
