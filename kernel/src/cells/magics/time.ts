/** `%time` and `%timeit`. */
import { counted } from '../../trace/words/format.js'

export interface Moment {
  readonly wall_ns: bigint
  readonly cpu: NodeJS.CpuUsage
}

export function now(): Moment {
  return { cpu: process.cpuUsage(), wall_ns: process.hrtime.bigint() }
}

/** What passed since `begun`, in IPython's words. */
export function sayTime(begun: Moment): void {
  const wall = Number(process.hrtime.bigint() - begun.wall_ns) / 1e9
  const { user, system } = process.cpuUsage(begun.cpu)
  const [u, s, total] = [user, system, user + system].map((microseconds) => duration(microseconds / 1e6))
  process.stdout.write(`CPU times: user ${u}, sys: ${s}, total: ${total}\nWall time: ${duration(wall)}\n`)
}

const REPEATS = 7
/** What all runs together take; one of a slow statement takes longer. */
const SECONDS = 1.6
/** Loops that take so long tell how long one takes. */
const TRIAL_SECONDS = 0.01
/** What a loop takes that does nothing, on slow machines. */
const EMPTY_LOOP_SECONDS = 5e-9

/** Keeps the compiler from leaving out what nobody uses. */
let sink: unknown

/** Mean and deviation of runs, of so many loops each that all take two seconds at most; of a statement that takes longer, two runs. */
export async function sayTimes(options: { readonly loops?: number; readonly repeats?: number }, statement: () => unknown): Promise<void> {
  const measure = statement.constructor.name === 'AsyncFunction' ? secondsOfAsync : secondsOf
  let loops = options.loops ?? 1
  let trial = 0
  if (options.loops === undefined) {
    let seconds = await measure(statement, loops)
    while (seconds < TRIAL_SECONDS) {
      loops *= 10
      seconds = await measure(statement, loops)
    }
    trial = seconds / loops
    loops = roundLoops(SECONDS / REPEATS / trial)
  }
  const repeats = options.repeats ?? (trial === 0 ? REPEATS : Math.max(2, Math.min(REPEATS, Math.floor(SECONDS / (trial * loops)))))
  const each: number[] = []
  for (let run = 0; run < repeats; run++) each.push((await measure(statement, loops)) / loops)
  const mean = each.reduce((sum, seconds) => sum + seconds, 0) / repeats
  const deviation = Math.sqrt(each.reduce((sum, seconds) => sum + (seconds - mean) ** 2, 0) / repeats)
  process.stdout.write(`${duration(mean)} ± ${duration(deviation)} per loop (mean ± std. dev. of ${counted(repeats, 'run')}, ${counted(loops, 'loop')} each)\n`)
  if (mean < EMPTY_LOOP_SECONDS)
    process.stdout.write('No longer than an empty loop: the compiler may have left the statement out. Time a larger piece of work, and use its result.\n')
}

/** 1, 2 or 5 times a power of ten, at most `loops`; 1 at least. */
function roundLoops(loops: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, loops)))
  return power * ([5, 2].find((factor) => factor * power <= loops) ?? 1)
}

function secondsOf(statement: () => unknown, loops: number): number {
  const begun = process.hrtime.bigint()
  for (let loop = 0; loop < loops; loop++) sink = statement()
  return since(begun)
}

async function secondsOfAsync(statement: () => unknown, loops: number): Promise<number> {
  const begun = process.hrtime.bigint()
  for (let loop = 0; loop < loops; loop++) sink = await statement()
  return since(begun)
}

function since(begun: bigint): number {
  void sink
  return Number(process.hrtime.bigint() - begun) / 1e9
}

/** Three digits and a unit; minutes and hours from one minute on. */
export function duration(seconds: number): string {
  if (seconds >= 60) {
    const whole = Math.round(seconds)
    const parts = [
      [Math.floor(whole / 3600), 'h'],
      [Math.floor(whole / 60) % 60, 'min'],
      [whole % 60, 's'],
    ] as const
    return parts.flatMap(([number, unit]) => (number === 0 ? [] : [`${number}${unit}`])).join(' ')
  }
  const [factor, unit] = (
    [
      [1, 's'],
      [1e3, 'ms'],
      [1e6, 'µs'],
    ] as const
  ).find(([factor]) => seconds * factor >= 1) ?? [1e9, 'ns']
  return `${Number((seconds * factor).toPrecision(3))} ${unit}`
}
