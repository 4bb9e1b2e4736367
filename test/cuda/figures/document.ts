/** native/cuda/FIGURES.md: tables of what the compiler says, and what bounds each kernel, with the arithmetic. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { timesOf, WORK, workTable } from './arithmetic.js'
import { ARCHITECTURES } from './compile.js'
import { GPUS, type Gpu, specialRate } from './devices.js'
import { type Figures, folder } from './kernels.js'
import type { Loop } from './parse.js'

/** Multiply-adds of one HMMA.16816 are 16 x 8 x 16; an operation is half of one. */
const FLOPS_OF_HMMA = 2 * 16 * 8 * 16
/** Registers of a multiprocessor, and warps that it can hold at 128 threads of four schedulers: one instruction of a scheduler a cycle. */
export const REGISTER_FILE = 65536
const SCHEDULERS = 4

export interface TensorKernel {
  readonly file: string
  readonly name: string
  /** Least share of tensor-core instructions in the loop of the plain tile: FlashAttention-2's on sm_80, measured in the same way. */
  readonly least: number
  readonly headSize: number
  /** Operations of a score: 4 D forward, 10 D backward. */
  readonly flopsOfScore: number
  /** Architectures whose blocks have shared memory for it. */
  readonly runsOn: readonly number[]
}
const everywhere = [...ARCHITECTURES]
/** Blocks of sm_86, sm_89 and sm_120 have 99 KB of shared memory. */
const large = everywhere.filter((architecture) => ![86, 89, 120].includes(architecture))
export const TENSOR_KERNELS: readonly TensorKernel[] = [
  { file: 'attention_forward.cu', name: 'attend_kernel<64>', least: 0.22, headSize: 64, flopsOfScore: 4 * 64, runsOn: everywhere },
  { file: 'attention_forward.cu', name: 'attend_kernel<128>', least: 0.28, headSize: 128, flopsOfScore: 4 * 128, runsOn: everywhere },
  { file: 'attention_backward.cu', name: 'attend_backward_kernel<64, 128, 64>', least: 0.25, headSize: 64, flopsOfScore: 10 * 64, runsOn: everywhere },
  { file: 'attention_backward.cu', name: 'attend_backward_kernel<128, 128, 64>', least: 0.31, headSize: 128, flopsOfScore: 10 * 128, runsOn: large },
  // Smaller tiles, for blocks of 99 KB: less is shared between products. No figure of FlashAttention-2 to hold it against.
  { file: 'attention_backward.cu', name: 'attend_backward_kernel<128, 64, 32>', least: 0.25, headSize: 128, flopsOfScore: 10 * 128, runsOn: everywhere },
]

export const shareOf = ({ tensor, instructions }: Loop): number => tensor / instructions
const percent = (x: number): string => `${(100 * x).toFixed(1)} %`
const row = (...cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`
const table = (heading: readonly string[], rows: readonly (readonly (string | number)[])[]): string =>
  [row(...heading), `|${'---|'.repeat(heading.length)}`, ...rows.map((cells) => row(...cells))].join('\n')
const perArchitecture = ARCHITECTURES.map((architecture) => `sm_${architecture}`)

const find = (figures: readonly Figures[], file: string, name: string, architecture: number): Figures => {
  const found = figures.find((x) => x.file === file && x.name === name && x.architecture === architecture)
  if (!found) throw new Error(`${file} has no kernel ${name}; it has ${[...new Set(figures.filter((x) => x.file === file).map((x) => x.name))].join(', ')}`)
  return found
}

function shares(figures: readonly Figures[], dynamic: ReadonlyMap<string, number>): string {
  const rows = TENSOR_KERNELS.map(({ file, name, least, runsOn }) => {
    const cells = ARCHITECTURES.map((architecture) => {
      if (!runsOn.includes(architecture)) return '-'
      const { plain } = find(figures, file, name, architecture)
      return plain ? percent(shareOf(plain)) : 'none'
    })
    return [`\`${name}\``, percent(least), ...cells, dynamic.get(name) ?? 0]
  })
  return table(['kernel', 'at least', ...perArchitecture, 'shared memory, bytes'], rows)
}

/** What a score costs each unit, in picoseconds of the whole GPU, by the plain loop on sm_80. */
function scoreTable(figures: readonly Figures[]): string {
  const rows = TENSOR_KERNELS.map(({ file, name, flopsOfScore }) => {
    const { plain } = find(figures, file, name, 80)
    if (!plain) throw new Error(`${name} has no loop with tensor-core instructions`)
    const scores = (32 * (plain.tensor * FLOPS_OF_HMMA)) / flopsOfScore / 32
    const cells = GPUS.flatMap((gpu) => {
      const tensor = flopsOfScore / gpu.tensor
      const special = ((plain.opcodes.MUFU ?? 0) * 32) / scores / specialRate(gpu)
      const issue = plain.instructions / scores / (SCHEDULERS * gpu.multiprocessors * gpu.clock)
      const units: [string, number][] = [
        ['tensor cores', tensor],
        ['exponentials', special],
        ['issue', issue],
      ]
      const [most] = units.sort((a, b) => b[1] - a[1])[0] as [string, number]
      return [...[tensor, special, issue].map((s) => (s * 1e12).toFixed(2)), most]
    })
    return [`\`${name}\``, plain.instructions, plain.tensor, scores, ...cells]
  })
  const heading = GPUS.flatMap(({ name }) => [`${name}: tensor cores`, 'exponentials', 'issue', 'bound'])
  return table(['kernel', 'instructions', 'HMMA', 'scores of a warp', ...heading], rows)
}

/** Kernels of the attention files one by one, others by template: registers as the least and most of its instances. */
function registers(figures: readonly Figures[]): string {
  const files = [...new Set(figures.map(({ file }) => file))].sort()
  return files
    .map((file) => {
      const own = figures.filter((x) => x.file === file)
      const title = (x: Figures): string => (file.startsWith('attention') ? x.name : (x.name.split('<')[0] as string))
      const names = [...new Set(own.map(title))].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
      const range = (numbers: readonly number[]): string => [...new Set([Math.min(...numbers), Math.max(...numbers)])].join('-')
      const rows = names.map((name) => {
        const instances = own.filter((x) => title(x) === name)
        const cells = ARCHITECTURES.map((architecture) => range(instances.filter((x) => x.architecture === architecture).map((x) => x.registers)))
        const variants = instances.filter((x) => x.architecture === 80).length
        return [`\`${name}\``, variants, range(instances.map((x) => x.threads)), range(instances.map((x) => x.shared)), ...cells]
      })
      return `### ${file}\n\n${table(['kernel', 'instances', 'threads', 'static shared memory', ...perArchitecture], rows)}`
    })
    .join('\n\n')
}

function spillWords(figures: readonly Figures[]): string {
  const spilling = figures.filter(({ stack, local, spilled }) => stack > 0 || local > 0 || spilled > 0)
  if (spilling.length === 0) return 'none spills a register or uses local memory'
  return `these spill registers, which the test does not let pass: ${spilling.map(({ name, architecture }) => `\`${name}\` on sm_${architecture}`).join(', ')}`
}

const gpuWords = (gpu: Gpu): string =>
  `${gpu.name}: ${gpu.multiprocessors} multiprocessors at ${gpu.clock / 1e9} GHz, ${gpu.tensor / 1e12} TFLOP/s bf16 on tensor cores, ${gpu.f32 / 1e12} TFLOP/s f32, ${gpu.memory / 1e12} TB/s, ${(specialRate(gpu) / 1e12).toFixed(1)} T exponentials/s`

/** Fills {{name}} of bounds.md. */
function fill(text: string, values: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => {
    const value = values[name]
    if (value === undefined) throw new Error(`bounds.md asks for ${name}`)
    return value
  })
}

export function figuresDocument(version: string, figures: readonly Figures[], dynamic: ReadonlyMap<string, number>): string {
  const bounds = readFileSync(join(import.meta.dirname, 'bounds.md'), 'utf8')
  const memoryBound = WORK.filter((work) => timesOf(work, GPUS[0] as Gpu).memory > timesOf(work, GPUS[0] as Gpu).arithmetic)
  return fill(bounds, {
    version,
    spills: spillWords(figures),
    kernels: String(figures.filter(({ architecture }) => architecture === 80).length),
    architectures: perArchitecture.join(', '),
    gpus: GPUS.map((gpu) => `- ${gpuWords(gpu)}`).join('\n'),
    shares: shares(figures, dynamic),
    scores: scoreTable(figures),
    work: workTable(),
    memoryBound: memoryBound.map(({ kernel }) => kernel).join(', '),
    registers: registers(figures),
  })
}
export const documentPath = join(folder, 'FIGURES.md')
