/**
 * Takes the pictures of README and the notebooks, `notebooks/pictures/NAME-light.png` and `-dark.png`: executes
 * `03-step-by-step.ipynb`, opens it in the real JupyterLab, and shows each view as a reader would. All must be built (`npm run build`).
 *
 *   node notebooks/screenshots.mjs                  all pictures
 *   node notebooks/screenshots.mjs chunks slots     those two
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright'
import { findChromium } from '../.ci/system.mjs'
import { root, TaskError } from '../.ci/task.mjs'
import { install } from '../kernel/lib/install.js'
import { decodeSavedRun, openRun, RUN_MIME, triangleOf } from '../kernel/lib/trace/index.js'

const NOTEBOOK = join(root, 'notebooks/03-step-by-step.ipynb')
const THEMES = ['light', 'dark']
/** Wide enough for a view and narrow enough for its words to be read in a column of text; so high that a view need not scroll. */
const PAGE = { width: 1010, height: 2400 }
const MARGIN = 8
const LONG = { timeout: 60_000 }

const wanted = process.argv.slice(2)
const folder = join(root, 'notebooks/pictures')
const home = mkdtempSync(join(tmpdir(), 'fpdt-pictures-'))
const served = join(home, 'notebooks')
mkdirSync(folder, { recursive: true })
mkdirSync(served)
/** What began, to be ended in the other order. */
const ends = [() => rmSync(home, { recursive: true, force: true })]
try {
  const url = await startLab()
  const browser = await chromium.launch({ executablePath: findChromium(), args: ['--no-sandbox'] })
  ends.push(() => browser.close())
  const runs = await execute()
  const page = await open(browser, `${url}/lab/tree/executed.ipynb?reset`)
  await pictureViews(page, runs)
  await pictureDoubleBuffer(page, runs)
  await pictureFile(page)
  await page.context().close()
  await pictureLive(await open(browser, `${url}/lab/tree/live.ipynb?reset`))
} finally {
  for (const end of ends.reverse()) await end()
}

// ---- the pictures --------------------------------------------------------------------------------------------------

/** The views of the run that the notebook steps through. */
async function pictureViews(page, runs) {
  const run = runs.get('step-03')
  const panel = page.locator('.jp-FPDT-run').nth(1)
  // The step that other programs of the machine disturbed least.
  const step = run.head.steps.filter(({ step }) => run.head.kept.steps.includes(step)).reduce((best, one) => (one.duration_ns < best.duration_ns ? one : best))
  await show(panel, ['timeline'])
  await showStep(panel, step)
  await shoot(page, 'timeline', viewOf(panel, 'timeline'))

  await clickPeak(panel)
  await shoot(page, 'spike', panel.locator('.jp-FPDT-asked'), 682)
  await panel.press('Escape')

  const forward = triangleOf(run, step.step, 0, { phase: 'forward', layer: 1 })
  await show(panel, ['timeline', 'chunks', 'where', 'lesson'])
  await showStep(panel, step)
  await keepInstant(panel, (forward.start_ns[17] + forward.end_ns[17]) / 2)
  for (const view of ['chunks', 'where', 'lesson']) await shoot(page, view, viewOf(panel, view))
  await panel.press('Escape')

  await show(panel, ['timeline', 'numbers', 'curves'])
  for (const view of ['numbers', 'curves']) await shoot(page, view, viewOf(panel, view))

  await show(panel, ['timeline', 'ops'])
  await zoomTo(panel, forward.start_ns[10], forward.end_ns[14])
  // As wide as its columns.
  const hidden = await panel.locator('.jp-FPDT-ops').evaluate((table) => table.scrollWidth - table.clientWidth)
  await page.setViewportSize({ ...PAGE, width: PAGE.width + hidden })
  await shoot(page, 'ops', viewOf(panel, 'ops'))
  await page.setViewportSize(PAGE)

  await show(panel, ['timeline'])
  await panel.getByRole('button', { name: /^Present:/ }).click()
  await shoot(page, 'presentation', panel, viewOf(panel, 'timeline'))
  await panel.press('Escape')
}

/** The double buffer: in the first of the two runs of one rank, which nothing disturbs, and beside the second, which has none. */
async function pictureDoubleBuffer(page, runs) {
  const [run] = [...runs.values()].filter(({ ranks, head }) => ranks.length === 1 && head.origin === 'measured')
  const meetings = triangleOf(run, run.head.steps.at(-1).step, 0, { phase: 'forward', layer: 1 })
  const panels = page.locator('.jp-FPDT-run')
  const count = await panels.count()
  const [first, second] = [panels.nth(count - 2), panels.nth(count - 1)]
  await show(first, ['timeline', 'slots'])
  await zoomTo(first, meetings.start_ns[21], meetings.end_ns[26])
  await shoot(page, 'slots', viewOf(first, 'slots'))
  await show(second, ['timeline', 'compare'])
  const compare = viewOf(second, 'compare')
  await compare.scrollIntoViewIfNeeded()
  await compare.getByLabel('compare with').locator('option', { hasText: '1 rank' }).first().waitFor({ state: 'attached' })
  const options = await compare.getByLabel('compare with').locator('option').allInnerTexts()
  await compare.getByLabel('compare with').selectOption({ index: options.findLastIndex((text) => text.includes('1 rank')) })
  await compare.locator('.jp-FPDT-stage[data-fpdt-drawn]').waitFor()
  await shoot(page, 'compare', compare, 1130)
}

/** A run file, as a double click in the file browser opens it. */
async function pictureFile(page) {
  if (!isWanted('file')) return
  await page.setViewportSize({ width: 1200, height: 760 })
  await page.evaluate(() => window.jupyterapp.shell.expandLeft())
  const entry = page.locator('.jp-DirListing-item', { hasText: 'step.arrow' })
  await entry.dblclick(LONG)
  await page.locator('.jp-FPDT-tab .jp-FPDT-stage[data-fpdt-drawn]').first().waitFor(LONG)
  await shoot(page, 'file', page.locator('#main'))
}

/** A training that is paused from the page, and a value of it. */
async function pictureLive(page) {
  if (!isWanted('live') && !isWanted('peek')) return
  await until(() => page.evaluate(() => window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'), 'no kernel')
  page.evaluate(() => window.jupyterapp.commands.execute('notebook:run-all-cells')).catch(() => {})
  const live = page.locator('.jp-FPDT-live:visible')
  await live.getByRole('button', { name: 'Pause training' }).and(page.locator('[aria-disabled="false"]')).click(LONG)
  const paused = (place) => live.locator('.jp-FPDT-live-state', { hasText: new RegExp(`is paused .*${place}`) }).waitFor(LONG)
  await paused('')
  // To the end of the step: `until` looks ahead in one step, and the place may lie behind.
  await live.getByLabel('Unit of a step').selectOption('step')
  await live.getByRole('button', { name: 'Step', exact: true }).click()
  await paused('before its first op')
  await live.getByRole('button', { name: 'Run until …' }).click()
  await live.getByLabel('Phase').selectOption('forward')
  for (const [field, value] of Object.entries({ layer: 1, 'q chunk': 5, 'kv chunk': 2 })) await live.getByLabel(field).fill(String(value))
  await live.getByRole('button', { name: 'Run', exact: true }).click()
  await paused('q 5 · kv 2')
  const panel = page.locator('.jp-FPDT-run', { has: live })
  await shoot(page, 'live', panel, viewOf(panel, 'timeline'))

  // Among the last ops is that meeting; its queries are on the device.
  const { extent } = await stateOf(panel)
  await zoomTo(panel, extent.end_ns - 3e7, extent.end_ns)
  const values = live.getByLabel('Value to look at')
  const offered = async () => (await values.locator('option').allInnerTexts()).some((name) => name === 'q[1,5]')
  await until(async () => (await offered()) || (await page.keyboard.press('n')), 'no op offered q[1,5]')
  await values.selectOption('q[1,5]')
  await live.getByRole('button', { name: 'Peek' }).click()
  await live.locator('.jp-FPDT-values canvas').waitFor(LONG)
  await shoot(page, 'peek', live)
}

// ---- what a reader does --------------------------------------------------------------------------------------------

function viewOf(panel, name) {
  return panel.locator(`.jp-FPDT-view[data-view="${name}"]`)
}

function stateOf(panel) {
  return panel.evaluate((node) => node.fpdtState)
}

/** Opens these views and closes all others. */
async function show(panel, views) {
  for (const toggle of await panel.getByRole('group', { name: 'Views' }).getByRole('button').all()) {
    const name = (await toggle.innerText()).toLowerCase()
    if (((await toggle.getAttribute('aria-pressed')) === 'true') !== views.includes(name)) await toggle.click()
  }
  for (const view of views) await viewOf(panel, view).waitFor()
}

async function showStep(panel, { start_ns, step }) {
  await viewOf(panel, 'timeline').locator('.jp-FPDT-stage').focus()
  await panel.page().keyboard.press('0')
  const isShown = async () => {
    await panel.page().keyboard.press('[')
    return (await stateOf(panel)).view.start_ns === start_ns
  }
  await until(isShown, `step ${step} was not shown`)
}

/** Shows from `start_ns` to `end_ns`, or a little more, by keys alone: zooms about the instant that stays where it is. */
async function zoomTo(panel, start_ns, end_ns) {
  await viewOf(panel, 'timeline').locator('.jp-FPDT-stage').focus()
  await panel.page().keyboard.press('0')
  await panel.page().waitForTimeout(200) // what is drawn may still be of another size
  const { view } = await stateOf(panel)
  const [whole, part] = [view.end_ns - view.start_ns, end_ns - start_ns]
  const still_ns = (start_ns * whole - view.start_ns * part) / (whole - part)
  await hover(panel, Math.max(view.start_ns, Math.min(view.end_ns, still_ns)))
  for (let i = 0; i < Math.floor(Math.log(part / whole) / Math.log(0.7)); i++) await panel.page().keyboard.press('w')
  await panel.page().mouse.move(2, 2)
}

/** Points at an instant of the timeline, above its lanes, where no op is. */
async function hover(panel, time_ns) {
  const { view, picture } = await stateOf(panel)
  const [lane] = picture.lanes
  const x = lane.x + ((time_ns - view.start_ns) / (view.end_ns - view.start_ns)) * lane.width
  await viewOf(panel, 'timeline')
    .locator('.jp-FPDT-stage')
    .hover({ position: { x, y: lane.y - 4 } })
}

async function keepInstant(panel, time_ns) {
  await hover(panel, time_ns)
  await panel.page().keyboard.press('Space')
  await panel.page().mouse.move(2, 2)
}

async function clickPeak(panel) {
  const { picture } = await stateOf(panel)
  const peak = picture.charts.find(({ tier }) => tier === 'device')?.peak
  if (!peak) throw new TaskError('the picture has no peak of device memory')
  await viewOf(panel, 'timeline')
    .locator('.jp-FPDT-stage')
    .click({ position: { x: peak.x, y: peak.y + 2 } })
}

// ---- how it is taken -----------------------------------------------------------------------------------------------

function isWanted(name) {
  return wanted.length === 0 || wanted.includes(name)
}

/** The upper part of what is shown: `most` pixels, or down to the end of an element in it. */
async function shoot(page, name, of, most = 1000) {
  if (!isWanted(name)) return
  for (const theme of THEMES) {
    const title = `JupyterLab ${theme === 'light' ? 'Light' : 'Dark'}`
    await page.evaluate((to) => {
      const { commands } = window.jupyterapp
      return document.body.dataset.jpThemeName === to ? undefined : commands.execute('apputils:change-theme', { theme: to })
    }, title)
    await page.locator(`body[data-jp-theme-name="${title}"]`).waitFor({ state: 'attached' })
    await of.scrollIntoViewIfNeeded()
    const shown = of.locator('.jp-FPDT-stage:visible')
    await until(() => shown.evaluateAll((stages, to) => stages.every((stage) => stage.dataset.fpdtTheme === to), theme), `${name} did not become ${theme}`)
    const isDark = async () => (await of.evaluate(brightness)) < 128
    await until(async () => (await isDark()) === (theme === 'dark'), `the page behind ${name} did not become ${theme}`)
    await page.waitForTimeout(300) // until what the theme changes slowly has changed
    await page.evaluate(() => document.activeElement?.blur())
    const { x, y, width, height } = await of.boundingBox()
    const clip = { x: Math.max(0, x - MARGIN), y, width: width + 2 * MARGIN, height: Math.min(height, typeof most === 'number' ? most : await endOf(most, y)) }
    await page.screenshot({ path: join(folder, `${name}-${theme}.png`), animations: 'disabled', clip })
  }
  console.log(`${name}: ${THEMES.length} pictures`)
}

async function endOf(inner, from) {
  const { y, height } = await inner.boundingBox()
  return y + height - from
}

/** Of what an element lies on, of 255. Runs in the page. */
function brightness(element) {
  for (let below = element; below; below = below.parentElement) {
    const [red, green, blue, alpha = 1] = getComputedStyle(below)
      .backgroundColor.match(/[\d.]+/g)
      .map(Number)
    if (alpha > 0) return (red + green + blue) / 3
  }
  return 255
}

async function until(isSo, otherwise) {
  for (const end = Date.now() + LONG.timeout; Date.now() < end; await new Promise((done) => setTimeout(done, 100))) if (await isSo().catch(() => false)) return
  throw new TaskError(`${otherwise} in ${LONG.timeout / 1000} s`)
}

async function open(browser, address) {
  const page = await (await browser.newContext({ viewport: PAGE, reducedMotion: 'reduce' })).newPage()
  await page.goto(address)
  await page.locator('.jp-Notebook').waitFor(LONG)
  await page.evaluate(() => window.jupyterapp.shell.collapseLeft())
  // Details stay in sight at the lower edge of the page, and would cover what is above them.
  await page.addStyleTag({ content: '.jp-FPDT-details { position: static !important; max-height: none !important }' })
  return page
}

/** Executes the notebook, with a file of its run beside it; gives the newest run of each cell, by the cell's id. */
async function execute() {
  const notebook = JSON.parse(readFileSync(NOTEBOOK, 'utf8'))
  const cells = [...notebook.cells]
  cells.splice(cells.findIndex(({ id }) => id === 'step-10') + 1, 0, codeCell('file', `await run.trace(${JSON.stringify(join(served, 'step.arrow'))})`))
  writeFileSync(join(home, 'source.ipynb'), JSON.stringify({ ...notebook, cells }))
  const executed = join(served, 'executed.ipynb')
  const { status, stderr } = spawnSync(join(root, '.venv/bin/python'), [join(root, 'notebooks/execute.py'), join(home, 'source.ipynb'), executed], {
    encoding: 'utf8',
    timeout: 300_000,
  })
  if (status !== 0) throw new TaskError(`${NOTEBOOK} failed: ${stderr}`)
  const runs = new Map()
  for (const { id, outputs = [] } of JSON.parse(readFileSync(executed, 'utf8')).cells) {
    for (const [i, { data }] of outputs.entries())
      if (data?.[RUN_MIME]) runs.set(runs.has(id) ? `${id}.${i}` : id, openRun(await decodeSavedRun(data[RUN_MIME])))
  }
  const taken = ['step-01', 'step-10'].map((id) => notebook.cells.find((cell) => cell.id === id))
  const [setup, steps] = taken.map(({ source }) => [source].flat().join(''))
  writeFileSync(
    join(served, 'live.ipynb'),
    JSON.stringify({ ...notebook, cells: [codeCell('c0', setup.replace(/\nrun\.plan$/, '')), codeCell('c1', steps.replace('(text, 3)', '(text, 100)'))] }),
  )
  return runs
}

function codeCell(id, source) {
  return { cell_type: 'code', id, metadata: {}, source, outputs: [], execution_count: null }
}

/** JupyterLab with kernel and extension as they are built, away from the settings of whoever runs this; gives its address. */
async function startLab() {
  if (!existsSync(join(root, 'labextension/dist/package.json'))) throw new TaskError('the extension is not built: npm run build')
  install(join(home, 'share'))
  const settings = join(home, 'settings/@jupyterlab/apputils-extension')
  mkdirSync(settings, { recursive: true })
  writeFileSync(join(settings, 'notification.jupyterlab-settings'), '{ "fetchNews": "false", "checkForUpdates": false }')
  const port = await new Promise((done) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => done(typeof address === 'object' && address?.port))
    })
  })
  const at = (name) => join(home, name)
  const env = { ...process.env, HOME: home, JUPYTER_PATH: at('share'), JUPYTER_CONFIG_DIR: at('config'), JUPYTER_DATA_DIR: at('data'), JUPYTER_RUNTIME_DIR: at('runtime'), JUPYTERLAB_SETTINGS_DIR: at('settings'), JUPYTERLAB_WORKSPACES_DIR: at('workspaces') } // biome-ignore format: one line
  const args = ['--no-browser', '--allow-root', '--ip=127.0.0.1', `--ServerApp.port=${port}`, '--ServerApp.port_retries=0', `--ServerApp.root_dir=${served}`, '--IdentityProvider.token=', '--ServerApp.disable_check_xsrf=True', '--LabApp.expose_app_in_browser=True', '--KernelSpecManager.ensure_native_kernel=False'] // biome-ignore format: one line
  const server = spawn(join(root, '.venv/bin/jupyter-lab'), args, { env, stdio: 'ignore' })
  const gone = new Promise((done) => server.once('exit', done))
  ends.push(async () => {
    server.kill()
    const late = setTimeout(() => server.kill('SIGKILL'), 10_000)
    await gone
    clearTimeout(late)
  })
  const url = `http://127.0.0.1:${port}`
  await until(async () => (await fetch(`${url}/api/status`)).ok, 'JupyterLab did not start')
  return url
}
