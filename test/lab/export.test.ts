/** A run leaves JupyterLab as files, with no kernel: each is downloaded as a reader does it, and read back. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadImage } from '@napi-rs/canvas'
import type { Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decodeRunFile } from '../../kernel/src/trace/file.js'
import { decodeSavedRun, saveRun } from '../../kernel/src/trace/saved.js'
import { RUN_MIME, type RunTables, type SavedRun } from '../../kernel/src/trace/schema.js'
import { chromeTroubles, eventsOf } from '../null/trace/export/chrome-check.js'
import { parseCsv } from '../null/trace/export/csv-parse.js'
import { fixture } from '../null/trace/fixture.js'
import { type Lab, openWithoutKernel, results, startLab } from './jupyterlab.js'

let lab: Lab
let page: Page
let saved: SavedRun
let tables: RunTables

beforeAll(async () => {
  lab = await startLab()
  saved = await saveRun(fixture({ chunks: 4, steps: 2 }))
  tables = await decodeSavedRun(saved)
  lab.writeNotebook('run.ipynb', [{ [RUN_MIME]: saved, 'text/plain': 'a run' }])
  lab.writeNotebook('cut.ipynb', [{ [RUN_MIME]: await saveRun(fixture({ steps: 9 })), 'text/plain': 'a run' }])
  page = await open('run.ipynb')
}, 120_000)
afterAll(async () => lab?.close(), 60_000)

async function open(name: string): Promise<Page> {
  const opened = await lab.open({ width: 1500, height: 1100 })
  await openWithoutKernel(lab, opened, name)
  await opened.locator('.jp-FPDT-stage[data-fpdt-drawn]').first().waitFor()
  return opened
}

async function save(at: Page, item: string): Promise<{ name: string; bytes: Buffer }> {
  await at.getByRole('button', { name: 'Save as' }).first().click()
  const downloading = at.waitForEvent('download')
  await at.getByRole('menuitem', { name: item, exact: true }).click()
  const download = await downloading
  return { name: download.suggestedFilename(), bytes: readFileSync(await download.path()) }
}
const said = (at: Page): Promise<string> => at.locator('.jp-FPDT-said').first().innerText()

describe('a run saved from the menu', () => {
  it('is, as Arrow, what the notebook held', async () => {
    const { name, bytes } = await save(page, 'Arrow file')
    expect(name).toBe('fpdt-llama-2-256-2048-tokens-in-4-chunks-2-ranks-steps-1-2.arrow')
    const read = decodeRunFile(new Uint8Array(bytes))
    expect(read).toEqual({ ...tables, head: { ...tables.head, kept: read.head.kept } })
    expect(read.head.kept).toMatchObject({ spans: tables.spans.op.length, of: tables.spans.op.length })
    await expect.poll(() => said(page)).toBe(`Arrow file saved as ${name}: all ${tables.spans.op.length.toLocaleString('en-US')} ops.`)
  })

  it('is, as a Chrome trace, one that viewers read', async () => {
    const { name, bytes } = await save(page, 'Chrome trace (Perfetto)')
    expect(name).toMatch(/\.trace\.json$/)
    expect(chromeTroubles(String(bytes))).toEqual([])
    expect(eventsOf(String(bytes)).filter(({ args }) => args?.line !== undefined)).toHaveLength(tables.spans.op.length)
  })

  it('is, as CSV, every row with the same sums', async () => {
    const rows = parseCsv(String((await save(page, 'CSV of ops')).bytes))
    const { spans, memory } = tables
    const sum = (of: readonly Record<string, string>[], column: string): number => of.reduce((total, row) => total + Number(row[column]), 0)
    const total = (column: Float64Array): number => column.reduce((all, value) => all + value, 0)
    expect(rows).toHaveLength(spans.op.length)
    for (const column of ['start_ns', 'duration_ns', 'flops', 'bytes'] as const) expect(sum(rows, column)).toBe(total(spans[column]))
    const events = parseCsv(String((await save(page, 'CSV of memory')).bytes))
    expect(events).toHaveLength(memory.op.length)
    expect(sum(events, 'delta_bytes')).toBe(total(memory.delta_bytes))
  })

  it('is, as PNG and as SVG, one picture: nothing but the edges of letters differs', async () => {
    const png = await save(page, 'PNG picture')
    const svg = await save(page, 'SVG picture')
    expect((await loadImage(png.bytes)).width).toBe(2400)
    expect(svg.bytes.length).toBeLessThan(2e6)
    const difference = await page.evaluate(
      async ([raster, vector]) => {
        const drawn = async (url: string): Promise<Uint8ClampedArray> => {
          const image = new Image()
          image.src = url
          await image.decode()
          const canvas = document.createElement('canvas')
          canvas.width = 2400
          canvas.height = Math.round((2400 * image.height) / image.width)
          const context = canvas.getContext('2d') as CanvasRenderingContext2D
          context.drawImage(image, 0, 0, canvas.width, canvas.height)
          return context.getImageData(0, 0, canvas.width, canvas.height).data
        }
        const [a, b] = [await drawn(raster as string), await drawn(vector as string)]
        let [far, inked] = [0, 0]
        for (let i = 0; i < a.length; i += 4) {
          const distance = Math.max(...[0, 1, 2].map((c) => Math.abs((a[i + c] as number) - (b[i + c] as number))))
          if (distance > 96) far++
          if (Math.min(a[i] as number, a[i + 1] as number, a[i + 2] as number) < 200) inked++
        }
        return { far: far / inked, inked: inked / (a.length / 4) }
      },
      [`data:image/png;base64,${png.bytes.toString('base64')}`, `data:image/svg+xml;base64,${svg.bytes.toString('base64')}`],
    )
    expect(difference.inked).toBeGreaterThan(0.05)
    expect(difference.far).toBeLessThan(0.02)
  })

  it('says how much of a run it is, where the notebook kept a part', async () => {
    const cut = await open('cut.ipynb')
    await cut.getByRole('button', { name: 'Save as' }).click()
    expect(await cut.locator('.jp-FPDT-menu-note').innerText()).toContain('Shows 16,168 of 36,378 ops')
    const box = await cut.locator('.jp-FPDT-menu').boundingBox()
    const panel = await cut.locator('.jp-FPDT-run').boundingBox()
    expect(box && panel && box.x >= panel.x && box.x + box.width <= panel.x + panel.width + 1).toBe(true)
    await cut.screenshot({ path: join(results, 'export-menu.png') })
    await cut.keyboard.press('Escape')
    const { name, bytes } = await save(cut, 'Arrow file')
    expect(name).toMatch(/-steps-6-9\.arrow$/)
    expect(decodeRunFile(new Uint8Array(bytes)).head.kept).toMatchObject({ spans: 16_168, of: 36_378 })
    await expect.poll(() => said(cut)).toContain('16,168 of 36,378 ops, those that the notebook keeps')
    await cut.close()
  })

  it('can be saved by keys alone, and by a command', async () => {
    const opener = page.getByRole('button', { name: 'Save as' })
    await opener.focus()
    await page.keyboard.press('Enter')
    expect(await opener.getAttribute('aria-expanded')).toBe('true')
    await page.keyboard.press('ArrowUp')
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Chrome trace (Perfetto)')
    await page.keyboard.press('Escape')
    expect(await opener.evaluate((node) => node === document.activeElement)).toBe(true)
    expect(await page.locator('.jp-FPDT-menu').isHidden()).toBe(true)
    await page.keyboard.press('Enter')
    await page.keyboard.press('ArrowDown')
    const [byKeys] = await Promise.all([page.waitForEvent('download'), page.keyboard.press('Enter')])
    expect(byKeys.suggestedFilename()).toMatch(/\.svg$/)
    type App = { commands: { execute(id: string): Promise<unknown> } }
    const [byCommand] = await Promise.all([
      page.waitForEvent('download'),
      page.evaluate(() => (window as unknown as { jupyterapp: App }).jupyterapp.commands.execute('fpdt:export-png')),
    ])
    expect(byCommand.suggestedFilename()).toMatch(/\.png$/)
  })
})
