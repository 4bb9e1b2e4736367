/** The shell around the views, in the real JupyterLab and with no kernel: what is open, what is linked, what keys do, and where else a run is shown. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Locator, Page } from 'playwright'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { saveRun } from '../../kernel/src/trace/saved.js'
import { RUN_MIME, type SavedRun } from '../../kernel/src/trace/schema.js'
import { fixture } from '../null/trace/fixture.js'
import {
  atRest,
  command,
  eventually,
  type LabWindow,
  onPage,
  panelOf,
  setTheme,
  stageOf,
  stateOf,
  stateWhen,
  steady,
  twoFrames,
  updateOutput,
  viewOf,
} from './drawn.js'
import { type Lab, openWithoutKernel, results, startLab } from './jupyterlab.js'

const AXE = createRequire(import.meta.url).resolve('axe-core')

let lab: Lab
let page: Page | undefined
let first: SavedRun
let second: SavedRun
const troubles: string[] = []

beforeAll(async () => {
  lab = await startLab()
  first = await saveRun(fixture())
  const other = await saveRun(fixture({ chunks: 4, steps: 1 }))
  second = { ...other, head: { ...other.head, run_id: 'a-second-run', title: 'The second run' } }
  lab.writeNotebook('one.ipynb', [{ [RUN_MIME]: first }])
  lab.writeNotebook('two.ipynb', [{ [RUN_MIME]: first }, { [RUN_MIME]: second }])
}, 120_000)
afterAll(async () => lab?.close(), 60_000)
afterEach(async () => {
  await page?.close()
  page = undefined
  expect(troubles.splice(0)).toEqual([])
})

async function opened(name = 'one.ipynb', size = { width: 1500, height: 1100 }): Promise<{ at: Page; panel: Locator }> {
  const at = await lab.open(size)
  page = at
  at.on('pageerror', (error) => troubles.push(String(error)))
  await openWithoutKernel(lab, at, name)
  await stageOf(panelOf(at)).waitFor()
  return { at, panel: panelOf(at) }
}
const details = (panel: Locator): Promise<string> => panel.locator('.jp-FPDT-details').innerText()
const toggle = (panel: Locator, name: string): Locator => panel.getByRole('button', { name: new RegExp(`^${name}: `) })
const length = ({ view }: { view: { start_ns: number; end_ns: number } }): number => view.end_ns - view.start_ns
/** All views that are offered, open. */
async function openAll(panel: Locator): Promise<void> {
  for (const button of await panel.getByRole('group', { name: 'Views' }).getByRole('button').all()) {
    if ((await button.getAttribute('aria-pressed')) === 'false') await button.click()
  }
}

describe('views of a run', () => {
  it('open and close by their buttons, which say which are open', async () => {
    const { panel } = await opened()
    expect((await stateOf(panel)).views).toEqual(['timeline'])
    const ops = toggle(panel, 'Ops')
    expect(await ops.getAttribute('aria-pressed')).toBe('false')
    await ops.click()
    await viewOf(panel, 'ops').locator('tbody tr').first().waitFor()
    expect(await ops.getAttribute('aria-pressed')).toBe('true')
    await toggle(panel, 'Timeline').click()
    await viewOf(panel, 'timeline').waitFor({ state: 'detached' })
    expect(await panel.locator('.jp-FPDT-view').count()).toBe(1)
    await toggle(panel, 'Timeline').click()
    await stateOf(panel)
    const order = await panel.locator('.jp-FPDT-view').evaluateAll((views) => views.map((view) => (view as HTMLElement).dataset.view))
    expect(order).toEqual(['timeline', 'ops'])
  })

  it('share what is pointed at, what is picked and the window of time', async () => {
    const { at, panel } = await opened()
    await toggle(panel, 'Ops').click()
    const rows = viewOf(panel, 'ops').locator('tbody tr')
    await rows.nth(3).hover()
    const { hover } = await stateWhen(panel, (state) => state.hover?.kind === 'span')
    await rows.nth(3).click()
    const { pinned } = await stateWhen(panel, (state) => state.pinned !== null)
    expect(pinned).toEqual(hover)
    await eventually(() => rows.nth(3).getAttribute('aria-current')).toBe('true')
    const op = (await rows.nth(3).locator('td').first().innerText()).trim()
    await eventually(() => details(panel)).toContain(op)
    await stageOf(panel).focus()
    for (let i = 0; i < 8; i++) await at.keyboard.press('w')
    await stateWhen(panel, (state) => length(state) < 0.1 * (state.extent.end_ns - state.extent.start_ns))
    await eventually(() => viewOf(panel, 'ops').locator('caption').innerText()).toMatch(/^[\d,]+ ops in view\.|^1 to 300 of (?!8,084)/)
  })

  it('keep an instant on a click beside the ops, and let go of it on Esc', async () => {
    const { at, panel } = await opened()
    const { picture } = await stateOf(panel)
    const stage = stageOf(panel)
    const lane = picture.lanes.find(({ stream }) => stream === 'offload')
    if (!lane) throw new Error('the run has no lane of offloads')
    // Between two steps nothing runs.
    const gap = (first.head.steps[0].start_ns + first.head.steps[0].duration_ns + first.head.steps[1].start_ns) / 2
    const { view } = await stateOf(panel)
    const x = lane.x + ((gap - view.start_ns) / length({ view })) * lane.width
    const point = await onPage(stage, x, lane.y + 8)
    await at.mouse.click(point.x, point.y)
    const kept = await stateWhen(panel, ({ cursor_ns }) => cursor_ns !== null)
    expect(Math.abs((kept.cursor_ns ?? 0) - gap)).toBeLessThan(length({ view }) / lane.width)
    expect(kept.pinned).toBe(null)
    await at.mouse.move(5, 5)
    await eventually(() => details(panel)).toMatch(/^At .*: device .* · host /)
    await at.keyboard.press('Escape')
    await stateWhen(panel, ({ cursor_ns }) => cursor_ns === null)
  })

  it('are told in words: a summary on the picture, a table on demand that follows the window', async () => {
    const { at, panel } = await opened()
    const words = viewOf(panel, 'timeline').locator('.jp-FPDT-words')
    expect(await words.locator('table').count()).toBe(0)
    await words.locator('summary').click()
    await eventually(() => words.locator('tbody tr').first().innerText()).toMatch(/^compute\s+0\s+[\d,]+\s+[\d.]+.%/)
    const before = await words.locator('caption').innerText()
    await stageOf(panel).focus()
    await at.keyboard.press('w')
    await eventually(() => words.locator('caption').innerText()).not.toBe(before)
  })

  it('are not drawn while they cannot be seen, and are when they can again', async () => {
    const { at, panel } = await opened()
    const drawings = (): Promise<number> => stageOf(panel).evaluate((node) => Number((node as HTMLElement).dataset.fpdtDrawn))
    await command(at, 'application:toggle-mode')
    await panel.evaluate((node) => {
      ;(node as HTMLElement).style.display = 'none'
    })
    await twoFrames(at)
    const before = await steady(() => drawings().catch(() => -1))
    await updateOutput(at, { ...first, head: { ...first.head, title: 'newer' } })
    await at.waitForTimeout(400)
    expect(await panel.locator('.jp-FPDT-stage').evaluate((node) => Number((node as HTMLElement).dataset.fpdtDrawn))).toBe(before)
    expect(await panel.locator('.jp-FPDT-title').textContent()).not.toContain('newer')
    await panel.evaluate((node) => {
      ;(node as HTMLElement).style.display = ''
    })
    await eventually(() => panel.locator('.jp-FPDT-title').textContent()).toContain('newer')
    await eventually(drawings).toBeGreaterThan(before)
  })

  it('ask for no frame while nothing changes', async () => {
    const { at, panel } = await opened()
    await toggle(panel, 'Ops').click()
    const frames = (): Promise<number> =>
      at.evaluate(async () => {
        let asked = 0
        const original = window.requestAnimationFrame
        window.requestAnimationFrame = (callback) => {
          if (String(new Error().stack).includes('@fpdt')) asked++
          return original.call(window, callback)
        }
        await new Promise((resolve) => setTimeout(resolve, 1000))
        window.requestAnimationFrame = original
        return asked
      })
    // The table is drawn first, on a busy machine for some time.
    await eventually(frames).toBe(0)
  })
})

describe('by keys alone', () => {
  it('a reader gets everywhere: into the panel, through ops, steps and views, and out', async () => {
    const { at, panel } = await opened()
    await stageOf(panel).focus()
    const whole = await stateOf(panel)
    await at.keyboard.press(']')
    const step1 = await stateWhen(panel, (state) => length(state) < length(whole))
    expect(step1.view.end_ns).toBeCloseTo(first.head.steps[0].start_ns + first.head.steps[0].duration_ns, -1)
    await at.keyboard.press(']')
    const step2 = await stateWhen(panel, (state) => state.view.start_ns > step1.view.start_ns)
    expect(step2.view.start_ns).toBe(first.head.steps[1].start_ns)
    await at.keyboard.press('[')
    await stateWhen(panel, (state) => state.view.start_ns === step1.view.start_ns)
    await at.keyboard.press('n')
    const one = await stateWhen(panel, ({ pinned }) => pinned !== null)
    await at.keyboard.press('n')
    const two = await stateWhen(panel, ({ pinned }) => pinned?.kind === 'span' && one.pinned?.kind === 'span' && pinned.row !== one.pinned.row)
    await at.keyboard.press('p')
    await stateWhen(panel, ({ pinned }) => JSON.stringify(pinned) === JSON.stringify(one.pinned))
    expect(two.pinned).not.toEqual(one.pinned)
    await at.keyboard.press('Space')
    await stateWhen(panel, ({ cursor_ns }) => cursor_ns !== null)
    await at.keyboard.press('9')
    await viewOf(panel, 'ops').waitFor()
    await at.keyboard.press('Escape')
    await stateWhen(panel, ({ cursor_ns, pinned }) => cursor_ns === null && pinned === null)
    await at.keyboard.press('0')
    await stateWhen(panel, (state) => length(state) === length(whole))
    await at.keyboard.press('9')
    await viewOf(panel, 'ops').waitFor({ state: 'detached' })
    // None of it was taken for a command of the notebook.
    expect(await at.locator('.jp-Notebook .jp-Cell').count()).toBe(1)
  })

  it('a list tells the keys, and goes', async () => {
    const { at, panel } = await opened()
    await stageOf(panel).focus()
    await at.keyboard.press('?')
    const list = panel.getByRole('region', { name: 'Keys' })
    expect(await list.innerText()).toMatch(/w\s*\+\s*=\s*zoom in[\s\S]*Space\s*keep the instant[\s\S]*9\s*Ops/)
    await at.screenshot({ path: join(results, 'shell-keys.png') })
    await at.keyboard.press('?')
    await list.waitFor({ state: 'detached' })
  })

  it('closing the view that has the focus does not lose it', async () => {
    const { at, panel } = await opened()
    await toggle(panel, 'Ops').click()
    await stageOf(panel).focus()
    await at.keyboard.press('1')
    await viewOf(panel, 'timeline').waitFor({ state: 'detached' })
    expect(await at.evaluate(() => document.activeElement?.closest('.jp-FPDT-run') !== null)).toBe(true)
    await at.keyboard.press('1')
    await stateOf(panel)
  })
})

describe('the wheel', () => {
  it('scrolls the page over a run that does not have the focus, and zooms one that has', async () => {
    const { at, panel } = await opened('two.ipynb', { width: 1300, height: 620 })
    const scrolled = (): Promise<number> =>
      panel.evaluate((node) => {
        for (let above = node.parentElement; above; above = above.parentElement) if (above.scrollTop > 0) return above.scrollTop
        return 0
      })
    const { picture, view } = await stateOf(panel)
    const over = async (): Promise<void> => {
      const point = await onPage(stageOf(panel), picture.lanes[0].x + 200, picture.lanes[1].y + 5)
      await at.mouse.move(point.x, point.y)
    }
    await over()
    await at.mouse.wheel(0, 120)
    await eventually(scrolled).toBeGreaterThan(50)
    expect((await stateOf(panel)).view).toEqual(view)
    await stageOf(panel).focus()
    const before = await steady(scrolled)
    await over()
    await at.mouse.wheel(0, -200)
    await stateWhen(panel, (state) => length(state) < length({ view }))
    expect(await scrolled()).toBe(before)
  })
})

describe('what is in sight', () => {
  it('is two lines, whatever is pointed at or kept; the answers come after them', async () => {
    const { at, panel } = await opened()
    const lines = panel.locator('.jp-FPDT-lines')
    const height = (): Promise<number> => lines.evaluate((node) => node.getBoundingClientRect().height)
    const lineHeight = await lines.evaluate((node) => Number.parseFloat(getComputedStyle(node).lineHeight))
    const before = await height()
    expect(before / lineHeight).toBeCloseTo(2, 1)
    const { picture } = await stateOf(panel)
    const lane = picture.lanes[0]
    const point = await onPage(stageOf(panel), lane.x + lane.width * 0.4, lane.y + 8)
    await at.mouse.click(point.x, point.y)
    await eventually(() => panel.locator('.jp-FPDT-asked').innerText()).toContain('What it touches')
    await at.mouse.move(5, 5)
    await eventually(() => details(panel)).toMatch(/kept, Esc lets go/)
    expect(await lines.locator('> div').count()).toBe(2)
    expect(await height()).toBe(before)
  })

  it('is something in the map of chunks, though chunks are gone when a step ends', async () => {
    const { panel } = await opened()
    await toggle(panel, 'Where').click()
    const label = await stageOf(panel, 'where').getAttribute('aria-label')
    expect(label).toMatch(/: [1-9]\d* chunks? on device/)
  })
})

describe('a toolbar', () => {
  it('is one stop of Tab; arrow keys, Home and End go between its controls', async () => {
    const { at, panel } = await opened()
    const toolbar = panel.getByRole('toolbar', { name: 'View of the run' })
    const stops = (): Promise<(string | null)[]> =>
      toolbar
        .locator('button, select')
        .evaluateAll((all) => all.filter((one) => (one as HTMLElement).tabIndex === 0).map((one) => one.getAttribute('aria-label')))
    const focused = (): Promise<string | null> => at.evaluate(() => document.activeElement?.getAttribute('aria-label') ?? null)
    expect(await stops()).toHaveLength(1)
    await toggle(panel, 'Timeline').focus()
    await at.keyboard.press('ArrowRight')
    expect(await focused()).toMatch(/^Slots: /)
    expect(await stops()).toEqual([await focused()])
    await at.keyboard.press('Home')
    expect(await focused()).toMatch(/^Zoom out/)
    await at.keyboard.press('ArrowLeft')
    expect(await focused()).toMatch(/^List the keys/)
    await at.keyboard.press('Shift+Tab')
    expect(await toolbar.evaluate((node) => node.contains(document.activeElement))).toBe(false)
    expect((await stateOf(panel)).pinned).toBe(null)
  })

  it('is left for the panel, which shows it, when the view with the focus is closed by its number', async () => {
    const { at, panel } = await opened()
    await stageOf(panel).focus()
    await at.keyboard.press('1')
    await viewOf(panel, 'timeline').waitFor({ state: 'detached' })
    expect(await panel.evaluate((node) => [node === document.activeElement, getComputedStyle(node).outlineStyle])).toEqual([true, 'solid'])
  })
})

describe('a presentation', () => {
  it('is one view in larger type, stepped by arrow keys, and left by Esc with the views that were there', async () => {
    const { at, panel } = await opened()
    await toggle(panel, 'Ops').click()
    await stateWhen(panel, ({ views }) => views.length === 2)
    const sizeOf = (): Promise<number> => panel.evaluate((node) => Number.parseFloat(getComputedStyle(node).fontSize))
    const before = { font: await sizeOf(), height: (await stageOf(panel).boundingBox())?.height ?? 0 }
    await panel.getByRole('button', { name: /^Present: / }).click()
    await stateWhen(panel, (state) => state.presentation && state.views.length === 1 && state.scale === 1.5)
    await eventually(sizeOf).toBeCloseTo(1.5 * before.font, 5)
    await eventually(async () => ((await stageOf(panel).boundingBox())?.height ?? 0) / before.height).toBeGreaterThan(1.3)
    await at.keyboard.press('ArrowRight')
    const one = await stateWhen(panel, ({ pinned }) => pinned !== null)
    await at.keyboard.press('ArrowRight')
    await stateWhen(panel, ({ pinned }) => JSON.stringify(pinned) !== JSON.stringify(one.pinned))
    await at.keyboard.press('ArrowLeft')
    await stateWhen(panel, ({ pinned }) => JSON.stringify(pinned) === JSON.stringify(one.pinned))
    await at.screenshot({ path: join(results, 'shell-presentation.png') })
    // The picture keeps its place, whatever is kept.
    expect(await panel.locator('.jp-FPDT-asked').isVisible()).toBe(false)
    expect(await panel.locator('.jp-FPDT-lines').evaluate((node) => node.clientHeight)).toBeLessThan(3 * 1.5 * before.font)
    await at.keyboard.press('3')
    await viewOf(panel, 'chunks').waitFor()
    const small = await viewOf(panel, 'chunks')
      .locator('.jp-FPDT-controls')
      .evaluate((node) => Number.parseFloat(getComputedStyle(node).fontSize))
    expect(small).toBeCloseTo(1.5 * 12, 5)
    await at.keyboard.press('1')
    await stateWhen(panel, ({ views }) => views.join() === 'timeline')
    await at.keyboard.press('ArrowUp')
    await viewOf(panel, 'ops').waitFor()
    expect(await panel.locator('.jp-FPDT-view').count()).toBe(1)
    await at.keyboard.press('1')
    await stateWhen(panel, ({ views }) => views.join() === 'timeline')
    await at.keyboard.press('Escape')
    await stateWhen(panel, ({ presentation, views, scale }) => !presentation && views.join() === 'timeline,ops' && scale === 1)
  })

  it('points where the pointer is, though a unit is more than a pixel', async () => {
    const { at, panel } = await opened()
    await command(at, 'fpdt:toggle-presentation')
    await stateWhen(panel, (state) => state.scale === 1.5)
    await twoFrames(at)
    const { picture, scale } = await stateOf(panel)
    const lane = picture.lanes[0]
    const point = await onPage(stageOf(panel), (lane.x + lane.width * 0.6) * scale, (lane.y + 8) * scale)
    await at.mouse.move(point.x, point.y)
    const { hover } = await stateWhen(panel, (state) => state.hover !== null)
    expect(hover?.kind).toBe('span')
    await eventually(() => details(panel)).toMatch(/rank 0, compute/)
  })
})

describe('settings', () => {
  const file = (): string => join(lab.folder, '../settings/@fpdt/labextension/plugin.jupyterlab-settings')
  const write = (settings: object): void => {
    mkdirSync(join(file(), '..'), { recursive: true })
    writeFileSync(file(), JSON.stringify(settings))
  }
  afterEach(() => write({}))

  it('say which views are open first, and how large a presentation is', async () => {
    write({ views: ['ops', 'timeline'], presentationScale: 2 })
    const { at, panel } = await opened()
    expect((await stateOf(panel)).views).toEqual(['timeline', 'ops'])
    await command(at, 'fpdt:toggle-presentation')
    await stateWhen(panel, ({ scale }) => scale === 2)
  })

  it('say how many pictures a second a run that goes on may have', async () => {
    write({ framesPerSecond: 2 })
    const { at, panel } = await opened()
    const running = { ...first, head: { ...first.head, state: 'running' } }
    await updateOutput(at, { ...running, head: { ...running.head, title: 'begins' } })
    await eventually(() => panel.locator('.jp-FPDT-title').textContent()).toContain('begins')
    await twoFrames(at)
    // Newer data come far more often than they are taken, by the page's own clock: each in a frame, and a header is made anew of it at once.
    const { taken, drawings } = await at.evaluate(
      async ([mime, run]) => {
        const { outputs } = (window as unknown as LabWindow).jupyterapp.shell.currentWidget.content.widgets[0].model
        const node = document.querySelector('.jp-FPDT-run') as HTMLElement
        const drawn = (): number => Number((node.querySelector('.jp-FPDT-stage') as HTMLElement).dataset.fpdtDrawn)
        const taken: { frame_ms: number; made_ms: number }[] = []
        let frame_ms = performance.now()
        let frame = 0
        const tick = (): void => {
          frame_ms = performance.now()
          frame = requestAnimationFrame(tick)
        }
        tick()
        const observer = new MutationObserver(() => taken.push({ frame_ms, made_ms: performance.now() }))
        observer.observe(node, { childList: true })
        const before = drawn()
        for (let i = 0; taken.length < 6; i++) {
          const output = outputs.get(0).toJSON()
          outputs.set(0, { ...output, data: { ...output.data, [mime]: { ...run, head: { ...run.head, title: `update ${i}` } } } })
          await new Promise((resolve) => setTimeout(resolve, 30))
        }
        observer.disconnect()
        cancelAnimationFrame(frame)
        return { taken, drawings: drawn() - before }
      },
      [RUN_MIME, running] as const,
    )
    // From before the one was taken until after the next; a last millisecond is not waited for.
    for (const [i, { frame_ms }] of taken.slice(0, -1).entries()) expect(taken[i + 1].made_ms - frame_ms).toBeGreaterThanOrEqual(1000 / 2 - 1)
    expect(drawings).toBeLessThanOrEqual(taken.length)
    expect(drawings).toBeGreaterThan(1)
  })

  for (const follows of [true, false]) {
    it(`say whether a window at the end of a run ${follows ? 'moves on with it' : 'stays where it is'}`, async () => {
      write({ followLive: follows })
      const shorter = await saveRun(fixture({ steps: 1 }))
      const head = { ...shorter.head, run_id: first.head.run_id }
      lab.writeNotebook('grows.ipynb', [{ [RUN_MIME]: { ...shorter, head } }])
      const at = await lab.open({ width: 1300, height: 1000 })
      page = at
      await at.emulateMedia({ reducedMotion: 'no-preference' })
      await openWithoutKernel(lab, at, 'grows.ipynb')
      const panel = panelOf(at)
      const whole = await stateOf(panel)
      await stageOf(panel).focus()
      await at.keyboard.press('w')
      for (let i = 0; i < 6; i++) await at.keyboard.press('d')
      const before = await stateWhen(panel, (state) => state.view.end_ns === whole.extent.end_ns && length(state) < length(whole))
      await updateOutput(at, first)
      const after = await stateWhen(panel, (state) => state.extent.end_ns > whole.extent.end_ns)
      expect(after.view.end_ns).toBeCloseTo(follows ? after.extent.end_ns : before.view.end_ns, -2)
      expect(length(after)).toBeCloseTo(length(before), -2)
    })
  }
})

describe('a tab of its own', () => {
  const tabOf = (at: Page): Locator => at.locator('.jp-MainAreaWidget .jp-FPDT-tab')
  const openTab = async (at: Page, panel: Locator): Promise<Locator> => {
    await panel.getByRole('button', { name: /^Open in tab/ }).click()
    const tab = tabOf(at)
    await tab.locator('.jp-FPDT-stage[data-fpdt-drawn]').waitFor()
    return tab
  }

  it('shows the run of an output, keeps in step with it, and is opened once', async () => {
    const { at, panel } = await opened()
    const tab = await openTab(at, panel)
    await at.screenshot({ path: join(results, 'shell-tab.png') })
    await at.locator('.jp-Notebook').click({ position: { x: 20, y: 5 } })
    await updateOutput(at, { ...first, head: { ...first.head, title: 'the run, later' } })
    await eventually(() => tab.locator('.jp-FPDT-title').innerText()).toContain('the run, later')
    await command(at, 'fpdt:open', { path: 'one.ipynb', run_id: first.head.run_id })
    await at.waitForTimeout(300)
    expect(await tabOf(at).count()).toBe(1)
  })

  it('comes back after a reload, with no kernel', async () => {
    const { at, panel } = await opened()
    lab.dropLayouts()
    await openTab(at, panel)
    await eventually(() => lab.savedLayouts()).toMatch(/"widgets":\s*\[[^\]]*"fpdt-runs:/)
    await at.goto(`${lab.url}/lab`)
    await at.locator('.jp-Dialog').getByRole('button', { name: 'No Kernel' }).click({ timeout: 30_000 })
    await tabOf(at).locator('.jp-FPDT-stage[data-fpdt-drawn]').waitFor({ timeout: 20_000 })
    expect(await tabOf(at).locator('.jp-FPDT-title').innerText()).toContain(first.head.title)
    expect(await at.request.get(`${lab.url}/api/kernels`).then((answer) => answer.json())).toEqual([])
  })

  it('says in words that its notebook is closed or its output gone, and finds both again', async () => {
    const { at, panel } = await opened()
    const tab = await openTab(at, panel)
    const notice = tab.locator('.jp-FPDT-reason')
    expect(await notice.count()).toBe(0)
    await at.locator('.jp-Notebook').click({ position: { x: 20, y: 5 } })
    await at.evaluate(() => (window as unknown as LabWindow).jupyterapp.shell.currentWidget.content.widgets[0].model.outputs.clear())
    await eventually(() => notice.allInnerTexts()).toEqual([
      expect.stringMatching(/^one\.ipynb has no output with this run\. It is drawn as it was last seen\./),
    ])
    expect(await tab.locator('.jp-FPDT-stage[data-fpdt-drawn]').count()).toBe(1)
    await command(at, 'fpdt:open', { path: 'gone.ipynb', run_id: 'of-no-run' })
    await eventually(() => at.locator('.jp-FPDT-tab .jp-FPDT-reason').allInnerTexts()).toContainEqual(
      expect.stringMatching(/^gone\.ipynb, which holds this run, is not open\. /),
    )
    await command(at, 'fpdt:open', { path: 'two.ipynb', run_id: 'a-second-run' })
    const third = tabOf(at).filter({ hasText: 'two.ipynb' })
    await third.getByRole('button', { name: 'Open notebook two.ipynb' }).click()
    await at.locator('.jp-Dialog').getByRole('button', { name: 'No Kernel' }).click({ timeout: 30_000 })
    await eventually(() => tabOf(at).locator('.jp-FPDT-title').allInnerTexts()).toContainEqual(expect.stringContaining('The second run'))
  })
})

describe('the status bar', () => {
  it('tells of the last run of the notebook in front, is hidden where there is none, and opens the run', async () => {
    const { at } = await opened('two.ipynb')
    const item = at.locator('.jp-FPDT-status')
    await eventually(() => item.innerText()).toMatch(/^FPDT done · step 1 · [\d,]+ tokens\/s · device peak [\d.]+.MiB$/)
    lab.writeNotebook('none.ipynb', [{ 'text/plain': 'no run' }])
    await command(at, 'docmanager:open', { path: 'none.ipynb' })
    await at.locator('.jp-Dialog').getByRole('button', { name: 'No Kernel' }).click({ timeout: 30_000 })
    await eventually(() => item.isVisible()).toBe(false)
    await command(at, 'docmanager:open', { path: 'two.ipynb' })
    await eventually(() => item.isVisible()).toBe(true)
    await item.getByRole('button').click()
    await eventually(() => at.locator('.jp-FPDT-tab .jp-FPDT-title').allInnerTexts()).toEqual([expect.stringContaining('The second run')])
  })
})

describe('commands', () => {
  it('are in the palette, and act on the run that was used last', async () => {
    const { at } = await opened('two.ipynb', { width: 1500, height: 1900 })
    await stageOf(panelOf(at, 1)).waitFor()
    await stageOf(panelOf(at, 1)).focus()
    await command(at, 'fpdt:toggle-ops')
    await viewOf(panelOf(at, 1), 'ops').waitFor()
    expect(await viewOf(panelOf(at, 0), 'ops').count()).toBe(0)
    const states = await at.evaluate(() => {
      const { commands } = (window as unknown as LabWindow).jupyterapp
      return ['fpdt:toggle-ops', 'fpdt:toggle-timeline', 'fpdt:toggle-presentation'].map((id) => commands.isToggled(id))
    })
    expect(states).toEqual([true, true, false])
    await command(at, 'apputils:activate-command-palette')
    const palette = at.locator('#modal-command-palette')
    await palette.locator('input').fill('fpdt')
    for (const label of ['Show Whole Run', 'Show Ops as Table', 'Present Run', 'Open Run in Tab', 'Compare Run with…', 'List Keys']) {
      await palette.locator('.lm-CommandPalette-item', { hasText: label }).first().waitFor()
    }
  })
})

describe('manners', () => {
  for (const theme of ['JupyterLab Light', 'JupyterLab Dark', 'JupyterLab Dark High Contrast']) {
    it(`axe finds nothing serious with all views open, in ${theme}`, async () => {
      const { at, panel } = await opened('one.ipynb', { width: 1500, height: 3200 })
      await setTheme(at, theme)
      await openAll(panel)
      await stageOf(panel).focus()
      await at.keyboard.press('n')
      await panel.locator('.jp-FPDT-words summary').first().click()
      await panel.getByRole('button', { name: 'List the keys (?)' }).click()
      await atRest(at)
      await at.screenshot({ path: join(results, `shell-${theme.toLowerCase().replaceAll(' ', '-')}.png`) })
      await at.addScriptTag({ path: AXE })
      const found = await at.evaluate(async () => {
        const { axe } = window as unknown as {
          axe: { run(node: Element): Promise<{ violations: { id: string; impact: string; nodes: { html: string; failureSummary: string }[] }[] }> }
        }
        const { violations } = await axe.run(document.querySelector('.jp-FPDT-run') as Element)
        return violations
          .filter(({ impact }) => impact === 'serious' || impact === 'critical')
          .map(({ id, nodes }) => `${id}: ${nodes[0].html.slice(0, 200)} ${nodes[0].failureSummary}`)
      })
      expect(found).toEqual([])
    })
  }
})
