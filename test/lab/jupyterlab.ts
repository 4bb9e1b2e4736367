/**
 * A real JupyterLab with the built extension, and a real browser on it. Everything it writes lies in a temporary folder, and
 * everything it starts ends with `close()`.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright'
import { findChromium } from '../../.ci/system.mjs'
import { install } from '../../kernel/src/install.js'
import { freePorts } from '../ports.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const built = join(root, 'labextension/dist')
/** Where screenshots go. */
export const results = join(root, 'test-results')

export interface Lab {
  readonly url: string
  /** Where its notebooks lie. */
  readonly folder: string
  /** A page with nothing open in it; whoever opened it closes it. */
  open(size: { width: number; height: number }): Promise<Page>
  /** Writes a notebook where the server finds it; its outputs are not trusted unless it was run here. */
  writeNotebook(name: string, outputs: readonly object[]): void
  /** Puts a notebook file, as it is, where the server finds it. */
  addNotebook(name: string, path: string): void
  /** The layouts that pages have saved, as text: JupyterLab saves one some time after it changed. */
  savedLayouts(): string
  /** Forgets the layouts that were saved. */
  dropLayouts(): void
  close(): Promise<void>
}

/** Without `kernel` no kernel can be started: pictures must do without one. */
export async function startLab({ kernel = false } = {}): Promise<Lab> {
  if (!existsSync(join(built, 'package.json'))) throw new Error(`the extension is not built: ${built} is missing; run \`npm run build:lab\``)
  const executablePath = findChromium()
  if (!executablePath) throw new Error('no browser: install chromium (or google-chrome), or name one in the environment variable CHROMIUM')
  const home = mkdtempSync(join(tmpdir(), 'fpdt-lab-'))
  const notebooks = join(home, 'notebooks')
  mkdirSync(notebooks)
  mkdirSync(results, { recursive: true })
  if (kernel) install(join(home, 'share'))
  else cpSync(built, join(home, 'share/labextensions/@fpdt/labextension'), { recursive: true })
  // It would ask whether to show news.
  mkdirSync(join(home, 'settings/@jupyterlab/apputils-extension'), { recursive: true })
  writeFileSync(join(home, 'settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings'), '{ "fetchNews": "false", "checkForUpdates": false }')
  const [port] = (await freePorts(1)) as [number]
  const server = spawn(
    join(root, '.venv/bin/jupyter'),
    ['lab', '--no-browser', '--allow-root', '--ip=127.0.0.1', `--ServerApp.port=${port}`, '--ServerApp.port_retries=0', `--ServerApp.root_dir=${notebooks}`, '--IdentityProvider.token=', '--ServerApp.disable_check_xsrf=True', '--LabApp.expose_app_in_browser=True', '--JupyterNotebookApp.expose_app_in_browser=True', kernel ? '--KernelSpecManager.ensure_native_kernel=False' : '--KernelSpecManager.allowed_kernelspecs=none'], // biome-ignore format: one command
    { env: { ...process.env, ...jupyterFolders(home) }, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  const log: string[] = []
  for (const stream of [server.stdout, server.stderr]) stream.on('data', (text) => log.push(String(text)))
  const url = `http://127.0.0.1:${port}`
  let browser: Browser | undefined
  let shared: BrowserContext | undefined
  const close = async (): Promise<void> => {
    await browser?.close()
    await ended(server)
    rmSync(home, { recursive: true, force: true })
  }
  try {
    await answers(`${url}/api/status`, server, log)
    browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
  } catch (error) {
    await close()
    throw error
  }
  const opened = browser
  const workspaces = jupyterFolders(home).JUPYTERLAB_WORKSPACES_DIR as string
  return {
    url,
    folder: notebooks,
    close,
    open: async (size) => {
      // One after the other, pages find JupyterLab in their browser's cache. Two at a time are two readers: in one browser, the second would get another layout.
      shared ??= await opened.newContext({ reducedMotion: 'reduce' })
      const context = shared.pages().length === 0 ? shared : await opened.newContext({ reducedMotion: 'reduce' })
      const page = await context.newPage()
      await page.setViewportSize(size)
      return page
    },
    addNotebook: (name, path) => cpSync(path, join(notebooks, name)),
    savedLayouts: () => (existsSync(workspaces) ? readdirSync(workspaces).map((name) => readFileSync(join(workspaces, name), 'utf8')) : []).join('\n'),
    dropLayouts: () => rmSync(workspaces, { recursive: true, force: true }),
    writeNotebook: (name, outputs) => writeFileSync(join(notebooks, name), JSON.stringify(notebookOf(outputs))),
  }
}

/** Opens a notebook and says no to the kernel it asks for. */
export async function openWithoutKernel(lab: Lab, page: Page, name: string): Promise<void> {
  await page.goto(`${lab.url}/lab/tree/${name}?reset`)
  await page.locator('.jp-Notebook').waitFor({ timeout: 60_000 })
  await page.locator('.jp-Dialog').getByRole('button', { name: 'No Kernel' }).click({ timeout: 30_000 })
  await page.locator('.jp-Dialog').waitFor({ state: 'detached' })
}

/** What the page says of the kernel of its notebook: `idle`, `busy` and so on; `none` while there is no kernel. */
export function kernelStatus(page: Page): Promise<string> {
  type App = { shell: { currentWidget?: { sessionContext?: { session?: { kernel?: { status: string } } } } } }
  return page.evaluate(() => (window as unknown as { jupyterapp?: App }).jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status ?? 'none')
}

function notebookOf(outputs: readonly object[]): object {
  return {
    nbformat: 4,
    nbformat_minor: 5,
    metadata: {
      kernelspec: { name: 'fpdt-not-installed-here', display_name: 'TypeScript (FPDT)', language: 'typescript' },
      language_info: { name: 'typescript' },
    },
    cells: outputs.map((data, i) => ({
      cell_type: 'code',
      id: `cell-${i}`,
      metadata: {},
      source: 'run',
      execution_count: i + 1,
      outputs: [{ output_type: 'execute_result', execution_count: i + 1, metadata: {}, data }],
    })),
  }
}

/** Keeps the server from the settings of whoever runs the tests, and puts the extension where it looks first. */
function jupyterFolders(home: string): Record<string, string> {
  const at = (name: string): string => join(home, name)
  return {
    HOME: home,
    JUPYTER_PATH: at('share'),
    JUPYTER_CONFIG_DIR: at('config'),
    JUPYTER_DATA_DIR: at('data'),
    JUPYTER_RUNTIME_DIR: at('runtime'),
    JUPYTERLAB_SETTINGS_DIR: at('settings'),
    JUPYTERLAB_WORKSPACES_DIR: at('workspaces'),
  }
}

async function answers(url: string, server: ChildProcess, log: readonly string[]): Promise<void> {
  for (const until = Date.now() + 60_000; Date.now() < until; await new Promise((resolve) => setTimeout(resolve, 200))) {
    if (server.exitCode !== null) break
    try {
      if ((await fetch(url)).ok) return
    } catch {
      // Not listening yet.
    }
  }
  throw new Error(`JupyterLab did not start:\n${log.join('').slice(-3000)}`)
}

async function ended(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return
  const gone = new Promise((resolve) => server.once('exit', resolve))
  server.kill('SIGTERM')
  const late = setTimeout(() => server.kill('SIGKILL'), 10_000)
  await gone
  clearTimeout(late)
}
