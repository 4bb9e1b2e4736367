/** Asking a page for the runs that are drawn on it, and its JupyterLab to do things. */
import type { Locator, Page } from 'playwright'
import { expect } from 'vitest'
import { RUN_MIME } from '../../kernel/src/trace/schema.js'
import type { PanelState } from '../../labextension/src/lab/panel.js'

interface OutputsLike {
  readonly length: number
  get(i: number): { toJSON(): { data: object } }
  set(i: number, output: object): void
  clear(): void
  add(output: object): void
}
interface JupyterApp {
  commands: {
    execute(id: string, args?: object): Promise<unknown>
    isEnabled(id: string): boolean
    isToggled(id: string): boolean
    isVisible(id: string): boolean
  }
  shell: { currentWidget: { content: { widgets: { model: { outputs: OutputsLike } }[] } } }
}
/** The page's window, as code in the page sees it. */
export type LabWindow = Window & { jupyterapp: JupyterApp }

/** The page draws in its own time, and machines that test are busy. */
export const eventually = <T>(read: () => Promise<T> | T) => expect.poll(read, { timeout: 15_000, interval: 40 })

export const command = (at: Page, id: string, args: object = {}): Promise<unknown> =>
  at.evaluate(([name, options]) => void (window as unknown as LabWindow).jupyterapp.commands.execute(name, options), [id, args] as const)

/** Closes the notebook in front and waits until it is gone. One that is written into is saved when JupyterLab asks for that. */
export async function closeNotebook(at: Page): Promise<void> {
  const open = await at.locator('.jp-Notebook').count()
  await command(at, 'application:close')
  const save = at.locator('.jp-Dialog').getByRole('button', { name: 'Save', exact: true })
  await expect
    .poll(
      async () => {
        if (await save.isVisible()) await save.click()
        return at.locator('.jp-Notebook').count()
      },
      { timeout: 60_000 },
    )
    .toBe(open - 1)
}

/** Changes to a theme and waits for it, for the end of its splash, and until all is drawn in it: JupyterLab itself stumbles over a change within a change. */
export async function setTheme(at: Page, theme: string): Promise<void> {
  const splash = at.locator('#jupyterlab-splash')
  await splash.waitFor({ state: 'detached' })
  if ((await at.locator('body').getAttribute('data-jp-theme-name')) === theme) return
  await command(at, 'apputils:change-theme', { theme })
  await at.locator(`body[data-jp-theme-name="${theme}"]`).waitFor({ state: 'attached' })
  await splash.waitFor({ state: 'detached' })
  await atRest(at)
}

/** What is read once it stays the same: when what is drawn or scrolled has come to rest. */
export async function steady<T>(read: () => Promise<T>): Promise<T> {
  let last = await read()
  await eventually(async () => {
    await new Promise((resolve) => setTimeout(resolve, 200))
    const before = last
    last = await read()
    return before === last
  }).toBe(true)
  return last
}

/** Until the page has drawn twice: what it hears of sizes and sight comes with a frame, and what follows from it is drawn in the next. */
export const twoFrames = (at: Page): Promise<void> =>
  at.evaluate(() => new Promise<void>((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(resolve)))))

/** Until what changes slowly has changed, and what follows from that is drawn. */
export async function atRest(at: Page): Promise<void> {
  await twoFrames(at)
  const changing = (): Promise<number> =>
    at.evaluate(
      () => document.getAnimations().filter(({ effect, playState }) => playState === 'running' && effect?.getComputedTiming().endTime !== Infinity).length,
    )
  await eventually(changing).toBe(0)
  await twoFrames(at)
}

/** The n-th run on the page. */
export const panelOf = (at: Page, index = 0): Locator => at.locator('.jp-FPDT-run').nth(index)
export const viewOf = (panel: Locator, name: string): Locator => panel.locator(`.jp-FPDT-view[data-view="${name}"]`)
export const stageOf = (panel: Locator, view = 'timeline'): Locator => viewOf(panel, view).locator('.jp-FPDT-stage[data-fpdt-drawn]')

export async function stateOf(panel: Locator): Promise<PanelState> {
  await stageOf(panel).waitFor()
  return panel.evaluate((node) => (node as HTMLElement & { fpdtState: PanelState }).fpdtState)
}

/** Waits until the state is as wanted: drawing happens in the next frame. */
export async function stateWhen(panel: Locator, wanted: (state: PanelState) => boolean): Promise<PanelState> {
  let state = await stateOf(panel)
  await eventually(async () => {
    state = await stateOf(panel)
    return wanted(state)
  }).toBe(true)
  return state
}

/** Where on the page a point of a stage lies. */
export async function onPage(stage: Locator, x: number, y: number): Promise<{ x: number; y: number }> {
  const box = await stage.boundingBox()
  if (!box) throw new Error('the stage is not on the page')
  return { x: box.x + x, y: box.y + y }
}

/** What `update_display_data` does to the output of a cell. */
export const updateOutput = (at: Page, run: object, cell = 0): Promise<void> =>
  at.evaluate(
    ([mime, next, i]) => {
      const { outputs } = (window as unknown as LabWindow).jupyterapp.shell.currentWidget.content.widgets[i].model
      const output = outputs.get(0).toJSON()
      outputs.set(0, { ...output, data: { ...output.data, [mime]: next } })
    },
    [RUN_MIME, run, cell] as const,
  )
