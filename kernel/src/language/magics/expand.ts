/**
 * The words of a notebook in a cell -> TypeScript with the same lines.
 *
 *     !git status -s {path}        await $$words.shell(`git status -s ${$$words.text(path)}`);
 *     const files = !ls            const files = await $$words.lines(`ls`);
 *     %cd data                     await $$words.line("cd", `data`);
 *     %time await f(x)             $$words.time($$words.now(), await f(x));
 *     f?                                                                       the supervisor answers (`asked`)
 *     %%bash                       await $$words.body("bash", ``, `            the lines below are text
 *
 * TypeScript comes first. A line can be a word only where the text before it is complete: not in a template, a bracket or a comment. Where it
 * could be either (`!name` is a negation too, `a` above `%b` a remainder), a name that the cell or the notebook knows makes it TypeScript.
 */
import { completeness, declaredBy, isFunction, NO_CODE, type Node, parse, walk } from '../syntax.js'
import { type Asked, type Expansion, withoutWords } from './expansion.js'
import { escaped, type IsDeclared, writeFilled } from './fill.js'
import { Rewriting } from './rewriting.js'
import { mayHoldWords } from './signs.js'
import { WORDS } from './table.js'

/** Lines that could be words: a command, a word by its name, or a question with its name on either side. */
const CANDIDATE = (() => {
  const target = /(?:(?:export[ \t]+)?(?:const|let|var)[ \t]+)?(?:[\p{ID_Continue}$]+|\[[^\]\n]*\])(?:[ \t]*:[^=\n]+|[ \t]*)=[ \t]*/u.source
  const command = /(?<bang>!!?)(?![!=])[ \t]*(?=\S)/u.source
  const word = /%(?<second>%?)(?<word>[A-Za-z_]\w*)(?![\w(.[])/u.source
  const name = /%{0,2}[\p{ID_Start}_$][\p{ID_Continue}$.]*/u.source
  const question = `(?:(?<asks>\\?\\??)(?<asked>${name})?|(?<named>${name})(?<askedBy>\\?\\??))[ \\t]*(?:;[ \\t]*)?\\r?$`
  return new RegExp(`^(?<indent>[ \\t\\uFEFF]*)(?:${question}|(?<target>${target})?(?:${command}|${word}))`, 'gmu')
})()
/** What only TypeScript has behind a `!`. */
const KEYWORD = /^(?:await|class|delete|false|function|import|new|null|super|this|true|typeof|void)$/
/** How many lines of a choice may follow its `?`. */
const CHOICE_LINES = 3
/** To see where a timed statement ends every line of so many is tried, below them those where the brackets are even: each costs a parse of all. */
const NEAR_LINES = 100
const MOST_TRIES = 300

/** `isDeclared` knows the names of earlier cells. */
export function expandWords(source: string, isDeclared: IsDeclared = () => false): Expansion {
  return mayHoldWords(source) ? new Expander(source, isDeclared).run() : withoutWords(source)
}

class Expander {
  readonly #out: Rewriting
  readonly #asked: Asked[] = []
  readonly #declared = new Set<string>()
  readonly #isTypeScript: boolean
  #before = ''
  #after = ''
  #tail = ''
  #hasBody = false
  /** Behind the last word; what lies between it and the next is TypeScript. */
  #done = 0
  /** Where to parse from: the last statement before what was looked at. All before it is complete, whatever follows. */
  #from = 0
  /** Up to here the text was incomplete, and stays so until it is closed. */
  #open: { readonly at: number; readonly closing: RegExp } | undefined

  constructor(
    private readonly source: string,
    private readonly isDeclared: IsDeclared,
  ) {
    this.#out = new Rewriting(source)
    this.#isTypeScript = parse(source, 'ts', false).errors.length === 0
  }

  run(): Expansion {
    let isUnchanged = true
    for (const { index, 0: all, groups = {} } of this.source.matchAll(CANDIDATE)) {
      if (index < this.#done || !this.#isComplete(index)) continue
      const { indent = '', target = '', bang, second, word, asks, asked, named, askedBy = '' } = groups
      const sign = index + indent.length + target.length
      const behind = index + all.length
      let isWord: boolean
      if (bang !== undefined) isWord = this.#command(sign, behind, bang, target)
      else if (word === undefined) isWord = this.#question(index, (asks ?? askedBy).length === 1 ? 'pinfo' : 'pinfo2', asked ?? named)
      else if (second === '%') isWord = this.#bodyWord(index, behind, word)
      else isWord = this.#lineWord(index, sign, behind, word)
      if (isWord) isUnchanged = false
    }
    if (isUnchanged) return withoutWords(this.source)
    const out = this.#out.copy(this.#done, this.source.length).write(this.#tail)
    // `!f(` above `)` is no command with a bracket left over.
    if (this.#isTypeScript && parse(out.text).errors.length > 0) return withoutWords(this.source)
    return {
      text: out.text,
      before: this.#before,
      after: this.#after,
      asked: this.#asked,
      hasBody: this.#hasBody,
      toSource: (offset) => out.toSource(offset),
      toText: (offset) => out.toText(offset),
    }
  }

  #command(sign: number, start: number, bang: string, target: string): boolean {
    let end = this.#lineEnd(start)
    if (this.#isNegation(sign, start, end)) return false
    // As in a shell, a backslash at the very end of a line joins the next to it.
    while (/^\\\r?\n/.test(this.source.slice(end - 1, end + 2))) end = this.#nextLineEnd(end)
    this.#replace(sign, end, () => {
      this.#out.write(`await $$words.${bang === '!' && target === '' ? 'shell' : 'lines'}(`)
      writeFilled(this.#out, this.source, start, end, this.#isKnownName)
      this.#out.write(');')
    })
    return true
  }

  #isNegation(sign: number, start: number, end: number): boolean {
    // Nobody negates an object.
    if (this.source[start] === '{' && this.source.slice(start, end).includes('}')) return false
    if (completeness(this.source.slice(sign, end)) === 'invalid') return false
    const [name, behind] = /^([\p{ID_Start}_$][\p{ID_Continue}$]*)?([([.?]?)/u.exec(this.source.slice(start, end))?.slice(1) ?? []
    return name === undefined || behind !== '' || KEYWORD.test(name) || this.#isKnown(name)
  }

  #lineWord(index: number, sign: number, behind: number, name: string): boolean {
    const end = this.#lineEnd(behind)
    const word = WORDS.get(name)
    const isAssigned = this.source.slice(index, sign).includes('=')
    if (!isAssigned && this.#isRemainder(name, word !== undefined, index, end)) return false
    const start = this.#skipBlanks(behind, end)
    if ((word?.line === 'time' || word?.line === 'timeit') && start < end) this.#timed(sign, start, word.line)
    else if (word?.line === 'supervisor') {
      this.#asked.push({ word: name, text: this.source.slice(start, end) })
      this.#replace(sign, end, () => this.#out.write(isAssigned ? 'undefined;' : ''))
    } else this.#replace(sign, end, () => this.#call('line', name, start, end).write(');'))
    return true
  }

  /** `a` above `%b` is one expression. */
  #isRemainder(name: string, isWord: boolean, index: number, end: number): boolean {
    if (NO_CODE.test(this.source.slice(this.#from, index))) return false
    if (completeness(this.source.slice(this.#from, end)) === 'invalid') return false
    return !isWord || this.#isKnown(name)
  }

  #bodyWord(index: number, behind: number, name: string): boolean {
    const end = this.#lineEnd(behind)
    const start = this.#skipBlanks(behind, end)
    const word = WORDS.get(name)
    const sign = this.source.indexOf('%', index)
    if (!NO_CODE.test(this.source.slice(0, index))) {
      this.#replace(sign, end, () => this.#out.write(`$$words.misplaced(${JSON.stringify(name)});`))
      return true
    }
    this.#hasBody = true
    if (word?.body === 'time') {
      this.#before = 'const $$begun = $$words.now();try{'
      this.#after = '}finally{$$words.time($$begun)}'
      this.#replace(sign, end, () => {})
    } else if (word?.body === 'timeit') {
      const { options, code } = this.#timeitOptions(start)
      // A function that need not be asynchronous is measured without a promise.
      const kind = /\bawait\b|^[ \t]*[!%]/m.test(this.source.slice(end)) ? 'async ' : ''
      this.#replace(sign, end, () => {
        this.#out.write(`await $$words.timeit(${options}, await (async () => {`).copy(code, end).write(`;return ${kind}() => {`)
      })
      this.#tail = '\n}})());'
    } else {
      this.#replace(sign, this.source.length, () => {
        this.#call('body', name, start, end).write(`, \`${escaped(this.source.slice(end))}\`);`)
      })
    }
    return true
  }

  /** The statement may take further lines. What does not parse stays as it is, and the parser says why. */
  #timed(sign: number, start: number, kind: 'time' | 'timeit'): void {
    const { options, code } = kind === 'timeit' ? this.#timeitOptions(start) : { options: '', code: start }
    const end = this.#statementEnd(code)
    const body = parse(this.source.slice(code, end)).program.body as unknown as Node[]
    const [only, ...more] = body
    const last = body.at(-1)
    this.#replace(sign, end, () => {
      if (only === undefined || last === undefined) {
        this.#out.copy(code, end)
        return
      }
      const value = only.type === 'ExpressionStatement' && more.length === 0 ? (only.expression as Node) : undefined
      const [from, to] = value === undefined ? [code, code + last.end] : [code + value.start, code + value.end]
      const [open, close] = wrapping(kind, value !== undefined, options, body.some(awaits))
      this.#out.write(open).copy(from, to).write(close).copy(to, end)
    })
  }

  /** The end of the line on which the statement that begins at `code` ends. */
  #statementEnd(code: number): number {
    let end = this.#lineEnd(code)
    let [depth, from, tries] = [0, code, 0]
    for (let lines = 1; end < this.source.length; lines++) {
      for (const sign of this.source.slice(from, end).match(/[([{)\]}]/g) ?? []) depth += '([{'.includes(sign) ? 1 : -1
      if ((lines <= NEAR_LINES || depth <= 0) && (++tries > MOST_TRIES || completeness(this.source.slice(code, end)) !== 'incomplete')) break
      from = end
      end = this.#nextLineEnd(end)
    }
    return end
  }

  #timeitOptions(start: number): { readonly options: string; readonly code: number } {
    const [all = ''] = /^(?:-(?:[nr][ \t]*\d+|[a-z])[ \t]+)*/.exec(this.source.slice(start, this.#lineEnd(start))) ?? []
    const option = (letter: string, name: string) => {
      const number = new RegExp(`-${letter}[ \\t]*(\\d+)`).exec(all)?.[1]
      return number === undefined ? [] : [`${name}: ${number}`]
    }
    const options = [...option('n', 'loops'), ...option('r', 'repeats')]
    return { options: options.length === 0 ? '{}' : `{ ${options.join(', ')} }`, code: start + all.length }
  }

  #question(index: number, word: 'pinfo' | 'pinfo2', name: string | undefined): boolean {
    // Of a whole program `name?` is the beginning of a choice.
    if (this.#isTypeScript) return false
    const end = this.#lineEnd(index)
    for (let next = end, lines = 0; lines < CHOICE_LINES && next < this.source.length; lines++) {
      next = this.#nextLineEnd(next)
      if (completeness(this.source.slice(this.#from, next)) === 'complete') return false
    }
    this.#asked.push(name === undefined ? { word: 'quickref', text: '' } : { word, text: name })
    this.#replace(index, end, () => {})
    return true
  }

  /** The beginning of a call, without its end. */
  #call(method: 'line' | 'body', name: string, start: number, end: number): Rewriting {
    this.#out.write(`await $$words.${method}(${JSON.stringify(name)}, `)
    writeFilled(this.#out, this.source, start, end, this.#isKnownName)
    return this.#out
  }

  #replace(start: number, end: number, write: () => void): void {
    this.#out.copy(this.#done, start)
    write()
    this.#done = end
    this.#from = end
    this.#open = undefined
  }

  /** Whether the TypeScript since the last word is complete at `at`. Remembers what it declares. */
  #isComplete(at: number): boolean {
    if (this.#open !== undefined && !this.#open.closing.test(this.source.slice(this.#open.at, at))) {
      this.#open = { ...this.#open, at }
      return false
    }
    const text = this.source.slice(this.#from, at)
    const { errors, program } = parse(text, 'ts', false)
    this.#open = errors[0] === undefined ? undefined : { at, closing: closingOf(errors[0].message, text[errors[0].labels[0]?.start ?? 0]) }
    if (this.#open !== undefined) return false
    const statements = program.body as unknown as Node[]
    for (const statement of statements) for (const name of declaredBy(statement)) this.#declared.add(name)
    this.#from += statements.at(-1)?.start ?? 0
    return true
  }

  #isKnown(name: string): boolean {
    return this.#isKnownName(name) || name in globalThis
  }

  readonly #isKnownName = (name: string): boolean => this.#declared.has(name) || this.isDeclared(name)

  /** The end of the line without its blanks. */
  #lineEnd(at: number): number {
    const newline = this.source.indexOf('\n', at)
    const end = newline < 0 ? this.source.length : newline
    return at + this.source.slice(at, end).trimEnd().length
  }

  /** Of the line below the one that holds `at`; where there is none, the end of all. */
  #nextLineEnd(at: number): number {
    const newline = this.source.indexOf('\n', at)
    return newline < 0 ? this.source.length : this.#lineEnd(newline + 1)
  }

  #skipBlanks(at: number, end: number): number {
    return at + /^[ \t]*/.exec(this.source.slice(at, end))![0].length
  }
}

/** What has to come before a text that the parser calls incomplete can be complete. A template may hold thousands of lines that look like words. */
function closingOf(message: string, opened: string | undefined): RegExp {
  if (message.startsWith('Unterminated string') && opened === '`') return /`/
  return message === 'Unterminated multiline comment' ? /\*\// : /[`)}\]]|\*\//
}

/** What stands around a timed statement; around an expression so that its value stays one. */
function wrapping(kind: 'time' | 'timeit', isExpression: boolean, options: string, isAsync: boolean): readonly [string, string] {
  if (kind === 'time') return isExpression ? ['$$words.time($$words.now(), (', '));'] : ['$$words.start();', ';$$words.stop();']
  const [open, close] = isExpression ? ['(', ')'] : ['{', '}']
  return [`await $$words.timeit(${options}, ${isAsync ? 'async ' : ''}() => ${open}`, `${close});`]
}

/** Whether a statement awaits by itself, not in a function. */
function awaits(statement: Node): boolean {
  let found = false
  walk(statement, (node) => {
    if (isFunction(node)) return false
    if (node.type === 'AwaitExpression' || node.await === true) found = true
    return !found
  })
  return found
}
