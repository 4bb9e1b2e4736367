/** The figures of every kernel of native/cuda on every architecture, as the compiler has them. */
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ARCHITECTURES, machineCode, numbersOf, pooled, ptxOf } from './compile.js'
import { type KernelFigures, type Loop, plainLoop, resources, shortName, spills, tensorLoops } from './parse.js'
import { root, type Toolkit } from './toolkit.js'

export const folder = join(root, 'native/cuda')

export interface Figures extends KernelFigures {
  /** Of native/cuda. */
  readonly file: string
  /** Without namespaces and parameters. */
  readonly name: string
  readonly architecture: number
  /** Bytes spilled, stores and loads together. */
  readonly spilled: number
  /** Of kernels with tensor-core instructions. */
  readonly plain?: Loop
}
export interface Compiled {
  readonly figures: readonly Figures[]
  /** What the compiler warned of: spills, use of local memory, and all that it warns of anyway. With -Werror all-warnings, as the build has it, each would be an error. */
  readonly warnings: readonly string[]
}

/** This file and parse.ts: what is kept of a cubin is read anew when they change. */
const READER = ['kernels.ts', 'parse.ts'].map((name) => readFileSync(join(import.meta.dirname, name), 'utf8')).join()

/** Two at a time: the machines that this runs on are small, and have other tests to run. */
const WIDTH = 2

export async function compileAll(toolkit: Toolkit): Promise<Compiled> {
  const files = readdirSync(folder).filter((file) => file.endsWith('.cu'))
  const units = files.flatMap((file) => ARCHITECTURES.map((architecture) => ({ file, architecture })))
  const warnings: string[] = []
  const figures = await pooled(units, WIDTH, async ({ file, architecture }) => {
    const machine = await machineCode(toolkit, join(folder, file), architecture)
    warnings.push(
      ...machine.log
        .split('\n')
        .filter((line) => /\bwarning\b/i.test(line))
        .map((line) => `${file}, sm_${architecture}: ${line}`),
    )
    return numbersOf(machine, READER, async () => {
      const [usage, elf, sass] = await Promise.all(['-res-usage', '-elf', '-sass'].map((what) => toolkit.run('cuobjdump', what, machine.cubin)))
      const spilled = spills(machine.log)
      const loops = tensorLoops(sass as string)
      const kernels = resources(usage as string, elf as string)
      const names = demangled(kernels.map(({ symbol }) => symbol))
      return kernels.map((kernel, i): Figures => {
        const plain = plainLoop(loops.get(kernel.symbol) ?? [])
        const name = shortName(names[i] as string)
        return { ...kernel, file, name, architecture, spilled: spilled.get(kernel.symbol) ?? 0, ...(plain ? { plain } : {}) }
      })
    })
  })
  return { figures: figures.flat(), warnings }
}

function demangled(symbols: readonly string[]): string[] {
  if (symbols.length === 0) return []
  return execFileSync('c++filt', { input: symbols.join('\n'), encoding: 'utf8' })
    .trim()
    .split('\n')
}

/** Dynamic shared memory of the kernels that take it: constants of their sources, which the compiler is asked for. Bytes a block, by short name. */
export async function dynamicShared(toolkit: Toolkit): Promise<Map<string, number>> {
  const asked: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    'attention_forward.cu': { 'attend_kernel<64>': 'kShared<64>', 'attend_kernel<128>': 'kShared<128>' },
    'attention_backward.cu': Object.fromEntries(
      ['64, 128, 64', '128, 128, 64', '128, 64, 32'].map((sizes) => [`attend_backward_kernel<${sizes}>`, `Shared<${sizes}>::kBytes`]),
    ),
  }
  const bytes = new Map<string, number>()
  for (const [file, constants] of Object.entries(asked)) {
    const probe = `#include "${file}"\nnamespace fpdt::cuda {\nextern "C" __device__ const int fpdt_asked[] = {${Object.values(constants).join(', ')}};\n}\n`
    const ptx = await ptxOf(toolkit, join(folder, file), probe)
    const [, given] = /fpdt_asked\[\d+\] = \{([\d, ]+)\}/.exec(ptx) as RegExpExecArray
    const octets = (given as string).split(', ').map(Number)
    Object.keys(constants).forEach((name, i) => {
      const octet = (k: number): number => octets[4 * i + k] ?? 0 // zeros at the end are left out
      bytes.set(name, octet(0) + 2 ** 8 * octet(1) + 2 ** 16 * octet(2) + 2 ** 24 * octet(3))
    })
  }
  return bytes
}
