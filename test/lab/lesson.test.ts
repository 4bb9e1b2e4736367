/** The lesson in JupyterLab, with no kernel: lines of the algorithm beside the picture, and ways from op to op. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { saveRun } from '../../kernel/src/trace/saved.js'
import { RUN_MIME, type SavedRun } from '../../kernel/src/trace/schema.js'
import type { PanelState } from '../../labextension/src/lab/panel.js'
import { fixture } from '../null/trace/fixture.js'
import { setTheme, twoFrames } from './drawn.js'
import { type Lab, openWithoutKernel, results, startLab } from './jupyterlab.js'

let lab: Lab
let page: Page
let saved: SavedRun
const troubles: string[] = []

beforeAll(async () => {
  lab = await startLab()
  saved = await saveRun(fixture({ chunks: 4, steps: 2 }))
  lab.writeNotebook('run.ipynb', [{ [RUN_MIME]: saved, 'text/plain': 'a run' }])
  const { head, ...rest } = saved
  lab.writeNotebook('own.ipynb', [{ [RUN_MIME]: { ...rest, head: { ...head, system: 'own', title: 'A schedule of my own' } }, 'text/plain': 'a run' }])
  page = await open('run.ipynb')
}, 120_000)
afterAll(async () => {
  await lab?.close()
  expect(troubles).toEqual([])
}, 60_000)

async function open(name: string): Promise<Page> {
  const opened = await lab.open({ width: 1500, height: 1500 })
  opened.on('pageerror', (error) => troubles.push(String(error)))
  await openWithoutKernel(lab, opened, name)
  await opened.locator('.jp-FPDT-stage[data-fpdt-drawn]').first().waitFor()
  await opened.getByRole('button', { name: /^Lesson/ }).click()
  await opened.locator('.jp-FPDT-algorithm li').first().waitFor()
  return opened
}
const stateOf = (at: Page): Promise<PanelState> =>
  at.evaluate(() => (document.querySelector('.jp-FPDT-run') as HTMLElement & { fpdtState: PanelState }).fpdtState)
const current = (at: Page): Promise<string> => at.locator('.jp-FPDT-algorithm [aria-current]').innerText()
const told = (at: Page): Promise<string> => at.locator('.jp-FPDT-told').innerText()
const eventually = <T>(read: () => Promise<T>) => expect.poll(read, { timeout: 15_000 })
async function pinnedRow(at: Page): Promise<number> {
  const { pinned } = await stateOf(at)
  return pinned?.kind === 'span' ? pinned.row : -1
}

describe('the lesson', () => {
  it('has numbered lines, and begins with the first op', async () => {
    expect(await page.locator('.jp-FPDT-algorithm li').count()).toBe(46)
    await eventually(() => current(page)).toContain('xi ← embed(Ti)')
    expect(await told(page)).toContain('The tokens of chunk 0 become its hidden state')
  })

  it('steps from op to op, chunk to chunk and layer to layer, and takes picture and cursor along', async () => {
    const press = (name: string): Promise<void> => page.getByRole('button', { name }).click()
    await press('Next op')
    const first = await pinnedRow(page)
    await press('Next op')
    await eventually(() => pinnedRow(page)).not.toBe(first)
    const { cursor_ns, view } = await stateOf(page)
    expect(cursor_ns !== null && cursor_ns >= view.start_ns && cursor_ns <= view.end_ns).toBe(true)
    await press('Previous op')
    await eventually(() => pinnedRow(page)).toBe(first)
    await press('Next layer')
    await eventually(() => told(page)).toContain('forward of layer 0')
    await press('Next layer')
    await eventually(() => told(page)).toContain('forward of layer 1')
    await press('Previous layer')
    await eventually(() => told(page)).toContain('forward of layer 0')
    await press('Next chunk')
    await eventually(() => told(page)).toContain('query chunk 1')
    await press('Next step')
    await eventually(() => told(page)).toContain('step 2')
    await press('Previous step')
    await eventually(() => told(page)).toContain('step 1')
  })

  it('goes by keys, and tells what the other streams do meanwhile', async () => {
    await page.locator('.jp-FPDT-algorithm').focus()
    const before = await pinnedRow(page)
    await page.keyboard.press('ArrowRight')
    await eventually(() => pinnedRow(page)).not.toBe(before)
    await page.keyboard.press('PageDown')
    await page.keyboard.press('Shift+ArrowRight')
    await page.keyboard.press('Shift+ArrowRight')
    for (let i = 0; i < 60 && !/attends to key\/value chunk/.test(await told(page)); i++) {
      const row = await pinnedRow(page)
      await page.keyboard.press('ArrowRight')
      await eventually(() => pinnedRow(page)).not.toBe(row)
      // What is told of an op is drawn after it is kept.
      await twoFrames(page)
    }
    expect(await current(page)).toContain('update(ôi, lsei, attention(q̂i, k̂j, v̂j))')
    expect(await told(page)).toMatch(/Line 13\. Query chunk \d attends to key\/value chunk \d \(the \w+ of \d\): 134.MFLOP in/)
    expect(await page.locator('.jp-FPDT-meanwhile dt').allInnerTexts()).toEqual(['fetch', 'offload', 'collective'])
    await page.locator('.jp-FPDT-lesson').scrollIntoViewIfNeeded()
    await page.screenshot({ path: join(results, 'lesson-light.png') })
  })

  it('moves one op a press of Play for a reader who wants less motion', async () => {
    const row = await pinnedRow(page)
    await page.getByRole('button', { name: /^Play/ }).click()
    await eventually(() => pinnedRow(page)).not.toBe(row)
    const next = await pinnedRow(page)
    await page.waitForTimeout(1600)
    expect(await pinnedRow(page)).toBe(next)
  })

  it('plays by itself for others, until it is stopped', async () => {
    await page.emulateMedia({ reducedMotion: 'no-preference' })
    const seen = new Set([await pinnedRow(page)])
    await page.getByRole('button', { name: /^Play/ }).click()
    await eventually(async () => seen.add(await pinnedRow(page)).size).toBeGreaterThan(3)
    await page.getByRole('button', { name: /^Stop: stays/ }).click()
    const row = await pinnedRow(page)
    await page.waitForTimeout(1600)
    expect(await pinnedRow(page)).toBe(row)
    await page.emulateMedia({ reducedMotion: 'reduce' })
  })

  it('is accessible: axe finds nothing serious, in both themes', async () => {
    const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
    for (const theme of ['JupyterLab Dark', 'JupyterLab Light']) {
      await setTheme(page, theme)
      if (theme === 'JupyterLab Dark') await page.screenshot({ path: join(results, 'lesson-dark.png') })
      await page.evaluate(axe)
      const found = await page.evaluate(async () => {
        type Axe = { run(where: object): Promise<{ violations: { id: string; impact: string; nodes: { html: string }[] }[] }> }
        const { violations } = await (window as unknown as { axe: Axe }).axe.run({ include: [['.jp-FPDT-lesson'], ['.jp-FPDT-exports']] })
        return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical').map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`)
      })
      expect(found).toEqual([])
    }
  })

  it('shows the listing of a schedule of the reader, and says that it is no line of FPDT', async () => {
    const own = await open('own.ipynb')
    await own.getByRole('button', { name: 'Next op' }).click()
    await eventually(() => told(own)).toContain("The schedule is the reader's own, so this is no line of FPDT.")
    expect(await current(own)).toMatch(/@compute/)
    await own.screenshot({ path: join(results, 'lesson-own.png') })
    await own.close()
  })
})
