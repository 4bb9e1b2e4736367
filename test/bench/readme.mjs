/**
 * Tables of README that were measured: the text between `<!-- bench: NAME -->` and `<!-- /bench: NAME -->` is what
 * `npm run bench -- NAME --write` found, with its machine, date and command. Without `--write` README is left as it is.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { root, TaskError } from '../../.ci/task.mjs'
import { options, path, processor, threads } from './measure.mjs'

const README = join(root, 'README.md')

/** A table in Markdown; the first row is the head, columns after `left` stand to the right. */
export function markdown(rows, left = 1) {
  const line = (cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(rows[0]), line(rows[0].map((_, column) => (column < left ? '---' : '---:'))), ...rows.slice(1).map(line)].join('\n')
}

/** Puts a subject's paragraphs into README when the command line asks for it. */
export function intoReadme(name, paragraphs) {
  if (!options.write) return
  const [begin, end] = [`<!-- bench: ${name} -->`, `<!-- /bench: ${name} -->`]
  const text = readFileSync(README, 'utf8')
  const [from, to] = [text.indexOf(begin), text.indexOf(end)]
  if (from < 0 || to < from) throw new TaskError(`README.md has no place for this table; put the lines ${begin} and ${end} where it shall stand`)
  const made = `\`npm run bench -- ${name}\` on ${processor}, ${threads} of ${availableParallelism()} cores, ${path} kernels, ${new Date().toISOString().slice(0, 10)}.`
  writeFileSync(README, `${text.slice(0, from + begin.length)}\n${[...paragraphs, made].join('\n\n')}\n${text.slice(to)}`)
  console.log(`\nREADME.md has the table of ${name}.`)
}
