/** Run files in the file browser: what `run.trace('step.arrow')` wrote is opened with a double click. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Page } from 'playwright'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { encodeTable } from '../../kernel/src/trace/codec.js'
import { encodeRunFile } from '../../kernel/src/trace/file.js'
import { fixture } from '../null/trace/fixture.js'
import { eventually } from './drawn.js'
import { type Lab, results, startLab } from './jupyterlab.js'

const run = fixture({ ranks: 2, layers: 2, chunks: 4, steps: 2 })
const drawn = '.jp-FPDT-tab .jp-FPDT-stage[data-fpdt-drawn]'

let lab: Lab
let page: Page
const write = (name: string, parts: Iterable<Uint8Array>): void => writeFileSync(join(lab.folder, name), Buffer.concat([...parts]))
const item = (name: string) => page.locator('.jp-DirListing-item', { hasText: name })
beforeAll(async () => {
  lab = await startLab()
  write('step.arrow', encodeRunFile(run))
  write('slow.arrow', encodeRunFile(run))
  write('other.arrow', [encodeTable('memory', run.memory, { schema: 'lap.times' })])
  page = await lab.open({ width: 1300, height: 1000 })
  await page.goto(`${lab.url}/lab?reset`)
  await item('step.arrow').waitFor({ timeout: 60_000 })
}, 120_000)
afterAll(async () => lab?.close(), 60_000)

it('draws a run file that is double-clicked', async () => {
  await item('step.arrow').dblclick()
  await page.locator(drawn).first().waitFor({ timeout: 30_000 })
  expect(await page.locator('.jp-FPDT-header').first().innerText()).toContain(run.head.title)
  await page.screenshot({ path: join(results, 'file.png') })
}, 60_000)

it('draws it again when the page is loaded again', async () => {
  await eventually(() => lab.savedLayouts()).toMatch(/"widgets":\s*\[[^\]]*:step\.arrow/)
  await page.goto(`${lab.url}/lab`)
  await page.locator(drawn).first().waitFor({ timeout: 60_000 })
}, 90_000)

it('draws the new file when it was written again', async () => {
  write('step.arrow', encodeRunFile({ ...run, head: { ...run.head, title: 'written again' } }))
  await page.evaluate(() => {
    type App = { shell: { currentWidget: { context: { revert(): Promise<void> } } } }
    return (window as unknown as { jupyterapp: App }).jupyterapp.shell.currentWidget.context.revert()
  })
  await expect.poll(() => page.locator('.jp-FPDT-header').first().innerText(), { timeout: 20_000 }).toContain('written again')
}, 40_000)

it('says why it does not draw an Arrow file of something else', async () => {
  await item('other.arrow').dblclick()
  await expect
    .poll(() => page.locator('.jp-FPDT-reason:visible').allInnerTexts(), { timeout: 20_000 })
    .toEqual([expect.stringContaining('Arrow of something else, and no fpdt.run')])
}, 40_000)

it('shows that a file is being read, and stops on demand', async () => {
  let release = (): void => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  await page.route('**/files/slow.arrow*', async (route) => {
    await held
    await route.continue().catch(() => {}) // given up by then
  })
  await item('slow.arrow').dblclick()
  const notice = page.locator('.jp-FPDT-reason:visible')
  await expect.poll(() => notice.innerText(), { timeout: 20_000 }).toContain('slow.arrow is read.')
  await notice.getByRole('button', { name: 'Stop reading slow.arrow' }).click()
  await eventually(() => notice.innerText()).toContain('slow.arrow was not read.')
  release()
  await page.unroute('**/files/slow.arrow*')
  await notice.getByRole('button', { name: 'Read slow.arrow' }).click()
  await page.locator('.lm-DockPanel-widget:not(.lm-mod-hidden) .jp-FPDT-stage[data-fpdt-drawn]').waitFor({ timeout: 20_000 })
}, 60_000)

it('draws it in Notebook 7 too', async () => {
  const tree = await lab.open({ width: 1100, height: 900 })
  await tree.goto(`${lab.url}/tree`)
  const entry = tree.locator('.jp-DirListing-item', { hasText: 'step.arrow' })
  await entry.waitFor({ timeout: 60_000 })
  const [opened] = await Promise.all([tree.context().waitForEvent('page', { timeout: 30_000 }), entry.dblclick()])
  await opened.locator(drawn).waitFor({ timeout: 60_000 })
  await opened.screenshot({ path: join(results, 'file-notebook.png') })
}, 120_000)
