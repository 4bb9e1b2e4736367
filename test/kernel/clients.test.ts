/** The clients that people run notebooks with from a shell; each as it is used there. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { eventually } from './client.js'
import { Jupyter } from './jupyter.js'

/**
 * One client after the other, each a Python that loads a few hundred modules: jupyter_client looks for five free ports, lets go of them, and the kernel binds
 * them when it has started (`LocalPortCache.find_available_port` in its connect.py). Clients beside each other are now and then given the same one.
 */
vi.setConfig({ testTimeout: 180_000 })

let jupyter: Jupyter
beforeAll(() => {
  jupyter = new Jupyter()
})
afterAll(() => jupyter.close())

describe('nbclient', () => {
  it('saves outputs of all kinds, and with --allow-errors goes on after an error and a crash', async () => {
    jupyter.write('kinds.ipynb', [
      'console.log("out"); console.error("err"); display({ "text/html": "<b>shown</b>" }); ({ answer: 42 })',
      'display("first", { id: "place" })',
      'display("second", { id: "place", update: true })',
      'for (let i = 0; i < 3; i++) { display.clear({ wait: true }); console.log(i) }',
      'void setTimeout(() => console.log("late"), 20); await new Promise((done) => setTimeout(done, 60))',
      'throw new RangeError("chunk 7")',
      'process.exit(3)',
      '"alive"',
    ])
    const { code, stderr } = await jupyter.run('jupyter', ['execute', '--allow-errors', '--output=done.ipynb', jupyter.path('kinds.ipynb')])
    expect(code, stderr).toBe(0)
    const outputs = jupyter.read('done.ipynb').map((cell) => cell.outputs)
    expect(outputs[0]).toMatchObject([
      { name: 'stdout', text: 'out\n' },
      { name: 'stderr', text: 'err\n' },
      { output_type: 'display_data', data: { 'text/html': '<b>shown</b>' } },
      { output_type: 'execute_result', data: { 'text/plain': '{ answer: 42 }' } },
    ])
    expect(outputs[1]?.map(({ data }) => data)).toEqual([{ 'text/plain': "'second'" }])
    expect(outputs[3]?.map(({ text }) => text)).toEqual(['2\n'])
    expect(outputs[4]?.map(({ text }) => text)).toEqual(['late\n'])
    expect(outputs[5]).toMatchObject([{ output_type: 'error', ename: 'RangeError', evalue: 'chunk 7' }])
    expect(outputs[6]).toMatchObject([{ output_type: 'error', evalue: expect.stringContaining('exited with code 3') }])
    expect(outputs[7]).toMatchObject([{ data: { 'text/plain': "'alive'" } }])
  })

  it('stops at the first error without it, and says why', async () => {
    jupyter.write('fails.ipynb', ['throw new RangeError("chunk 7")', 'console.log("never reached")'])
    const { code, stderr } = await jupyter.run('jupyter', ['execute', '--inplace', jupyter.path('fails.ipynb')])
    expect(code).not.toBe(0)
    expect(stderr).toContain('chunk 7')
  })
})

describe('nbconvert', () => {
  it('interrupts a cell that takes too long, and the next one has its variables', async () => {
    jupyter.write('slow.ipynb', ['let kept = 41; while (true) {}', 'kept + 1'])
    // The second cell ends within the same time, also on a busy machine.
    const late = ['--ExecutePreprocessor.timeout=5', '--ExecutePreprocessor.interrupt_on_timeout=True']
    const args = ['nbconvert', '--execute', '--allow-errors', ...late, '--to=notebook', '--output=slow-done.ipynb', jupyter.path('slow.ipynb')]
    expect((await jupyter.run('jupyter', args)).code).toBe(0)
    expect(jupyter.read('slow-done.ipynb').map(({ outputs }) => outputs)).toMatchObject([
      [{ output_type: 'error', ename: 'KeyboardInterrupt' }],
      [{ data: { 'text/plain': '42' } }],
    ])
  })

  it('makes a page of an executed notebook: coloured source, and what was updated in its last state', async () => {
    jupyter.write('page.ipynb', [
      'const answer: number = 42\ndisplay({ "text/html": "<i>" + answer + "</i>" })',
      'for (let i = 0; i <= 3; i++) display({ "text/html": "<u>" + i + " of 3</u>" }, { id: "progress", update: i > 0 })',
    ])
    const { code, stderr } = await jupyter.run('jupyter', ['nbconvert', '--execute', '--to=html', jupyter.path('page.ipynb')])
    expect(code, stderr).toBe(0)
    const page = readFileSync(jupyter.path('page.html'), 'utf8')
    expect(page).toContain('<i>42</i>')
    expect(page).toMatch(/<span class="kd">const<\/span>/)
    expect(page).toContain('<u>3 of 3</u>')
    expect(page).not.toContain('<u>0 of 3</u>')
  })

  it("makes a script with TypeScript's ending", async () => {
    jupyter.write('script.ipynb', ['const x: number = 1', 'console.log(x)'])
    // As saved by JupyterLab after a run: only then does a notebook say what its language's files are called.
    await jupyter.run('jupyter', ['execute', '--inplace', jupyter.path('script.ipynb')])
    const { code, stderr } = await jupyter.run('jupyter', ['nbconvert', '--to=script', jupyter.path('script.ipynb')])
    expect(code, stderr).toBe(0)
    expect(readFileSync(jupyter.path('script.ts'), 'utf8')).toMatch(/const x: number = 1\n+console\.log\(x\)/)
  })
})

describe('papermill', () => {
  const papermill = (name: string, ...args: string[]) =>
    jupyter.run('papermill', [jupyter.path(`${name}.ipynb`), jupyter.path(`${name}-filled.ipynb`), '--language', '.net-csharp', ...args])

  it('fills in numbers, texts and truth values with --language .net-csharp, in a cell behind the tagged one', async () => {
    jupyter.write('parameters.ipynb', [
      ['let rate: number = 1; let name: string = "none"; let on: boolean = true; let steps: number = 1; let options = "{}"', 'parameters'],
      'console.log(JSON.stringify([rate, name, on, steps, JSON.parse(options)]))',
    ])
    const given = [
      '-p',
      'rate',
      '0.5',
      '-p',
      'name',
      'a "b" \\ é',
      '-p',
      'on',
      'False',
      '-p',
      'steps',
      '2147483647',
      '-p',
      'options',
      '{"layers": [1, 2], "mark": "\\ud83d\\ude00"}',
    ]
    const { code, stderr } = await papermill('parameters', ...given)
    expect(code, stderr).toBe(0)
    const [, injected, printing] = jupyter.read('parameters-filled.ipynb')
    expect(injected?.metadata.tags).toEqual(['injected-parameters'])
    expect(printing?.outputs[0]?.text).toBe(`${JSON.stringify([0.5, 'a "b" \\ é', false, 2147483647, { layers: [1, 2], mark: '\u{1F600}' }])}\n`)
  })

  it('fails with the error of the cell that failed', async () => {
    jupyter.write('failing.ipynb', [['let chunk = 6', 'parameters'], 'throw new RangeError("chunk " + chunk)'])
    const { code, stderr } = await papermill('failing', '-p', 'chunk', '7')
    expect(code).not.toBe(0)
    expect(stderr).toContain('RangeError: chunk 7')
  })
})

describe('jupyter run', () => {
  it('runs a file and prints what it prints; an error is the exit code', async () => {
    writeFileSync(jupyter.path('hello.ts'), 'const who: string = "file"\nconsole.log("hello, " + who)\n')
    expect(await jupyter.run('jupyter', ['run', '--kernel=fpdt', 'hello.ts'])).toMatchObject({ code: 0, stdout: 'hello, file\n' })
    const failed = await jupyter.run('jupyter', ['run', '--kernel=fpdt'], { input: 'throw new Error("bad")' })
    expect(failed.code).not.toBe(0)
    expect(stripVTControlCharacters(failed.stdout + failed.stderr)).toContain('Error: bad')
  })
})

describe('jupyter console', () => {
  /** What a terminal showed step by step, and how long each took. */
  async function type(...steps: (readonly [keys: string, pattern: string | null, nudge?: string])[]): Promise<{ seen: string; ms: number }[]> {
    const script = fileURLToPath(new URL('./terminal.py', import.meta.url))
    const console = fileURLToPath(new URL('../../.venv/bin/jupyter-console', import.meta.url))
    const { code, stdout, stderr } = await jupyter.run('python', [script, console, '--kernel=fpdt'], { input: JSON.stringify(steps) })
    const lines = stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line))
    if (code !== 0) expect.fail(`${JSON.stringify(steps[lines.length - 1])}\n${lines.at(-1)?.seen}\n${stderr}`)
    return lines
  }

  /**
   * A cell and what it shows. The console looks at the outputs once when it has the reply, which comes through another socket and can be read first by
   * a hair (`handle_execute_reply` in its ptshell.py); what it missed it shows at the next Enter, and then it counts from there.
   */
  const shows = (keys: string, pattern: string) => [keys, `${pattern}.*In \\[\\d+\\]: `, '\r'] as const

  it('executes, continues what is incomplete, completes, asks, interrupts, shows errors and crashes, and leaves no process', async () => {
    const seen = await type(
      ['', 'In \\[1\\]: '],
      shows('process.ppid\r', 'Out\\[1\\]: \\d+'),
      ['function double(x: number) {\r', '\\.\\.\\.: '],
      ['return x * 2\r', '\\.\\.\\.: '],
      ['\b\b}\r', 'In \\[3\\]: '],
      shows('double(21)\r', 'Out\\[3\\]: 42'),
      ['Math.sqr\t', 'sqrt'],
      shows('(16)\r', 'Out\\[4\\]: 4'),
      ['let kept = 7; console.log("g" + "o"); while (true) {}\r', 'go'],
      shows('\x03', 'KeyboardInterrupt'),
      shows('kept\r', 'Out\\[6\\]: 7'),
      shows('for (let i = 0; i <= 3; i++) process.stdout.write("\\r" + i + " of " + 3)\r', '3 of 3'),
      ['prompt("Who? ") + kept\r', '\\+ kept\\n.*Who\\? '],
      shows('Ada\r', "Out\\[8\\]: 'Ada7'"),
      shows('throw new RangeError("chunk " + kept)\r', 'RangeError: chunk 7'),
      shows('process.exit(3)\r', 'exited with code 3'),
      shows('typeof kept\r', "Out\\[11\\]: 'undefined'"),
      ['\x04', '\\?'],
      ['y\r', null],
    )
    expect(seen[9]?.ms).toBeLessThan(10_000)
    const supervisor = Number(/Out\[1\]: (\d+)/.exec(seen[1]?.seen ?? '')?.[1])
    expect(supervisor).toBeGreaterThan(1)
    await eventually(() => !existsSync(`/proc/${supervisor}`))
  })
})
