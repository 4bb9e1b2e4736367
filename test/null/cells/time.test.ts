/** `%timeit` on a clock that only its statements move. */
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { sayTimes } from '../../../kernel/src/cells/magics/time.js'

let clock_ns = 0n
let said = ''
beforeEach(() => {
  clock_ns = 0n
  said = ''
  vi.spyOn(process.hrtime, 'bigint').mockImplementation(() => clock_ns)
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    said += text
    return true
  })
})
afterEach(() => vi.restoreAllMocks())

const taking = (ns: bigint) => () => {
  clock_ns += ns
}

it.each([
  [20_000_000_000n, 'of 2 runs, 1 loop each', 60],
  [700_000_000n, 'of 2 runs, 1 loop each', 2.1],
  [100_000_000n, 'of 7 runs, 2 loops each', 1.5],
  [1_000_000n, 'of 7 runs, 200 loops each', 1.411],
  [30_000n, 'of 7 runs, 5,000 loops each', 1.08333],
])('a statement of %d ns is timed for some two seconds, or three times', async (ns, runs, seconds) => {
  await sayTimes({}, taking(ns))
  expect(said).toContain(runs)
  expect(Number(clock_ns) / 1e9).toBeCloseTo(seconds, 9)
  const asynchronous = clock_ns
  clock_ns = 0n
  said = ''
  await sayTimes({}, async () => {
    await null
    clock_ns += ns
  })
  expect(said).toContain(runs)
  expect(clock_ns).toBe(asynchronous)
})

it('one that takes no longer than an empty loop is said to be nothing', async () => {
  await sayTimes({ loops: 100, repeats: 3 }, taking(4n))
  expect(said).toBe(
    '4 ns ± 0 ns per loop (mean ± std. dev. of 3 runs, 100 loops each)\nNo longer than an empty loop: the compiler may have left the statement out. Time a larger piece of work, and use its result.\n',
  )
  said = ''
  await sayTimes({ loops: 100, repeats: 3 }, taking(6n))
  expect(said).toBe('6 ns ± 0 ns per loop (mean ± std. dev. of 3 runs, 100 loops each)\n')
})

it('mean and deviation are those of the runs', async () => {
  let calls = 0
  await sayTimes({ loops: 2, repeats: 4 }, () => {
    clock_ns += calls++ < 4 ? 1000n : 3000n
  })
  expect(said).toBe('2 µs ± 1 µs per loop (mean ± std. dev. of 4 runs, 2 loops each)\n')
})
