/** Bugs in what the host asks of CUDA: a call that is missing, comes too late, or does half; and calls that fail. */
import type { PlantedBug } from './bug.js'

const [lazy, random] = [1, 3] // seeds: queues that do nothing before somebody waits for it, and in any order

export const HOST_BUGS: readonly PlantedBug[] = [
  {
    name: 'the first wait of a stream for another is missing',
    why: 'a copy may take bytes that the kernel before it has yet to write',
    plant: { call: 'cudaStreamWaitEvent', nth: 1, what: 'drop' },
    seed: lazy,
    upsets: 'programs of two ranks',
    by: 'unordered',
  },
  {
    name: 'a later wait is missing',
    why: 'the collective may read what is still being fetched',
    plant: { call: 'cudaStreamWaitEvent', nth: 4, what: 'drop' },
    seed: lazy,
    upsets: 'programs of two ranks on two GPUs',
    by: 'unordered',
  },
  {
    name: 'an event is not recorded',
    why: 'a wait for it waits for nothing, and it has no time',
    plant: { call: 'cudaEventRecord', nth: 2, what: 'drop' },
    seed: lazy,
    upsets: 'programs of two ranks',
    by: /cudaEventElapsedTime/,
  },
  {
    name: 'a copy takes half of its bytes',
    why: 'as with elements counted where bytes are meant',
    plant: { call: 'cudaMemcpyAsync', nth: 1, what: 'shorten' },
    upsets: 'programs of two ranks',
    by: 'wrong',
  },
  {
    name: 'a copy goes the other way',
    why: 'offload and fetch are mixed up',
    plant: { call: 'cudaMemcpyAsync', nth: 1, what: 'swap' },
    upsets: 'programs of two ranks',
    by: 'wrong',
  },
  {
    name: 'a copy is still under way when it is said to be done',
    why: 'as one on a stream that nobody waits for',
    plant: { call: 'cudaMemcpyAsync', nth: 1, what: 'late' },
    upsets: 'programs of two ranks',
    by: 'wrong',
  },
  {
    name: 'an all-to-all moves half of its tokens',
    why: 'rows of a copy with a pitch are tokens, not heads',
    plant: { call: 'cudaMemcpy2DAsync', nth: 1, what: 'shorten' },
    upsets: 'programs of two ranks on two GPUs',
    by: 'wrong',
  },
  {
    name: 'an all-to-all leaves out a peer',
    why: 'each rank pulls from all, itself included',
    plant: { call: 'cudaMemcpy2DAsync', nth: 4, what: 'drop' },
    upsets: 'programs of two ranks',
    by: 'wrong',
  },
  {
    name: 'zeros for half of the bytes',
    why: 'as with f32 counted where bytes are meant',
    plant: { call: 'cudaMemsetAsync', nth: 1, what: 'shorten' },
    upsets: 'programs of two ranks',
    by: 'wrong',
  },
  {
    name: 'attendBackward, dq is not begun',
    why: 'a chunk that comes first adds to zeros, not to what was there',
    plant: { call: 'cudaMemsetAsync', nth: 2, what: 'drop' },
    upsets: 'attendBackward, heads of 64',
    by: 'wrong',
  },
  {
    name: 'an all-reduce is not summed on one rank',
    why: 'its launch is missing: what it kept of the sum before goes out instead',
    plant: { call: 'cudaLaunchKernel', nth: 1, what: 'drop' },
    upsets: 'sums over ranks',
    by: 'wrong',
  },
  {
    name: 'pinned memory is filled again before the copy out of it is done',
    why: 'the disk thread must wait on the host for copies that read what it writes',
    plant: { call: 'cudaStreamWaitEvent', nth: 1, what: 'drop' },
    seed: lazy,
    upsets: 'pinned memory that the disk fills again',
    by: 'wrong',
  },
  {
    name: 'a launch fails',
    why: 'its error must come out in words, not as a wrong result',
    plant: { call: 'cudaLaunchKernel', nth: 1, what: 'fail' },
    seed: random,
    upsets: 'sums over ranks',
    by: /context in this process is lost/,
  },
]
