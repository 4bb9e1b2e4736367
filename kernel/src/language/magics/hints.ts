/** What somebody may have meant by a line that is no TypeScript, or that names what nobody declared: a magic in a block, or without its sign. */
import { WORDS } from './table.js'

const IN_BLOCK = "`!` and `%` stand at the top level of a cell; in a block use `await sh('…')`"
/** A magic at the head of a line or of a statement. TypeScript has no name behind a `%` there, and no two words behind a `!`. */
const SIGNED = (() => {
  const command = /!!?[ \t]*(?:[./~]|\w[\w.-]*[ \t]+[\w./~{$'"`*-])/.source
  return new RegExp(`(?:^|[{;])[ \\t]*(?:${command}|%%?[A-Za-z])|(?:\\)|\\belse)[ \\t]*${command}`)
})()
const COMMANDS = new Set(['apt', 'curl', 'echo', 'find', 'git', 'grep', 'head', 'make', 'node', 'npx', 'ps', 'python', 'tail', 'tar', 'touch', 'wget', 'which'])
/** Magics that are better known as commands. */
const OF_SHELL = new Set(['cat', 'cp', 'll', 'ls', 'mkdir', 'mv', 'rm', 'rmdir', 'bash', 'sh', 'perl', 'python3', 'ruby', 'zsh'])

/** `line`: as the parser saw it, so that a sign still there is one that was not understood. */
export function hintOfSyntax(line: string): string | undefined {
  if (SIGNED.test(line)) return IN_BLOCK
  return /^[ \t]*[a-z]\w*[ \t]+[^\s=({]/.test(line) ? hintOfLine(line) : undefined
}

/** `name` is not defined. */
export function hintOfName(name: string, source: string): string | undefined {
  const line = source.split('\n').find((each) => new RegExp(`^[ \\t]*${name}(?![\\w$.])`).test(each))
  if (line !== undefined) return hintOfLine(line)
  return (COMMANDS.has(name) || OF_SHELL.has(name)) && new RegExp(`![ \\t]*${name}\\b`).test(source) ? IN_BLOCK : undefined
}

function hintOfLine(line: string): string | undefined {
  const [all, word = '', called] = /^(\w+)(\()?/.exec(line.trim()) ?? []
  if (all === undefined) return undefined
  const rest = line.trim().slice(word.length).replace(/;$/, '')
  if (word === 'help') {
    const name = /^\(\s*([\w$.]+)\s*\)$/.exec(rest)?.[1] ?? /^\s+([\w$.]+)$/.exec(rest)?.[1]
    return name === undefined ? 'write `?` for help, `NAME?` for type and documentation of a name' : `write \`${name}?\` for its type and documentation`
  }
  if (COMMANDS.has(word) || (OF_SHELL.has(word) && called === undefined)) return `did you mean \`!${word}${rest}\`?`
  const known = WORDS.get(word)
  if (known === undefined || (called !== undefined && known.usage !== undefined)) return undefined
  if (known.usage === undefined) return known.does
  return known.line === undefined ? undefined : `did you mean \`%${word}${rest}\`?`
}
