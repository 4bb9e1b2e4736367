/** The extension in the real JupyterLab, in a real browser, on notebooks that have no kernel and were never trusted. */
import { join } from 'node:path'
import type { Locator, Page } from 'playwright'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { hexOf, parseColour, type Rgb } from '../../kernel/src/trace/draw/colour.js'
import { overlaps } from '../../kernel/src/trace/draw/surface.js'
import { contrastOf } from '../../kernel/src/trace/draw/theme.js'
import { figure } from '../../kernel/src/trace/figure.js'
import { saveRun } from '../../kernel/src/trace/saved.js'
import { RUN_MIME, type SavedRun } from '../../kernel/src/trace/schema.js'
import { duration } from '../../kernel/src/trace/words/format.js'
import type { PanelState } from '../../labextension/src/lab/panel.js'
import { fixture } from '../null/trace/fixture.js'
import { command, setTheme, twoFrames } from './drawn.js'
import { type Lab, openWithoutKernel, results, startLab } from './jupyterlab.js'
import { textsOf } from './texts.js'

let lab: Lab
let page: Page | undefined
let saved: SavedRun
const troubles: string[] = []

beforeAll(async () => {
  lab = await startLab()
  const tables = fixture()
  saved = await saveRun(tables)
  const bundle = (run: object): object => ({ [RUN_MIME]: run, 'image/png': Buffer.from(figure(tables).png).toString('base64'), 'text/plain': 'a run' })
  lab.writeNotebook('measured.ipynb', [bundle(saved)])
  lab.writeNotebook('predicted.ipynb', [bundle(await saveRun(fixture({ origin: 'predicted', steps: 1, budget_bytes: 2 ** 33 })))])
  const predicted = await saveRun(fixture({ origin: 'predicted', steps: 1 }))
  const begun = { ...predicted, head: { ...predicted.head, state: 'running' } }
  lab.writeNotebook('begun.ipynb', [bundle(begun), bundle(predicted)])
  lab.writeNotebook('long.ipynb', [bundle(await saveRun(fixture({ steps: 9 })))])
  lab.writeNotebook('ranks.ipynb', [bundle(await saveRun(fixture({ ranks: 8, layers: 1, chunks: 2, steps: 1 })))])
  lab.writeNotebook('broken.ipynb', [
    bundle({ ...saved, head: { ...saved.head, version: 99 } }),
    bundle({ ...saved, tables: { ...saved.tables, spans: { ...saved.tables.spans, data: saved.tables.spans.data.slice(0, 2000) } } }),
    bundle({ head: null }),
    bundle({ ...saved, head: { ...saved.head, title: '<img src=x onerror="document.title=1">' } }),
  ])
}, 120_000)
afterAll(async () => lab?.close(), 60_000)
afterEach(async () => {
  await page?.close()
  page = undefined
  expect(troubles.splice(0)).toEqual([])
})

async function opened(name: string, size = { width: 1560, height: 1100 }): Promise<Page> {
  page = await lab.open(size)
  page.on('pageerror', (error) => troubles.push(String(error)))
  await openWithoutKernel(lab, page, name)
  return page
}
const stageOf = (at: Page): Locator => at.locator('.jp-FPDT-stage[data-fpdt-drawn]').first()
async function stateOf(at: Page): Promise<PanelState> {
  await stageOf(at).waitFor()
  return at.evaluate(() => (document.querySelector('.jp-FPDT-run') as HTMLElement & { fpdtState: PanelState }).fpdtState)
}
/** Waits until the state is as wanted: drawing happens in the next frame. */
async function stateWhen(at: Page, wanted: (state: PanelState) => boolean): Promise<PanelState> {
  for (const until = Date.now() + 15_000; ; await at.waitForTimeout(30)) {
    const state = await stateOf(at)
    if (wanted(state) || Date.now() > until) {
      expect(wanted(state)).toBe(true)
      return state
    }
  }
}
interface JupyterApp {
  shell: {
    currentWidget: { content: { widgets: { model: { outputs: { get(i: number): { toJSON(): { data: object } }; set(i: number, output: object): void } } }[] } }
  }
}
/** What `update_display_data` does to an output. */
const update = (at: Page, run: object): Promise<void> =>
  at.evaluate(
    ([mime, next]) => {
      const { outputs } = (window as unknown as { jupyterapp: JupyterApp }).jupyterapp.shell.currentWidget.content.widgets[0].model
      const output = outputs.get(0).toJSON()
      outputs.set(0, { ...output, data: { ...output.data, [mime]: next } })
    },
    [RUN_MIME, run] as const,
  )
/** Where on the page a point of the stage lies. */
async function onPage(at: Page, x: number, y: number): Promise<{ x: number; y: number }> {
  const box = await stageOf(at).boundingBox()
  if (!box) throw new Error('the stage is not on the page')
  return { x: box.x + x, y: box.y + y }
}
/** The page draws in its own time, and machines that test are busy. */
const eventually = <T>(read: () => Promise<T>) => expect.poll(read, { timeout: 15_000 })
const details = (at: Page): Promise<string> => at.locator('.jp-FPDT-details').first().innerText()
const answers = (at: Page): Promise<string> => at.locator('.jp-FPDT-asked').first().innerText()

describe('a saved run in JupyterLab, with no kernel', () => {
  it('is drawn by the extension, not shown as a PNG, though nobody trusts the notebook', async () => {
    const at = await opened('measured.ipynb')
    const { picture, theme } = await stateOf(at)
    expect(theme.name).toBe('light')
    expect(picture.lanes.map(({ rank, stream }) => `${rank} ${stream}`)).toEqual([
      '0 compute',
      '0 fetch',
      '0 offload',
      '0 collective',
      '1 compute',
      '1 fetch',
      '1 offload',
      '1 collective',
    ])
    expect(picture.lanes.reduce((sum, { spans }) => sum + spans, 0)).toBe(saved.tables.spans.rows)
    expect(picture.charts.map(({ tier }) => tier)).toEqual(['device', 'host'])
    expect(await at.locator('.jp-OutputArea-output img').count()).toBe(0)
    const sessions = await at.request.get(`${lab.url}/api/kernels`)
    expect(await sessions.json()).toEqual([])
  })

  for (const [name, theme] of [
    ['light', 'JupyterLab Light'],
    ['dark', 'JupyterLab Dark'],
  ] as const) {
    for (const width of [1200, 1560]) {
      it(`has words that do not overlap, are not cut and can be read, on a ${name} page ${width} wide`, async () => {
        const at = await opened('measured.ipynb', { width, height: 1100 })
        await stateOf(at)
        await setTheme(at, theme)
        const { picture, size, theme: used } = await stateWhen(at, (state) => state.theme.name === name)
        expect(used.background).toBe(await backgroundOf(at))
        for (const [i, label] of picture.labels.entries()) {
          expect(label.x >= 0 && label.y >= 0 && label.x + label.width <= size.width + 0.5 && label.y + label.height <= size.height, label.text).toBe(true)
          expect(contrastOf(label.colour, label.on), label.text).toBeGreaterThanOrEqual(4.5)
          for (const other of picture.labels.slice(i + 1)) expect(overlaps(label, other), `${label.text} / ${other.text}`).toBe(false)
        }
        const words = (role: string): string[] => picture.labels.filter((label) => label.role === role).map(({ text }) => text)
        expect(words('lane')).toHaveLength(8)
        expect(words('rank')).toEqual(['rank 0', 'rank 1'])
        expect(words('axis')).toEqual(['time, ms'])
        expect(words('step').map((text) => text.split(' · ')[0])).toEqual(['step 1', 'step 2'])
        expect(words('chart')).toEqual(['device memory of rank 0', 'host memory of rank 0'])
        expect(words('budget').map((text) => text.replaceAll('\u202f', ' '))).toEqual(['budget 32.0 MiB', 'budget 1.00 GiB, above this chart'])
        expect(words('peak')).toHaveLength(2)
        for (const text of await textsOf(at.locator('.jp-FPDT-run').first())) expect(contrastOf(text.colour, text.on), text.text).toBeGreaterThanOrEqual(4.5)
        await at.screenshot({ path: join(results, `run-${name}-${width}.png`) })
      })
    }
  }

  it('has a header with loss, speed, MFU and its formula, and memory predicted = measured', async () => {
    const at = await opened('measured.ipynb')
    await stateOf(at)
    const facts = at.locator('.jp-FPDT-facts')
    expect(await facts.innerText()).toMatch(/loss[\s\S]*10\.830 → 10\.420[\s\S]*tokens\/s[\s\S]*MFU[\s\S]*%[\s\S]*predicted = measured/i)
    expect(await facts.locator('div', { hasText: 'MFU' }).getAttribute('title')).toBe(saved.head.steps[1].mfu_formula)
    expect(await at.locator('.jp-FPDT-origin').innerText()).toBe('measured')
  })

  it('tells an op under the pointer in words, keeps it on a click, and lets go on Esc', async () => {
    const at = await opened('measured.ipynb')
    const { picture } = await stateOf(at)
    const lane = picture.lanes[0]
    const point = await onPage(at, lane.x + lane.width * 0.6, lane.y + 8)
    await at.mouse.move(point.x, point.y)
    await eventually(() => details(at)).toMatch(/@compute · rank 0, compute · step \d · [\s\S]*starts at [\s\S]*takes/)
    const hovered = await details(at)
    await at.mouse.click(point.x, point.y)
    expect((await stateOf(at)).pinned).toMatchObject({ kind: 'span' })
    await at.mouse.move(point.x, point.y - 400)
    await eventually(() => details(at)).toContain(hovered.split('\n')[0])
    const box = await at.locator('.jp-FPDT-details').first().boundingBox()
    expect(box && box.y > point.y).toBe(true)
    await stageOf(at).press('Escape')
    await eventually(() => details(at)).not.toContain(hovered.split('\n')[0])
  })

  it('tells what is alive at an instant of memory, and what made the peak', async () => {
    const at = await opened('measured.ipynb')
    const { picture } = await stateOf(at)
    const chart = picture.charts[0]
    const point = await onPage(at, chart.x + chart.width / 4, chart.y + chart.height - 10)
    await at.mouse.click(point.x, point.y)
    await eventually(() => details(at)).toMatch(
      /^At [\d.]+.m?s: device memory of rank 0: .*optimizer 12\.1.MiB, .*attention [\d.]+.MiB[\s\S]* below the peak of 28\.1.MiB, first reached in step \d, at [\d.]+.ms: /,
    )
    await eventually(() => answers(at)).toMatch(/Bytes by category[\s\S]*Largest buffers/)
  })

  it('zooms and moves by keys, buttons and dragging, and comes back', async () => {
    const at = await opened('measured.ipynb')
    const whole = (await stateOf(at)).view
    const length = ({ view }: PanelState): number => view.end_ns - view.start_ns
    await stageOf(at).focus()
    await at.keyboard.press('w')
    await at.keyboard.press('+')
    const zoomed = await stateWhen(at, (state) => length(state) < 0.5 * (whole.end_ns - whole.start_ns))
    await at.keyboard.press('d')
    const moved = await stateWhen(at, (state) => state.view.start_ns > zoomed.view.start_ns)
    await at.keyboard.press('ArrowLeft')
    await stateWhen(at, (state) => state.view.start_ns < moved.view.start_ns)
    // a and d are commands of the notebook elsewhere: no cell may have come of them.
    expect(await at.locator('.jp-Notebook .jp-Cell').count()).toBe(1)
    const { picture, view } = await stateOf(at)
    const from = await onPage(at, picture.lanes[0].x + 300, picture.lanes[0].y + 5)
    await at.mouse.move(from.x, from.y)
    await at.mouse.down()
    await at.mouse.move(from.x + 100, from.y, { steps: 5 })
    await at.mouse.up()
    const dragged = await stateWhen(at, (state) => state.view.start_ns < view.start_ns)
    expect(view.start_ns - dragged.view.start_ns).toBeCloseTo((100 / picture.lanes[0].width) * length(dragged), -4)
    await at.getByRole('button', { name: 'Zoom in' }).click()
    await stateWhen(at, (state) => length(state) < length(dragged))
    await at.screenshot({ path: join(results, 'run-zoomed.png') })
    await at.getByRole('button', { name: 'Back to the full time' }).click()
    await stateWhen(at, (state) => state.view.start_ns === whole.start_ns && state.view.end_ns === whole.end_ns)
  })

  it('leaves the wheel to the page until it has the focus', async () => {
    const at = await opened('measured.ipynb')
    const { view, picture } = await stateOf(at)
    const point = await onPage(at, picture.lanes[0].x + 400, picture.lanes[0].y + 5)
    await at.mouse.move(point.x, point.y)
    await at.mouse.wheel(0, -200)
    await at.waitForTimeout(150)
    expect((await stateOf(at)).view).toEqual(view)
    await stageOf(at).focus()
    await at.mouse.wheel(0, -200)
    await stateWhen(at, (state) => state.view.end_ns - state.view.start_ns < view.end_ns - view.start_ns)
  })

  it('follows a change of theme while it is open', async () => {
    const at = await opened('measured.ipynb')
    await stateOf(at)
    await setTheme(at, 'JupyterLab Light')
    await stateWhen(at, (state) => state.theme.name === 'light')
    await setTheme(at, 'JupyterLab Dark')
    const dark = await stateWhen(at, (state) => state.theme.name === 'dark')
    expect(dark.theme.background).toBe(await backgroundOf(at))
    await setTheme(at, 'JupyterLab Light')
    await stateWhen(at, (state) => state.theme.name === 'light')
  })

  it('lists the ops in view as a table, and says how many', async () => {
    const at = await opened('measured.ipynb')
    await stateOf(at)
    await at.getByRole('button', { name: 'List the ops in view' }).click()
    const table = at.locator('.jp-FPDT-table')
    await eventually(() => table.locator('caption').innerText()).toBe('1 to 300 of 8,084 ops in view.')
    expect(await table.locator('tbody tr').count()).toBe(300)
    expect(await table.locator('tbody tr').first().innerText()).toMatch(/^gather wPart\[embedding\] -> w\[embedding\]/)
    await at.screenshot({ path: join(results, 'run-table.png') })
  })

  it('sorts the ops, turns the pages and keeps an op, by keys alone', async () => {
    const at = await opened('measured.ipynb')
    await stateOf(at)
    await at.getByRole('button', { name: 'List the ops in view' }).click()
    const table = at.locator('.jp-FPDT-ops')
    const durations = (): Promise<string[]> => table.locator('tbody tr td:nth-child(10)').allInnerTexts()
    await eventually(() => table.locator('caption').innerText()).toBe('1 to 300 of 8,084 ops in view.')
    const sort = table.getByRole('button', { name: 'duration', exact: true })
    await sort.focus()
    await at.keyboard.press('Enter')
    const header = table.getByRole('columnheader', { name: 'duration' })
    await eventually(() => header.getAttribute('aria-sort')).toBe('descending')
    await eventually(() => table.locator('th[aria-sort]').count()).toBe(1)
    const { duration_ns } = fixture().spans
    await eventually(async () => (await durations())[0]).toBe(duration(Math.max(...duration_ns)))
    await at.keyboard.press('Enter')
    await eventually(() => header.getAttribute('aria-sort')).toBe('ascending')
    await eventually(async () => (await durations())[0]).toBe(duration(Math.min(...duration_ns)))
    const next = at.getByRole('button', { name: 'Next 300 ops' })
    await next.focus()
    await at.keyboard.press('Enter')
    await eventually(() => table.locator('caption').innerText()).toBe('301 to 600 of 8,084 ops in view.')
    // Sorting begins again with the first page, and what waited longest is its first row.
    await table.getByRole('button', { name: 'waited', exact: true }).click()
    await eventually(() => table.locator('caption').innerText()).toBe('1 to 300 of 8,084 ops in view.')
    await eventually(() => table.locator('tbody tr').first().locator('td').nth(10).innerText()).toMatch(/\d/)
    const op = table.locator('tbody tr').nth(2).getByRole('button')
    await op.focus()
    await at.keyboard.press('Enter')
    await eventually(() => table.locator('tbody tr').nth(2).getAttribute('aria-current')).toBe('true')
    const { pinned } = await stateWhen(at, (state) => state.pinned !== null)
    expect(pinned?.kind).toBe('span')
    // The op stays in sight while its numbers scroll, and the page is not wider for them.
    const [before, after] = await table.evaluate((box) => {
      const left = (): number => box.querySelector('tbody td')?.getBoundingClientRect().left ?? Number.NaN
      const first = left()
      box.scrollLeft = 200
      return [first, left()]
    })
    expect(after).toBeCloseTo(before, 0)
  })

  it('can be read without seeing it', async () => {
    const at = await opened('measured.ipynb')
    await stateOf(at)
    const stage = stageOf(at)
    expect(await stage.getAttribute('aria-label')).toMatch(
      /^Measured run\. FPDT · Llama.*Timeline of 2 ranks, streams compute, fetch, offload, collective: 8,084 ops.*device memory is highest with/,
    )
    await stage.focus()
    await at.keyboard.press('n')
    await at.keyboard.press('n')
    await eventually(() => details(at)).toMatch(/@compute/)
    expect(await at.locator('.jp-FPDT-details [aria-live="polite"]').innerText()).toMatch(/@compute/)
  })

  it('says that lanes of other ranks are not drawn, and lets one choose the rank', async () => {
    const at = await opened('ranks.ipynb')
    const notes = ({ picture }: PanelState): string[] => picture.labels.filter(({ role }) => role === 'note').map(({ text }) => text)
    expect(notes(await stateOf(at))).toContain('lanes of rank 0; those of 7 more ranks are not drawn')
    await at.getByLabel('lanes and memory of').selectOption('rank 5')
    const { picture } = await stateWhen(at, (state) => state.view.rank === 5 && notes(state).some((text) => text.startsWith('lanes of rank 5;')))
    expect(new Set(picture.lanes.map(({ rank }) => rank))).toEqual(new Set([5]))
    await at.screenshot({ path: join(results, 'run-ranks.png') })
  })

  it('says what was kept of a run too long to save', async () => {
    const at = await opened('long.ipynb')
    const { picture } = await stateOf(at)
    expect(await at.locator('.jp-FPDT-note:not(.jp-FPDT-saved-state)').innerText()).toContain('Shows 16,168 of 36,378 ops, those of steps 6–9.')
    expect(picture.labels.filter(({ role }) => role === 'step').map(({ text }) => text.split(' · ')[0])[0]).toBe('step 6')
    expect(picture.lanes.reduce((sum, { spans }) => sum + spans, 0)).toBe(16_168)
    await at.screenshot({ path: join(results, 'run-long.png') })
  })

  it('keeps window and selection when the output is updated', async () => {
    const at = await opened('measured.ipynb')
    const { picture } = await stateOf(at)
    const point = await onPage(at, picture.lanes[0].x + 300, picture.lanes[0].y + 5)
    await at.mouse.click(point.x, point.y)
    await at.keyboard.press('w')
    const before = await stateWhen(at, (state) => state.pinned !== null && state.view.end_ns < state.extent.end_ns)
    await update(at, { ...saved, head: { ...saved.head, title: 'the same run, later' } })
    await eventually(() => at.locator('.jp-FPDT-title').allInnerTexts()).toEqual([expect.stringContaining('the same run, later')])
    const after = await stateOf(at)
    expect([after.view, after.pinned]).toEqual([before.view, before.pinned])
  })

  it('leaves nothing behind that listens when its notebook is closed', async () => {
    const at = await opened('measured.ipynb')
    await stateOf(at)
    const kept = await at.evaluateHandle(() => document.querySelector('.jp-FPDT-stage') as HTMLElement)
    const drawings = (): Promise<string | undefined> => kept.evaluate((node) => node.dataset.fpdtDrawn)
    await command(at, 'application:close')
    await stageOf(at).waitFor({ state: 'detached' })
    const before = await drawings()
    await setTheme(at, 'JupyterLab Dark')
    await kept.evaluate((node) => node.dispatchEvent(new KeyboardEvent('keydown', { key: 'w' })))
    await twoFrames(at)
    await setTheme(at, 'JupyterLab Light')
    expect(await drawings()).toBe(before)
  })

  it('marks a prediction', async () => {
    const at = await opened('predicted.ipynb')
    const { picture } = await stateOf(at)
    expect(picture.labels.filter(({ role }) => role === 'origin').map(({ text }) => text)).toEqual(['PREDICTED, NOT MEASURED'])
    expect(await at.locator('.jp-FPDT-origin').innerText()).toBe('predicted')
    await at.screenshot({ path: join(results, 'run-predicted.png') })
  })

  it('says that a run has no kernel that was lost before its first ops were drawn; a plan has nothing to control', async () => {
    const at = await opened('begun.ipynb')
    const rows = at.locator('.jp-FPDT-run .jp-FPDT-live')
    await eventually(() => rows.count()).toBe(2)
    await eventually(() => rows.first().isVisible()).toBe(true)
    expect(await rows.first().locator('.jp-FPDT-live-state').innerText()).toMatch(/no kernel/)
    expect(await rows.last().isHidden()).toBe(true)
  })

  it('says in words why a payload cannot be shown, and takes no markup from one', async () => {
    const at = await opened('broken.ipynb')
    await stateOf(at)
    // Each payload is decoded in its own time.
    await eventually(() => at.locator('.jp-FPDT-reason').allInnerTexts()).toEqual([
      expect.stringMatching(/version 99/),
      expect.stringMatching(/spans/),
      expect.stringMatching(/head/),
    ])
    expect(await at.locator('.jp-FPDT-title').innerText()).toContain('<img src=x')
    expect(await at.locator('.jp-FPDT-run img').count()).toBe(0)
    await at.screenshot({ path: join(results, 'run-broken.png') })
  })
})

/** The page's background below the picture, as hex. */
async function backgroundOf(at: Page): Promise<string> {
  return hexOf(
    parseColour(
      await at
        .locator('.jp-FPDT-run')
        .first()
        .evaluate((node) => getComputedStyle(node).backgroundColor),
    ) as Rgb,
  )
}
