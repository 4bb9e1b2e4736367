/** What a run answers below its views, and where the time of its steps went, in the real JupyterLab on a notebook with no kernel. */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Locator, Page } from 'playwright'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { duration, openRun, spikeAt, stallsByCause } from '../../kernel/src/trace/index.js'
import { saveRun } from '../../kernel/src/trace/saved.js'
import { RUN_MIME, type RunTables } from '../../kernel/src/trace/schema.js'
import type { PanelState } from '../../labextension/src/lab/panel.js'
import { fixture } from '../null/trace/fixture.js'
import { eventually, setTheme, twoFrames } from './drawn.js'
import { type Lab, openWithoutKernel, results, startLab } from './jupyterlab.js'

let lab: Lab
let page: Page | undefined
const troubles: string[] = []
const tables: RunTables = fixture({ budget_bytes: 2 ** 25 })
const run = openRun(tables)

beforeAll(async () => {
  lab = await startLab()
  lab.writeNotebook('run.ipynb', [{ [RUN_MIME]: await saveRun(tables) }])
  const { head } = tables
  const uncounted = { ...head, steps: head.steps.map((step) => ({ ...step, accounts: [] })) }
  lab.writeNotebook('uncounted.ipynb', [{ [RUN_MIME]: await saveRun({ ...tables, head: uncounted }) }])
}, 120_000)
afterAll(async () => lab?.close(), 60_000)
afterEach(async () => {
  await page?.close()
  page = undefined
  expect(troubles.splice(0)).toEqual([])
})

async function opened(name: string): Promise<Page> {
  page = await lab.open({ width: 1500, height: 2200 })
  page.on('pageerror', (error) => troubles.push(String(error)))
  await openWithoutKernel(lab, page, name)
  await page.locator('.jp-FPDT-stage[data-fpdt-drawn]').first().waitFor()
  return page
}
const stateOf = (at: Page): Promise<PanelState> =>
  at.evaluate(() => (document.querySelector('.jp-FPDT-run') as HTMLElement & { fpdtState: PanelState }).fpdtState)
const button = (at: Page, name: string): Locator => at.locator('.jp-FPDT-toolbar button', { hasText: new RegExp(`^${name}$`) }).first()
const answers = (at: Page): Locator => at.locator('.jp-FPDT-asked')
async function clickStage(at: Page, x: number, y: number): Promise<void> {
  const stage = at.locator('.jp-FPDT-stage').first()
  await stage.scrollIntoViewIfNeeded()
  await stage.click({ position: { x, y } })
}
async function shoot(at: Page, name: string): Promise<void> {
  for (const [theme, suffix] of [
    ['JupyterLab Dark', 'dark'],
    ['JupyterLab Light', 'light'],
  ]) {
    await setTheme(at, theme)
    // What is scrolled away is drawn when it comes into view.
    const whole = at.locator('.jp-FPDT-run').first()
    await whole.evaluate((node) => node.scrollIntoView())
    await eventually(() => at.locator('.jp-FPDT-stage').first().getAttribute('data-fpdt-theme')).toBe(suffix)
    await whole.screenshot({ path: join(results, `${name}-${suffix}.png`) })
    await accessible(at, '.jp-FPDT-run')
  }
}
interface Violation {
  readonly id: string
  readonly impact: string
  readonly nodes: readonly { readonly html: string }[]
}
/** Nothing that axe calls serious or critical. */
async function accessible(at: Page, selector: string): Promise<void> {
  await at.addScriptTag({ path: createRequire(import.meta.url).resolve('axe-core/axe.min.js') })
  const violations = await at.evaluate(async (within) => {
    const { axe } = window as unknown as { axe: { run(at: string): Promise<{ violations: Violation[] }> } }
    return (await axe.run(within)).violations
  }, selector)
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
  expect(serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(' | ')}`)).toEqual([])
}

describe('numbers of a step', () => {
  it('show a bar of the wall time and a sum that proves it, for every rank', async () => {
    const at = await opened('run.ipynb')
    await button(at, 'Numbers').click()
    const proofs = at.locator('.jp-FPDT-account p')
    await proofs.first().waitFor()
    const step = run.head.steps[1]
    expect(await proofs.count()).toBe(2)
    for (const text of await proofs.allInnerTexts()) {
      const [, parts, total] = /^(.+) = ([\d.]+) ms, the step's wall time, to the nanosecond\.$/.exec(text) ?? []
      const ns = (milliseconds: string): bigint => BigInt(milliseconds.replace('.', ''))
      expect(ns(total)).toBe(BigInt(step.duration_ns))
      expect(parts.split(' + ').reduce((sum, part) => sum + ns(part.split(' ')[0]), 0n)).toBe(BigInt(step.duration_ns))
    }
    const widths = await at
      .locator('.jp-FPDT-wall')
      .first()
      .evaluate((bar) => [bar.getBoundingClientRect().width, ...[...bar.children].map((part) => part.getBoundingClientRect().width)])
    expect(Math.abs(widths[0] - widths.slice(1).reduce((sum, width) => sum + width, 0))).toBeLessThan(1)
    await shoot(at, 'numbers')
  }, 90_000)

  it('list the longest waits of compute; a click keeps the op, and arrows can show them all', async () => {
    const at = await opened('run.ipynb')
    await button(at, 'Numbers').click()
    const first = at.locator('.jp-FPDT-numbers .jp-FPDT-link').first()
    await first.click()
    const [longest] = stallsByCause(run, 2, 4)
    await eventually(async () => (await stateOf(at)).pinned).toEqual({ kind: 'span', row: longest.row })
    // What is scrolled away is drawn when it comes into view.
    await at.locator('.jp-FPDT-details').scrollIntoViewIfNeeded()
    await eventually(() => answers(at).innerText()).toContain(longest.words)
    const inked = (): Promise<number> =>
      at
        .locator('.jp-FPDT-pointer')
        .first()
        .evaluate((canvas: HTMLCanvasElement) => {
          const { data } = (canvas.getContext('2d') as CanvasRenderingContext2D).getImageData(0, 0, canvas.width, canvas.height)
          return data.reduce((count, value, i) => count + (i % 4 === 3 && value > 0 ? 1 : 0), 0)
        })
    await button(at, 'Whole run').click()
    await at.locator('.jp-FPDT-numbers select').selectOption('1')
    await twoFrames(at)
    const before = await inked()
    await at.locator('.jp-FPDT-numbers input[type=checkbox]').check()
    await eventually(inked).toBeGreaterThan(before + 100)
    await shoot(at, 'stalls')
  }, 90_000)

  it('are counted on the page where a file holds none', async () => {
    const at = await opened('uncounted.ipynb')
    await button(at, 'Numbers').click()
    await at.locator('.jp-FPDT-account p').first().waitFor()
    expect(await at.locator('.jp-FPDT-account p').first().innerText()).toContain("the step's wall time, to the nanosecond.")
  }, 60_000)
})

describe('what is kept', () => {
  it('answers what made the peak: categories and buffers that add up, what pushed it, what goes next', async () => {
    const at = await opened('run.ipynb')
    const chart = (await stateOf(at)).picture.charts.find(({ tier }) => tier === 'device')
    if (!chart?.peak) throw new Error('the peak is not in view')
    await clickStage(at, chart.peak.x + 2, chart.y + chart.height / 2)
    const peak = run.head.peaks.find(({ tier }) => tier === 'device')
    await eventually(async () => (await stateOf(at)).pinned).toMatchObject({ kind: 'instant', time_ns: peak?.time_ns })
    const spike = spikeAt(run, chart.rank, 'device', peak?.time_ns as number)
    expect(spike?.bytes).toBe(peak?.bytes)
    const told = await answers(at).innerText()
    expect(told).toContain(`${spike?.bytes.toLocaleString('en-US')} bytes exactly`)
    expect(told).toMatch(/below the budget of 32.0\u202fMiB|above the budget of 32.0\u202fMiB/)
    expect(told).toMatch(/Pushed here|was there/)
    expect(told).toMatch(/Next freed: /)
    const names = await answers(at).locator('section').last().locator('tbody tr td:first-child').allInnerTexts()
    expect(names).toEqual(spike?.buffers.slice(0, names.length).map(({ name }) => name))
    await shoot(at, 'spike')

    // A buffer of it, then an op that uses that buffer.
    await answers(at).locator('section').last().locator('tbody tr td:first-child button').first().click()
    await eventually(async () => (await stateOf(at)).pinned).toMatchObject({ kind: 'buffer', buffer: spike?.buffers[0].buffer })
    expect(await answers(at).innerText()).toContain('Who uses it')
    await shoot(at, 'buffer')
    await answers(at).locator('section').last().locator('button').first().click()
    await eventually(async () => (await stateOf(at)).pinned?.kind).toBe('span')
    expect(await answers(at).innerText()).toContain('What it touches')
  }, 120_000)

  it('says in one sentence why an op waited, and draws an arrow from what it waited for', async () => {
    const at = await opened('run.ipynb')
    const { row, words, waited_ns } = stallsByCause(run, 1, 4).find(({ cause }) => cause === 'memory') ?? stallsByCause(run, 1, 4)[0]
    await button(at, 'Numbers').click()
    await at.locator('.jp-FPDT-numbers select').selectOption('1')
    for (let i = 0; i < 13; i++) await button(at, '\\+').click()
    await twoFrames(at)
    const link = at.locator('.jp-FPDT-numbers tbody tr', { hasText: words }).locator('button').first()
    await link.hover()
    await eventually(async () => (await stateOf(at)).hover).toEqual({ kind: 'span', row })
    await link.click()
    await eventually(async () => (await stateOf(at)).pinned).toEqual({ kind: 'span', row })
    expect(words).toContain(duration(waited_ns))
    await at.locator('.jp-FPDT-details').scrollIntoViewIfNeeded()
    await eventually(() => at.locator('.jp-FPDT-lines').innerText()).toContain(words)
    await at.mouse.move(5, 5)
    await shoot(at, 'stall')
  }, 90_000)

  it('stays while the pointer moves over other ops, and goes with Escape', async () => {
    const at = await opened('run.ipynb')
    const { lanes } = (await stateOf(at)).picture
    await clickStage(at, lanes[0].x + lanes[0].width / 3, lanes[0].y + 8)
    await answers(at).locator('section').first().waitFor()
    const before = await answers(at).innerText()
    const height = await at.locator('.jp-FPDT-details').evaluate((node) => node.clientHeight)
    await at
      .locator('.jp-FPDT-stage')
      .first()
      .hover({ position: { x: lanes[0].x + lanes[0].width / 2, y: lanes[0].y + 8 } })
    await twoFrames(at)
    expect(await answers(at).innerText()).toBe(before)
    expect(Math.abs((await at.locator('.jp-FPDT-details').evaluate((node) => node.clientHeight)) - height)).toBeLessThan(20)
    await at.keyboard.press('Escape')
    await eventually(() => answers(at).innerText()).toBe('')
  }, 60_000)
})
