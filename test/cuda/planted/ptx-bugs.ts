/** Bugs in the PTX of the fat binary that ships: what a wrong line of a kernel's source, or of a compiler, would leave there. */
import type { PlantedBug } from './bug.js'

const attend64 = 'attention_forward.*attend_kernelILi64'
const attend128 = 'attention_forward.*attend_kernelILi128'
const back64 = 'attend_backward_kernelILi64ELi128ELi64'
const back128 = 'attend_backward_kernelILi128ELi128ELi64'

export const PTX_BUGS: readonly PlantedBug[] = [
  {
    name: 'attend waits for one copy less',
    why: 'wait_group 2 lets a warp read k of a tile whose cp.async is still under way',
    plant: { ptx: attend64, find: 'cp\\.async\\.wait_group 1;', replace: 'cp.async.wait_group 2;', nth: 2 },
    upsets: 'attend, heads of 64',
    by: 'race',
  },
  {
    name: 'attend, the second of two fragments of k swapped',
    why: 'the two halves of the right operand belong to 8 inner columns each, in order',
    plant: { ptx: attend64, find: '(mma\\.sync\\S+ \\{[^}]*\\}, \\{[^}]*\\}, )\\{(%r\\d+),(%r\\d+)\\}', replace: '$1{$3,$2}', nth: 40 },
    upsets: 'attend, heads of 64',
    by: 'wrong',
  },
  {
    name: 'attend reads v as it lies',
    why: 'p v wants v transposed; without .trans the fragments hold the rows of keys as columns',
    plant: { ptx: attend64, find: 'ldmatrix(\\S+)\\.trans', replace: 'ldmatrix$1', nth: 3 },
    upsets: 'attend, heads of 64',
    by: 'wrong',
  },
  {
    name: 'attend sees one key too many',
    why: 'a key that stands behind the row is masked by >, not by >=: the diagonal is seen, the next is not',
    plant: { ptx: attend64, find: 'setp\\.lt\\.s32 (\\s*%p\\d+, %r\\d+, 9;)', replace: 'setp.le.s32 $1', nth: 1 },
    upsets: 'attend, heads of 64',
    by: 'wrong',
  },
  {
    name: 'attend, a step of the maximum over four lanes is missing',
    why: 'four lanes share a row: without the second exchange they rescale by different maxima',
    plant: { ptx: attend128, find: '(shfl\\.sync\\.bfly\\.b32 \\s*%r\\d+\\|%p\\d+, %r\\d+, )%r\\d+(, %r\\d+, %r\\d+;)', replace: '$1 0$2', nth: 2 },
    upsets: 'attend, heads of 128',
    by: 'wrong',
  },
  {
    name: 'attend forgets the scale of an exponent',
    why: '2^x is taken of scores in units of log2; unscaled they are 5.5 times as large',
    plant: { ptx: attend64, find: '(fma\\.rn\\.f32 \\s*%f\\d+, %f\\d+, )%f\\d+(, %f\\d+;\\s*(?://[^\\n]*\\s*)*ex2)', replace: '$1 0f3F800000$2', nth: 1 },
    upsets: 'attend, heads of 64',
    by: 'wrong',
  },
  {
    name: 'attendBackward, the barrier behind ds is missing',
    why: 'ds k reads what all warps wrote to shared memory',
    plant: { ptx: back64, find: 'bar\\.sync \\s*0;', replace: '', nth: 6 },
    upsets: 'attendBackward, heads of 64',
    by: 'race',
  },
  {
    name: 'attendBackward does not wait for its copies',
    why: 'the tile of the next step is read while cp.async writes it',
    plant: { ptx: back64, find: 'cp\\.async\\.wait_group 0;', replace: 'cp.async.wait_group 1;', nth: 2 },
    upsets: 'attendBackward, heads of 64',
    by: 'uninitialised',
  },
  {
    name: 'attendBackward, two fragments of ds swapped',
    why: 'registers 1 and 2 of a left operand are its lower left and its upper right quarter',
    plant: { ptx: back128, find: '(mma\\.sync\\S+ \\{[^}]*\\}, )\\{(%r\\d+),(%r\\d+),(%r\\d+),', replace: '$1{$2,$4,$3,', nth: 30 },
    upsets: 'attendBackward, heads of 128, adding',
    by: 'wrong',
  },
  {
    name: 'crossEntropy does not wait for what others read ahead',
    why: 'rows of bf16 are written over the first half of their own f32 logits: who writes must know that all have read',
    plant: { ptx: 'row_lossesILi4E13__nv_bfloat16', find: 'bar\\.sync \\s*0;', replace: '', nth: 6 },
    upsets: 'crossEntropy',
    by: 'race',
  },
  {
    name: 'embedBackward has one thread too many',
    why: 'the thread whose columns begin at the width has none: they are those of the next row',
    plant: { ptx: '8add_runsILi4Ef', find: 'setp\\.le\\.s64', replace: 'setp.lt.s64', nth: 2 },
    upsets: 'embedBackward',
    by: 'race',
  },
  {
    name: 'adamW has no end',
    why: 'threads behind the last parameter must leave: what they touch is others’',
    plant: { ptx: 'AdamW', find: '@%p\\d+ bra \\s*\\$L__BB\\d+_\\d+;', replace: '', nth: 1 },
    upsets: 'adamW',
    by: 'race',
  },
  {
    name: 'norm adds up half a warp',
    why: 'a step of the sum over lanes is missing: a row is divided by the root of a part of its squares',
    plant: {
      ptx: 'norm_rowsILi32ELi4Eff',
      find: '(shfl\\.sync\\.bfly\\.b32 \\s*%r\\d+\\|%p\\d+, %r\\d+, )%r\\d+(, %r\\d+, %r\\d+;)',
      replace: '$1 0$2',
      nth: 3,
    },
    upsets: 'norms',
    by: 'wrong',
  },
  {
    name: 'biasGradient adds lines before they are written',
    why: 'a thread adds up what other warps left in shared memory',
    plant: { ptx: 'sum_columnsILi1E13__nv_bfloat16', find: 'bar\\.sync \\s*0;', replace: '', nth: 1 },
    upsets: 'biasGradient',
    by: 'uninitialised',
  },
]
