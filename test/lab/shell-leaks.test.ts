/** What is opened and closed leaves nothing behind: in 200 times no memory, no canvas, no listener. */
import type { CDPSession, Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { saveRun } from '../../kernel/src/trace/saved.js'
import { RUN_MIME } from '../../kernel/src/trace/schema.js'
import { fixture } from '../null/trace/fixture.js'
import { command, type LabWindow, panelOf, stageOf } from './drawn.js'
import { type Lab, openWithoutKernel, startLab } from './jupyterlab.js'

const CYCLES = 200
/** What a page does once, the first time, is no leak. */
const WARM = 10
const MOST_GROWTH = 2e6

let lab: Lab
let page: Page
let devtools: CDPSession

beforeAll(async () => {
  lab = await startLab()
  const saved = await saveRun(fixture({ ranks: 1, layers: 1, chunks: 2, steps: 1 }))
  lab.writeNotebook(
    'small.ipynb',
    ['a', 'b'].map((run_id) => ({ [RUN_MIME]: { ...saved, head: { ...saved.head, run_id } } })),
  )
  page = await lab.open({ width: 1200, height: 1400 })
  await openWithoutKernel(lab, page, 'small.ipynb')
  await stageOf(panelOf(page)).waitFor()
  devtools = await page.context().newCDPSession(page)
}, 120_000)
afterAll(async () => lab?.close(), 60_000)

interface Held {
  heap: number
  /** Canvases of ours that are on no page. */
  detached: number
  listeners: number
  nodes: number
}

/** What is alive after a collection. */
async function held(): Promise<Held> {
  await page.waitForTimeout(300)
  for (let i = 0; i < 3; i++) await devtools.send('HeapProfiler.collectGarbage')
  const { usedSize: heap } = await devtools.send('Runtime.getHeapUsage')
  const { jsEventListeners: listeners, nodes } = await devtools.send('Memory.getDOMCounters')
  const prototype = await devtools.send('Runtime.evaluate', { expression: 'HTMLCanvasElement.prototype' })
  const { objects } = await devtools.send('Runtime.queryObjects', { prototypeObjectId: prototype.result.objectId ?? '' })
  const { result } = await devtools.send('Runtime.callFunctionOn', {
    objectId: objects.objectId ?? '',
    functionDeclaration: 'function () { return this.filter((canvas) => !canvas.isConnected && canvas.closest("[class*=jp-FPDT]")).length }',
    returnByValue: true,
  })
  await devtools.send('Runtime.releaseObject', { objectId: objects.objectId ?? '' })
  return { heap, detached: result.value, listeners, nodes }
}

/** Calls a function in the page so many times. */
const times = (count: number, cycle: (i: number) => Promise<void>): Promise<void> =>
  page.evaluate(
    async ([source, n]) => {
      const each = new Function(`return (${source})`)() as (i: number) => Promise<void>
      for (let i = 0; i < n; i++) await each(i)
    },
    [String(cycle), count] as const,
  )

async function grown(cycle: (i: number) => Promise<void>): Promise<Held> {
  await times(WARM, cycle)
  const before = await held()
  await times(CYCLES, cycle)
  const after = await held()
  return { heap: after.heap - before.heap, detached: after.detached, listeners: after.listeners - before.listeners, nodes: after.nodes - before.nodes }
}

describe(`${CYCLES} times opened and closed`, () => {
  it('an output with all its views leaves nothing', async () => {
    const growth = await grown(async () => {
      const { outputs } = (window as unknown as LabWindow).jupyterapp.shell.currentWidget.content.widgets[0].model
      const kept = outputs.get(0).toJSON()
      outputs.clear()
      outputs.add(kept)
      let panel: HTMLElement | null = null
      // A view is drawn in the frame in which it can be seen.
      const frame = (): Promise<number> => new Promise(requestAnimationFrame)
      while (!panel?.querySelector('.jp-FPDT-stage[data-fpdt-drawn]')) {
        await frame()
        panel = document.querySelector('.jp-FPDT-run')
      }
      for (const button of panel.querySelectorAll<HTMLElement>('[role=group][aria-label=Views] [aria-pressed=false]')) button.click()
      await frame()
      await frame()
    })
    expect(growth.detached).toBe(0)
    expect(growth.listeners).toBeLessThan(CYCLES)
    expect(growth.nodes).toBeLessThan(CYCLES)
    expect(growth.heap).toBeLessThan(MOST_GROWTH)
  }, 120_000)

  it('a tab leaves nothing', async () => {
    // JupyterLab itself keeps a tab bar and buttons of the notebook's toolbar for every split of the page: one tab stays open, so that there is one split.
    await command(page, 'fpdt:open', { path: 'small.ipynb', run_id: 'a' })
    await page.locator('.jp-FPDT-tab .jp-FPDT-stage[data-fpdt-drawn]').waitFor()
    const growth = await grown(async () => {
      const { jupyterapp } = window as unknown as LabWindow
      const tab = (await jupyterapp.commands.execute('fpdt:open', { path: 'small.ipynb', run_id: 'b' })) as { close(): void; node: HTMLElement }
      while (!tab.node.querySelector('.jp-FPDT-stage[data-fpdt-drawn]')) await new Promise(requestAnimationFrame)
      tab.close()
      await new Promise(requestAnimationFrame)
    })
    expect(growth.detached).toBe(0)
    expect(growth.listeners).toBeLessThan(CYCLES)
    expect(growth.nodes).toBeLessThan(CYCLES)
    expect(growth.heap).toBeLessThan(MOST_GROWTH)
  }, 120_000)
})
