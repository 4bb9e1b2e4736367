/** Schedules that nobody would train with: of frees alone, and of values with odd names; and files with odd names. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { Device } from '../../kernel/src/fpdt/device.js'
import { ops, value } from '../../kernel/src/fpdt/index.js'
import type { OwnSchedule } from '../../kernel/src/fpdt/own/own-schedule.js'
import { random } from '../../kernel/src/fpdt/own/tensor.js'
import { openRun } from '../../kernel/src/trace/model/run.js'
import { decodeSavedRun, saveRun } from '../../kernel/src/trace/saved.js'
import { unmeasured } from './unmeasured.mjs'

unmeasured(Device)
const folder = mkdtempSync(join(tmpdir(), 'fpdt-odd-'))
const device = await Device.cpu({ memory: '64 MiB', host: '64 MiB', threads: 1 })
afterAll(async () => {
  await device.close()
  rmSync(folder, { recursive: true })
})
const x = value('x', [4, 8])
async function freed(): Promise<OwnSchedule> {
  const schedule = device.schedule(() => ops.free(ops.at('forward'), 'host', x), { inputs: { host: [x] } })
  await schedule.run({ x: random([4, 8], 1) })
  return schedule
}

describe('a schedule of frees alone', () => {
  it('takes no time, again and again; what is saved of it opens, and its exports are whole', async () => {
    const schedule = await freed()
    expect((await schedule.run({ x: random([4, 8], 1) })).seconds).toBe(0)
    expect(schedule.head.steps.map(({ start_ns, duration_ns }) => [start_ns, duration_ns])).toEqual([
      [0, 0],
      [0, 0],
    ])
    const saved = await decodeSavedRun(JSON.parse(JSON.stringify(await saveRun(schedule.tables()))))
    expect(saved.head.steps).toEqual(schedule.head.steps)
    expect(saved.spans.op.length).toBe(0)
    expect(() => openRun(saved)).not.toThrow()
    await schedule.export(join(folder, 'freed.json'))
    expect(JSON.parse(readFileSync(join(folder, 'freed.json'), 'utf8'))).toHaveProperty('traceEvents')
    for (const ending of ['.csv', '.memory.csv', '.svg']) {
      await schedule.export(join(folder, `freed${ending}`))
      expect(readFileSync(join(folder, `freed${ending}`), 'utf8')).not.toMatch(/NaN|Infinity/)
    }
    await schedule.close()
  })
})

describe('names', () => {
  it.each(['a\0b', 'a\nb', 'a\rb', 'a\u2028b', 'a\tb', '\u0085'])('of values are printed in a line: %j is refused where the value is made', (name) => {
    expect(() => value(name, [4])).toThrow(expect.objectContaining({ code: 'schedule', message: expect.stringContaining('a line break or another control') }))
  })

  it('of files that the system refuses are refused in words, and leave nothing behind', async () => {
    const schedule = await freed()
    writeFileSync(join(folder, 'file'), '')
    symlinkSync(join(folder, 'loop'), join(folder, 'loop'))
    symlinkSync(join(folder, 'ring.arrow'), join(folder, 'ring.arrow'))
    const wrong: [string, string, RegExp][] = [
      [join(folder, 'n'.repeat(300)), 'disk', /the name is too long/],
      [join(folder, 'n'.repeat(245)), 'disk', /the name is too long/], // with what it is called while it is written
      [join(folder, 'file', 'step'), 'disk', /a part of the path is a file, not a folder/],
      [join(folder, 'loop', 'step'), 'disk', /its links lead in a circle/],
      [join(folder, 'ring'), 'disk', /its links lead in a circle/],
      [join(folder, 'none', 'step'), 'disk', /there is no such folder/],
      [join(folder, 'a\0b'), 'config', /has a NUL character/],
      ['', 'config', /is an ending without a name/],
      [`${folder}/`, 'config', /is an ending without a name/],
    ]
    for (const [path, code, words] of wrong)
      for (const call of ['trace', 'export'] as const) {
        const name = `${path}.arrow`
        await expect(schedule[call](name), name).rejects.toMatchObject({ name: 'FpdtError', code, message: expect.stringMatching(words) })
      }
    for (const ending of ['.csv', '.memory.csv', '.json']) await expect(schedule.export(join(folder, 'none', ending))).rejects.toMatchObject({ code: 'config' })
    expect(readdirSync(folder).filter((name) => name.endsWith('.part'))).toEqual([])
    await schedule.close()
  })
})
