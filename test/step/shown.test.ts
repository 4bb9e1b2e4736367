/** What a cell shows of what the library gives: figures and sentences, with the names by which a program has them, and no raw objects. */
import { inspect } from 'node:util'
import { afterAll, describe, expect, it } from 'vitest'
import { present } from '../../kernel/src/cells/present/index.js'
import { byteText, Device, KERNELS, llama, longText, PRESETS } from '../../kernel/src/fpdt/index.js'
import { randomTokens } from './harness.js'

const device = await Device.cpu({ memory: '64 MiB', host: '64 MiB', threads: 2 })
afterAll(() => device.close())
const model = llama({ layers: 2, width: 32, heads: 4, kvHeads: 2, headSize: 16, feedForward: 40, vocab: 97 })
const run = await device.train(model, { sequence: 64, chunk: 16, ranks: 2 })
const text = longText(randomTokens(1000, 97, 1))
const summary = await run.step(text)

/** As the last value of a cell, in words. */
const shown = async (value: unknown): Promise<string> => String((await present(value))['text/plain'])
const namesIn = (words: string): string[] => (/\{ ([\w, ]+) \}[^\n]*$/.exec(words)?.[1] ?? '').split(', ').sort()

describe('the answers of a run', () => {
  const asked = run.ask()
  it.each([
    ['a step', summary, summary],
    ['its times', run.times(), run.times()],
    ['what stood in memory', asked.memory('device'), asked.memory('device')],
    ['what waited', asked.stalls({ most: 3 }), asked.stalls()[0]],
    ['which chunks met', asked.meetings({ layer: 0 }), asked.meetings()[0]],
    ['how two runs differ', asked.compare(run.plan.ask()), asked.compare(run.plan.ask())],
  ])('%s: in lines, the last of which has all names of its values', async (_, value, record) => {
    const words = await shown(value)
    expect(words).not.toMatch(/\[Object\]|\[Array\]|undefined|NaN/)
    expect(namesIn(words)).toEqual(Object.keys(record as object).sort())
  })

  it('are of this run', async () => {
    expect(await shown(summary)).toMatch(
      new RegExp(`^step 1: loss ${summary.loss?.toFixed(4)}, gradient norm [\\d.]+, 64 tokens in .*\\n  rank 0: compute .*\\n  rank 1: `),
    )
    const spike = asked.memory('device')
    expect(await shown(spike)).toMatch(/^device of rank 0 at .* of 64\.0\sMiB\n .*\n {2}largest: .*\n {2}brought there by .*, in op \d+: /)
    expect(await shown(spike)).toContain(`largest: ${spike.buffers[0]?.name} `)
    expect(await shown(asked.meetings({ layer: 0 }))).toMatch(/^query chunk 0 met key\/value chunk 0 for [^;]*; from: made\n/)
    expect((await shown(asked.stalls({ most: 3 }))).split('\n')).toEqual([...asked.stalls({ most: 3 }).map(({ words }) => words), expect.any(String)])
    expect(await shown(asked.compare(run.plan.ask()))).toMatch(/\n {2}tokens +64 +64 +equal\n/)
  })

  it('take a line each in a list, and are plain data to a program', async () => {
    const both = [summary, await run.step(text)]
    expect((await shown(both)).split('\n')).toEqual(['[', expect.stringMatching(/^ {2}step 1: loss /), expect.stringMatching(/^ {2}step 2: loss /), ']'])
    expect(Object.keys(JSON.parse(JSON.stringify(summary)))).toEqual(Object.keys(summary))
    expect({ ...summary }).toEqual(JSON.parse(JSON.stringify(summary)))
    expect(structuredClone(summary)).toEqual({ ...summary })
  })
})

describe('control of a run', () => {
  it('says what is under way and what may be asked for', async () => {
    expect(await shown(run.control)).toBe('Control of a run: nothing is under way; now .pause()')
    const at = await run.stepper(text)
    await at.next(2)
    expect(await shown(run.control)).toMatch(/^Control of a run: the stepper stands after op 1: .*; now \.resume\(\), \.step\('chunk'\), .*\.stop\(\)$/)
    await at.close()
    await run.control.pause()
    expect(await shown(run.control)).toMatch(/^Control of a run: paused before the next step; now \.resume\(\)$/)
    await run.control.resume()
  })
  it('of one that is closed', async () => {
    const other = await device.train(model, { sequence: 64, chunk: 16 })
    await other.close()
    expect(await shown(other.control)).toBe('Control of a run: the run is closed')
  })
})

describe('texts, and the head of a run', () => {
  it('a text says how long it is and where it is from', async () => {
    expect(await shown(text)).toMatch(/^Long text of 1,000 tokens\n/)
    expect(namesIn(await shown(text))).toEqual(Object.keys(text).sort())
    const two = longText([randomTokens(10, 97, 2), randomTokens(20, 97, 3)], { labels: Array(30).fill(1) })
    expect(await shown(two)).toMatch(/^Long text of 30 tokens with 2 documents and labels of its own/)
    expect(await shown(byteText('some words\nof two lines'))).toMatch(/^Long text of 23 tokens: bytes of 23 characters\n/)
    const own = Object.freeze({ source: 'mine', length: 9, read: () => Uint32Array.of(1) })
    expect(longText(own)).toBe(own)
  })
  it('the head of a run is told as the run, with its names', async () => {
    const words = await shown(run.head)
    expect(words).not.toMatch(/\[Object\]|\[Array\]/)
    expect(words.split('\n')[0]).toBe(`${run.head.title} · ${run.head.state}`)
    expect(namesIn(words)).toEqual(Object.keys(run.head).sort())
  })
})

describe('devices and presets', () => {
  it('a device says what it is and what a rank may take of it', async () => {
    expect(await shown(device)).toMatch(
      /^Device cpu: .+ \(\w+\), 2 threads; bytes a rank may take: device 64\.0\sMiB, host 64\.0\sMiB, disk as many as are free \(.+\)$/,
    )
  })
  it('the list of devices is a table', async () => {
    const list = Device.list()
    const bundle = await present(list)
    const lines = String(bundle['text/plain']).split('\n')
    expect(lines.length).toBe(list.length)
    for (const [i, { backend, reason }] of list.entries())
      expect(lines[i]?.startsWith(backend) && lines[i].includes(reason === '' ? 'usable' : reason)).toBe(true)
    expect(String(bundle['text/html']).match(/<tr>/g)).toHaveLength(list.length + 1)
  })
  it('what was measured of a device has units, and the names of its values', async () => {
    const words = await shown(device.rates())
    expect(words).toMatch(/^bf16: [\d.]+\s[kMGT]FLOP\/s in the best matrix product/)
    expect(words).toMatch(/ between device and host [\d.]+\s[KMGT]iB\/s, /)
    expect(namesIn(words)).toEqual(Object.keys(device.rates()).sort())
    device.measurePeak()
    expect(await shown(device.rates())).toMatch(/^bf16: /)
  })
  it('kernels take a line each', async () => {
    const lines = (await shown(KERNELS)).split('\n')
    expect(lines.slice(0, -1).map((line) => line.split(' ')[0])).toEqual(Object.keys(KERNELS))
    expect(lines.join('\n')).not.toMatch(/\[Object\]|\[Function/)
  })
  it('presets take a line each', () => {
    expect(
      inspect(PRESETS)
        .split('\n')
        .map((line) => line.split(' ')[0]),
    ).toEqual(PRESETS.map(({ name }) => name))
  })
})
