/** Files for a string that could be a path: what a completion in quotes offers when types have nothing to say. */
import { type Dirent, readdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { resolve } from 'node:path'

interface Path {
  /** A folder ends with `/`. */
  readonly label: string
  readonly isFolder: boolean
}

/** More would not be read. */
const MOST = 500

/** The last part of the path before the cursor, and what it could be; undefined where no string is open. Paths start in `folder`. */
export function pathsAt(code: string, offset: number, folder: string): { readonly start: number; readonly paths: readonly Path[] } | undefined {
  const text = openString(code.slice(code.lastIndexOf('\n', offset - 1) + 1, offset))
  if (text === undefined) return undefined
  const { begun, paths } = pathsOf(text, folder)
  return { start: offset - begun.length, paths }
}

/** What a path that is typed could be, and its last part. */
export function pathsOf(text: string, folder: string): { readonly begun: string; readonly paths: readonly Path[] } {
  const [, parent = '', begun = ''] = /^(.*\/)?([^/]*)$/.exec(text) ?? []
  const isOffered = ({ name }: Dirent) => name.startsWith(begun) && (begun.startsWith('.') || !name.startsWith('.'))
  const paths = entries(resolve(folder, parent.replace(/^~(?=\/)/, homedir())))
    .filter(isOffered)
    .map((entry) => ({ label: entry.isDirectory() ? `${entry.name}/` : entry.name, isFolder: entry.isDirectory() }))
    .sort((a, b) => (a.label < b.label ? -1 : 1))
  return { begun, paths: paths.slice(0, MOST) }
}

/** The text of the string that is open at the end of a line. */
function openString(line: string): string | undefined {
  let quote: string | undefined
  let start = 0
  for (let at = 0; at < line.length; at++) {
    const sign = line[at] as string
    if (sign === '\\') at++
    else if (sign === quote) quote = undefined
    else if (quote === undefined && /['"`]/.test(sign)) {
      quote = sign
      start = at + 1
    }
  }
  return quote === undefined ? undefined : line.slice(start)
}

function entries(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
  } catch {
    return [] // no such folder, or none that may be read
  }
}
