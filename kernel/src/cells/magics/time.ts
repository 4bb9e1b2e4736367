/** `%time` and `%timeit`. */

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
/** A run of loops that takes so long is measured well. */
const RUN_SECONDS = 0.2

/** Keeps the compiler from leaving out what nobody uses. */
let sink: unknown

/** Mean and deviation of runs, of so many loops each that a run takes 0.2 s. */
export async function sayTimes(options: { readonly loops?: number; readonly repeats?: number }, statement: () => unknown): Promise<void> {
  const { repeats = REPEATS } = options
  const measure = statement.constructor.name === 'AsyncFunction' ? secondsOfAsync : secondsOf
  let loops = options.loops ?? 1
  while (options.loops === undefined && (await measure(statement, loops)) < RUN_SECONDS) loops *= 10
  const each: number[] = []
  for (let run = 0; run < repeats; run++) each.push((await measure(statement, loops)) / loops)
  const mean = each.reduce((sum, seconds) => sum + seconds, 0) / repeats
  const deviation = Math.sqrt(each.reduce((sum, seconds) => sum + (seconds - mean) ** 2, 0) / repeats)
  const count = (number: number, what: string) => `${number.toLocaleString('en')} ${what}${number === 1 ? '' : 's'}`
  process.stdout.write(`${duration(mean)} ± ${duration(deviation)} per loop (mean ± std. dev. of ${count(repeats, 'run')}, ${count(loops, 'loop')} each)\n`)
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
