/**
 * What the type checker finds in a cell -> what is worth saying of it. A cell is no file: it may declare names again, code may put names on the
 * global object, and the parser and the run itself report some mistakes better. All of that is left out here.
 */

/** From the language server; offsets are in the cell. */
export interface Finding {
  readonly start: number
  readonly end: number
  readonly code: number
  readonly message: string
  /** LSP's; 1 is an error, the others are hints. */
  readonly severity: number
}

export interface TypeMistake {
  readonly start: number
  readonly end: number
  readonly code: number
  readonly message: string
  /** A name that the checker does not know. Code may have made it nonetheless, which only the run can tell. */
  readonly unknownName?: string
}

const ERROR = 1
/** Below are the grammar's: the parser has accepted the cell, or has said why not. */
const FIRST_SEMANTIC = 2000
const UNKNOWN_NAME = new Set([2304, 2503, 2552, 2580, 2581, 2582, 2583, 2584, 2591, 2592, 2593, 2867, 2868, 18004])
/** Modules without types, modules and exports that are not found: what is missing the run reports, what is there works. */
const MODULES = new Set([2305, 2306, 2307, 2613, 2614, 2724, 2732, 2792, 2834, 2835, 2882, 7016])
/** A variable whose type is found out later; in a file it would be known to all that follows. */
const EVOLVING = new Set([7005, 7034])
/** Used before it is declared, and in its own initial value: of a name that an earlier cell declared this means the old value. */
const DECLARED_AGAIN = new Set([2448, 2449, 2450, 2454, 7022])
/** Function, class, enum or import that is assigned: of an earlier cell it is a property of the global object, which is replaced. */
const ASSIGNED_CONSTANT = new Set([2628, 2629, 2630, 2631, 2632])

/** Without a letter there is nothing whose type is worth a server. */
export function mayHoldMistakes(code: string): boolean {
  return /[\p{L}_$]/u.test(code)
}

/** `isDeclared`: whether an earlier cell has declared a name. */
export function typeMistakes(found: readonly Finding[], source: string, isDeclared: (name: string) => boolean): TypeMistake[] {
  return found.flatMap(({ start, end, code, message, severity }) => {
    const name = source.slice(start, end)
    const isOurs = name.startsWith('$$')
    if (severity !== ERROR || code < FIRST_SEMANTIC || MODULES.has(code) || EVOLVING.has(code) || isOurs) return []
    if (DECLARED_AGAIN.has(code) && isDeclared(name)) return []
    // Properties of the global object come and go.
    if (message.includes("'typeof globalThis'")) return []
    if (ASSIGNED_CONSTANT.has(code) && isDeclared(name)) return []
    return [{ start, end, code, message, ...(UNKNOWN_NAME.has(code) ? { unknownName: name } : {}) }]
  })
}

/**
 * `import("/home/me/__fpdt_cell5__").Opt` -> `Opt`, or where one message speaks of several of that name `Opt (of Cell [5])`. `fileOf` says how
 * messages name the cell of a module; the cell that is checked has none.
 */
export function withoutModules(message: string, fileOf: (module: string) => string | undefined): string {
  const qualified = /import\("[^"]*__fpdt_(\w+)__(?:\.ts)?"\)\.([\p{ID_Start}$_][\p{ID_Continue}$]*)/gu
  const modules = new Map<string, Set<string>>()
  for (const [, module, name] of message.matchAll(qualified)) modules.set(name as string, (modules.get(name as string) ?? new Set()).add(module as string))
  return message.replace(qualified, (_, module: string, name: string) => {
    const file = fileOf(module) ?? 'this cell'
    return (modules.get(name)?.size ?? 0) > 1 ? `${name} (of ${file})` : name
  })
}

/** More would hide the output. */
const SHOWN = 10
const LONGEST_LINE = 160

/** The mistakes with the lines they are in; `file` names the cell. */
export function describeMistakes(mistakes: readonly TypeMistake[], source: string, file: string): string {
  const shown = mistakes.slice(0, SHOWN).map((mistake) => describeOne(mistake, source, file))
  const more = mistakes.length - SHOWN
  return [...shown, ...(more > 0 ? [`and ${more} more type error${more > 1 ? 's' : ''} in ${file}\n`] : [])].join('')
}

function describeOne({ start, end, code, message }: TypeMistake, source: string, file: string): string {
  const lineStart = source.lastIndexOf('\n', start - 1) + 1
  const newline = source.indexOf('\n', start)
  const lineEnd = newline < 0 ? source.length : newline
  const line = source.slice(0, start).split('\n').length
  // Of a very long line the part around the mistake.
  const from = start - lineStart > LONGEST_LINE / 2 && lineEnd - lineStart > LONGEST_LINE ? start - LONGEST_LINE / 2 : lineStart
  const shown = source.slice(from, Math.min(lineEnd, from + LONGEST_LINE))
  const blanks = [...source.slice(from, start)].map((character) => (character === '\t' ? '\t' : ' ')).join('')
  const marks = '^'.repeat(Math.max(1, [...source.slice(start, Math.min(end, from + shown.length))].length))
  const [first, ...rest] = message.split('\n')
  const gutter = ' '.repeat(String(line).length)
  return [
    `${file}:${line}:${start - lineStart + 1} - ${first} (${code})`,
    ...rest.map((text) => `  ${text}`),
    `  ${line} | ${shown.trimEnd()}`,
    `  ${gutter} | ${blanks}${marks}`,
    '',
  ].join('\n')
}
