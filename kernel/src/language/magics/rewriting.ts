/** A text made from another: parts of it copied, others written anew. Offsets can be followed both ways. */

interface Piece {
  readonly at: number
  readonly text: string
  /** Where a copied piece stands in the source; undefined for new text. */
  readonly from: number | undefined
}

export class Rewriting {
  readonly #pieces: Piece[] = []
  #length = 0

  constructor(private readonly source: string) {}

  get text(): string {
    return this.#pieces.map(({ text }) => text).join('')
  }

  copy(start: number, end: number): this {
    return this.#add(this.source.slice(start, end), start)
  }

  write(text: string): this {
    return this.#add(text, undefined)
  }

  /** New text comes from where the copied text before it ended. */
  toSource(offset: number): number {
    const before = this.#pieces.findLast(({ from, at }) => from !== undefined && at <= offset)
    return before === undefined ? 0 : (before.from as number) + Math.min(offset - before.at, before.text.length)
  }

  /** What was not copied is where the copied text before it ends. */
  toText(offset: number): number {
    const before = this.#pieces.findLast(({ from }) => from !== undefined && from <= offset)
    return before === undefined ? 0 : before.at + Math.min(offset - (before.from as number), before.text.length)
  }

  #add(text: string, from: number | undefined): this {
    if (text !== '') this.#pieces.push({ at: this.#length, text, from })
    this.#length += text.length
    return this
  }
}
