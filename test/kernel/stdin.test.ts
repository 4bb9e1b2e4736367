import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Dealer } from 'zeromq'
import { Session } from '../../kernel/src/jupyter/message.js'
import { Wire } from '../../kernel/src/jupyter/wire.js'
import { isAlive, KEY, TestKernel } from './client.js'

let kernel: TestKernel

beforeAll(async () => {
  kernel = await TestKernel.start()
})
afterAll(() => kernel.close())
afterEach(async () => {
  await kernel.interrupt() // a cell that a failed test left waiting
  kernel.received.length = 0
})

interface Question {
  readonly id: string
  readonly prompt: unknown
  readonly password: unknown
}

/** Starts a cell that asks. */
function start(code: string, options: object = {}): string {
  return kernel.send('shell', 'execute_request', { code, silent: false, store_history: true, allow_stdin: true, stop_on_error: true, ...options })
}

/** The question that a cell asks, the first or a later one. */
async function question(cell: string, index = 0): Promise<Question> {
  const asked = () => kernel.received.filter(({ header, parent }) => header.msg_type === 'input_request' && parent.msg_id === cell)
  await kernel.until(() => asked().length > index)
  const { header, content } = asked()[index]!
  return { id: header.msg_id, prompt: content.prompt, password: content.password }
}

function answer(value: unknown): void {
  kernel.send('stdin', 'input_reply', { value })
}

/** The result of a cell that asks once. */
async function asked(code: string, value: unknown): Promise<string | undefined> {
  const cell = start(code)
  await question(cell)
  answer(value)
  return (await kernel.finished(cell)).result
}

describe('prompt', () => {
  it('gives what the user answers, after everything that was printed before', async () => {
    const cell = start('console.log("before"); console.error("and this"); const name = prompt("Name?"); console.log("after"); name')
    expect(await question(cell)).toMatchObject({ prompt: 'Name? ', password: false })
    expect(kernel.outputsOf(cell).map(({ content }) => content.text)).toEqual(['before\n', 'and this\n', undefined])
    answer('Ada')
    const { result, stdout } = await kernel.finished(cell)
    expect({ result, stdout }).toEqual({ result: "'Ada'", stdout: 'before\nafter\n' })
  })

  it('asks for a password as such', async () => {
    const cell = start('prompt.password("Token")')
    expect(await question(cell)).toMatchObject({ prompt: 'Token ', password: true })
    answer('hunter2')
    expect((await kernel.finished(cell)).result).toBe("'hunter2'")
  })

  it('takes an empty answer for the default, and the end of input for none', async () => {
    expect(await asked('prompt("Chunks", "8")', '')).toBe("'8'")
    expect(await asked('prompt("Chunks", "8")', '4')).toBe("'4'")
    expect(await asked('prompt("Chunks")', '')).toBe("''")
    expect(await asked('String(prompt("Chunks", "8"))', '\u0004')).toBe("'null'")
    expect(await asked('String(prompt())', 7)).toBe("'null'")
  })

  it('takes new lines, any letters and a megabyte', async () => {
    for (const text of ['two\nlines\r\n', 'π\u2028\u2029\u0000 "quoted" 💥 \ud800', 'x'.repeat(2 ** 20)]) {
      const cell = start('const text = prompt("?"); [...text!].map((c) => c.codePointAt(0)).reduce((a, b) => (a * 31 + b!) % 1000003, text!.length)')
      await question(cell)
      answer(text)
      const expected = [...text].map((c) => c.codePointAt(0) as number).reduce((a, b) => (a * 31 + b) % 1000003, text.length)
      expect((await kernel.finished(cell)).result).toBe(String(expected))
    }
  })

  it('asks twice, one after the other', async () => {
    const cell = start('const a = prompt("a"); const b = prompt("b"); [a, b]')
    const first = await question(cell)
    answer('1')
    const second = await question(cell, 1)
    expect([first.prompt, second.prompt]).toEqual(['a ', 'b '])
    answer('2')
    expect((await kernel.finished(cell)).result).toBe("[ '1', '2' ]")
  })

  it('ignores an answer that nobody asked for, and one to an earlier question where the client says so', async () => {
    answer('too early')
    const cell = start('const a = prompt("a"); const b = prompt("b"); [a, b]')
    const first = await question(cell)
    answer('1')
    await question(cell, 1)
    const late = new Session().message(
      'input_reply',
      { value: 'late' },
      { ...kernel.received[0]!, header: { ...kernel.received[0]!.header, msg_type: 'input_request', msg_id: first.id } },
    )
    await kernel.sendFrames('stdin', new Wire(KEY).encode({ ...late, identities: [] }))
    const stranger = new Dealer({ linger: 0, routingId: 'stranger' })
    stranger.connect(kernel.addresses.stdin)
    await stranger.send(kernel.frames('input_reply', { value: 'not mine' }))
    await new Promise((resolve) => setTimeout(resolve, 50))
    answer('2')
    expect((await kernel.finished(cell)).result).toBe("[ '1', '2' ]")
    stranger.close()
  })

  it('waits for no output: ten megabytes shown just before arrive with the question', async () => {
    const cell = start('for (let n = 0; n < 100; n++) display({ "text/plain": "x".repeat(100_000) }); console.log("y".repeat(1_000_000)); prompt("?")')
    await question(cell)
    // Sent before the question, on another socket: the client may read it a moment later.
    const shown = () => kernel.outputsOf(cell).filter(({ type }) => type === 'display_data').length
    const printed = () => kernel.outputsOf(cell).reduce((sum, { content }) => sum + (typeof content.text === 'string' ? content.text.length : 0), 0)
    await kernel.until(() => shown() === 100 && printed() === 1_000_001)
    answer('ok')
    expect((await kernel.finished(cell)).result).toBe("'ok'")
  })

  it('in code that a local function, a timer or a promise of the cell runs', async () => {
    expect(await asked('await new Promise((resolve) => setTimeout(() => resolve(prompt("?")), 1))', 'later')).toBe("'later'")
  })
})

describe('confirm and alert', () => {
  it('take y and yes for yes, all else for no', async () => {
    for (const [text, result] of [
      ['y', 'true'],
      ['Yes ', 'true'],
      ['n', 'false'],
      ['', 'false'],
      ['\u0004', 'false'],
    ]) {
      expect(await asked('confirm("Really?")', text)).toBe(result)
    }
    const cell = start('confirm("Really?")')
    expect((await question(cell)).prompt).toBe('Really? [y/N] ')
    answer('y')
    await kernel.finished(cell)
  })

  it('alert waits for the user to go on', async () => {
    const cell = start('alert("Look"); "seen"')
    expect((await question(cell)).prompt).toBe('Look [Enter] ')
    answer('')
    expect((await kernel.finished(cell)).result).toBe("'seen'")
  })
})

describe('a cell that nobody can answer', () => {
  it('ends with an error that says what to do, when the client takes no input', async () => {
    const { error } = await kernel.run('prompt("Name?")', { allow_stdin: false })
    expect(error).toMatchObject({ ename: 'StdinNotImplementedError', evalue: expect.stringMatching(/^prompt: .*nbconvert.*process\.env/) })
    expect(error?.traceback).toContain('Cell [')
    expect((await kernel.run('1 + 1')).result).toBe('2')
  })

  it('ends with an error when the client does not listen', async () => {
    const deaf = new Dealer({ linger: 0, routingId: 'deaf' })
    deaf.connect(kernel.addresses.shell)
    const frames = kernel.frames('execute_request', { code: 'prompt("?")', allow_stdin: true })
    await deaf.send(frames)
    const reply = (await deaf.receive()).map(String)
    expect(JSON.parse(reply.at(-1)!)).toMatchObject({
      status: 'error',
      ename: 'StdinNotImplementedError',
      evalue: expect.stringContaining('does not listen on its stdin channel'),
    })
    deaf.close()
  })

  it('ends with an error when it has ended already', async () => {
    const cell = start('setTimeout(() => { try { prompt("?") } catch (error) { console.log(String(error)) } }, 20); 1')
    await kernel.finished(cell)
    await kernel.until(({ content }) => String(content.text).includes('StdinNotImplementedError: prompt: the cell that asks has ended'))
  })
})

describe('while a cell waits for an answer', () => {
  it('an interrupt ends it within 20 ms, and keeps the variables', async () => {
    await kernel.run('let kept = 7')
    const times: number[] = []
    for (let n = 0; n < 20; n++) {
      const cell = start('prompt("?")')
      await question(cell)
      const before = performance.now()
      kernel.send('control', 'interrupt_request', {})
      const { error } = await kernel.finished(cell)
      times.push(performance.now() - before)
      expect(error?.ename).toBe('KeyboardInterrupt')
      expect(error?.traceback).not.toMatch(/\.js/)
    }
    // The least of twenty: the machine may have other things to do.
    expect(Math.min(...times)).toBeLessThan(20)
    answer('to a question that was given up')
    expect(await asked('prompt("?")', 'to this one')).toBe("'to this one'")
    expect((await kernel.run('kept')).result).toBe('7')
  })

  it('its client may go away: an interrupt by another one ends it', async () => {
    const gone = new Dealer({ linger: 1000, routingId: 'gone' })
    const stdin = new Dealer({ linger: 0, routingId: 'gone' })
    gone.connect(kernel.addresses.shell)
    // A question to a socket that is still connecting is asked of nobody.
    const connected = new Promise((resolve) => stdin.events.on('handshake', resolve))
    stdin.connect(kernel.addresses.stdin)
    await connected
    await stdin.send(kernel.frames('input_reply', { value: 'here I am' }))
    await gone.send(kernel.frames('execute_request', { code: 'prompt("?")', allow_stdin: true, stop_on_error: false }))
    await stdin.receive()
    gone.close()
    stdin.close()
    await kernel.request('control', 'interrupt_request', {})
    expect((await kernel.run('kept')).result).toBe('7')
  })

  it('completion, inspection and information are answered', async () => {
    await kernel.complete('Math.sqr', 8) // until the language server is warm
    const cell = start('prompt("?")')
    await question(cell)
    const { matches, tries } = await kernel.complete('Math.sqr', 8)
    expect(matches).toEqual(['sqrt'])
    expect(tries).toBeLessThanOrEqual(2)
    expect(await kernel.request('shell', 'kernel_info_request', {})).toMatchObject({ status: 'ok' })
    answer('')
    await kernel.finished(cell)
  })

  it('a shutdown ends the kernel', async () => {
    const other = await TestKernel.start()
    const executor = await other.executor()
    const cell = other.send('shell', 'execute_request', { code: 'prompt("?")', allow_stdin: true })
    await other.until(({ header, parent }) => header.msg_type === 'input_request' && parent.msg_id === cell)
    other.send('control', 'shutdown_request', { restart: false })
    expect(await other.exit).toBe(0)
    expect(isAlive(executor)).toBe(false)
    await other.close()
  })
})

it('a cell of a subshell asks as one of the main shell', async () => {
  const { subshell_id } = await kernel.request('control', 'create_subshell_request', {})
  const session = new Session()
  const message = session.message('execute_request', { code: 'prompt("from a subshell")', allow_stdin: true })
  await kernel.sendFrames('shell', new Wire(KEY).encode({ ...message, header: { ...message.header, subshell_id: subshell_id as string } }))
  expect((await question(message.header.msg_id)).prompt).toBe('from a subshell ')
  answer('heard')
  expect((await kernel.finished(message.header.msg_id)).result).toBe("'heard'")
})
