/** The shell command `fpdt`: finds the subcommand, explains it, runs it, and turns what it throws into words and an exit code. */
import { readFileSync } from 'node:fs'
import { FpdtError } from '../errors.js'
import { nearest } from '../nearest.js'
import { bench } from './bench.js'
import { type Command, helpOf, REFUSED, RefusedError, UsageError, usageOf } from './command.js'
import { convert } from './convert.js'
import { install } from './install.js'
import { plan } from './plan.js'
import { train } from './train.js'

const COMMANDS: Readonly<Record<string, Command>> = { train, plan, convert, bench, install }

/** Runs `fpdt ARGS`. 0: done; 1: it failed; 2: no such command, option or value; 3: training would not begin with it; 130: it was interrupted. */
export async function main([name, ...args]: readonly string[]): Promise<number> {
  if (name === undefined || name === '--help' || name === '-h') return print(overview())
  if (name === '--version' || name === '-V') return print(version())
  if (name === 'help') return args[0] === undefined ? print(overview()) : explain(args[0])
  const command = commandOf(name)
  if (!command) return unknownCommand(name)
  if (args.includes('--help') || args.includes('-h')) return explain(name)
  try {
    return (await command.run(args)) ?? 0
  } catch (error) {
    if (error instanceof UsageError) {
      console.error(`fpdt ${name}: ${error.message}\nusage: ${usageOf(name, command)}`)
      return 2
    }
    if (error instanceof RefusedError) {
      console.error(`fpdt ${name}: ${error.message}`)
      return REFUSED
    }
    console.error(isExplained(error) ? `fpdt ${name}: ${error.message}` : error)
    return 1
  }
}

function commandOf(name: string): Command | undefined {
  return Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
}

function explain(name: string): number {
  const command = commandOf(name)
  return command ? print(helpOf(name, command)) : unknownCommand(name)
}

function unknownCommand(name: string): number {
  const names = Object.keys(COMMANDS)
  console.error(`fpdt has no command ${name}; the nearest is ${nearest(name, names)}. It has ${names.join(', ')}; fpdt --help explains them`)
  return 2
}

function overview(): string {
  const commands = Object.entries(COMMANDS).flatMap(([name, command]) => [
    `  fpdt ${name}${command.operands ? ` ${command.operands}` : ''}`,
    `      ${command.does}`,
  ])
  return ['usage:', ...commands, '  fpdt help COMMAND', '      what a command takes', '  fpdt --version'].join('\n')
}

function version(): string {
  return JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version
}

function print(text: string): number {
  console.log(text)
  return 0
}

/** Errors whose message is for the user: ours, those of the addon (a lower-case code) and of the system (a system call). Any other is a fault, shown with its stack. */
function isExplained(error: unknown): error is Error {
  if (error instanceof FpdtError) return true
  const { code, syscall } = error as NodeJS.ErrnoException
  return error instanceof Error && typeof code === 'string' && (/^[a-z_]+$/.test(code) || syscall !== undefined)
}
