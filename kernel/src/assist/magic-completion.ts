/** What completes a line such as `%cd da` or `!cat fi`, and the names of the environment: nothing of that has a type. */
import { helpOfWord } from '../language/magics/help.js'
import { WORDS } from '../language/magics/table.js'
import { pathsOf } from './path-completion.js'

interface MagicCompletion {
  /** Where what is replaced begins; it ends at the cursor. */
  readonly start: number
  readonly matches: readonly (readonly [label: string, kind: string])[]
}

/** Words whose operand can only be a folder. */
const OF_FOLDERS = new Set(['cd', 'mkdir', 'rmdir'])
const OF_ENVIRONMENT = new Set(['env', 'set_env'])
/** Words whose operand is one of a few. */
const CHOICES: Readonly<Record<string, readonly string[]>> = { types: ['off', 'report', 'strict'], reset: ['in', 'out'] }

/**
 * Undefined where the cursor is in TypeScript. `text` is the cell with its words as TypeScript, line by line: a line that it leaves alone is none of
 * theirs (`!ready && go`).
 */
export function magicsAt(code: string, offset: number, text: string, folder: string): MagicCompletion | undefined {
  const begun = environmentName(code.slice(0, offset))
  if (begun !== undefined) return completing(begun, offset, ofEnvironment(begun))
  const line = code.slice(code.lastIndexOf('\n', offset - 1) + 1, offset)
  const [, sign] = /(?:^|=)[ \t]*(%%?\w*)$/.exec(line) ?? []
  if (sign !== undefined) return completing(sign, offset, words(sign))
  if (isUnchanged(code, offset, text)) return undefined
  const { word, operands } = /(?:^|=)[ \t]*(?:!!?|%%?(?<word>\w+)[ \t])(?<operands>.*)$/.exec(line)?.groups ?? {}
  if (operands === undefined) return undefined
  const operand = /\S*$/.exec(operands)?.[0] ?? ''
  if (word === undefined) return /\S\s|\//.test(operands) ? paths(operand, offset, folder, false) : undefined
  const choices = CHOICES[word]
  if (choices !== undefined)
    return completing(
      operand,
      offset,
      choices.filter((choice) => choice.startsWith(operand)).map((choice) => [choice, 'keyword']),
    )
  if (OF_ENVIRONMENT.has(word)) return completing(operand, offset, ofEnvironment(operand))
  const { line: kind, body } = WORDS.get(word) ?? {}
  return kind === 'text' || body === 'text' ? paths(operand, offset, folder, OF_FOLDERS.has(word)) : undefined
}

/** What the word under the cursor does. */
export function magicHelpAt(code: string, offset: number): string | undefined {
  const start = code.lastIndexOf('\n', offset - 1) + 1
  const { before = '', name = '' } = /^(?<before>(?:.*=)?[ \t]*%%?)(?<name>[A-Za-z]\w*)/.exec(code.slice(start))?.groups ?? {}
  return WORDS.has(name) && offset <= start + before.length + name.length ? helpOfWord(name) : undefined
}

function isUnchanged(code: string, offset: number, text: string): boolean {
  const line = code.slice(0, offset).split('\n').length - 1
  return code.split('\n')[line] === text.split('\n')[line]
}

function environmentName(before: string): string | undefined {
  return /\bprocess\.env(?:\??\.|\[['"`])(\w*)$/.exec(before)?.[1]
}

function ofEnvironment(begun: string): (readonly [string, string])[] {
  const names = Object.keys(process.env).filter((name) => name.startsWith(begun))
  return names.sort().map((name) => [name, 'property'])
}

/** Those that do something, on their own line or above others. */
function words(sign: string): (readonly [string, string])[] {
  const [, signs = '', begun = ''] = /^(%%?)(.*)$/.exec(sign) ?? []
  const isUseful = ([name, word]: [string, { line?: unknown; body?: unknown }]) =>
    name.startsWith(begun) && (signs === '%' ? word.line : word.body) !== undefined
  return [...WORDS].filter(isUseful).map(([name]) => [signs + name, 'keyword'])
}

function paths(operand: string, offset: number, folder: string, foldersOnly: boolean): MagicCompletion | undefined {
  const { begun, paths: found } = pathsOf(operand.replace(/^["']/, ''), folder)
  const offered = found.filter(({ isFolder }) => isFolder || !foldersOnly)
  return completing(
    begun,
    offset,
    offered.map(({ label, isFolder }) => [label, isFolder ? 'folder' : 'file']),
  )
}

function completing(begun: string, offset: number, matches: MagicCompletion['matches']): MagicCompletion | undefined {
  return matches.length === 0 ? undefined : { start: offset - begun.length, matches }
}
