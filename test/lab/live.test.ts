/** A run that goes on, on the page: in the real JupyterLab, with the real kernel, while its cell is busy. */
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Locator, Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { PanelState } from '../../labextension/src/lab/panel.js'
import { closeNotebook, setTheme } from './drawn.js'
import { kernelStatus, type Lab, results, startLab } from './jupyterlab.js'

const CELLS = [
  `import { adamW, Device, llama } from 'fpdt'
const device = await Device.cpu({ memory: '256 MiB', host: '256 MiB' })
const model = llama({ layers: 2, width: 128, heads: 4, kvHeads: 2, feedForward: 256, vocab: 50257 })
const run = await device.train(model, { sequence: 4096, chunk: 512, ranks: 2, optimizer: adamW({ rate: 1e-3 }) })`,
  `for await (const s of run.steps('lib.dom.d.ts', 500)) console.log('step', s.step)`,
]
const SOON = { timeout: 15_000, interval: 50 }
interface App {
  commands: { execute(id: string, args?: object): Promise<unknown> }
}
const AXE = createRequire(import.meta.url).resolve('axe-core')

let lab: Lab
let page: Page
const troubles: string[] = []

/** Waits for its end. What it gives, a widget maybe, stays on the page. */
const command = (on: Page, id: string, args: object = {}): Promise<void> =>
  on.evaluate(
    async ([name, options]) => {
      await (window as unknown as { jupyterapp: App }).jupyterapp.commands.execute(name, options)
    },
    [id, args] as const,
  )
/** Its cell runs. Every message that the kernel takes has its own busy and idle, so between two of them it may be idle for a moment. */
const busy = () => expect.poll(() => kernelStatus(page), SOON).toBe('busy')
/** What the first panel of the page shows; null while it shows none. */
const state = (on = page): Promise<PanelState | null> =>
  on.evaluate(() => (document.querySelector('.jp-FPDT-run') as (HTMLElement & { fpdtState: PanelState | null }) | null)?.fpdtState ?? null)
const end = async (on = page): Promise<number> => (await state(on))?.extent.end_ns ?? -1
const live = (on = page): Locator => on.locator('.jp-Notebook .jp-FPDT-live').first()
const said = (on = page): Promise<string> => live(on).locator('.jp-FPDT-live-state').innerText()
const told = (on = page): Promise<string> => live(on).locator('.jp-FPDT-live-result').innerText()
const button = (name: string, on = page): Locator => live(on).getByRole('button', { name, exact: true })
const grows = async (on = page): Promise<void> => {
  const before = await end(on)
  await expect.poll(() => end(on), SOON).toBeGreaterThan(before)
}
const open = async (name: string): Promise<Page> => {
  const opened = await lab.open({ width: 1200, height: 1100 })
  opened.on('pageerror', (error) => troubles.push(String(error)))
  await opened.goto(`${lab.url}/lab/tree/${name}?reset`)
  await opened.locator('.jp-Notebook').waitFor({ timeout: 60_000 })
  return opened
}
const shot = async (name: string): Promise<void> => {
  for (const theme of ['Light', 'Dark']) {
    await setTheme(page, `JupyterLab ${theme}`)
    await expect.poll(async () => (await state())?.theme.name, SOON).toBe(theme.toLowerCase())
    await page.screenshot({ path: join(results, `live-${name}-${theme.toLowerCase()}.png`) })
  }
}

beforeAll(async () => {
  lab = await startLab({ kernel: true })
  const cells = CELLS.map((source, i) => ({ cell_type: 'code', id: `c${i}`, metadata: {}, source, outputs: [], execution_count: null }))
  const metadata = { kernelspec: { name: 'fpdt', display_name: 'TypeScript (FPDT)', language: 'typescript' }, language_info: { name: 'typescript' } }
  writeFileSync(join(lab.folder, 'live.ipynb'), JSON.stringify({ nbformat: 4, nbformat_minor: 5, metadata, cells }))
  page = await open('live.ipynb')
}, 120_000)
afterAll(async () => {
  await lab?.close()
  expect(troubles).toEqual([])
})

const runAll = async (): Promise<void> => {
  await expect.poll(() => kernelStatus(page), { timeout: 60_000, interval: 50 }).toBe('idle')
  command(page, 'notebook:run-all-cells').catch(() => {}) // it waits for the last of them, and the page may be left before
  await expect.poll(() => said(), { timeout: 60_000, interval: 50 }).toMatch(/^Step \d+ runs, after op \d+: /)
}
/** Where the training stands or runs, as a number that grows: a million a step, and its op; between two steps, below the next one's first. */
const place = async (): Promise<number> => {
  const words = await said()
  const done = /^Between steps: step (\d+) is done/.exec(words)
  if (done) return (Number(done[1]) + 1) * 1e6 - 2
  const [, step, op] = /^Step (\d+) .*?(?:after op (\d+): |before its first op$)/.exec(words) ?? []
  return Number(step) * 1e6 + Number(op ?? -1)
}
const paused = () => expect.poll(() => said(), SOON).toMatch(/^Step \d+ is paused (after op \d+: |before its first op$)/)
/** To an op of a step: a pause may come as a step ends, and the training then stands before the first op of the next. */
const pausedInStep = () =>
  expect
    .poll(async () => {
      const words = await said()
      if (words.endsWith(' is paused before its first op')) await button('Step').click()
      return words
    }, SOON)
    .toMatch(/^Step \d+ is paused after op \d+: /)
const reasonOf = (name: string, on = page): Promise<string | null> => button(name, on).getAttribute('title')
const comms = (): Promise<number> =>
  page.evaluate(async () => {
    type Kernel = { requestCommInfo(of: object): Promise<{ content: { comms: object } }> }
    const { jupyterapp } = window as unknown as { jupyterapp: { shell: { currentWidget: { sessionContext: { session: { kernel: Kernel } } } } } }
    const { content } = await jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestCommInfo({ target_name: 'fpdt.runs' })
    return Object.keys(content.comms).length
  })
/** Keeps what the kernel says of its state, and of which message. */
const listenToLights = (): Promise<void> =>
  page.evaluate(() => {
    type Message = { header: { msg_type: string }; parent_header: { msg_type?: string }; content: { execution_state?: string } }
    type Kernel = { iopubMessage: { connect(slot: (sender: unknown, message: Message) => void): void } }
    const { jupyterapp } = window as unknown as { jupyterapp: { shell: { currentWidget: { sessionContext: { session: { kernel: Kernel } } } } } }
    const lights: string[] = []
    Object.assign(window, { lights })
    jupyterapp.shell.currentWidget.sessionContext.session.kernel.iopubMessage.connect((_, { header, parent_header, content }) => {
      if (header.msg_type === 'status') lights.push(`${parent_header.msg_type} ${content.execution_state}`)
    })
  })
const lights = (): Promise<string> => page.evaluate(() => (window as unknown as { lights: string[] }).lights.join(', '))
const kernelId = (): Promise<string | undefined> =>
  page.evaluate(() => {
    type Shell = { currentWidget: { sessionContext?: { session?: { kernel?: { id: string } } } } }
    return (window as unknown as { jupyterapp: { shell: Shell } }).jupyterapp.shell.currentWidget.sessionContext?.session?.kernel?.id
  })
/** The process of a kernel, by the connection file that its server gave it. */
function kernelProcess(id: string | undefined): number {
  const found = readdirSync('/proc').filter((name) => {
    try {
      return (
        /^\d+$/.test(name) &&
        readFileSync(`/proc/${name}/cmdline`, 'utf8')
          .split('\0')
          .some((part) => part.endsWith(`kernel-${id}.json`))
      )
    } catch {
      return false // ended meanwhile
    }
  })
  expect(found).toHaveLength(1)
  return Number(found[0])
}
/** The notebook that commands are about, by the name of its tab. */
const inFront = (): Promise<string | undefined> =>
  page.evaluate(() => {
    type Shell = { currentWidget: { title: { label: string } } | null }
    return (window as unknown as { jupyterapp: { shell: Shell } }).jupyterapp.shell.currentWidget?.title.label
  })

describe('a run that goes on', () => {
  it('shows its ops while the cell is busy', async () => {
    await runAll()
    await live().scrollIntoViewIfNeeded()
    await grows()
    await grows()
    await busy()
    await expect.poll(() => page.locator('.jp-FPDT-status').innerText(), SOON).toMatch(/FPDT running · step \d+/)
    await shot('running')
  }, 90_000)

  it('is held on the page alone: ops are counted, then followed again', async () => {
    await button('Hold view').click()
    const held = await end()
    await expect.poll(() => live().locator('.jp-FPDT-badge').innerText(), SOON).toMatch(/^\+[\d,]+ ops$/)
    const before = await place()
    await expect.poll(() => place(), SOON).toBeGreaterThan(before)
    expect(await end()).toBe(held)
    await button('Follow').click()
    await expect.poll(() => end(), SOON).toBeGreaterThan(held)
  })

  it('pauses at an op while the light of the kernel stays busy', async () => {
    await button('Pause training').click()
    await expect.poll(() => told(), SOON).toMatch(/^paused\b/i)
    await pausedInStep()
    const before = await place()
    // Every message has its own busy and idle; the kernel says at once that the cell is busy still.
    await listenToLights()
    await comms()
    await expect.poll(() => lights(), SOON).toMatch(/comm_info_request idle, execute_request busy$/)
    expect(await lights()).not.toMatch(/idle, (?!execute_request busy)/)
    await busy()
    expect(await place()).toBe(before)
    expect(await button('Pause training').count()).toBe(0)
  })

  it('goes on by an op, a chunk, and until a place', async () => {
    const unit = live().getByLabel('Unit of a step')
    let before = await place()
    await button('Step').click()
    await expect.poll(() => place(), SOON).toBeGreaterThan(before)
    await paused()
    before = await place()
    await unit.selectOption('chunk')
    await button('Step').click()
    await expect.poll(() => place(), SOON).toBeGreaterThan(before)
    await paused()
    await button('Run until …').click()
    await live().getByLabel('Phase').selectOption('optimizer')
    await live().getByRole('button', { name: 'Run', exact: true }).press('Enter')
    await expect.poll(() => said(), SOON).toMatch(/paused after op \d+: .*optimizer/)
    await live().getByLabel('Phase').press('Escape')
    expect(await live().locator('.jp-FPDT-until').isVisible()).toBe(false)
  })

  it('shows values of what an op touches', async () => {
    expect(await reasonOf('Peek')).toMatch(/Click an op/)
    // The op that was done last, the last of its lane, once all that was said has been drawn.
    let before = -1
    const stands = async (): Promise<boolean> => {
      const drawn = await end()
      const isSame = drawn === before
      before = drawn
      return isSame
    }
    await expect.poll(stands, { timeout: 15_000, interval: 500 }).toBe(true)
    const { x, y, width, height } = (await state())!.picture.lanes[0]
    const stage = page.locator('.jp-Notebook .jp-FPDT-stage').first()
    const position = { x: x + width - 2, y: y + height / 2 }
    await stage.focus()
    await stage.hover({ position })
    for (let i = 0; i < 16; i++) await page.keyboard.press('w')
    const names = live().getByLabel('Value to look at')
    // On to an op of which something exists where the training stands.
    const alive = async (): Promise<number> => {
      for (let i = 0; i < 10; i++) await page.keyboard.press('n')
      return names.locator('option:enabled').count()
    }
    await expect.poll(alive, SOON).toBeGreaterThan(0)
    const name = await names.inputValue()
    await button('Peek').click()
    await expect.poll(() => told(), SOON).toMatch(/ on the (device|host) of rank 0/)
    expect(await told()).toContain(name)
    expect(await live().locator('.jp-FPDT-values canvas').getAttribute('aria-label')).toMatch(/minimum/i)
    await shot('paused')
  })

  it('has controls in which axe finds nothing serious, in any theme', async () => {
    await button('Run until …').click()
    for (const theme of ['JupyterLab Light', 'JupyterLab Dark', 'JupyterLab Dark High Contrast']) {
      await setTheme(page, theme)
      await live().locator('.jp-FPDT-values canvas').waitFor()
      await page.addScriptTag({ path: AXE })
      const violations = await page.evaluate(async () => {
        type Axe = { run(node: Element): Promise<{ violations: { id: string; impact: string; nodes: { html: string; failureSummary: string }[] }[] }> }
        const { axe } = window as unknown as { axe: Axe }
        return (await axe.run(document.querySelector('.jp-Notebook .jp-FPDT-live') as Element)).violations
      })
      const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
      expect(
        serious.map(({ id, nodes }) => `${theme}: ${id}: ${nodes[0].html} ${nodes[0].failureSummary}`),
        theme,
      ).toEqual([])
    }
    await live().getByLabel('Phase').press('Escape')
  }, 60_000)

  it('a second tab follows the same run, and says the same', async () => {
    // A place that is kept would hold the view here once its step is no longer among the newest.
    const stage = page.locator('.jp-Notebook .jp-FPDT-stage').first()
    await stage.press('Escape')
    await stage.press('0')
    expect((await state())?.pinned).toBe(null)
    await command(page, 'docmanager:save')
    const second = await open('live.ipynb')
    await expect.poll(() => said(second), SOON).toBe(await said())
    await button('Resume training', second).click()
    await grows(second)
    await grows()
    await second.close()
  })

  it('a second notebook on the kernel and a view of the output alone follow too, and stay when the first is closed', async () => {
    const id = await kernelId()
    await command(page, 'docmanager:save')
    const open_ = await comms()
    await page
      .locator('.jp-Notebook .jp-FPDT-run')
      .first()
      .click({ position: { x: 3, y: 3 } })
    await command(page, 'notebook:create-output-view')
    const alone = page.locator('.jp-LinkedOutputView .jp-FPDT-live')
    const saidAlone = (): Promise<string> => alone.locator('.jp-FPDT-live-state').innerText()
    await expect.poll(saidAlone, SOON).toMatch(/^Step \d+ runs/)
    await alone.getByRole('button', { name: 'Pause training' }).click()
    await expect.poll(saidAlone, SOON).toMatch(/is paused/)
    await paused()
    copyFileSync(join(lab.folder, 'live.ipynb'), join(lab.folder, 'second.ipynb'))
    await command(page, 'docmanager:open', { path: 'second.ipynb', kernel: { id } })
    await expect.poll(() => kernelId(), SOON).toBe(id)
    const second = page.getByRole('tabpanel', { name: 'second.ipynb' }).locator('.jp-FPDT-live')
    const saidThere = (): Promise<string> => second.locator('.jp-FPDT-live-state').innerText()
    await expect.poll(saidThere, SOON).toBe(await said())
    await expect.poll(() => comms(), SOON).toBe(open_ + 1)
    const close = async (path: string): Promise<void> => {
      await command(page, 'docmanager:open', { path })
      await expect.poll(() => inFront(), SOON).toBe(path)
      await closeNotebook(page)
    }
    await close('live.ipynb')
    // How many comms are left is not asked: while another connection is open, a server drops what a closed one said last, its comm_close too
    // (jupyter_server, ZMQChannelsWebsocketConnection.disconnect). The kernel then tells that comm no more than its credit.
    await command(page, 'docmanager:open', { path: 'second.ipynb' })
    await second.getByRole('button', { name: 'Resume training' }).click()
    await expect.poll(saidThere, SOON).toMatch(/ runs, /)
    await second.getByRole('button', { name: 'Pause training' }).click()
    await expect.poll(saidThere, SOON).toMatch(/is paused/)
    await command(page, 'docmanager:open', { path: 'live.ipynb' })
    await expect.poll(() => kernelId(), SOON).toBe(id)
    await close('second.ipynb')
    await command(page, 'docmanager:open', { path: 'live.ipynb' })
    await button('Resume training').click()
    await grows()
  }, 180_000)

  it('goes on when the page is loaded again in the middle of it', async () => {
    await command(page, 'docmanager:save')
    const open_ = await comms()
    await page.reload()
    await page.locator('.jp-Notebook').waitFor({ timeout: 60_000 })
    await expect.poll(() => said(), { timeout: 30_000, interval: 50 }).toMatch(/^Step \d+ runs/)
    await grows()
    await grows()
    await busy()
    // The last word of the page that was left came over a connection of its own: in its own time.
    await expect.poll(() => comms(), SOON).toBe(open_)
  }, 90_000)

  it('a notebook that is closed lets go of the run, and finds it when it is opened again', async () => {
    const before = await comms()
    await closeNotebook(page)
    await command(page, 'docmanager:open', { path: 'live.ipynb' })
    await page.locator('.jp-Notebook').waitFor()
    await expect.poll(() => said(), SOON).toMatch(/^Step \d+ runs/)
    await grows()
    await expect.poll(() => comms(), SOON).toBe(before)
  })

  it('stops, and the cell ends', async () => {
    await button('Stop training').click()
    await expect.poll(() => kernelStatus(page), SOON).toBe('idle')
    await expect.poll(() => said(), SOON).toMatch(/^Between steps|^The run has ended/)
    expect(await button('Resume training').count()).toBe(0)
  })

  it('is paused between two steps before the next of them', async () => {
    await button('Pause training').click()
    await expect.poll(() => told(), SOON).toBe('paused before the next step')
    await button('Resume training').click()
    await expect.poll(() => button('Pause training').count(), SOON).toBe(1)
  })

  it('is lost with its kernel, says so, and the next run is followed', async () => {
    await runAll()
    // Killed, it says nothing more. One that is told to restart is interrupted first, and may have time to say that its run was stopped.
    process.kill(kernelProcess(await kernelId()), 'SIGKILL')
    await page.locator('.jp-Dialog').getByRole('button', { name: 'OK' }).click()
    await expect.poll(() => said(), SOON).toMatch(/restarted/)
    for (const name of ['Pause training', 'Step', 'Run until …', 'Stop training', 'Peek']) {
      expect(await button(name).getAttribute('aria-disabled'), name).toBe('true')
      expect(await reasonOf(name), name).toMatch(/restarted/)
    }
    await button('Stop training').press('Enter')
    await expect.poll(() => told(), SOON).toMatch(/restarted/)
    await shot('lost')
    await runAll()
    await grows()
  }, 90_000)

  it('has controls that say why they do nothing when the notebook has no kernel', async () => {
    await command(page, 'notebook:shutdown-kernel')
    // A kernel may have time to say that its run was stopped: of a run that has ended there is nothing to control, and no row.
    const shown = (): Promise<string> =>
      page.evaluate(() => {
        const row = document.querySelector('.jp-Notebook .jp-FPDT-live') as HTMLElement
        if (row.hidden) return `no row: ${row.closest<HTMLElement>('.jp-FPDT-run')?.innerText}`
        const pause = [...row.querySelectorAll('button')].find(({ textContent }) => textContent === 'Pause training')
        return [row.querySelector('.jp-FPDT-live-state')?.textContent, pause?.getAttribute('aria-disabled'), pause?.title].join(' / ')
      })
    await expect.poll(shown, SOON).toMatch(/^no row: [\s\S]*(Stopped|Failed)|no kernel.* \/ true \/ .*no kernel/)
    await expect.poll(() => page.locator('.jp-FPDT-status').innerText(), SOON).not.toMatch(/^FPDT running/)
  })
})
