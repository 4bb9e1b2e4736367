/**
 * What the transpiler puts into functions, and their text without it. Who makes a function into text sends it somewhere to run, to a worker or the page of
 * a browser, where none of this is known. Types are gone from it: there it has to be JavaScript.
 */

/** At the head of loops and functions. */
export const CHECK = 'if($$stop[0])$$stop.raise();'
/** Before an expression, which CLOSE ends. */
export const CHECKED = '($$stop[0]&&$$stop.raise(),'
/** Before what is awaited, which CLOSE ends. */
export const WAIT = '$$stop.wait('
/** Before what `for await` iterates. */
export const EACH = '$$stop.each('
/** A block around a statement. */
export const BLOCK = '{/*$$*/'
/** Comments tell our brackets from those that were written. */
export const CLOSE = '/*$$*/)'
export const CLOSE_BLOCK = '/*$$*/}'
export const IMPORT = '$$cell.dynamicImport'
export const META = '$$cell.meta'

/** In the place of a function's name that is assigned instead. */
export function namePlace(name: string): string {
  return `/*$$${name}*/`
}

/** How V8 speaks of what `for await` iterates, in messages. */
const ITERATED = '$$stop.each(...)'

/** What begins another one comes after it. */
const INSERTED: ReadonlyMap<string, string> = new Map([
  [ITERATED, '(intermediate value)'],
  [IMPORT, 'import'],
  [META, 'import.meta'],
  ...[CHECK, CHECKED, WAIT, EACH, BLOCK, CLOSE, CLOSE_BLOCK].map((text) => [text, ''] as const),
])
const NAME_PLACE = String.raw`/\*\$\$([\p{ID_Start}$_][\p{ID_Continue}$\u200c\u200d]*)\*/`
const ALL = new RegExp([...[...INSERTED.keys()].map((text) => text.replace(/[$.*()[\]{}]/g, '\\$&')), NAME_PLACE].join('|'), 'gu')

export function asWritten(text: string): string {
  return text.includes('$$') ? text.replace(ALL, (inserted, name) => name ?? INSERTED.get(inserted)) : text
}

/** Functions of cells and local files answer `toString` with what was written. */
export function installFunctionText(): void {
  const ofNode = Function.prototype.toString
  // A method, as Node's: it cannot be constructed.
  const methods = {
    toString(this: unknown): string {
      return this === methods.toString ? ofNode.call(ofNode) : asWritten(ofNode.call(this))
    },
  }
  Object.defineProperty(Function.prototype, 'toString', { value: methods.toString })
}
