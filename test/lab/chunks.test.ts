/** The views of chunks in the real JupyterLab: their pictures, their player and keys, and that they point at what others point at. */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Locator, Page } from 'playwright'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { saveRun } from '../../kernel/src/trace/saved.js'
import { RUN_MIME } from '../../kernel/src/trace/schema.js'
import type { PanelState } from '../../labextension/src/lab/panel.js'
import { fixture } from '../null/trace/fixture.js'
import { eventually, setTheme } from './drawn.js'
import { type Lab, openWithoutKernel, results, startLab } from './jupyterlab.js'

let lab: Lab
let page: Page
const troubles: string[] = []
const tables = fixture({ steps: 1 })

beforeAll(async () => {
  lab = await startLab()
  lab.writeNotebook('run.ipynb', [{ [RUN_MIME]: await saveRun(tables), 'text/plain': 'a run' }])
}, 120_000)
afterAll(async () => lab?.close(), 60_000)
afterEach(async () => {
  await page?.close()
  expect(troubles.splice(0)).toEqual([])
})

async function opened(...views: string[]): Promise<void> {
  page = await lab.open({ width: 1400, height: 1500 })
  page.on('pageerror', (error) => troubles.push(String(error)))
  await openWithoutKernel(lab, page, 'run.ipynb')
  await page.locator('.jp-FPDT-stage[data-fpdt-drawn]').first().waitFor()
  for (const name of views)
    await page
      .locator('.jp-FPDT-toolbar')
      .getByRole('button', { name: new RegExp(`^${name}:`) })
      .click()
  // What a view's controls offer is known once it is drawn, which is when it can be seen.
  for (const name of views) {
    await view(name.toLowerCase()).scrollIntoViewIfNeeded()
    await view(name.toLowerCase()).locator('.jp-FPDT-stage[data-fpdt-drawn]').waitFor()
  }
}
const view = (name: string): Locator => page.locator(`.jp-FPDT-view[data-view="${name}"]`)
const state = (): Promise<PanelState> => page.evaluate(() => (document.querySelector('.jp-FPDT-run') as HTMLElement & { fpdtState: PanelState }).fpdtState)

const AXE = createRequire(import.meta.url).resolve('axe-core')

/** Nothing that axe calls serious or critical. */
async function expectAccessible(): Promise<void> {
  await page.addScriptTag({ path: AXE })
  const violations = await page.evaluate(async () => {
    type Axe = { run(at: string): Promise<{ violations: { id: string; impact: string; nodes: { html: string }[] }[] }> }
    return (await (window as unknown as { axe: Axe }).axe.run('.jp-FPDT-run')).violations
  })
  expect(violations.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(({ id, nodes }) => `${id}: ${nodes[0].html}`)).toEqual([])
}

describe('views of chunks', () => {
  it('draw in both themes, say in words what they show, and are accessible', async () => {
    await opened('Slots', 'Chunks', 'Where')
    for (const [theme, short] of [
      ['JupyterLab Light', 'light'],
      ['JupyterLab Dark', 'dark'],
    ] as const) {
      await setTheme(page, theme)
      await view('chunks').scrollIntoViewIfNeeded()
      await view('chunks').locator('input[type=range]').fill('150')
      for (const name of ['slots', 'chunks', 'where']) {
        await view(name).scrollIntoViewIfNeeded()
        await view(name).locator(`.jp-FPDT-stage[data-fpdt-theme="${short}"]`).waitFor()
        await view(name).screenshot({ path: join(results, `chunks-${name}-${short}.png`) })
      }
      await expectAccessible()
    }
    const label = (name: string): Promise<string | null> => view(name).locator('.jp-FPDT-stage').getAttribute('aria-label')
    expect(await label('chunks')).toMatch(/^Chunk triangle of recompute of layer 0, step 1, rank 0: 6 of 36 meetings done at /)
    expect(await label('where')).toMatch(/^Where the chunks of layer 0 are at .*: \d+ chunks? on device, \d+ chunks? on host\.$/)
    expect(await label('slots')).toMatch(/^\d+ slots of the device's arena of rank 0/)
    for (const [name, rows] of [
      ['chunks', 36],
      ['where', 10],
      ['slots', 12],
    ] as const) {
      await view(name).getByText('In words').click()
      await eventually(() => view(name).locator('.jp-FPDT-table tbody tr').count()).toBe(rows)
    }
  }, 120_000)

  it('go from meeting to meeting by keys, buttons and slider, and take the cursor of all views along', async () => {
    await opened('Chunks')
    const stage = view('chunks').locator('.jp-FPDT-stage')
    const slider = view('chunks').locator('input[type=range]')
    await view('chunks').scrollIntoViewIfNeeded()
    await slider.fill('3')
    const cursor = async (): Promise<number | null> => (await state()).cursor_ns
    const { spans, head } = tables
    const starts = [...spans.start_ns.keys()]
      .filter((row) => spans.rank[row] === 0 && ['attend', 'attendBackward'].includes(head.codes.kernels[spans.kernel[row]]?.name))
      .map((row) => spans.start_ns[row])
      .sort((a, b) => a - b)
    await eventually(cursor).toBe(starts[3])
    await stage.focus()
    await page.keyboard.press('.')
    await eventually(cursor).toBe(starts[4])
    await page.keyboard.press(',')
    await page.keyboard.press(',')
    await eventually(cursor).toBe(starts[2])
    await view('chunks').getByRole('button', { name: 'The next meeting' }).click()
    await eventually(cursor).toBe(starts[3])
    await eventually(() => slider.inputValue()).toBe('3')
    expect(await slider.getAttribute('aria-valuetext')).toMatch(/^3 of 216 meetings, /)
    // The page asks for less motion: one meeting a second, until it is told to stop.
    await stage.focus()
    await page.keyboard.press('Enter')
    await eventually(cursor).toBeGreaterThanOrEqual(starts[4])
    await page.keyboard.press('Enter')
    const stopped = await cursor()
    await page.waitForTimeout(1500)
    expect(await cursor()).toBe(stopped)
  }, 90_000)

  it('hold a layer and phase that are chosen, and a click on a cell shows its meeting as it begins', async () => {
    await opened('Chunks')
    await view('chunks').scrollIntoViewIfNeeded()
    await view('chunks').getByLabel('Layer', { exact: true }).selectOption('1')
    await view('chunks').getByLabel('Phase', { exact: true }).selectOption('backward')
    const stage = view('chunks').locator('.jp-FPDT-stage')
    await eventually(() => stage.getAttribute('aria-label')).toMatch(/^Chunk triangle of backward of layer 1/)
    const box = await stage.locator('canvas').first().boundingBox()
    if (!box) throw new Error('the triangle is not on the page')
    // The lower left cell: query chunk 7 meets key/value chunk 0.
    await page.mouse.click(box.x + 100, box.y + box.height - 24)
    await eventually(async () => (await state()).pinned).toEqual({ kind: 'meeting', phase: 'backward', layer: 1, q: 7, kv: 0, rank: 0 })
    const { spans } = tables
    const row = [...spans.q.keys()].find(
      (at) => spans.rank[at] === 0 && spans.layer[at] === 1 && spans.phase[at] === 4 && spans.q[at] === 7 && spans.kv[at] === 0 && spans.flops[at] > 0,
    )
    await eventually(async () => (await state()).cursor_ns).toBe(spans.start_ns[row as number])
    await eventually(() => view('chunks').locator('.jp-FPDT-now').innerText()).toMatch(
      /query chunk 7 met key\/value chunk 0 in backward of layer 1: \d+th of 36 meetings/,
    )
  }, 90_000)
})
