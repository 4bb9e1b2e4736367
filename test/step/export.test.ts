/** A run leaves a notebook's kernel as files, and a value in the middle of a step as a picture. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadImage } from '@napi-rs/canvas'
import { afterAll, describe, expect, it } from 'vitest'
import { TO_MIME } from '../../kernel/src/display.js'
import { FpdtError } from '../../kernel/src/errors.js'
import { Device } from '../../kernel/src/fpdt/device.js'
import { llama } from '../../kernel/src/model/llama.js'
import { decodeRunFile } from '../../kernel/src/trace/file.js'
import { decodeSavedRun } from '../../kernel/src/trace/saved.js'
import { RUN_MIME } from '../../kernel/src/trace/schema.js'
import { KEPT_STEPS } from '../../kernel/src/trace/spans.js'
import { keptWords } from '../../kernel/src/trace/words/run.js'
import { chromeTroubles, eventsOf } from '../null/trace/export/chrome-check.js'
import { parseCsv } from '../null/trace/export/csv-parse.js'
import { randomTokens } from './harness.js'
import { unmeasured } from './unmeasured.mjs'

unmeasured(Device)
const device = await Device.cpu({ memory: '64 MiB', host: '64 MiB', threads: 2 })
const run = await device.train(llama({ layers: 1, width: 32, heads: 2, headSize: 16, feedForward: 40, vocab: 97 }), { sequence: 64, chunk: 16, ranks: 2 })
const text = randomTokens(400, 97, 2)
const folder = mkdtempSync(join(tmpdir(), 'fpdt-export-'))
afterAll(async () => {
  rmSync(folder, { recursive: true })
  await device.close()
})
const refusal = async (attempt: () => Promise<unknown>): Promise<string> => {
  try {
    await attempt()
    return 'no error'
  } catch (error) {
    return error instanceof FpdtError ? `${error.code}: ${error.message}` : String(error)
  }
}

describe('run.export', () => {
  it('writes what the ending of the name says', async () => {
    await run.step(text)
    await run.step(text)
    const { spans, memory } = run.tables()
    const write = async (name: string): Promise<Buffer> => readFileSync(await run.export(join(folder, name)))
    const trace = String(await write('step.json'))
    expect(chromeTroubles(trace)).toEqual([])
    expect(eventsOf(trace).filter(({ args }) => args?.line !== undefined)).toHaveLength(spans.op.length)
    expect(parseCsv(String(await write('step.csv')))).toHaveLength(spans.op.length)
    expect(parseCsv(String(await write('step.memory.csv')))).toHaveLength(memory.op.length)
    expect((await loadImage(await write('step.png'))).width).toBe(2400)
    expect(String(await write('step.svg'))).toMatch(/^<svg [^>]*width="1200"/)
    expect(decodeRunFile(new Uint8Array(await write('step.arrow'))).spans).toEqual(spans)
    expect(readdirSync(folder)).toHaveLength(6) // no part of a file is left beside them
  })

  it('says what it can write when a name does not say it, and writes nothing', async () => {
    expect(await refusal(() => run.export(join(folder, 'step.txt')))).toMatch(
      /^config: ".*step\.txt" does not say by its ending what to write; try run\.export\('step\.json'\)\. Known: step\.memory\.csv .*step\.arrow \(all of it/,
    )
    expect(await refusal(() => run.export('.json'))).toMatch(/^config: "\.json" is an ending without a name/)
    expect(await refusal(() => run.export(7 as never))).toMatch(/^config: 7 does not say/)
    expect(await refusal(() => run.export(join(folder, 'no/such/step.csv')))).toMatch(/^disk: /)
    expect(readdirSync(folder)).toHaveLength(6)
  })
})

describe('run.trace', () => {
  it('holds the newest steps that are kept, and says of how many', async () => {
    const long = await device.train(llama({ layers: 1, width: 32, heads: 2, headSize: 16, feedForward: 40, vocab: 97 }), { sequence: 64, chunk: 16 })
    for await (const _ of long.steps(text, KEPT_STEPS));
    expect(keptWords(long.tables().head)).toBe('')
    for await (const _ of long.steps(text, 2));
    const { head, spans } = decodeRunFile(new Uint8Array(readFileSync(await long.trace(join(folder, 'long.arrow')))))
    const [each, steps] = [spans.op.length / KEPT_STEPS, Array.from({ length: KEPT_STEPS }, (_, i) => i + 3)]
    expect([...new Set(spans.step)]).toEqual(steps)
    expect(head.kept).toMatchObject({ spans: KEPT_STEPS * each, of: (KEPT_STEPS + 2) * each, steps })
    expect(head.steps).toHaveLength(KEPT_STEPS + 2)
    expect(keptWords(head)).toContain('those of steps 3–18. The newest 16 of 18 steps: of earlier ones the kernel keeps the figures alone')
    expect(keptWords((await decodeSavedRun((await long.bundle())[RUN_MIME])).head)).toMatch(/^Shows [\d,]+ of [\d,]+ ops, .* of 18 steps: /)
    await long.close()
  })
})

describe('a value looked at in the middle of a step', () => {
  it('is a picture as the last value of a cell, and words in a terminal', async () => {
    const at = await run.stepper(text)
    await at.until({ phase: 'forward', layer: 0, q: 3 })
    const k = at.peek('k[0,1]', 1)
    const bundle = await k[TO_MIME]()
    expect(Object.keys(bundle)).toEqual(['image/png', 'text/plain'])
    const image = await loadImage(Buffer.from(String(bundle['image/png']), 'base64'))
    expect(image.width).toBe(1120)
    const finite = [...k.values].filter(Number.isFinite)
    expect(bundle['text/plain']).toMatch(/^k\[0,1\], (device|host) of rank 1, after .*\. Shape \(16, 1, 16\), drawn as 16 × 16\. Minimum .*, maximum .*, mean /)
    const [, maximum] = /maximum ([\d.e-]+)/.exec(String(bundle['text/plain'])) ?? []
    expect(Number(maximum)).toBeCloseTo(Math.max(...finite), 3)
    expect(String(k)).toBe(bundle['text/plain'])
    await at.close()
  })
})
