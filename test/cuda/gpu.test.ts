/** The run book, `npm run gpu`: on an emulated GPU it goes through, small, and writes its report; without a GPU it says so and ends with a code of its own. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const script = fileURLToPath(new URL('../gpu/run.mjs', import.meta.url))
const emulated = process.env.FPDT_NATIVE ?? fileURLToPath(new URL('../../native/build/fpdt-emulated.node', import.meta.url))
const run = (emulator: object) =>
  spawnSync(process.execPath, [script, '--skip-tests', '--small'], {
    encoding: 'utf8',
    env: { ...process.env, FPDT_NATIVE: emulated, FPDT_EMULATOR: JSON.stringify({ configure: emulator }) },
    timeout: 300_000,
  })

it('measures a step, takes it apart and writes one report', () => {
  const { status, stdout, stderr } = run({})
  expect(status, `${stdout}\n${stderr}`).toBe(0)
  const path = stdout.trim().split('\n').at(-1) as string
  const report = readFileSync(path, 'utf8')
  expect(report).toMatch(/^- GPU 0: Emulated GPU, sm_80/m)
  const [, predicted, allocated, touched] = report.match(/\| (\d+) \| (\d+) \| (\d+) \|$/m) as RegExpMatchArray
  expect(Number(predicted)).toBeGreaterThan(1e6)
  expect([allocated, touched]).toEqual([predicted, predicted])
  expect(report).toContain('| rank | step | compute |')
  expect(report).not.toContain('failed')
}, 300_000)

it('ends with 3 where there is no GPU, and says why', () => {
  const { status, stdout } = run({ driver: 0 })
  expect([status, stdout.trim().split('\n').at(-1)]).toEqual([3, expect.stringMatching(/^No GPU: No NVIDIA driver was found: .*install its driver/)])
}, 300_000)
