/** What `%word?` and an inspection of a word say: its line of the table. */
import { WORDS, type Word } from './table.js'

export function helpOfWord(name: string): string {
  const word: Word | undefined = WORDS.get(name)
  if (word === undefined) return `There is no word \`%${name}\`; \`%lsmagic\` lists all.`
  return word.usage === undefined ? `\`%${name}\` has no use in this kernel. ${word.does}` : `\`${word.usage}\`\n\n${word.does}`
}
