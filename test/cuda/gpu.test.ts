/** The run book, `npm run gpu`: on an emulated GPU it goes through, small, and writes its report; without a GPU it says so and ends with a code of its own. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { whyNoGpu } from '../gpu/find.mjs'

const script = fileURLToPath(new URL('../gpu/run.mjs', import.meta.url))
const emulated = process.env.FPDT_NATIVE ?? fileURLToPath(new URL('../../native/build/fpdt-emulated.node', import.meta.url))
const run = (emulator: object, ...args: string[]) =>
  spawnSync(process.execPath, [script, ...args], {
    encoding: 'utf8',
    env: { ...process.env, FPDT_NATIVE: emulated, FPDT_EMULATOR: JSON.stringify({ configure: emulator }) },
    timeout: 300_000,
  })

it('measures a step, takes it apart and writes one report', () => {
  const { status, stdout, stderr } = run({}, '--skip-tests', '--small')
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

it('ends with 3 where there is no GPU, and says why before it builds anything', () => {
  const { status, stdout, stderr } = run({ driver: 0 })
  expect({ status, stdout, stderr }).toEqual({
    status: 3,
    stdout: expect.stringMatching(/^No GPU: No NVIDIA driver was found: .*install its driver.*\n$/),
    stderr: '',
  })
})

it('knows so in a clone that was never built', () => {
  const clone = mkdtempSync(join(tmpdir(), 'fpdt-clone-'))
  const { status, stdout } = spawnSync('nvidia-smi', ['-L'], { encoding: 'utf8' })
  const isThere = status === 0 && stdout.includes('GPU 0')
  expect(whyNoGpu(clone)).toEqual(isThere ? undefined : expect.stringMatching(/^No NVIDIA driver was found /))
  rmdirSync(clone) // nothing was left in it
})

it('explains itself, and refuses what it does not know', () => {
  expect(run({}, '--help')).toMatchObject({ status: 0, stdout: expect.stringMatching(/^npm run gpu -- \[--skip-tests\] \[--small\]\n/), stderr: '' })
  for (const [arg, words] of [
    ['--smal', "Unknown option '--smal'"],
    ['small', "Unexpected argument 'small'"],
    ['--small=3', "Option '--small' does not take an argument"],
  ] as const)
    expect(run({}, arg)).toMatchObject({ status: 2, stdout: '', stderr: expect.stringContaining(`npm run gpu: ${words}\n`) })
})
