/** The whole path: a notebook is executed by our kernel under a real client, saved, and opened where there is no kernel. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { overlaps } from '../../kernel/src/trace/draw/surface.js'
import { contrastOf } from '../../kernel/src/trace/draw/theme.js'
import { RUN_MIME, type SavedRun } from '../../kernel/src/trace/schema.js'
import type { PanelState } from '../../labextension/src/lab/panel.js'
import { setTheme } from './drawn.js'
import { type Lab, openWithoutKernel, results, startLab } from './jupyterlab.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const CELLS = [
  `import { adamW, Device, llama } from 'fpdt'
const device = await Device.cpu({ memory: '128 MiB', host: '64 MiB' })
const model = llama({ layers: 2, width: 64, heads: 4, kvHeads: 2, feedForward: 96, vocab: 50257 })
const run = await device.train(model, { sequence: 2048, chunk: 512, ranks: 2, optimizer: adamW({ rate: 1e-3 }) })`,
  'run.plan',
  `for await (const s of run.steps('lib.dom.d.ts', 2)) console.log('step', s.step, s.loss!.toFixed(4))`,
  'run',
]

interface Output {
  output_type: string
  text?: string
  data?: Record<string, unknown>
}
let folder: string
let lab: Lab
let outputs: Output[][]

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'fpdt-executed-'))
  const [source, executed] = [join(folder, 'source.ipynb'), join(folder, 'executed.ipynb')]
  const cells = CELLS.map((cell, i) => ({ cell_type: 'code', id: `c${i}`, metadata: {}, source: cell, outputs: [], execution_count: null }))
  const metadata = { kernelspec: { name: 'fpdt', display_name: 'TypeScript (FPDT)', language: 'typescript' } }
  writeFileSync(source, JSON.stringify({ nbformat: 4, nbformat_minor: 5, metadata, cells }))
  execFileSync(join(root, '.venv/bin/python'), [join(root, 'notebooks/execute.py'), source, executed], { timeout: 120_000, stdio: 'pipe' })
  outputs = JSON.parse(readFileSync(executed, 'utf8')).cells.map((cell: { outputs: Output[] }) => cell.outputs)
  lab = await startLab()
  lab.addNotebook('executed.ipynb', executed)
}, 240_000)
afterAll(async () => {
  await lab?.close()
  rmSync(folder, { recursive: true, force: true })
}, 60_000)

const payload = (cell: number): SavedRun => outputs[cell].map((output) => output.data?.[RUN_MIME] as SavedRun | undefined).find(Boolean) as SavedRun
const states = (page: Page): Promise<PanelState[]> =>
  page.evaluate(() => [...document.querySelectorAll('.jp-FPDT-run')].map((node) => (node as HTMLElement & { fpdtState: PanelState }).fpdtState))

describe('an executed notebook', () => {
  it('holds the plan as predicted, and the run as measured with bytes as planned', () => {
    expect(payload(1).head.origin).toBe('predicted')
    const { head, tables } = payload(3)
    expect(head.origin).toBe('measured')
    expect(head.steps.map(({ step }) => step)).toEqual([1, 2])
    expect(head.steps[1].loss!).toBeLessThan(head.steps[0].loss!)
    for (const tier of head.tiers) expect([tier.allocated_bytes, tier.measured_bytes]).toEqual([tier.predicted_bytes, tier.predicted_bytes])
    expect(tables.spans.rows).toBe(head.kept.spans)
    expect(Object.keys(outputs[3].at(-1)!.data!).sort()).toEqual([RUN_MIME, 'image/png', 'text/plain'].sort())
  })

  it('updates the run that the first step showed, in place', () => {
    const shown = outputs[2].filter((output) => output.data?.[RUN_MIME])
    expect(shown.length).toBe(1)
    expect((shown[0].data![RUN_MIME] as SavedRun).head.steps.length).toBe(2)
  })

  it.each(['JupyterLab Light', 'JupyterLab Dark'])(
    'is drawn in %s at 1200 px with no kernel: every lane, tier, budget and peak, no label cut or overlapping',
    async (theme) => {
      const page = await lab.open({ width: 1200, height: 3400 }) // all in view: what is not is not drawn
      await openWithoutKernel(lab, page, 'executed.ipynb')
      await setTheme(page, theme)
      await expect.poll(() => page.locator('.jp-FPDT-stage[data-fpdt-drawn]').count(), { timeout: 30_000 }).toBe(3)
      await expect
        .poll(async () => (await states(page)).every((state) => state.theme.name === (theme.endsWith('Dark') ? 'dark' : 'light')), { timeout: 15_000 })
        .toBe(true)
      for (const { picture, size } of await states(page)) {
        expect(picture.lanes.length).toBe(8)
        expect(picture.charts.map(({ tier }) => tier)).toEqual(['device', 'host'])
        for (const [role, count] of [
          ['lane', 8],
          ['rank', 2],
          ['budget', 2],
          ['peak', 2],
          ['axis', 1],
        ] as const) {
          expect(picture.labels.filter((label) => label.role === role).length, role).toBe(count)
        }
        for (const [i, label] of picture.labels.entries()) {
          expect(label.x >= 0 && label.x + label.width <= size.width + 0.5, label.text).toBe(true)
          expect(contrastOf(label.colour, label.on), label.text).toBeGreaterThanOrEqual(4.5)
          for (const other of picture.labels.slice(i + 1)) expect(overlaps(label, other), `${label.text} / ${other.text}`).toBe(false)
        }
      }
      await page.locator('.jp-FPDT-run').last().scrollIntoViewIfNeeded()
      await page.screenshot({ path: join(results, `executed-${theme.endsWith('Dark') ? 'dark' : 'light'}.png`) })
      await page.close()
    },
    120_000,
  )
})
