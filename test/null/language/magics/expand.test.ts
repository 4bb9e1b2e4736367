// biome-ignore-all lint/suspicious/noTemplateCurlyInString: cells and what they become hold templates
import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isComplete } from '../../../../kernel/src/language/is-complete.js'
import { expandWords } from '../../../../kernel/src/language/magics/expand.js'
import { WORDS } from '../../../../kernel/src/language/magics/table.js'
import { parse } from '../../../../kernel/src/language/syntax.js'
import { transpileCell } from '../../../../kernel/src/language/transpile.js'

const isDeclared = (name: string) => name === 'dir' || name === 'known'
const expand = (source: string) => expandWords(source, isDeclared)
const transpile = (source: string) => transpileCell(source, 'Cell [1]', expand(source))
/** What work takes of the processor: the machine may do much else meanwhile. */
function busy_ms(work: () => unknown): number {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}

describe('words: a line becomes', () => {
  const lines: Record<string, string> = {
    '!git status -s': 'await $$words.shell(`git status -s`);',
    '  !  ls -la | wc -l': '  await $$words.shell(`ls -la | wc -l`);',
    '!./run.sh': 'await $$words.shell(`./run.sh`);',
    '!ls *.ts  ': 'await $$words.shell(`ls *.ts`);  ',
    '!!ls': 'await $$words.lines(`ls`);',
    'files = !ls': 'files = await $$words.lines(`ls`);',
    'const files: string[] = !ls {dir}': 'const files: string[] = await $$words.lines(`ls ${$$words.text(dir)}`);',
    'export const [first] = !ls -t': 'export const [first] = await $$words.lines(`ls -t`);',
    '%cd data': 'await $$words.line("cd", `data`);',
    '%pwd': 'await $$words.line("pwd", ``);',
    'const here = %pwd': 'const here = await $$words.line("pwd", ``);',
    '%tme f()': 'await $$words.line("tme", `f()`);',
    '%time f(x)': '$$words.time($$words.now(), (f(x)));',
    '%time await f(x) // slow': '$$words.time($$words.now(), (await f(x))); // slow',
    'const y = %time f(x)': 'const y = $$words.time($$words.now(), (f(x)));',
    '%time const y = f(x)': '$$words.start();const y = f(x);$$words.stop();',
    '%time f({\n  a: 1,\n})': '$$words.time($$words.now(), (f({\n  a: 1,\n})));',
    '%timeit f(x)': 'await $$words.timeit({}, () => (f(x)));',
    '%timeit -n 10 -r3 await f(x)': 'await $$words.timeit({ loops: 10, repeats: 3 }, async () => (await f(x)));',
    '%timeit for (const a of b) f(a)': 'await $$words.timeit({}, () => {for (const a of b) f(a)});',
    '%time': 'await $$words.line("time", ``);',
    '!docker run \\\n  -it image\nnext()': 'await $$words.shell(`docker run \\\\\n  -it image`);\nnext()',
    'a\n%b c': 'a\nawait $$words.line("b", `c`);',
    'a\n%pwd': 'a\nawait $$words.line("pwd", ``);',
    '%ls\r\n!ls\r\nx\r\n': 'await $$words.line("ls", ``);\r\nawait $$words.shell(`ls`);\r\nx\r\n',
    '\uFEFF!ls -l': '\uFEFFawait $$words.shell(`ls -l`);',
  }
  for (const [source, text] of Object.entries(lines)) it(JSON.stringify(source), () => expect(expand(source).text).toBe(text))
})

describe('words: a cell becomes', () => {
  it('the text of its word, quoted so that nothing in it is code', () => {
    const { text, hasBody } = expand('%%bash -e\necho `date` ${HOME} {dir} \\n\n')
    expect(text).toBe('await $$words.body("bash", `-e`, `\necho \\`date\\` \\${HOME} {dir} \\\\n\n`);')
    expect(hasBody).toBe(true)
  })

  it('TypeScript with a clock around it', () => {
    const { text, before, after } = expand('// first\n\n%%time\nimport { a } from "b"\n!ls\na()')
    expect(text).toBe('// first\n\n\nimport { a } from "b"\nawait $$words.shell(`ls`);\na()')
    expect([before, after]).toEqual(['const $$begun = $$words.now();try{', '}finally{$$words.time($$begun)}'])
  })

  it('a function to be called many times, which is asynchronous only where it awaits', () => {
    expect(expand('%%timeit -n 5 const a = 1\nf(a) // last').text).toBe(
      'await $$words.timeit({ loops: 5 }, await (async () => {const a = 1;return () => {\nf(a) // last\n}})());',
    )
    expect(expand('%%timeit\nawait f()').text).toContain('return async () => {')
  })

  it('a timed statement to its last line, however many it has', () => {
    for (const statement of [`f([\n${'  [1, "("],\n'.repeat(90)}])`, `f([\n${'  [1],\n\n'.repeat(200)}])`, `a${' +\n  b'.repeat(150)}`])
      expect(expand(`%time ${statement}\ng()`).text).toBe(`$$words.time($$words.now(), (${statement}));\ng()`)
  })

  it('an error where its word is not first', () => expect(expand('a\n%%time\nb').text).toBe('a\n$$words.misplaced("time");\nb'))
})

describe('words: TypeScript stays as it is', () => {
  const sources = [
    'a\n % b',
    'a\n%b',
    'const known = 1\nconst x = 5\n%known',
    '`\n%time f()\n!ls -l\nname?\n`',
    '`${\n`\n!ls -l\n`\n}`',
    '/*\n!ls -l\n%cd\n*/',
    'f(\n!ready\n)',
    'const x = a &&\n  !b',
    'const x = {\n  a:\n!b\n}',
    '!known',
    'const b = 1\n!b',
    'x = !known',
    'const done = !await f()',
    '!f(1)',
    '!a.b',
    '!a[0]',
    '!(a)',
    '!"text"',
    '!!known',
    '!Array',
    '!new Map()',
    'x\n!== y',
    'const a = b!\nc',
    'const x = known\n  ? a\n  : b',
    'const x = known\n?a\n:b',
    'x?\n a : b',
    'f(a)?.b',
    'a\n  ?? b',
    '// is it so?\n1',
    'let a = b\n%= 5',
  ]
  for (const source of sources) {
    it(JSON.stringify(source), () => {
      expect(expand(source).text).toBe(source)
      expect(expand(source).asked).toEqual([])
    })
  }

  it('in every source of the kernel', () => {
    const folder = new URL('../../../../kernel/src/', import.meta.url)
    for (const file of readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))) {
      const source = readFileSync(new URL(file, folder), 'utf8')
      expect(expandWords(source).text, file).toBe(source)
    }
  })

  it('beside words, in a choice over several lines', () => {
    expect(expand('const x = a\n  ? b\n  : c\nd?\n e : f\n!ls -l').text).toBe('const x = a\n  ? b\n  : c\nd?\n e : f\nawait $$words.shell(`ls -l`);')
  })
})

describe('words: what is filled in', () => {
  const filled: Record<string, string> = {
    '!a {dir}': 'a ${$$words.text(dir)}',
    '!a ${dir}': 'a ${$$words.text(dir)}',
    '!a $dir/x': 'a ${$$words.text(dir)}/x',
    '!a $dir.name': 'a ${$$words.text(dir.name)}',
    '!a {dir.map((x) => `${x}!`).join(" ")}': 'a ${$$words.text(dir.map((x) => `${x}!`).join(" "))}',
    '!a {{dir}}': 'a {${$$words.text(dir)}}',
    '!a {process.pid}': 'a ${$$words.text(process.pid)}',
    '!a {1+1} {[1, 2].length}': 'a ${$$words.text(1+1)} ${$$words.text([1, 2].length)}',
    '!a {"}"} {`x${dir}`}': 'a ${$$words.text("}")} ${$$words.text(`x${dir}`)}',
    '!{dir} -l': '${$$words.text(dir)} -l',
    "!a {dir} '{unknown}": "a ${$$words.text(dir)} '{unknown}",
    "!awk '{dir++} {dir += $1} {/x/}'": "awk '{dir++} {dir += $1} {/x/}'",
    '!a {true} {} {"x","y"}': 'a {true} {} {"x","y"}',
    "!awk '{print $1}' x": "awk '{print $1}' x",
    "!a '$dir'": "a '$dir'",
    '!grep -E "[0-9]{3}" x': 'grep -E "[0-9]{3}" x',
    '!a {b,c} {1..3}': 'a {b,c} {1..3}',
    '!a $HOME ${HOME} $(date) $1': 'a $HOME \\${HOME} $(date) $1',
    '!a \\`x\\`': 'a \\\\\\`x\\\\\\`',
    '!curl -d \'{"a": 1}\' x': 'curl -d \'{"a": 1}\' x',
  }
  for (const [source, text] of Object.entries(filled)) it(source, () => expect(expand(source).text).toBe(`await $$words.shell(\`${text}\`);`))

  it('names of the same cell too', () => expect(expand('const own = 1\n!echo {own} $own').text).toContain('`echo ${$$words.text(own)} ${$$words.text(own)}`'))
})

describe('words: questions', () => {
  const asked: Record<string, [word: string, text: string]> = {
    'f?': ['pinfo', 'f'],
    '?f': ['pinfo', 'f'],
    'Math.max?': ['pinfo', 'Math.max'],
    'f??': ['pinfo2', 'f'],
    '??f': ['pinfo2', 'f'],
    ' f? ;': ['pinfo', 'f'],
    '%time?': ['pinfo', '%time'],
    '%%bash?': ['pinfo', '%%bash'],
    '?': ['quickref', ''],
    '%types strict': ['types', 'strict'],
    '%pinfo f': ['pinfo', 'f'],
  }
  for (const [source, [word, text]] of Object.entries(asked)) {
    it(`${source} asks the supervisor, and nothing is run`, () => {
      const expansion = expand(source)
      expect(expansion.asked).toEqual([{ word, text }])
      expect(expansion.text.trim()).toBe('')
    })
  }

  it('stand beside code, in order', () => {
    const { text, asked } = expand('const a = 1\na?\nb??\nconst c = 2')
    expect(text).toBe('const a = 1\n\n\nconst c = 2')
    expect(asked.map((each) => each.text)).toEqual(['a', 'b'])
  })
})

describe('words: positions', () => {
  const statement = fc.constantFrom(
    'const alpha = 1',
    'f(alpha, alpha)',
    '!ls -la {alpha} $alpha',
    'beta = !ls {alpha}',
    '%time f(alpha)',
    '%time const beta = f(alpha)',
    '%cd /tmp',
    'f?',
    '%timeit -n 3 f(alpha)',
    '// note',
    '',
    'type T = 1',
    '`\n!x\n`',
  )

  it('keep their lines, and of TypeScript their columns', () => {
    fc.assert(
      fc.property(fc.array(statement, { maxLength: 8 }), (statements) => {
        const source = ['const alpha = 0', ...statements].join('\n')
        const { text, toSource, toText } = expand(source)
        expect(text.split('\n').length).toBe(source.split('\n').length)
        const copied = [...text.matchAll(/alpha/g)].map(({ index }) => index)
        expect(copied.length).toBe([...source.matchAll(/alpha/g)].length)
        for (const at of copied) {
          expect(source.slice(toSource(at), toSource(at) + 5)).toBe('alpha')
          expect(toText(toSource(at))).toBe(at)
        }
        const line = (of: string, at: number) => of.slice(0, at).split('\n').length
        for (let at = 0; at <= source.length; at++) expect(line(text, toText(at))).toBe(line(source, at))
      }),
    )
  })

  it('of errors are those of the source', () => {
    expect(() => transpile('!ls -l\n%time f(]')).toThrowError(expect.objectContaining({ line: 2, column: 9 }))
    expect(() => transpile('!ls -l\nlet a\nlet a')).toThrowError(expect.objectContaining({ line: 2, column: 5 }))
  })

  it('end where a backslash is not the last of its line', () => {
    for (const source of ['!a \\ ', '!a \\ \n1 + 1', '!a \\', '!a \\\n', '!a \\\r\nb\r\n1'])
      expect(expand(source).text.split('\n').length, JSON.stringify(source)).toBe(source.split('\n').length)
  })

  it.each(['!timeit`\n`', '!ls (\n)', 'let x\n!x ?? [\n!ls\n]'])('are none in TypeScript that would be none with them: %j', (source) => {
    expect(parse(source).errors).toEqual([])
    expect(expandWords(source).text).toBe(source)
  })

  it('never fail, whatever the text', () => {
    const token = fc.constantFrom(
      '!',
      '%',
      '%%',
      '?',
      '??',
      'a',
      'ls',
      'time',
      'timeit',
      'bash',
      ' ',
      '\n',
      '\n',
      '`',
      '${',
      '{',
      '}',
      '(',
      ')',
      '=',
      'const a = ',
      '/*',
      '*/',
      '//',
      '"',
      "'",
      '\\',
      '\r\n',
      ';',
    )
    fc.assert(
      fc.property(fc.array(token, { maxLength: 14 }), (tokens) => {
        const source = tokens.join('')
        const { text } = expandWords(source)
        // What was TypeScript is TypeScript.
        if (parse(source).errors.length === 0) expect(parse(text).errors).toEqual([])
      }),
      { numRuns: 3000 },
    )
  })

  it('take no longer than their length allows', () => {
    const many = 3000
    const hostile = [
      '%time f(  ',
      '%timeit f(\t\n  ',
      'a?  \n  ',
      `!a ${'{'.repeat(many)}${'}'.repeat(many)}`,
      `!a ${'{['.repeat(many)}`,
      `!a ${'\\{'.repeat(many)}`,
      `!a ${'$'.repeat(many)}'`,
      `a: ${' '.repeat(100 * many)}!`,
      `a?${' '.repeat(100 * many)}x\n!ls`,
      `${'// '.repeat(many)}\nx\n%b c`,
      `let known\n${'!known\n'.repeat(many)}!ls`,
      `${'a\n%Math\n'.repeat(many)}!ls`,
      `!a ${'\\ \n'.repeat(many)}`,
    ]
    for (const source of hostile) {
      expect(
        busy_ms(() => expandWords(source)),
        source.slice(0, 20),
      ).toBeLessThan(2000)
    }
    const token = fc.constantFrom(
      '\\',
      ' ',
      '\t',
      '\r',
      '\n',
      '\r\n',
      '"',
      "'",
      '`',
      '{',
      '}',
      '%',
      '!',
      '?',
      '$',
      '${',
      '(',
      'a',
      '%time ',
      'é',
      '\u2028',
      '😀',
    )
    fc.assert(
      fc.property(fc.array(token, { maxLength: 30 }), (tokens) => {
        const source = tokens.join('')
        expect(expandWords(source).text.split('\n').length).toBe(source.split('\n').length)
      }),
      { numRuns: 3000, interruptAfterTimeLimit: 20_000 },
    )
  })

  it('are found at once in a long cell, also where nothing is a word', () => {
    const latex = `const text = \`\n${'% a comment of LaTeX\n%\\begin{x}\n!x y\n'.repeat(20_000)}\`\n!ls -l`
    const took_ms = busy_ms(() => expect(expandWords(latex).text).toMatch(/\nawait \$\$words\.shell\(`ls -l`\);$/))
    expect(took_ms).toBeLessThan(3000)
  })
})

describe('words: while a cell is typed', () => {
  it('lines are complete, bodies when an empty line ends them', () => {
    for (const source of ['!ls -l', '%cd x', '%time f()', 'f?', 'x = !ls', '%%bash\nls\n', '%%time\nf()\n\n'])
      expect(isComplete(source), source).toEqual({ status: 'complete' })
    for (const source of ['%%bash', '%%bash\nls', '%%time\nf()', '%time f(', '!ls -l\nf(']) expect(isComplete(source).status, source).toBe('incomplete')
    expect(isComplete('!ls -l\na b')).toEqual({ status: 'invalid' })
  })
})

describe('words: the table', () => {
  it('says of every word how it is written, or what to use instead', () => {
    for (const [name, { usage, does, line, body }] of WORDS) {
      expect(does, name).toMatch(/^.{10,}[.)]$/)
      expect(usage === undefined, name).toBe(line === undefined && body === undefined)
    }
  })
})
