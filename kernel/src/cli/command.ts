/** What a subcommand of `fpdt` is, and how its arguments are read and explained: one table of options does both. Knows no subcommand. */
import { FpdtError } from '../errors.js'
import { nearest } from '../nearest.js'

export interface Option {
  /** What the value is, in capitals as usage has it; an option without is a flag. */
  readonly value?: string
  readonly means: string
}
export type Options = Readonly<Record<string, Option>>

export interface Command {
  /** Arguments that are no options, as usage has them: `CONFIG.json`. */
  readonly operands: string
  readonly does: string
  readonly options: Options
  /** What `--help` says after the options. */
  readonly more?: () => string
  /** Gives the exit code, 0 when it gives none. */
  run(args: readonly string[]): Promise<number | undefined> | number | undefined
}

/** A command line that cannot be meant: exit code 2, and the usage is shown. */
export class UsageError extends Error {}

/** Training would not begin with what is asked for: exit code 3. */
export class RefusedError extends Error {}
export const REFUSED = 3

/** What does not fit, or does not go together, as training says it; any other error is none of these. */
export function asRefused(error: unknown): unknown {
  const refuses = error instanceof FpdtError && (error.code === 'config' || error.code === 'out_of_memory')
  return refuses ? new RefusedError(error.message, { cause: error }) : error
}

/** Values of options by name; a flag is 'true' where it stands. */
export interface Arguments {
  readonly operands: readonly string[]
  readonly given: ReadonlyMap<string, string>
}

/** Reads `--name value`, `--name=value`, flags and operands; after `--` all are operands. Throws UsageError, naming the nearest option. */
export function readArguments(args: readonly string[], options: Options): Arguments {
  const operands: string[] = []
  const given = new Map<string, string>()
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string
    if (arg === '--') return { operands: [...operands, ...args.slice(i + 1)], given }
    if (!arg.startsWith('-') || arg === '-') {
      operands.push(arg)
      continue
    }
    const [, name, inline] = /^--([^=]*)(?:=(.*))?$/s.exec(arg) ?? []
    const option = name !== undefined && Object.hasOwn(options, name) ? options[name] : undefined
    if (name === undefined || !option) throw new UsageError(unknown(arg, options))
    if (given.has(name)) throw new UsageError(`--${name} is given twice`)
    if (option.value === undefined && inline !== undefined) throw new UsageError(`--${name} takes no value; got ${inline}`)
    const value = option.value === undefined ? 'true' : (inline ?? args[++i])
    if (value === undefined || (inline === undefined && option.value !== undefined && value.startsWith('--')))
      throw new UsageError(`--${name} needs its value: --${name} ${option.value}`)
    given.set(name, value)
  }
  return { operands, given }
}

function unknown(arg: string, options: Options): string {
  const close = nearest(arg.replace(/^-+/, '').replace(/=.*$/s, ''), Object.keys(options))
  return `there is no option ${arg}${close === undefined ? '' : `; the nearest is --${close}`}`
}

/** `fpdt install [--user] [--prefix DIR]`. */
export function usageOf(name: string, { operands, options }: Command): string {
  const words = Object.entries(options).map(([option, { value }]) => `[--${option}${value === undefined ? '' : ` ${value}`}]`)
  return ['fpdt', name, operands, ...words].filter((word) => word !== '').join(' ')
}

/** What `fpdt NAME --help` prints. */
export function helpOf(name: string, command: Command): string {
  const rows = Object.entries(command.options).map(([option, { value, means }]) => [`--${option}${value === undefined ? '' : ` ${value}`}`, means] as const)
  return [
    usageOf(name, command),
    '',
    ...wrap(command.does, 0),
    ...(rows.length > 0 ? ['', ...table(rows)] : []),
    ...(command.more ? ['', command.more()] : []),
  ].join('\n')
}

/** Two columns, the second wrapped. */
export function table(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([left]) => left.length)) + 4
  return rows.flatMap(([left, right]) => {
    const [first = '', ...rest] = wrap(right, width)
    return [`  ${left}`.padEnd(width) + first.trimStart(), ...rest]
  })
}

const WIDTH = 118
/** Words in lines of at most `WIDTH` characters, each behind `indent` spaces. */
export function wrap(text: string, indent: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && indent + line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line].map((one) => ' '.repeat(indent) + one)
}
