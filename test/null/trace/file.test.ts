import { mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RecordBatchReader, Table } from 'apache-arrow'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FpdtError } from '../../../kernel/src/errors.js'
import { writeTrace } from '../../../kernel/src/fpdt/run/trace-file.js'
import { encodeTable } from '../../../kernel/src/trace/codec.js'
import { decodeRunFile, encodeRunFile } from '../../../kernel/src/trace/file.js'
import { linesOf, textOf } from '../../../kernel/src/trace/lines.js'
import { openRun } from '../../../kernel/src/trace/model/run.js'
import { fixture } from './fixture.js'

const tables = fixture({ ranks: 2, layers: 1, chunks: 2, steps: 2 })
const fileOf = (run = tables): Uint8Array => new Uint8Array(Buffer.concat([...encodeRunFile(run)]))
const bytes = fileOf()
const reason = (hostile: Uint8Array): string => {
  try {
    openRun(decodeRunFile(hostile))
    return ''
  } catch (error) {
    expect(error).toBeInstanceOf(FpdtError)
    expect((error as FpdtError).code).toBe('payload')
    return (error as FpdtError).message
  }
}

describe('run file', () => {
  it('gives back the whole run, prediction included', () => {
    const whole = { ...tables, predicted: tables.spans }
    const read = decodeRunFile(fileOf(whole))
    expect(read).toEqual({
      ...whole,
      head: { ...whole.head, kept: { spans: whole.spans.op.length, of: whole.spans.op.length, steps: [1, 2], reason: 'everything' } },
    })
    expect(decodeRunFile(bytes).predicted).toBeNull()
  })

  it('is read without a copy of its columns', () => {
    const read = decodeRunFile(bytes)
    expect(read.spans.start_ns.buffer).toBe(bytes.buffer)
    expect(read.memory.time_ns.buffer).toBe(bytes.buffer)
  })

  it('is read at any alignment', () => {
    const shifted = new Uint8Array(bytes.length + 1)
    shifted.set(bytes, 1)
    expect(decodeRunFile(shifted.subarray(1))).toEqual(decodeRunFile(bytes))
  })

  it('is Arrow streams one after the other to any other reader', () => {
    const streams = RecordBatchReader.readAll(bytes)
    const read = Array.from({ length: 5 }, () => new Table([...(streams.next().value as RecordBatchReader)]))
    expect(read.map(({ schema }) => schema.metadata.get('table'))).toEqual(['spans', 'memory', 'buffers', 'uses', 'waits'])
    expect([...(read[0].getChild('start_ns') ?? [])]).toEqual([...tables.spans.start_ns])
    expect(read[0].schema.metadata.get('listing')?.split('\n')[0]).toBe(tables.listing[0])
  })

  it('says what is wrong with other files', () => {
    const { memory } = tables
    expect(reason(new Uint8Array(0))).toMatch(/it has no spans/)
    expect(reason(new TextEncoder().encode('ARROW1\0\0'))).toMatch(/Arrow file of another program/)
    expect(reason(new TextEncoder().encode('{"cells": []} and so on'))).toMatch(/no Arrow message begins at byte 0/)
    expect(reason(encodeTable('memory', memory))).toMatch(/it has no spans/)
    expect(reason(encodeTable('memory', memory, { schema: 'lap.times' }))).toMatch(/Arrow of something else/)
    expect(reason(encodeTable('memory', memory, { version: '3' }))).toMatch(/it has version 3, and version 2 is known/)
    expect(reason(encodeTable('memory', memory, { table: 'laps' }))).toMatch(/it is not the spans or memory or/)
    expect(reason(new Uint8Array(Buffer.concat([encodeTable('memory', memory), encodeTable('memory', memory)])))).toMatch(/two tables of memory/)
    expect(reason(fileOf({ ...tables, head: { ...tables.head, version: 7 as 2 } }))).toMatch(/its head is not of an fpdt.run of version 2/)
    expect(reason(encodeTable('spans', tables.spans, { head: '{', listing: '' }))).toMatch(/it has no buffers/)
  })

  it('refuses every truncation but those between two tables', () => {
    for (let length = 0; length < bytes.length - 8; length += 7) expect(reason(bytes.subarray(0, length)), `${length} bytes`).not.toBe('')
  })

  it('is drawn or refused in words, whatever words of it are overwritten', () => {
    const word = fc.constantFrom(0, 1, 0x7fffffff, 0xffffffff, 0x10000000, 0x3f800000)
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(bytes.length / 4 - 1), word), { minLength: 1, maxLength: 4 }), (changes) => {
        const hostile = bytes.slice()
        const view = new DataView(hostile.buffer)
        for (const [at, value] of changes) view.setUint32(4 * at, value, true)
        reason(hostile)
      }),
      { numRuns: 500 },
    )
  }, 60_000)

  it('is drawn or refused in words, whatever bytes of its heads of messages are overwritten', () => {
    // Every 4 bytes of the metadata of the first two streams, where counts and offsets stand.
    const first = encodeTable('spans', tables.spans)
    const rest = [...encodeRunFile(tables)].slice(1)
    for (let at = 0; at + 4 <= 4000; at += 4) {
      for (const value of [0xffffffff, 0x7fffffff, 0x00ffffff]) {
        const hostile = new Uint8Array(Buffer.concat([first, ...rest]))
        new DataView(hostile.buffer).setUint32(at, value, true)
        reason(hostile)
      }
    }
  }, 60_000)
})

describe('lines', () => {
  it('come back as they were, but for line feeds within', () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (lines) => {
        expect(linesOf(textOf(lines), lines.length)).toEqual(lines.map((line) => line.replaceAll('\n', ' ')))
      }),
    )
    expect(linesOf('\n'.repeat(1000), 999)).toBeNull()
  })
})

describe('writeTrace', () => {
  const folder = mkdtempSync(join(tmpdir(), 'fpdt-trace-'))

  it('writes the file whole, or says why not', async () => {
    const path = join(folder, 'step.arrow')
    expect(await writeTrace(path, tables)).toBe(path)
    expect(openRun(decodeRunFile(new Uint8Array(readFileSync(path)))).lanes.length).toBe(openRun(tables).lanes.length)
    expect(readdirSync(folder)).toEqual(['step.arrow'])
  })

  it.each([
    [join(folder, 'none', 'step.arrow'), 'disk', /none\/step\.arrow could not be written/],
    [folder, 'disk', /is a folder; give a file in it/],
    ['/dev/full', 'config', /is not the name of an \.arrow file; try run\.trace\('step\.arrow'\)/],
    ['', 'config', /is not the name of an \.arrow file/],
  ])('refuses %s', async (path, code, words) => {
    await expect(writeTrace(path, tables)).rejects.toMatchObject({ code, message: expect.stringMatching(words) })
  })
})
