/**
 * The compiler's own figures of the CUDA kernels, for every architecture that is built for. They need nvcc and cuobjdump, and no GPU.
 * `npx vitest run test/cuda/figures.test.ts -u` writes native/cuda/FIGURES.md anew.
 */
import { existsSync, readFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { ARCHITECTURES } from './figures/compile.js'
import { documentPath, figuresDocument, REGISTER_FILE, shareOf, TENSOR_KERNELS } from './figures/document.js'
import { type Compiled, compileAll, dynamicShared } from './figures/kernels.js'
import { plainLoop, resources, shortName, spills, tensorLoops } from './figures/parse.js'
import { requireToolkit } from './figures/toolkit.js'

const toolkit = requireToolkit()
/** From an empty cache, two compilers at a time. */
const MOST_MINUTES = 12
/** Bytes of shared memory that a block may have, and a multiprocessor has in all (CUDA programming guide, compute capabilities); 1 KB of each block is the system's. */
const SHARED_OF_BLOCK: Readonly<Record<number, number>> = { 80: 163, 86: 99, 89: 99, 90: 227, 100: 227, 120: 99 }

describe(`CUDA kernels as nvcc ${toolkit.version}`, () => {
  let compiled: Compiled = { figures: [], warnings: [] }
  let dynamic: ReadonlyMap<string, number> = new Map()
  beforeAll(async () => {
    compiled = await compileAll(toolkit)
    dynamic = await dynamicShared(toolkit)
  }, MOST_MINUTES * 60_000)

  it('compile without a warning, spill or local memory, for every architecture', () => {
    expect(compiled.warnings).toEqual([])
    const wrong = compiled.figures.filter(({ stack, local, spilled }) => stack > 0 || local > 0 || spilled > 0)
    expect(wrong.map(({ file, name, architecture, stack, spilled }) => ({ file, name, architecture, stack, spilled }))).toEqual([])
    for (const architecture of ARCHITECTURES) expect(compiled.figures.some((x) => x.architecture === architecture)).toBe(true)
  })
  it('fit the registers of a multiprocessor', () => {
    const wrong = compiled.figures.filter(({ registers, threads }) => registers * threads > REGISTER_FILE)
    expect(wrong).toEqual([])
  })
  it('fit the shared memory of a block', () => {
    for (const { file, name, architecture, shared } of compiled.figures) {
      const kernel = TENSOR_KERNELS.find((x) => x.file === file && x.name === name)
      if (kernel && !kernel.runsOn.includes(architecture)) continue
      const bytes = shared + ((kernel && dynamic.get(name)) ?? 0)
      expect(bytes, `${name} of ${file} on sm_${architecture}`).toBeLessThanOrEqual((SHARED_OF_BLOCK[architecture] as number) * 1024)
      if (!kernel) expect(bytes, `${name} of ${file}`).toBeLessThanOrEqual(48 * 1024) // what a launch gets unasked
    }
  })
  describe.each(TENSOR_KERNELS)('$name of $file', ({ file, name, least, runsOn }) => {
    it('gives the tensor cores the share of its plain loop that FlashAttention-2 does', () => {
      for (const architecture of runsOn) {
        const kernel = compiled.figures.find((x) => x.file === file && x.name === name && x.architecture === architecture)
        expect(kernel?.plain, `sm_${architecture}`).toBeDefined()
        expect(shareOf(kernel!.plain!), `sm_${architecture}: ${JSON.stringify(kernel!.plain!.opcodes)}`).toBeGreaterThanOrEqual(least)
      }
    })
  })
  it('are as FIGURES.md says', async ({ skip }) => {
    const [, written] = /nvcc ([\d.]+)/.exec(existsSync(documentPath) ? readFileSync(documentPath, 'utf8') : '') ?? []
    if (process.env.CI && written !== toolkit.version) skip(`FIGURES.md is of nvcc ${written}; of ${toolkit.version} only the bounds are checked`)
    await expect(figuresDocument(toolkit.version, compiled.figures, dynamic)).toMatchFileSnapshot(documentPath)
  })
})

describe('what is read of the tools', () => {
  const line = (address: number, text: string): string => `        /*${address.toString(16).padStart(4, '0')}*/                   ${text} ;     /* 0x0 */`
  const sass = (instructions: readonly string[]): string => `Function : k\n${instructions.map((text, i) => line(i * 16, text)).join('\n')}\n`

  it('a loop is from the target of a backward branch to the branch, innermost', () => {
    const text = sass([
      'MOV R0, R1',
      'HMMA.16816.F32.BF16 R4, R8, R2, R4',
      'FADD R1, R1, R2',
      '@P0 BRA 0x10',
      'HMMA.16816.F32.BF16 R4, R8, R2, R4',
      'NOP',
      '@!P1 BRA.U 0x0',
      'EXIT',
    ])
    expect(tensorLoops(text).get('k')).toEqual([
      {
        instructions: 3,
        tensor: 1,
        opcodes: { HMMA: 1, FADD: 1, BRA: 1 },
      },
    ])
  })
  it('the plain loop has most products, and of those fewest instructions', () => {
    const loop = (instructions: number, tensor: number) => ({ instructions, tensor, opcodes: {} })
    expect(plainLoop([loop(10, 2), loop(90, 8), loop(70, 8), loop(80, 8)])).toEqual(loop(70, 8))
    expect(plainLoop([])).toBeUndefined()
  })
  it('a spill of any kernel is seen', () => {
    const entry = (name: string, bytes: number): string =>
      `ptxas info    : Compiling entry function '${name}' for 'sm_80'\nptxas info    : Function properties for ${name}\n    ${bytes} bytes stack frame, ${bytes} bytes spill stores, ${2 * bytes} bytes spill loads\n`
    expect(spills(entry('a', 0) + entry('b', 8))).toEqual(
      new Map([
        ['a', 0],
        ['b', 24],
      ]),
    )
  })
  it('registers come with the threads of their block', () => {
    const usage = ' Function k:\n  REG:32 STACK:8 SHARED:1024 LOCAL:0 CONSTANT[0]:400 TEXTURE:0\n'
    const elf = '.nv.info.k\n\t<0x15>\n\tAttribute:\tEIATTR_MAX_THREADS\n\tFormat:\tEIFMT_SVAL\n\tValue:\t0x40 0x2 0x1 \n'
    expect(resources(usage, elf)).toEqual([{ symbol: 'k', registers: 32, stack: 8, shared: 1024, local: 0, threads: 128 }])
    expect(() => resources(usage, '')).toThrow('__launch_bounds__')
  })
  it('names are short', () => {
    const long =
      'void fpdt::cuda::elementwise<4, fpdt::cuda::(anonymous namespace)::Swiglu<__nv_bfloat16> >(fpdt::cuda::(anonymous namespace)::Swiglu<__nv_bfloat16>, long)'
    expect(shortName(long)).toBe('elementwise<4, Swiglu<bf16> >')
  })
})
