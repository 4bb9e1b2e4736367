import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TestKernel } from './client.js'

let kernel: TestKernel
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

  it('does not hang the kernel when the cell closes its file descriptors', async () => {
    const other = await TestKernel.start()
    await other.run('require("node:fs").closeSync(1); require("node:fs").closeSync(2)')
    expect((await other.run('1 + 1')).result).toBe('2')
    await other.close()
  })
})

describe('display', () => {
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
