/**
 * A Jupyter of a test's own: a temporary folder that holds the kernelspec, settings and notebooks, and the tools of the repository's Python
 * environment, which see nothing else.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MAIN } from './client.js'

const BIN = fileURLToPath(new URL('../../.venv/bin/', import.meta.url))

export interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface CellOutput {
  readonly output_type: string
  readonly name?: string
  readonly text?: string
  readonly data?: Readonly<Record<string, unknown>>
  readonly ename?: string
  readonly evalue?: string
  readonly transient?: unknown
}

export interface Cell {
  readonly cell_type: string
  readonly source: string
  readonly execution_count: number | null
  readonly outputs: readonly CellOutput[]
  readonly metadata: { readonly tags?: readonly string[] }
}

export class Jupyter {
  readonly folder = mkdtempSync(join(tmpdir(), 'fpdt-jupyter-'))
  readonly env: NodeJS.ProcessEnv

  constructor() {
    const at = (name: string) => join(this.folder, '.jupyter', name)
    const spec = join(at('share'), 'kernels/fpdt')
    mkdirSync(spec, { recursive: true })
    const kernelspec = JSON.parse(readFileSync(new URL('../../kernel/kernelspec/kernel.json', import.meta.url), 'utf8'))
    writeFileSync(join(spec, 'kernel.json'), JSON.stringify({ ...kernelspec, argv: [process.execPath, MAIN, '{connection_file}'] }))
    this.env = {
      ...process.env,
      HOME: this.folder,
      JUPYTER_PATH: at('share'),
      JUPYTER_DATA_DIR: at('data'),
      JUPYTER_CONFIG_DIR: at('config'),
      JUPYTER_RUNTIME_DIR: at('runtime'),
      IPYTHONDIR: at('ipython'),
    }
  }

  path(name: string): string {
    return join(this.folder, name)
  }

  /** Writes a notebook of code cells; a cell with tags is `[source, ...tags]`. */
  write(name: string, cells: readonly (string | readonly [source: string, ...tags: string[]])[]): string {
    const metadata = { kernelspec: { name: 'fpdt', display_name: 'TypeScript (FPDT)', language: 'typescript' }, language_info: { name: 'typescript' } }
    const cell = (source: string, tags: readonly string[], i: number) => ({ cell_type: 'code', id: `c${i}`, metadata: { tags }, source, outputs: [], execution_count: null }) // biome-ignore format: one cell
    const all = cells.map((given, i) => (typeof given === 'string' ? cell(given, [], i) : cell(given[0], given.slice(1), i)))
    writeFileSync(this.path(name), JSON.stringify({ nbformat: 4, nbformat_minor: 5, metadata, cells: all }))
    return this.path(name)
  }

  /** The cells of a notebook, their text joined. */
  read(name: string): Cell[] {
    const joined = (text: unknown) => (Array.isArray(text) ? text.join('') : text)
    return JSON.parse(readFileSync(this.path(name), 'utf8'), (key, value) => (/^(?:source|text|text\/\w+)$/.test(key) ? joined(value) : value)).cells
  }

  /** Runs a tool of the environment to its end. */
  run(tool: string, args: readonly string[], options: { readonly input?: string; readonly timeout_ms?: number } = {}): Promise<Ended> {
    return new Promise((resolve) => {
      const { input = '', timeout_ms = 150_000 } = options
      const child = execFile(join(BIN, tool), args, { cwd: this.folder, env: this.env, timeout: timeout_ms, maxBuffer: 2 ** 26 }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, stdout, stderr }),
      )
      child.stdin?.end(input)
    })
  }

  /** Starts a tool that goes on, such as a server. */
  start(tool: string, args: readonly string[]): ChildProcess {
    return spawn(join(BIN, tool), args, { cwd: this.folder, env: this.env, stdio: ['ignore', 'pipe', 'pipe'] })
  }

  close(): void {
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 3 })
  }
}
