// biome-ignore-all lint/suspicious/noTemplateCurlyInString: cells are code in strings
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Run, TestKernel } from './client.js'

let kernel: TestKernel
const dataOf = (output: Run['outputs'][number] | undefined) => (output?.content.data ?? {}) as Record<string, string>
const idOf = (output: Run['outputs'][number] | undefined) => ((output?.content.transient ?? {}) as { display_id?: string }).display_id
beforeAll(async () => {
  kernel = await TestKernel.start()
})
afterAll(() => kernel.close())

describe('text', () => {
  it('of both streams and displays stays in order', async () => {
    const { outputs } = await kernel.run(
      'console.log(1); console.error(2); console.log(3); display({ "text/html": "4" }); console.error(5); void process.stdout.write("6")',
    )
    expect(
      outputs.map(({ type, content }) => content.text ?? (type === 'display_data' ? (content.data as Record<string, string>)['text/html'] : type)),
    ).toEqual(['1\n', '2\n', '3\n', '4', '5\n', '6'])
  })

  it('of subprocesses, which write to the file descriptors, takes its place among it', async () => {
    const { stdout, stderr } = await kernel.run(
      'import { execSync } from "node:child_process"\nconsole.log("before"); execSync("echo native; echo problem >&2", { stdio: "inherit" }); console.log("after")',
    )
    expect(stdout).toBe('before\nnative\nafter\n')
    expect(stderr).toBe('problem\n')
  })

  it('of 10,000 prints arrives whole, in order, before idle, in few messages', async () => {
    const { stdout, outputs } = await kernel.run('for (let i = 0; i < 10_000; i++) console.log(i)')
    expect(stdout).toBe(Array.from({ length: 10_000 }, (_, i) => `${i}\n`).join(''))
    expect(outputs.length).toBeLessThan(100)
  })

  it('that was printed later goes to the cell that started it, also while another prints', async () => {
    const first = kernel.send('shell', 'execute_request', { code: 'void setTimeout(() => { console.log("mine"); display({ "text/html": "mine" }) }, 30)' })
    await kernel.finished(first)
    const second = await kernel.run('for (let i = 0; i < 10; i++) { console.log("yours"); await new Promise((r) => setTimeout(r, 10)) }')
    expect(second.stdout).toBe('yours\n'.repeat(10))
    expect(kernel.outputsOf(first).map(({ type }) => type)).toEqual(['stream', 'display_data'])
  })

  it('of any bytes survives; characters are not cut between reads', async () => {
    const { stdout } = await kernel.run('const snowman = "\\u2603\\u{1F600}\\x1b]fpdt;"; process.stdout.write(snowman.repeat(30_000))')
    expect(stdout).toBe('\u2603\u{1F600}\x1b]fpdt;'.repeat(30_000))
  })

  it('of callbacks of all kinds goes to the cell that began them, after it has ended', async () => {
    const begin = kernel.send('shell', 'execute_request', {
      code: 'import { onComm } from "fpdt/comm"\nonComm("wake", () => (globalThis as any).wake())\nimport { exec } from "node:child_process"\nexec("sleep 0.2", () => console.log("process"))\nvoid Promise.resolve().then(() => new Promise((r) => setTimeout(r, 200))).then(() => console.error("promise"))\nconst timer = setInterval(() => { console.log("interval"); clearInterval(timer) }, 200)',
    })
    await kernel.finished(begin)
    const other = kernel.execute('const woken = new Promise((resolve) => { globalThis.wake = resolve }); console.log("go"); await woken; console.log("other")')
    await kernel.until(({ parent, content }) => parent.msg_id === other && content.text === 'go\n')
    for (const line of ['process\n', 'promise\n', 'interval\n'])
      await kernel.until(({ parent, content }) => parent.msg_id === begin && String(content.text ?? '').includes(line))
    kernel.send('shell', 'comm_open', { comm_id: 'waker', target_name: 'wake', data: {} })
    expect((await kernel.finished(other)).stdout).toBe('go\nother\n')
    const late = kernel.outputsOf(begin).flatMap(({ type, content }) => (type === 'stream' ? String(content.text).split('\n') : []))
    expect(late.filter((line) => line !== '').sort()).toEqual(['interval', 'process', 'promise'])
  })

  it('of a subprocess that prints after the cell has ended is shown', async () => {
    const begin = kernel.send('shell', 'execute_request', {
      code: 'import { spawn } from "node:child_process"; void spawn("sh", ["-c", "sleep 0.2; echo late"], { stdio: "inherit" })',
    })
    await kernel.until(({ parent, content }) => parent.msg_id === begin && content.text === 'late\n')
  })

  it('of every method of console is as in Node', async () => {
    const { stdout, stderr } = await kernel.run(
      [
        'console.log("%s %d %i %f %j %o %% %c", "a", 1.5, 2.7, "3.5", { y: 2 }, [1], "color: red", "rest")',
        'console.table([{ a: 1 }]); console.group("group"); console.log("two\\nlines"); console.groupEnd(); console.dir({ a: { b: {} } }, { depth: 0 })',
        'console.count("n"); console.count("n"); console.debug("debug"); console.info({ not: "coloured" })',
        'console.warn("warn"); console.error("error"); console.assert(false, "no"); console.trace("here")',
      ].join('\n'),
    )
    expect(stdout).toBe(
      'a 1.5 2 3.5 {"y":2} [ 1, [length]: 1 ] %  rest\n┌─────────┬───┐\n│ (index) │ a │\n├─────────┼───┤\n│ 0       │ 1 │\n└─────────┴───┘\n' +
        "group\n  two\n  lines\n{ a: [Object] }\nn: 1\nn: 2\ndebug\n{ not: 'coloured' }\n",
    )
    expect(stderr).toMatch(/^warn\nerror\nAssertion failed: no\nTrace: here\n {4}at Cell \[\d+\] line 4:\d+\n$/)
  })

  it('that overwrites its line arrives as it was written, and half characters wait for the other half', async () => {
    const { stdout } = await kernel.run(
      'for (let i = 0; i < 5; i++) { process.stdout.write(`\\r${i} of 5`); await new Promise((r) => setTimeout(r, 20)) }\nprocess.stdout.write(Uint8Array.of(0xe2, 0x98)); await new Promise((r) => setTimeout(r, 50)); process.stdout.write(Uint8Array.of(0x83, 0xff))',
    )
    expect(stdout).toBe('\r0 of 5\r1 of 5\r2 of 5\r3 of 5\r4 of 5\u2603\ufffd')
  })

  it('is not silenced for later cells by a package that ends the stream', async () => {
    const { stdout } = await kernel.run(
      'import { Readable } from "node:stream"; import { pipeline } from "node:stream/promises"\nawait pipeline(Readable.from(["a", "b\\n"]), process.stdout)\nprocess.stdout.write("63640a", "hex"); process.stdout.end("end\\n"); process.stdout.destroy(); process.stderr.end()',
    )
    expect(stdout).toBe('ab\ncd\nend\n')
    expect((await kernel.run('console.log("on")')).stdout).toBe('on\n')
    expect((await kernel.run('process.stdout.write(5 as any)')).error?.evalue).toBe('process.stdout.write: number is neither text nor bytes')
  })

  it('does not hang the kernel when the cell closes its file descriptors', async () => {
    const other = await TestKernel.start()
    await other.run('require("node:fs").closeSync(1); require("node:fs").closeSync(2)')
    expect((await other.run('1 + 1')).result).toBe('2')
    await other.close()
  })
})

describe('display', () => {
  it('gives a handle that changes what is shown, in the same form; it shows nothing itself', async () => {
    const { outputs } = await kernel.run(
      'const words = display.markdown`*${"a"}* $\\frac{1}{2}$`; words.update("**b**"); words.update({ "text/html": "<i>" }); words',
    )
    const id = idOf(outputs[0])
    expect(outputs.map(({ type, content }) => [type, content.transient, content.data])).toEqual([
      ['display_data', { display_id: id }, { 'text/markdown': '*a* $\\frac{1}{2}$', 'text/plain': '*a* $\\frac{1}{2}$' }],
      ['update_display_data', { display_id: id }, { 'text/markdown': '**b**', 'text/plain': '**b**' }],
      ['update_display_data', { display_id: id }, { 'text/html': '<i>', 'text/plain': "{ 'text/html': '<i>' }" }],
    ])
    const later = await kernel.run('words.update("later"); display.update("elsewhere", 1)')
    expect(later.outputs.map((output) => [output.type, idOf(output)])).toEqual([
      ['update_display_data', id],
      ['update_display_data', 'elsewhere'],
    ])
  })

  it('keeps the order of what comes late and what replaces it', async () => {
    const { outputs } = await kernel.run(
      'display({ async [Symbol.for("Jupyter.display")]() { await new Promise((r) => setTimeout(r, 30)); return { "text/plain": "slow" } } }).update("fast")',
    )
    expect(outputs.map(({ type, content }) => [type, (content.data as Record<string, string>)['text/plain']])).toEqual([
      ['display_data', 'slow'],
      ['update_display_data', "'fast'"],
    ])
  })

  it('has forms; what is filled into HTML is escaped', async () => {
    const { outputs } = await kernel.run(
      [
        'display.html`<b>${"<script>"}</b>${[1, { "text/html": "<i></i>" }]}${null}`; display.html("<u>")',
        'display.svg`<svg><text>${"<&>"}</text></svg>`; display.latex`\\frac{a}{${"b"}}`; display.json({ a: [1] }, { expanded: true })',
        'display.table([{ a: "<b>" }]); display.image(Buffer.from("R0lGODlhAQABAAAAACw=", "base64"), { width: 5, alt: "dot" }); display.image("https://example.org/\\"x")',
      ].join('\n'),
    )
    const data = outputs.map(({ content }) => content.data as Record<string, unknown>)
    expect(
      data.map((bundle) => bundle['text/html'] ?? bundle['image/svg+xml'] ?? bundle['text/latex'] ?? bundle['application/json'] ?? bundle['image/gif']),
    ).toEqual([
      '<b>&lt;script&gt;</b>1<i></i>',
      '<u>',
      '<svg><text>&lt;&amp;&gt;</text></svg>',
      '$$\\frac{a}{b}$$',
      { a: [1] },
      expect.stringContaining('<td>&lt;b&gt;</td>'),
      'R0lGODlhAQABAAAAACw=',
      '<img src="https://example.org/&quot;x" alt="">',
    ])
    expect(outputs.map(({ content }) => content.metadata).slice(4, 7)).toEqual([{ 'application/json': { expanded: true } }, {}, { 'image/gif': { width: 5 } }])
    expect(data[6]?.['text/plain']).toBe('dot')
    expect((await kernel.run('display.image(Buffer.from("text"))')).error?.evalue).toBe(
      'display.image: bytes that begin with 74657874: no PNG, JPEG, GIF, WebP or SVG picture',
    )
  })

  it('shows progress in one output, whose last state says how it ended, also when the cell is interrupted', async () => {
    const { outputs } = await kernel.run('for (const n of progress(5, { label: "five" })) await new Promise((r) => setTimeout(r, 30))')
    expect(new Set(outputs.map(idOf)).size).toBe(1)
    expect(dataOf(outputs.at(-1))['text/plain']).toMatch(/^five {2}100 % .*5 of 5/)
    const endless = kernel.send('shell', 'execute_request', { code: 'for (const n of progress(1e9)) { if (n === 1000) console.log("go") }' })
    await kernel.until(({ parent, content }) => parent.msg_id === endless && content.text === 'go\n')
    await kernel.interrupt()
    const stopped = await kernel.finished(endless)
    expect(stopped.error?.ename).toBe('KeyboardInterrupt')
    const states = stopped.outputs.filter(({ type }) => type === 'update_display_data')
    expect(dataOf(states.at(-1))['text/plain']).toMatch(/of 1 G · .*ended after/)
  })

  const shown = 'class Shown { [Symbol.for("Jupyter.display")]() { return { "text/html": "<b>x</b>" } } }\n'

  it('shows what an object says of itself, as a result and by display()', async () => {
    const { outputs } = await kernel.run(`${shown}display(new Shown()); new Shown()`)
    expect(outputs).toEqual([
      {
        type: 'display_data',
        content: { data: { 'text/html': '<b>x</b>', 'text/plain': 'Shown {}' }, metadata: {}, transient: { display_id: expect.any(String) } },
      },
      {
        type: 'execute_result',
        content: { data: { 'text/html': '<b>x</b>', 'text/plain': 'Shown {}' }, metadata: {}, execution_count: kernel.received.length && expect.any(Number) },
      },
    ])
  })

  it('waits for a bundle that is a promise', async () => {
    const { outputs } = await kernel.run('display({ async [Symbol.for("Jupyter.display")]() { await null; return { "text/plain": "later" } } })')
    expect(outputs[0]?.content.data).toEqual({ 'text/plain': 'later' })
  })

  it('updates an output by its id', async () => {
    const { outputs } = await kernel.run('display("a", { id: "one" }); display("b", { id: "one", update: true })')
    expect(outputs.map(({ type, content }) => [type, content.transient])).toEqual([
      ['display_data', { display_id: 'one' }],
      ['update_display_data', { display_id: 'one' }],
    ])
  })

  it('gives a last value that updates itself an output that can be updated', async () => {
    const { outputs } = await kernel.run('({ [Symbol.for("Jupyter.display")]: () => ({ "text/plain": "run" }), [Symbol.for("fpdt.display.id")]: "run-1" })')
    expect(outputs).toEqual([{ type: 'display_data', content: { data: { 'text/plain': 'run' }, metadata: {}, transient: { display_id: 'run-1' } } }])
  })

  it('is there for libraries through the host', async () => {
    const { outputs } = await kernel.run(
      '(globalThis as any)[Symbol.for("fpdt.display.host")].display({ "text/plain": "x" }, { displayId: "h", metadata: { m: 1 } })',
    )
    expect(outputs).toEqual([{ type: 'display_data', content: { data: { 'text/plain': 'x' }, metadata: { m: 1 }, transient: { display_id: 'h' } } }])
  })

  it('clears', async () => {
    const { outputs } = await kernel.run('display.clear({ wait: true }); console.clear()')
    expect(outputs.map(({ type, content }) => [type, content.wait])).toEqual([
      ['clear_output', true],
      ['clear_output', false],
    ])
  })

  it('says what fails when an object shows itself, and shows it as text; the cell goes on', async () => {
    const failing = '({ x: 1, toHtml() { throw new Error("no ink") }, toMarkdown: async () => { throw new Error("no paper") }, toLatex: () => "x" })'
    const { outputs, stderr, error } = await kernel.run(failing)
    expect(error).toBeUndefined()
    expect(stderr).toBe('not shown as text/html, because its method failed: no ink\nnot shown as text/markdown, because its method failed: no paper\n')
    const data = outputs.find(({ type }) => type === 'execute_result')?.content.data as Record<string, string>
    expect(Object.keys(data)).toEqual(['text/latex', 'text/plain'])
    expect(data['text/plain']).toContain('x: 1')
    const thrown = await kernel.run('({ [Symbol.for("Jupyter.display")]() { throw new Error("cannot draw") } })')
    expect(thrown.stderr).toBe('shown as text, because showing it failed: cannot draw\n')
    expect(thrown.result).toContain('Jupyter.display')
  })

  it('of what no message can carry leaves that out, and the kernel lives', async () => {
    const hostile = '{ "text/html": "<b>", "application/json": { big: 1n }, "text/markdown": () => {} }'
    const { outputs, stderr } = await kernel.run(
      `display({ [Symbol.for("Jupyter.display")]: () => (${hostile}) }); globalThis[Symbol.for("fpdt.display.host")].display(${hostile})`,
    )
    expect(outputs.filter(({ type }) => type === 'display_data').map(({ content }) => (content.data as Record<string, string>)['text/html'])).toEqual([
      '<b>',
      '<b>',
    ])
    expect(stderr.match(/^not shown as (?:application\/json|text\/markdown): /gm)).toHaveLength(4)
  })
})
