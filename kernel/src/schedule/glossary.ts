/** The words of a schedule: every op as it is written in a listing, and what it does. Made from the kernels' table. */
import type { Kind } from '../trace/schema.js'
import { KERNEL_NAMES, type Kernel, kernelSpec, type OperandSpec } from './kernels.js'

/** Ops that are no kernels. */
const MOVES: readonly { readonly kind: Exclude<Kind, 'compute'>; readonly form: string; readonly roughly: string }[] = [
  { kind: 'fetch', form: 'fetch k @fetch', roughly: 'host -> device' },
  { kind: 'offload', form: 'offload k @offload', roughly: 'device -> host' },
  { kind: 'spill', form: 'spill k @spill', roughly: 'host -> disk' },
  { kind: 'load', form: 'load k @load', roughly: 'disk -> host' },
  { kind: 'allToAll', form: 'allToAll local -> parts… @collective', roughly: 'every rank: its tokens of all heads -> all tokens of its heads' },
  { kind: 'allToAll', form: 'allToAll parts… -> local toTokens @collective', roughly: 'the way back' },
  { kind: 'gather', form: 'gather part -> full @collective', roughly: "all ranks' parts, end to end, on every rank" },
  { kind: 'reduceScatter', form: 'reduceScatter full -> part @collective', roughly: 'sum over ranks; rank r gets part r (+> adds it)' },
  { kind: 'allReduce', form: 'allReduce sum @collective', roughly: 'sum over ranks, in place (f64)' },
  { kind: 'free', form: 'free k@device', roughly: 'ends k on that tier; its bytes may be given to another' },
]

/**
 * Every op, how a listing writes it, and below that what it does: `console.log(glossary())`. `=` writes, `+=` adds to or updates; what is added to
 * is written with `=` the first time. An operand in brackets may be left out.
 */
export function glossary(): string {
  const words = [...MOVES, ...KERNEL_NAMES.map((kernel) => ({ form: formOf(kernel), roughly: kernelSpec(kernel).roughly }))]
  return words.map(({ form, roughly }) => `${form}\n    ${roughly}`).join('\n')
}

/** `attend state += q k v [starts:starts] @compute`. */
function formOf(kernel: Kernel): string {
  const { operands, flags } = kernelSpec(kernel)
  const side = (belongs: (access: OperandSpec['access']) => boolean): string[] =>
    operands.filter(({ access }) => belongs(access)).map(({ role, optional }) => (optional ? `[${role}:${role}]` : role))
  const written = side((access) => access === 'write')
  const added = side((access) => access === 'update' || typeof access === 'object')
  const told = new Set(operands.flatMap(({ access }) => (typeof access === 'object' ? [access.first] : [])))
  return [
    kernel,
    ...(written.length > 0 ? [...written, '='] : []),
    ...(added.length > 0 ? [...added, '+='] : []),
    ...side((access) => access === 'read'),
    ...flags.filter((flag) => !told.has(flag)).map((flag) => `${flag}=…`),
    '@compute',
  ].join(' ')
}
