/** What the compiler's tools print of a cubin, as numbers. */

export interface KernelFigures {
  /** Mangled. */
  readonly symbol: string
  readonly registers: number
  /** Of a thread, bytes: what does not fit the registers. */
  readonly stack: number
  readonly local: number
  /** Static, bytes a block. */
  readonly shared: number
  /** Most threads of a block: __launch_bounds__. */
  readonly threads: number
}

/** Of `cuobjdump -res-usage` and `cuobjdump -elf`. */
export function resources(usage: string, elf: string): KernelFigures[] {
  const threads = new Map<string, number>()
  for (const section of elf.split(/^\.nv\.info\./m).slice(1)) {
    const value = /EIATTR_MAX_THREADS\s+Format:\s+\S+\s+Value:\s+((?:0x[0-9a-f]+\s*)+)/.exec(section)?.[1]
    const extents = value?.trim().split(/\s+/).map(Number)
    if (extents)
      threads.set(
        section.split('\n', 1)[0]!.trim(),
        extents.reduce((product, extent) => product * extent, 1),
      )
  }
  return [...usage.matchAll(/Function (\S+):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)/g)].map(([, symbol, ...numbers]) => {
    const [registers, stack, shared, local] = numbers.map(Number) as [number, number, number, number]
    const most = threads.get(symbol as string)
    if (most === undefined) throw new Error(`${symbol} has no __launch_bounds__`)
    return { symbol: symbol as string, registers, stack, shared, local, threads: most }
  })
}

/** Bytes that `ptxas -v` says are spilled, by kernel. */
export function spills(log: string): Map<string, number> {
  const entries = [...log.matchAll(/Compiling entry function '(\S+)'[\s\S]*?(\d+) bytes spill stores, (\d+) bytes spill loads/g)]
  return new Map(entries.map(([, symbol, stores, loads]) => [symbol as string, Number(stores) + Number(loads)]))
}

export interface Loop {
  readonly instructions: number
  readonly tensor: number
  readonly opcodes: Readonly<Record<string, number>>
}

const INSTRUCTION = /\/\*([0-9a-f]{4,5})\*\/\s+((?:@!?U?P\d+\s+)?[A-Z][A-Z0-9_.]*[^;]*);/g
const opcode = (instruction: string): string => (/^(?:@!?U?P\d+\s+)?([A-Z0-9_]+)/.exec(instruction) as RegExpExecArray)[1] as string

/**
 * Of `cuobjdump -sass`, by kernel: the innermost loops (from the target of a backward branch to the branch, no other such within) that have tensor-core
 * instructions (HMMA). An unrolled body counts as it stands.
 */
export function tensorLoops(sass: string): Map<string, Loop[]> {
  const kernels = new Map<string, Loop[]>()
  for (const part of sass.split('Function : ').slice(1)) {
    const code = [...part.matchAll(INSTRUCTION)].map(([, address, instruction]) => ({
      address: Number.parseInt(address as string, 16),
      instruction: instruction as string,
    }))
    const at = new Map(code.map(({ address }, i) => [address, i]))
    const loops = code.flatMap(({ address, instruction }, end) => {
      const target = Number.parseInt(/\bBRA\S*\s.*?0x([0-9a-f]+)/.exec(instruction)?.[1] ?? 'none', 16)
      const begin = target <= address ? at.get(target) : undefined
      return begin !== undefined && code.slice(begin, end).some((line) => opcode(line.instruction) === 'HMMA') ? [{ begin, end }] : []
    })
    const innermost = loops.filter((outer) => !loops.some((inner) => inner !== outer && outer.begin <= inner.begin && inner.end <= outer.end))
    kernels.set(
      part.split('\n', 1)[0]!.trim(),
      innermost.map(({ begin, end }) => mix(code.slice(begin, end + 1).map((line) => line.instruction))),
    )
  }
  return kernels
}
function mix(instructions: readonly string[]): Loop {
  const opcodes: Record<string, number> = {}
  for (const instruction of instructions) opcodes[opcode(instruction)] = (opcodes[opcode(instruction)] ?? 0) + 1
  return { instructions: instructions.length, tensor: opcodes.HMMA ?? 0, opcodes }
}

/** The loop that does the common (plain) tile: the shortest of those with most products. The careful copies (edges, masks) have more beside them, or fewer. */
export function plainLoop(loops: readonly Loop[]): Loop | undefined {
  return [...loops].sort((a, b) => b.tensor - a.tensor || a.instructions - b.instructions)[0]
}

/** A demangled kernel without its parameters and our namespaces: `attend_kernel<float, 64>`. */
export function shortName(demangled: string): string {
  const name = demangled
    .replace(/^void /, '')
    .replaceAll('(anonymous namespace)::', '')
    .replaceAll('fpdt::cuda::', '')
    .replaceAll('__nv_bfloat16', 'bf16')
  let depth = 0
  for (let i = 0; i < name.length; i++) {
    if (name[i] === '<') depth++
    else if (name[i] === '>') depth--
    else if (name[i] === '(' && depth === 0) return name.slice(0, i)
  }
  return name
}
