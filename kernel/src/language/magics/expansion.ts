/** What `expand.ts` makes of a cell. */

/** A word that the executor does nothing for. */
export interface Asked {
  readonly word: string
  readonly text: string
}

export interface Expansion {
  readonly text: string
  /** JavaScript around the whole cell. */
  readonly before: string
  readonly after: string
  readonly asked: readonly Asked[]
  /** The cell is the text of a `%%word`: it ends where the user says so. */
  readonly hasBody: boolean
  /** Offsets in the text -> in the source, and back. */
  readonly toSource: (offset: number) => number
  readonly toText: (offset: number) => number
}

/** Of a cell that is TypeScript throughout. */
export function withoutWords(text: string): Expansion {
  const same = (offset: number) => offset
  return { text, before: '', after: '', asked: [], hasBody: false, toSource: same, toText: same }
}
