/** Curves, the prediction below its run, and two runs beside each other: in the real JupyterLab, on a notebook without a kernel. */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Locator, Page } from 'playwright'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { saveRun } from '../../kernel/src/trace/saved.js'
import { RUN_MIME, type RunTables, STREAMS } from '../../kernel/src/trace/schema.js'
import { selectRows } from '../../kernel/src/trace/spans.js'
import type { PanelState } from '../../labextension/src/lab/panel.js'
import { fixture } from '../null/trace/fixture.js'
import { setTheme } from './drawn.js'
import { type Lab, openWithoutKernel, results, startLab } from './jupyterlab.js'

let lab: Lab
let page: Page | undefined
const troubles: string[] = []
const fpdt = fixture({ steps: 2, predicted: 0.85 })
const ulysses = fixture({ steps: 2, system: 'ulysses' })

/** The run as if it had gone on for a while. */
function longer(tables: RunTables): RunTables {
  const [first] = tables.head.steps
  const before = Array.from({ length: 60 }, (_, i) => ({ ...first, step: i + 1, start_ns: 0, loss: i === 30 ? null : 10.8 - i / 10 }))
  const steps = tables.head.steps.map((step) => ({ ...step, step: step.step + 60, loss: 4.7 }))
  const later = (column: Uint32Array): Uint32Array => column.map((step) => step + 60)
  const { spans, memory } = tables
  return {
    ...tables,
    head: { ...tables.head, run_id: 'long', steps: [...before, ...steps] },
    spans: { ...spans, step: later(spans.step) },
    memory: { ...memory, step: later(memory.step) },
  }
}

/** The run as if its exchanges took no time: the longest name of a lane is gone. */
function withoutCollective(tables: RunTables): RunTables {
  const { spans } = tables
  return { ...tables, spans: selectRows(spans, (row) => STREAMS[spans.stream[row]] !== 'collective') }
}

beforeAll(async () => {
  lab = await startLab()
  const output = async (tables: RunTables): Promise<object> => ({ [RUN_MIME]: await saveRun(tables), 'text/plain': 'a run' })
  lab.writeNotebook('two.ipynb', [await output(fpdt), await output(ulysses)])
  lab.writeNotebook('names.ipynb', [await output(withoutCollective(fpdt)), await output({ ...fpdt, head: { ...fpdt.head, run_id: 'all' } })])
  lab.writeNotebook('long.ipynb', [await output(longer(fpdt))])
}, 120_000)
afterAll(async () => lab?.close(), 60_000)
afterEach(async () => {
  await page?.close()
  page = undefined
  expect(troubles.splice(0)).toEqual([])
})

async function opened(name: string): Promise<Page> {
  page = await lab.open({ width: 1560, height: 2000 })
  page.on('pageerror', (error) => troubles.push(String(error)))
  await openWithoutKernel(lab, page, name)
  await panelOf(page).locator('.jp-FPDT-stage[data-fpdt-drawn]').first().waitFor()
  // Each output is decoded in its own time. What is not there yet is not offered to be compared with.
  if (name !== 'long.ipynb') await panelOf(page, 1).locator('.jp-FPDT-stage').first().waitFor({ state: 'attached' })
  return page
}
const panelOf = (at: Page, i = 0): Locator => at.locator('.jp-FPDT-run').nth(i)
const stateOf = (at: Page, i = 0): Promise<PanelState> => panelOf(at, i).evaluate((node) => (node as HTMLElement & { fpdtState: PanelState }).fpdtState)
const view = (at: Page, name: string): Locator => panelOf(at).locator(`[data-view="${name}"]`)
async function show(at: Page, title: string): Promise<void> {
  await panelOf(at)
    .getByRole('button', { name: new RegExp(`^${title}:`) })
    .click()
}
const drawnOf = (at: Locator): Promise<string | null> => at.locator('.jp-FPDT-stage').getAttribute('data-fpdt-drawn')
/** A pixel of the picture of a view, in CSS pixels of its stage. */
const pixelOf = (at: Locator, x: number, y: number): Promise<string> =>
  at.locator('canvas.jp-FPDT-picture').evaluate(
    (canvas, point) => {
      const node = canvas as HTMLCanvasElement
      const ratio = node.width / node.clientWidth
      const [r, g, b] = (node.getContext('2d') as CanvasRenderingContext2D).getImageData(Math.floor(point.x * ratio), Math.floor(point.y * ratio), 1, 1).data
      return `#${[r, g, b].map((value) => value.toString(16).padStart(2, '0')).join('')}`
    },
    { x, y },
  )
const axe = fileURLToPath(new URL('../../node_modules/axe-core/axe.min.js', import.meta.url))
/** What axe finds serious in the panel. */
async function serious(at: Page): Promise<string[]> {
  await at.addScriptTag({ path: axe })
  type Axe = { run(within: string): Promise<{ violations: { id: string; impact: string; nodes: { html: string }[] }[] }> }
  const { violations } = await at.evaluate(() => (window as unknown as { axe: Axe }).axe.run('.jp-FPDT-run'))
  return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(({ id, nodes }) => `${id}: ${nodes[0].html}`)
}
const eventually = <T>(read: () => Promise<T>) => expect.poll(read, { timeout: 15_000 })

describe('the prediction below its run', () => {
  it('lies below each lane, and can be hidden', async () => {
    const at = await opened('two.ipynb')
    const { picture, theme } = await stateOf(at)
    const [compute] = picture.lanes
    expect(picture.labels.filter(({ text }) => text === 'predicted')).toHaveLength(1)
    expect(picture.labels.some(({ text }) => /^step 1 · .*, predicted /.test(text))).toBe(true)
    const band = (): Promise<string[]> =>
      Promise.all(Array.from({ length: 60 }, (_, i) => pixelOf(view(at, 'timeline'), compute.x + 2 + i, compute.y + compute.height + 4)))
    expect((await band()).some((colour) => Object.values(theme.families).includes(colour))).toBe(true)
    const toggle = panelOf(at).getByRole('button', { name: /^Predicted:/ })
    expect(await toggle.getAttribute('aria-pressed')).toBe('true')
    await toggle.click()
    await eventually(async () => (await stateOf(at)).picture.labels.some(({ text }) => text.includes('predicted'))).toBe(false)
    expect(await toggle.getAttribute('aria-pressed')).toBe('false')
    // A run that was not foretold has nothing to show or to hide.
    expect(
      await panelOf(at, 1)
        .getByRole('button', { name: /^Predicted:/ })
        .count(),
    ).toBe(0)
  })
})

describe('two runs of one notebook', () => {
  it('are drawn on one axis, with what differs in tables, by keyboard alone', async () => {
    const at = await opened('two.ipynb')
    await show(at, 'Compare')
    const compare = view(at, 'compare')
    await compare.getByText('Choose a run').waitFor()
    const choice = compare.getByLabel('compare with')
    await choice.focus()
    const offered = (await choice.locator('option').allTextContents()).map((text) => text.split(' · ')[0])
    expect(offered).toEqual(['nothing', 'what was predicted of this run', 'another step of this run', 'Ulysses'])
    await choice.selectOption({ index: 3 })
    await eventually(() => drawnOf(compare)).not.toBeNull()
    const { view: window, picture } = await stateOf(at)
    const [, last] = fpdt.head.steps
    const longest = Math.max(last.duration_ns, ulysses.head.steps[1].duration_ns)
    expect([window.start_ns, window.end_ns]).toEqual([last.start_ns, last.start_ns + longest])
    const said = await compare.locator('.jp-FPDT-said').innerText()
    expect(said).toMatch(/Time of the step: .* takes .*: [\d.]+ times as long/)
    expect(said).toContain('The two have different ops')
    const table = compare.getByRole('region', { name: 'Peak of device memory' })
    const total = await table.locator('tr.jp-mod-total').innerText()
    expect(total).toContain('FPDT')
    // Both plots begin at the same pixel.
    const [{ x, y }] = picture.lanes
    const { background } = (await stateOf(at)).theme
    expect([await pixelOf(compare, x - 1, y + 1), await pixelOf(view(at, 'timeline'), x - 1, y + 1)]).toEqual([background, background])
    expect([await pixelOf(compare, x, y + 1), await pixelOf(view(at, 'timeline'), x, y + 1)]).not.toContain(background)
    await setTheme(at, 'JupyterLab Light')
    await at.screenshot({ path: join(results, 'compare-light.png') })
    expect(await serious(at)).toEqual([])
    await setTheme(at, 'JupyterLab Dark')
    await at.screenshot({ path: join(results, 'compare-dark.png') })
    expect(await serious(at)).toEqual([])
    await compare.getByRole('button', { name: /^Stop comparing/ }).click()
    await compare.getByText('Choose a run').waitFor()
    expect(await compare.locator('.jp-FPDT-stage').isVisible()).toBe(false)
  })

  it('share the window and the pointer', async () => {
    const at = await opened('two.ipynb')
    await show(at, 'Compare')
    const compare = view(at, 'compare')
    await compare.getByLabel('compare with').selectOption({ index: 3 })
    await eventually(() => drawnOf(compare)).not.toBeNull()
    const before = await drawnOf(compare)
    await view(at, 'timeline').locator('.jp-FPDT-stage').focus()
    await at.keyboard.press('w')
    await eventually(() => drawnOf(compare)).not.toBe(before)
    const { picture, view: window } = await stateOf(at)
    const [lane] = picture.lanes
    const stage = compare.locator('.jp-FPDT-stage')
    const box = await stage.boundingBox()
    if (!box) throw new Error('the stage is not on the page')
    await at.mouse.move(box.x + lane.x + lane.width / 2, box.y + 70)
    await eventually(async () => (await stateOf(at)).pointer_ns).not.toBeNull()
    const middle = (window.start_ns + window.end_ns) / 2
    const per = (window.end_ns - window.start_ns) / lane.width
    expect(Math.abs(((await stateOf(at)).pointer_ns as number) - middle)).toBeLessThan(2 * per)
  })

  it('have slots on the same axis, though the names of its lanes are shorter', async () => {
    const at = await opened('names.ipynb')
    const alone = (await stateOf(at)).picture.lanes[0].x
    await show(at, 'Slots')
    await show(at, 'Compare')
    const compare = view(at, 'compare')
    await compare.getByLabel('compare with').selectOption({ index: 3 })
    await eventually(() => drawnOf(compare)).not.toBeNull()
    await eventually(async () => (await stateOf(at)).picture.lanes[0].x).toBeGreaterThan(alone + 2)
    const { picture, view: window } = await stateOf(at)
    const [lane] = picture.lanes
    const slots = view(at, 'slots').locator('.jp-FPDT-stage')
    await slots.hover({ position: { x: lane.x + 1, y: 60 } })
    await eventually(async () => (await stateOf(at)).pointer_ns).not.toBeNull()
    const pixels = (((await stateOf(at)).pointer_ns as number) - window.start_ns) / ((window.end_ns - window.start_ns) / lane.width)
    expect(Math.abs(pixels - 1)).toBeLessThan(1)
  })

  it('compares a prediction with its run op by op', async () => {
    const at = await opened('two.ipynb')
    await show(at, 'Compare')
    const compare = view(at, 'compare')
    await compare.getByLabel('compare with').selectOption({ index: 1 })
    await compare.getByText('Both have the same ops').waitFor()
    const said = await compare.locator('.jp-FPDT-said').innerText()
    expect(said).toContain('Device arena is equal')
    expect(
      await compare
        .getByRole('region', { name: /^Ops whose time differs most/ })
        .locator('tbody tr')
        .count(),
    ).toBe(12)
    const origin = compare.locator('.jp-FPDT-other-title')
    expect(await origin.innerText()).toMatch(/ \(predicted\), from the beginning of its step 1$/)
    // However wide a table is, the notebook is not wider for it.
    const widths = await panelOf(at).evaluate((node) =>
      [node, node.closest('.jp-Notebook') as Element].map(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth),
    )
    expect(widths).toEqual([0, 0])
    await at.screenshot({ path: join(results, 'compare-predicted.png') })
    // Pointing at an op of the prediction marks the op that ran.
    const { picture } = await stateOf(at)
    const [lane] = picture.lanes
    const box = await compare.locator('.jp-FPDT-stage').boundingBox()
    if (!box) throw new Error('the stage is not on the page')
    for (let i = 0; i < 40 && (await stateOf(at)).hover === null; i++) await at.mouse.move(box.x + lane.x + 20 + 3 * i, box.y + lane.y + 5)
    expect((await stateOf(at)).hover).toMatchObject({ kind: 'span' })
    await eventually(() => compare.locator('.jp-FPDT-other-op').innerText()).toContain('rank 0, compute')
  })
})

describe('curves', () => {
  it('pick a step, which the timeline then shows', async () => {
    const at = await opened('long.ipynb')
    await show(at, 'Curves')
    const curves = view(at, 'curves')
    await eventually(() => drawnOf(curves)).not.toBeNull()
    await curves.getByText('MFU = ').waitFor()
    const stage = curves.locator('.jp-FPDT-stage')
    expect(await stage.getAttribute('aria-label')).toMatch(/^Curves over 62 steps: loss from 10.800 to 4.700/)
    await stage.focus()
    await at.keyboard.press('End')
    const [first, last] = longer(fpdt).head.steps.slice(-2)
    await eventually(async () => (await stateOf(at)).pinned).toEqual({ kind: 'step', step: 62 })
    expect((await stateOf(at)).view.start_ns).toBe(last.start_ns)
    await at.keyboard.press('ArrowLeft')
    await eventually(async () => (await stateOf(at)).view.start_ns).toBe(first.start_ns)
    const box = await stage.boundingBox()
    if (!box) throw new Error('the stage is not on the page')
    await at.mouse.click(box.x + box.width - 8, box.y + 60)
    await eventually(async () => (await stateOf(at)).pinned).toEqual({ kind: 'step', step: 62 })
    expect((await stateOf(at)).view.start_ns).toBe(last.start_ns)
    const before = await drawnOf(curves)
    await curves.getByLabel('draw over').selectOption('tokens')
    await eventually(() => drawnOf(curves)).not.toBe(before)
    await curves.getByText('In words').click()
    const rows = curves.getByRole('region', { name: '62 steps' }).locator('tbody tr')
    await eventually(() => rows.count()).toBe(62)
    expect(await rows.nth(30).innerText()).toContain('none')
    await setTheme(at, 'JupyterLab Light')
    await at.screenshot({ path: join(results, 'curves-light.png') })
    expect(await serious(at)).toEqual([])
    await setTheme(at, 'JupyterLab Dark')
    await at.screenshot({ path: join(results, 'curves-dark.png') })
  })
})
