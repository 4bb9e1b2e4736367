/** Compiles the CUDA programs of this folder, links them with the emulator in place of libcudart, and runs them. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Report } from '../emulated.js'
import { requireToolkit } from '../figures/toolkit.js'

const here = new URL('.', import.meta.url).pathname
const library = process.env.FPDT_EMULATOR_ADDON ? dirname(process.env.FPDT_EMULATOR_ADDON) : new URL('../../../native/build/emulator', import.meta.url).pathname

export const { nvcc } = requireToolkit()

export interface Outcome {
  /** The JSON that the program printed. */
  readonly out: Readonly<Record<string, unknown>>
  readonly report: Report
  readonly stderr: string
  readonly signal: string | null
}

/** A folder of programs; `close` removes it. */
export class Programs {
  readonly #folder = mkdtempSync(join(tmpdir(), 'fpdt-emulated-'))
  #reports = 0

  /** Compiles `source` of this folder with PTX of compute_80, or with the flags given; returns the program's path. */
  build(source: string, name = source, flags: readonly string[] = ['-gencode', 'arch=compute_80,code=compute_80', '-Xfatbin', '-compress=false']): string {
    const program = join(this.#folder, name.replace(/\W/g, '-'))
    const compiled = ['-std=c++20', '-Werror', 'all-warnings', ...flags, '-c', join(here, source), '-o', `${program}.o`]
    execFileSync(nvcc, compiled, { stdio: ['ignore', 'ignore', 'inherit'] })
    execFileSync(process.env.CXX ?? 'c++', [`${program}.o`, '-o', program, `-L${library}`, '-lemulator', `-Wl,-rpath,${library}`])
    return program
  }

  /** Runs a program; `control` is what FPDT_EMULATOR says, `input` what it reads. */
  run(program: string, args: readonly string[], control: object = {}, input = ''): Outcome {
    const file = join(this.#folder, `report-${this.#reports++}.json`)
    const env = { ...process.env, FPDT_EMULATOR: JSON.stringify({ ...control, report: file }) }
    const { stdout, stderr, signal, error } = spawnSync(program, args, { env, input, encoding: 'utf8', timeout: 50_000 })
    if (error) throw error
    const report = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Report) : ({} as Report)
    if (!signal && !stdout) throw new Error(`${program} ${args.join(' ')} printed nothing: ${stderr}`)
    return { out: signal ? {} : JSON.parse(stdout), report, stderr, signal }
  }

  /** What a program that answers line by line says to these lines. */
  ask(program: string, args: readonly string[], lines: readonly string[]): string[] {
    const { stdout, status, signal, stderr } = spawnSync(program, args, { input: lines.join('\n'), encoding: 'utf8', timeout: 50_000 })
    if (status !== 0) throw new Error(`${program} ended with ${signal ?? status}: ${stderr}`)
    return stdout.trim().split('\n')
  }

  close(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
