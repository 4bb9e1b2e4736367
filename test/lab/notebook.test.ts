/** Notebook 7, served beside JupyterLab by the same server: the other of the two pages that people open a notebook in. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { kernelStatus, type Lab, results, startLab } from './jupyterlab.js'

const CELLS = [
  `const scale = (value: number, by = 2): number => value * by
scale(21)`,
  `import { Device, llama } from 'fpdt'
const device = await Device.cpu({ memory: '64 MiB', host: '64 MiB' })
const run = await device.train(llama({ layers: 1, width: 32, heads: 2, feedForward: 64 }), { sequence: 256, chunk: 128, ranks: 1 })
await run.step('lib.dom.d.ts')`,
  'for (const _ of progress(5)) {}',
  'scale.na',
]
const SOON = { timeout: 20_000, interval: 50 }

let lab: Lab
let page: Page
beforeAll(async () => {
  lab = await startLab({ kernel: true })
  const cells = CELLS.map((source, i) => ({ cell_type: 'code', id: `c${i}`, metadata: {}, source, outputs: [], execution_count: null }))
  const metadata = { kernelspec: { name: 'fpdt', display_name: 'TypeScript (FPDT)', language: 'typescript' }, language_info: { name: 'typescript' } }
  writeFileSync(join(lab.folder, 'seven.ipynb'), JSON.stringify({ nbformat: 4, nbformat_minor: 5, metadata, cells }))
  page = await lab.open({ width: 1100, height: 1200 })
  await page.goto(`${lab.url}/notebooks/seven.ipynb`)
  await page.locator('.jp-Notebook .jp-Cell').nth(3).waitFor({ timeout: 60_000 })
}, 120_000)
afterAll(async () => lab?.close(), 60_000)

const cell = (i: number) => page.locator('.jp-Notebook .jp-Cell').nth(i)
const output = (i: number) => cell(i).locator('.jp-OutputArea-output')

it('Notebook 7 runs cells and draws results, runs of a training and progress bars', async () => {
  await expect.poll(() => kernelStatus(page), SOON).toBe('idle')
  await cell(0).locator('.cm-content').click()
  for (let i = 0; i < 3; i++) await page.keyboard.press('Shift+Enter')
  await expect.poll(() => output(0).allInnerTexts(), SOON).toEqual(['42'])
  await page.locator('.jp-FPDT-stage[data-fpdt-drawn]').waitFor()
  await expect.poll(async () => (await output(2).allInnerTexts()).join(), SOON).toMatch(/100\s%.*5 of 5/)
  await page.screenshot({ path: join(results, 'notebook.png') })
}, 60_000)

it('Notebook 7 has the views, keys and commands of a run, and opens it in a panel of its own', async () => {
  const panel = page.locator('.jp-OutputArea .jp-FPDT-run').first()
  await panel.locator('.jp-FPDT-stage').first().focus()
  await page.keyboard.press('9')
  await panel.locator('.jp-FPDT-view[data-view="ops"] tbody tr').first().waitFor()
  await page.keyboard.press('9')
  await panel.locator('.jp-FPDT-view[data-view="ops"]').waitFor({ state: 'detached' })
  await panel.getByRole('button', { name: /^Open in tab/ }).click()
  await page.locator('.jp-FPDT-tab .jp-FPDT-stage[data-fpdt-drawn]').first().waitFor()
  await page.screenshot({ path: join(results, 'notebook-tab.png') })
  await page.evaluate(() => {
    const { shell } = (window as unknown as { jupyterapp: { shell: { widgets(area: string): Iterable<{ close(): void }> } } }).jupyterapp
    for (const widget of [...shell.widgets('down')]) widget.close()
  })
}, 60_000)

it('Notebook 7 completes a name and explains it', async () => {
  await cell(3).locator('.cm-content').click()
  await page.keyboard.press('Control+End')
  await page.keyboard.press('Tab')
  await expect.poll(() => page.locator('.jp-Completer').innerText(), SOON).toMatch(/name/)
  await page.keyboard.press('Enter')
  await expect.poll(() => cell(3).locator('.cm-content').innerText(), SOON).toBe('scale.name')
  await page.keyboard.press('Home')
  await page.keyboard.press('ArrowRight')
  await page.keyboard.press('Shift+Tab')
  await expect.poll(() => page.locator('.jp-Tooltip').innerText(), SOON).toMatch(/scale.*value: number, by\?: number/s)
  await page.screenshot({ path: join(results, 'notebook-tooltip.png') })
}, 60_000)
