// biome-ignore-all lint/suspicious/noTemplateCurlyInString: cells hold templates
import { existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WORDS } from '../../kernel/src/language/magics/table.js'
import { eventually, isAlive, TestKernel } from './client.js'

let kernel: TestKernel
let folder: string
beforeAll(async () => {
  kernel = await TestKernel.start()
  folder = realpathSync(kernel.folder)
})
afterAll(() => kernel.close())

const result = async (code: string) => (await kernel.run(code)).result
const printed = async (code: string) => (await kernel.run(code)).stdout
const error = async (code: string) => (await kernel.run(code)).error?.evalue ?? ''
const shown = async (code: string) => (await kernel.run(code)).outputs.map(({ content }) => content.data)

describe('results by number', () => {
  it('are kept under the names that IPython gives them', async () => {
    const { count } = { count: Number((await kernel.run('"first"')).reply.execution_count) }
    await kernel.run('"second"')
    await kernel.run('"third"')
    expect(await result('[_, __, ___]')).toBe("[ 'third', 'second', 'first' ]")
    expect(await result(`[_${count}, Out[${count + 1}], In[${count + 2}]]`)).toBe(`[ 'first', 'second', '"third"' ]`)
    expect(await result('_i')).toBe(`'[_${count}, Out[${count + 1}], In[${count + 2}]]'`)
    expect(await result('_iii')).toBe(`'[_, __, ___]'`)
  })

  it('are not moved by undefined, errors, silent cells, cells without history and cells of subshells', async () => {
    await kernel.run('"kept"')
    await kernel.run('undefined')
    await kernel.run('throw 1', { stop_on_error: false })
    await kernel.run('"silent"', { silent: true })
    await kernel.run('"not stored"', { store_history: false })
    expect(await result('_')).toBe("'kept'")
  })

  it('are shown and kept also behind a semicolon', async () => {
    expect(await result('41 + 1;')).toBe('42')
    expect(await result('_')).toBe('42')
  })

  it('leave memory when they are deleted', async () => {
    const count = (await kernel.run('({ big: 1 })')).reply.execution_count
    await kernel.run('1; 2; 3')
    await kernel.run(`delete Out[${count}]`)
    expect(await result(`[Out[${count}], _${count}]`)).toBe('[ undefined, undefined ]')
    await kernel.run('%reset out')
    expect(await result('Object.keys(Out).length')).toBe('0')
    expect(await result('In.length > 5')).toBe('true')
  })

  it('of cells that are thousands of levels deep are there, timed or not, and later cells are completed', async () => {
    const other = await TestKernel.start()
    await other.complete('Math.sqr', 8) // until the language server is warm
    const sum = Array(8000).fill('1').join('+')
    await other.run(`const hello = { abc: ${sum} }`)
    expect((await other.run('hello.abc')).result).toBe('8000')
    expect((await other.run(`%time ${sum}`)).result).toBe('8000')
    const { matches, tries } = await other.complete('hello.a', 7)
    expect(matches).toEqual(['abc'])
    expect(tries).toBeLessThanOrEqual(2)
    await other.close()
  })

  it('are there again when names of the user are forgotten, as is all the kernel offers', async () => {
    const other = await TestKernel.start()
    await other.run('const _ = 1, Out = 2, display = 3, sh = 4, prompt = 5')
    await other.run('%xdel sh')
    expect((await other.run('[typeof sh, prompt]')).result).toBe("[ 'function', 5 ]")
    await other.run('%reset -f')
    await other.run('40 + 2')
    expect((await other.run('[_, typeof Out, typeof display, typeof prompt]')).result).toBe("[ 42, 'object', 'function', 'function' ]")
    await other.close()
  })

  it('give way to names of the user', async () => {
    const other = await TestKernel.start()
    await other.run('1')
    await other.run('const _ = { map: "lodash" }')
    await other.run('2')
    expect((await other.run('_.map')).result).toBe("'lodash'")
    await other.run('__ = "mine"; _1 = "one"; const Out = 5')
    await other.run('3')
    expect((await other.run('[__, _1, Out]')).result).toBe("[ 'mine', 'one', 5 ]")
    await other.close()
  })
})

/** A command that lasts until the test writes the file. */
const until = (file: string) => `while [ ! -e ${file} ]; do sleep 0.05; done`

describe('commands', () => {
  it('print in the cell, errors on stderr, colours kept', async () => {
    const { stdout, stderr, error } = await kernel.run('!printf "\\033[31mred\\033[0m\\n"; echo wrong >&2')
    expect([stdout, stderr, error]).toEqual(['\x1b[31mred\x1b[0m\n', 'wrong\n', undefined])
  })

  it('print while they run', async () => {
    const sent = kernel.execute(`!echo early; ${until('late.txt')}; echo late`)
    await kernel.until(({ parent, content }) => parent.msg_id === sent && content.text === 'early\n')
    writeFileSync(join(kernel.folder, 'late.txt'), '')
    expect((await kernel.finished(sent)).stdout).toBe('early\nlate\n')
  })

  it('have values of the notebook filled in, and no input', async () => {
    await kernel.run('const words = ["a b", "c"], path = "x"')
    expect(await printed('!echo {words} ${path} $path {words.length + 1} $HOME; cat')).toBe(`a b c x x 3 ${homedir()}\n`)
  })

  it('have expressions filled in that name nothing, and may be a value of the notebook', async () => {
    expect(await printed('!echo {1 + 1} {[1, 2].length} {"a"} {`t`} {x,y} {1..3}')).toBe('2 2 a t {x,y} {1..3}\n')
    expect(await printed('const told = "echo told"\n!{told}')).toBe('told\n')
  })

  it('in a block are told where to stand', async () => {
    for (const code of ['for (const i of [1]) { !echo {i} }', 'for (const i of [1]) {\n%time i\n}', '{ %time 1 }', 'if (1) {\n  !ls -l\n}']) {
      expect(await error(code), code).toContain("in a block use `await sh('…')`")
    }
    for (const code of ['%time f(]', 'const a = (1 + ]', 'a b']) expect(await error(code), code).not.toContain('in a block')
  })

  it('behind a name of ours fail the cell when they fail', async () => {
    expect(await error('%ls no_such_file')).toBe('`ls no_such_file` ended with exit code 2; what it said is above')
    expect((await kernel.run('%npm no-such-command')).error?.ename).toBe('CommandError')
    expect(await result('_exit_code')).toBe('1')
  })

  it('leave their exit code, and end no cell', async () => {
    expect((await kernel.run('!exit 3')).reply.status).toBe('ok')
    expect(await result('_exit_code')).toBe('3')
    expect(await result('!exit 0\n_exit_code')).toBe('0')
    expect(await result('!kill -9 $$\n_exit_code')).toBe('137')
  })

  it('give their lines', async () => {
    expect(await result('const got = !printf "a\\nb c\\n"\ngot')).toBe("[ 'a', 'b c' ]")
    expect(await result('!!printf "a\\r\\n\\nb"')).toBe("[ 'a', '', 'b' ]")
    expect(await result('const [only] = !printf ""\nonly === undefined')).toBe('true')
    expect(await result('(await Promise.all([1, 2].map((n) => sh(`echo ${n}`)))).flat()')).toBe("[ '1', '2' ]")
  })

  it('of `sh` throw when they fail, at the line of the cell', async () => {
    const { error } = await kernel.run('const ok = 1\nawait sh("echo why >&2; exit 2")')
    expect(error?.evalue).toBe('`echo why >&2; exit 2` ended with exit code 2; what it said is above')
    expect(error?.traceback).toContain('line 2:')
  })

  it('are interrupted with all they started', async () => {
    const sent = kernel.send('shell', 'execute_request', {
      code: '!trap "" INT; sleep 600 & echo $!; wait',
      silent: false,
      store_history: true,
      allow_stdin: false,
      stop_on_error: false,
    })
    const message = await kernel.until(({ parent, header }) => parent.msg_id === sent && header.msg_type === 'stream')
    const pid = Number(message.content.text)
    expect(isAlive(pid)).toBe(true)
    await kernel.interrupt()
    expect((await kernel.finished(sent)).error?.ename).toBe('KeyboardInterrupt')
    await eventually(() => !isAlive(pid))
    expect(await result('1')).toBe('1')
  })

  it('end when the executor is killed', async () => {
    const other = await TestKernel.start()
    const executor = await other.executor()
    const sent = other.send('shell', 'execute_request', { code: '!sleep 600 & echo $!; wait', silent: false, store_history: true, allow_stdin: false })
    const message = await other.until(({ parent, header }) => parent.msg_id === sent && header.msg_type === 'stream')
    process.kill(executor, 'SIGKILL')
    await eventually(() => !isAlive(Number(message.content.text)))
    await other.close()
  })

  it('may leave a process in the background, which prints on', async () => {
    const { stdout } = await kernel.run(`!(${until('behind.txt')}; echo behind) & echo before`)
    expect(stdout).toBe('before\n')
    writeFileSync(join(kernel.folder, 'behind.txt'), '')
    await kernel.until(({ content }) => content.text === 'behind\n')
  })

  it('are negations where the name is known', async () => {
    expect(await result('const ready = false\n!ready')).toBe('true')
    expect(await result('!ready')).toBe('true')
    expect((await kernel.run('!undeclared_command')).stderr).toContain('not found')
  })
})

describe('%time', () => {
  it('prints what a statement takes, gives its value and keeps its names', async () => {
    const sleep = 'new Promise((done) => { const begun = performance.now(); setTimeout(() => done(performance.now() - begun), 30) })'
    const { stdout, result: slept_ms } = await kernel.run(`%time await ${sleep}`)
    const [, wall, unit] = /^CPU times: user .*, sys: .*, total: .*\nWall time: ([\d.]+) (m?s)\n$/.exec(stdout) ?? []
    // Node's timers may be early by the time since its event loop last looked at the clock: what was slept is what the statement itself has measured.
    const threeDigits = (ms: number) => Number(ms.toPrecision(3))
    expect(Number(slept_ms)).toBeGreaterThan(0)
    expect(threeDigits(Number(wall) * (unit === 's' ? 1000 : 1))).toBeGreaterThanOrEqual(threeDigits(Number(slept_ms)))
    expect(await printed('%time const timed = {\n  a: 1,\n}')).toContain('Wall time')
    expect(await result('timed.a')).toBe('1')
    expect(await result('const doubled = %time timed.a * 2\ndoubled')).toBe('2')
  })

  it('of a cell counts its imports, keeps its value, and is said of a cell that fails', async () => {
    const { stdout, result: value } = await kernel.run('%%time\nimport { tmpdir } from "node:os"\n!echo inside\ntypeof tmpdir // value')
    expect(stdout).toMatch(/^inside\nCPU times: .*\nWall time: .*\n$/)
    expect(value).toBe("'function'")
    expect((await kernel.run('%%time\nthrow new Error("failed")')).stdout).toContain('Wall time')
  })

  it('shows errors at the columns of the cell', async () => {
    const { error } = await kernel.run('1\n%time nothing.here')
    expect(error?.traceback).toContain('line 2:7')
    expect(error?.traceback).toContain('> 2 | %time nothing.here\n    |       ^')
  })

  it('many times finds out how many: of a statement that takes about a second or longer, two runs', async () => {
    expect(await printed('%timeit await new Promise((done) => setTimeout(done, 820))')).toContain('of 2 runs, 1 loop each')
  })

  it('many times gives mean and deviation', async () => {
    expect(await printed('%timeit -n 100 -r 3 Math.sqrt(2)')).toMatch(
      /^[\d.]+ [nµm]s ± [\d.]+ [nµm]s per loop \(mean ± std\. dev\. of 3 runs, 100 loops each\)\n/,
    )
    expect(await printed('%%timeit -n 3 -r 2 let calls = 0\ncalls++\nawait null')).toContain('of 2 runs, 3 loops each')
    expect(await result('typeof calls')).toBe("'undefined'")
  })
})

describe('%words of folders and files', () => {
  it('change the working folder', async () => {
    mkdirSync(`${folder}/data`)
    expect(await result('%pwd')).toBe(`'${folder}'`)
    expect(await printed('%cd data')).toBe(`${folder}/data\n`)
    expect(await result('process.cwd()')).toBe(`'${folder}/data'`)
    expect(await printed('!pwd')).toBe(`${folder}/data\n`)
    expect(await printed('%cd -')).toBe(`${folder}\n`)
    expect(await error('%cd nowhere')).toBe(`there is no folder ${folder}/nowhere to change to; this is ${folder}`)
  })

  it('write, append and load files', async () => {
    expect(await printed('%%writefile data/note.txt\n  `a` ${b}\\n\nend')).toBe('Writing data/note.txt\n')
    expect(await printed('%%writefile -a data/note.txt\nmore\n')).toBe('Appending to data/note.txt\n')
    expect(readFileSync(`${folder}/data/note.txt`, 'utf8')).toBe('  `a` ${b}\\n\nendmore\n')
    const { reply } = await kernel.run('%load data/note.txt')
    expect(reply.payload).toEqual([{ source: 'set_next_input', text: '// %load data/note.txt\n  `a` ${b}\\n\nendmore\n', replace: true }])
    expect(await error('%load data/none.txt')).toContain(`${folder}/data/none.txt cannot be read`)
  })

  it('run files and notebooks, and leave their names', async () => {
    writeFileSync(`${folder}/script.ts`, 'export const ran: number = 1 + (globalThis as any).runs++\nexport const args = process.argv.slice(2)\n')
    await kernel.run('globalThis.runs = 0')
    expect(await result('%run script.ts a "b c"\n;[ran, args]')).toBe("[ 1, [ 'a', 'b c' ] ]")
    expect(await result('%run script.ts\nran')).toBe('2')
    const cells = [
      { cell_type: 'markdown', source: '# x' },
      { cell_type: 'code', source: ['const inNotebook = 5\n', '!exit 0'] },
      { cell_type: 'code', source: 'inNotebook++' },
    ]
    writeFileSync(`${folder}/other.ipynb`, JSON.stringify({ cells, metadata: { language_info: { name: 'typescript' } } }))
    expect(await result('%run other.ipynb\ninNotebook')).toBe('6')
    expect(await error('%run none.ts')).toContain('none.ts cannot be read')
    expect(await error('%run data/note.txt')).toContain('neither TypeScript, JavaScript nor a notebook')
  })
})

describe('%words of the notebook', () => {
  it('read and set the environment', async () => {
    expect(await printed('%env WORD_A=one two')).toBe('env: WORD_A=one two\n')
    expect(await printed('%set_env WORD_B $path')).toBe('env: WORD_B=x\n')
    expect(await printed('!echo $WORD_A $WORD_B')).toBe('one two x\n')
    expect(await result('%env WORD_A')).toBe("'one two'")
    await kernel.run('%env MY_TOKEN=hidden-away')
    expect(await result('const all = %env\n;[all.WORD_A, all.MY_TOKEN]')).toBe("[ 'one two', '<hidden>' ]")
    expect(await error('%env WORD_C')).toContain('there is no environment variable WORD_C (did you mean `WORD_')
  })

  it('list names, history and words', async () => {
    await kernel.run('const listed = new Map([[1, 2]])')
    expect((await printed('%who')).trim().split('\t')).toContain('listed')
    await kernel.run(
      'const many = new Array(5000000), floats = new Float32Array(8), head = "x".repeat(99)\nfunction plus(a: number, b: number) {}\nclass Thing {}',
    )
    const whos = await printed('%whos')
    for (const shown of ['Array(5000000)', 'Float32Array(8)', '99 characters: "xxx', 'function plus(a, b)', 'class Thing']) expect(whos).toContain(shown)
    await kernel.run('import { never } from "no-such-package"', { stop_on_error: false })
    expect((await printed('%who')).trim().split('\t')).not.toContain('never')
    expect(await printed('%whos')).toMatch(/^listed +Map +Map\(1\)$/m)
    const { reply } = await kernel.run('"marked"')
    const count = Number(reply.execution_count)
    expect(await printed(`%history -n ${count}`)).toBe(`${String(count).padStart(4)}: "marked"\n`)
    for (const [name, { usage }] of WORDS) if (usage !== undefined) expect(await printed('%lsmagic'), name).toContain(usage)
  })

  it('forget names', async () => {
    const other = await TestKernel.start()
    await other.run('const gone = { a: 1 }, stays = 2\nlet Buffer = 1')
    await other.run('gone')
    await other.run('%xdel gone')
    expect((await other.run('[typeof gone, _, Object.keys(Out).length]')).result).toBe("[ 'undefined', undefined, 0 ]")
    expect((await other.run('%reset')).error?.evalue).toContain('write `%reset -f`')
    for (const [said, left] of [
      ['n', '2'],
      ['y', undefined],
    ] as const) {
      const asked = other.send('shell', 'execute_request', { code: '%reset', silent: false, store_history: true, allow_stdin: true })
      await other.until(({ header, parent }) => header.msg_type === 'input_request' && parent.msg_id === asked)
      other.send('stdin', 'input_reply', { value: said })
      await other.finished(asked)
      expect((await other.run('stays', { stop_on_error: false })).result).toBe(left)
    }
    expect((await other.run('[typeof stays, typeof Buffer, typeof _, Object.keys(In).length]')).result).toBe("[ 'undefined', 'function', 'undefined', 3 ]")
    const { matches } = await other.complete('stay', 4)
    expect(matches).toEqual([])
    await other.close()
  })
})

describe('%%words', () => {
  it('give a cell to another program', async () => {
    expect(await printed('%%bash\nx=1\necho "$x {words} ${x}"')).toBe('1 {words} 1\n')
    expect(await printed('%%script cat -n\na\nb')).toBe('     1\ta\n     2\tb')
    expect(await error('%%sh\nexit 4')).toBe('`sh` ended with exit code 4; what it said is above')
  })

  it('show a cell', async () => {
    expect(await shown('%%html\n<b>bold</b>')).toEqual([{ 'text/html': '<b>bold</b>', 'text/plain': '<b>bold</b>' }])
    expect(await shown('%%markdown\n**a**\n\nb')).toEqual([expect.objectContaining({ 'text/markdown': '**a**\n\nb' })])
    expect(await shown('%%latex\n$x^2$')).toEqual([expect.objectContaining({ 'text/latex': '$x^2$' })])
    expect(await shown('%%javascript\nalert(1)')).toEqual([expect.objectContaining({ 'application/javascript': 'alert(1)' })])
  })

  it('have to be first', async () => expect(await error('1\n%%time\n2')).toBe('`%%time` takes the whole cell: it must be the first line'))
})

describe('other words', () => {
  it('are named with the nearest one', async () => {
    expect(await error('%tiem f()')).toBe('there is no `%tiem` (did you mean `%time`?); `%lsmagic` lists all magics')
    expect(await error('%%bsh\nls')).toBe('there is no `%%bsh` (did you mean `%%bash`?); `%lsmagic` lists all magics')
    expect(await error('%bash ls')).toContain('write `%%bash`')
  })

  it('are named with none where none is near', async () => {
    for (const code of ['%installing', '%zzz', '%sqlite']) expect(await error(code), code).not.toContain('did you mean')
    expect(await error('%env NOSUCH')).not.toContain('did you mean')
    expect(await error('%time')).toBe('`%time` needs a statement: `%time f()`')
    const { error: failure } = await kernel.run('%instal')
    expect([failure?.ename, failure?.traceback]).toEqual(['UsageError', expect.not.stringContaining('code:')])
  })

  it('are hinted at where their sign is missing, or another language was meant', async () => {
    const hints = {
      ls: '`!ls`',
      'ls -la': '`!ls -la`',
      pwd: '`%pwd`',
      'cd nb': '`%cd nb`',
      'help(Math)': '`Math?`',
      'exit()': 'shut down',
      'git status': '`!git status`',
    }
    for (const [code, hint] of Object.entries(hints)) expect(await error(code), code).toContain(hint)
    expect(await error('no_such_name.x')).toBe('no_such_name is not defined')
  })

  it('that have no use here name what to do instead', async () => {
    for (const [name, { usage, does }] of WORDS) {
      if (usage === undefined) expect(await error(`%${name} x`)).toBe(`\`%${name}\` is not offered here. ${does}`)
    }
    expect(await error('%pip install x')).toContain('%npm install')
    expect(await error('%matplotlib inline')).toContain('Figures need no setting')
  })

  it('that are there do not fail for want of code', async () => {
    // Those are tested above, or would do harm or wait without an argument.
    const apart = new Set(['reset', 'rm', 'types', 'cat'])
    for (const [name, { line }] of WORDS) {
      if (line !== 'text' || apart.has(name)) continue
      expect((await kernel.run(`%${name}`)).error?.traceback ?? '', name).not.toMatch(/TypeError|ReferenceError|is not a function/)
    }
    await kernel.run(`%cd ${folder}`)
    expect(existsSync(folder)).toBe(true)
  })
})

describe('questions', () => {
  const page = async (code: string, options: object = {}) => {
    const { reply, outputs } = await kernel.run(code, { allow_stdin: true, ...options })
    return { payload: reply.payload as { source: string; data: Record<string, string>; start: number }[], outputs }
  }

  it('open the pager with type and documentation, and run nothing', async () => {
    await kernel.run('/** Adds one. */\nconst increment = (x: number) => x + 1\nlet looked = 0\nconst trap = { get value() { return looked++ } }')
    const { payload, outputs } = await page('increment?')
    expect(payload).toEqual([{ source: 'page', start: 0, data: { 'text/plain': expect.any(String), 'text/markdown': expect.any(String) } }])
    expect(payload[0]?.data['text/plain']).toContain('increment: (x: number) => number')
    expect(payload[0]?.data['text/plain']).toContain('Adds one.')
    expect(outputs).toEqual([])
    expect((await page('?trap.value')).payload[0]?.data['text/plain']).toContain('number')
    expect(await result('looked')).toBe('0')
  })

  it('with two marks show the source', async () => {
    const text = (await page('increment??')).payload[0]?.data['text/plain']
    expect(text).toContain('const increment = (x: number) => x + 1')
    expect(text).not.toContain('export')
  })

  it('about types are settings', async () => {
    expect(await printed('%types')).toMatch(/^type errors: /)
    expect(await printed('%types strict')).toBe('type errors: strict\n')
    expect((await kernel.run('const wrong: string = 1', { stop_on_error: false })).error?.ename).toBe('TypeCheckError')
    expect(await printed('%types off')).toBe('type errors: off\n')
    expect((await kernel.run('%types never\nglobalThis.ranNonetheless = 1', { stop_on_error: false })).error?.evalue).toContain('never')
    expect(await result('typeof ranNonetheless')).toBe("'undefined'")
  })

  it('stand in a cell with code: one page for all', async () => {
    const { payload } = await page('const fresh = "new" as const\nfresh?\nMath.max?')
    expect(payload.length).toBe(1)
    expect(payload[0]?.data['text/plain']).toMatch(/fresh: "new"[\s\S]*max\(\.\.\.values/)
  })

  it('of words and of nothing have answers too', async () => {
    expect((await page('%timeit?')).payload[0]?.data['text/plain']).toContain('many times')
    expect((await page('?')).payload[0]?.data['text/markdown']).toContain('`%lsmagic`')
    expect((await page('no_such_name?')).payload[0]?.data['text/plain']).toContain('Nothing is known of `no_such_name`')
  })

  it('are outputs for a client that nobody sits at', async () => {
    const { outputs, payload } = await page('Math.max?', { allow_stdin: false })
    expect(outputs).toEqual([{ type: 'display_data', content: { data: payload[0]?.data, metadata: {}, transient: {} } }])
  })
})
