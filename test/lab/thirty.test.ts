/**
 * A notebook as people write them, thirty cells, in the real JupyterLab and a real browser: everything is done by what a person would click, and what
 * each cell shows is asserted, in the saved outputs and on the page.
 */
import { symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { stripVTControlCharacters } from 'node:util'
import type { Locator, Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { contrastOf } from '../../kernel/src/trace/draw/theme.js'
import { setTheme } from './drawn.js'
import { kernelStatus, type Lab, results, startLab } from './jupyterlab.js'
import { textsOf } from './texts.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

interface Given {
  readonly code: string
  /** What all its outputs say, as text. */
  readonly says?: RegExp
  readonly saysNot?: RegExp
  /** What is to be seen in its outputs on the page, and how often. */
  readonly draws?: readonly [selector: string, count: number]
  /** It fails, and Run All goes on. */
  readonly fails?: true
}

const CELLS: readonly Given[] = [
  {
    code: `import { createServer } from 'node:http'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
join('data', 'loss.csv')`,
    says: /^'data\/loss\.csv'$/,
  },
  {
    code: `import { chunk, sum } from 'lodash-es'
import config from './config.json'
import { mean, type Sample } from './stats.ts'
console.log(config.name, mean([1, 2, 3]), sum(chunk([1, 2, 3, 4], 2)[1]))`,
    says: /^tiny 2 7\n$/,
  },
  {
    code: `const samples: Sample[] = Array.from({ length: 40 }, (_, step) => (
  { step, loss: 4 * Math.exp(-step / 15) + 0.1 * Math.sin(step) }
))
samples.slice(0, 2)`,
    says: /step: 0, loss: 4 .*step: 1/s,
  },
  {
    code: `class Meter {
  #total = 0
  add(value: number) { this.#total += value; return this }
  get total() { return this.#total }
}
const meter = new Meter().add(2)
meter.total`,
    says: /^2$/,
  },
  {
    code: `class Meter {
  constructor(private scale = 10) {}
  total = 0
  add(value: number) { this.total += this.scale * value; return this }
}
[meter instanceof Meter, new Meter().add(2).total]`,
    says: /^\[ false, 20 \]$/,
  },
  {
    code: `const server = createServer((request, response) => response.end(JSON.stringify({ path: request.url })))
await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
const { port } = server.address() as import('node:net').AddressInfo
async function get(path: string): Promise<{ path: string }> {
  const response = await fetch(\`http://127.0.0.1:\${port}\${path}\`)
  return (await response.json()) as { path: string }
}`,
    says: /^$/,
  },
  {
    code: `const answers = await Promise.all(['/train', '/test'].map(get))
server.close()
answers`,
    says: /path: '\/train' .*path: '\/test'/s,
  },
  { code: `for (let i = 0; i < 2000; i++) console.log('line', i, 'of a long print')`, says: /^line 0 of.*\nline 1999 of a long print\n$/s },
  {
    code: `console.error('careful: the learning rate is high')
console.table([{ layer: 0, params: 1024 }, { layer: 1, params: 2048 }])`,
    says: /careful.*layer.*2048/s,
    draws: ['[data-mime-type="application/vnd.jupyter.stderr"]', 1],
  },
  { code: `new Map([['q', new Float32Array(100_000)], ['k', new Float32Array(8)]])`, says: /Map\(2\).*'q' => Float32Array\(100000\).*more items/s },
  {
    code: `const points = samples.map(({ step, loss }) => \`\${20 + step * 9},\${190 - loss * 40}\`).join(' ')
display.svg(\`<svg xmlns="http://www.w3.org/2000/svg" width="400" height="200">
  <polyline points="\${points}" fill="none" stroke="#4f9cf9" stroke-width="2"/></svg>\`)`,
    draws: ['svg polyline, img[src^="data:image/svg+xml"]', 1],
  },
  {
    code: `import { crc32, png } from './png.ts'
class Heat {
  constructor(private size: number) {}
  toPng() { return png(this.size, this.size, (x, y) => [x, 80, 255 - y]) }
}
new Heat(192)`,
    draws: ['img[src^="data:image/png"]', 1],
  },
  {
    code: `({
  $schema: 'https://vega.github.io/schema/vega-lite/v5.json', width: 300, height: 150,
  data: { values: samples }, mark: { type: 'line', point: true },
  encoding: {
    x: { field: 'step', type: 'quantitative' },
    y: { field: 'loss', type: 'quantitative' },
  },
})`,
    draws: ['.vega-embed .marks', 1],
  },
  {
    code: `import { tableFromArrays } from 'apache-arrow'
tableFromArrays({
  step: Int32Array.from(samples, ({ step }) => step),
  loss: Float64Array.from(samples, ({ loss }) => loss),
})`,
    says: /step.*loss/s,
    draws: ['table', 1],
  },
  { code: `display.table(answers)`, draws: ['table', 1], says: /train/ },
  {
    code: `display.markdown\`**Loss** after \${samples.length} steps\`
display.latex\`$$\\mathcal{L} = -\\sum_t \\log p(x_t)$$\``,
    draws: ['strong', 1],
    says: /40 steps/,
  },
  {
    code: `const pause = (ms: number) => new Promise((done) => setTimeout(done, ms))
let files = 0
for (const _ of progress(30, { label: 'files' })) {
  await pause(4)
  files++
}
files`,
    says: /files.*30.*30/s,
  },
  { code: `const status = display('waiting', { id: 'status' })\nawait pause(20)\nstatus.update('running')`, says: /done/, saysNot: /waiting|running/ },
  {
    code: `display.update('status', 'done')
for (let i = 3; i > 0; i--) {
  display.clear({ wait: true })
  console.log('T minus', i)
  await pause(10)
}`,
    says: /^T minus 1\n$/,
  },
  { code: `const width: number = 'wide'\nwidth.length`, says: /(?=.*'string' is not assignable to type 'number')(?=.*4)/s },
  {
    code: `function layer(depth: number): number {
  if (depth > 2) throw new RangeError(\`no layer \${depth}\`)
  return layer(depth + 1)
}
layer(0)`,
    says: /RangeError: no layer 3(?:.|\n)*line 2:/,
    fails: true,
  },
  { code: `!ls *.ts *.json`, says: /config\.json\s+png\.ts\s+stats\.ts/ },
  { code: `const sources = !ls *.ts\n%time mean(samples.map(({ loss }) => loss))`, says: /CPU times.*Wall time/s },
  { code: `[sources.length, _, In.length, Out[1]]`, says: /2.*'data\/loss\.csv'/s },
  {
    code: `import { adamW, Device, llama } from 'fpdt'
const device = await Device.cpu({ memory: '128 MiB', host: '64 MiB' })
const model = llama({ layers: 2, width: 64, heads: 4, kvHeads: 2, feedForward: 96 })
const run = await device.train(model, {
  sequence: 1024, chunk: 256, ranks: 2, optimizer: adamW({ rate: 1e-3 }),
})`,
    says: /^$/,
  },
  {
    code: `for await (const { step, loss } of run.steps('lib.dom.d.ts', 2))
  console.log('step', step, loss!.toFixed(2))`,
    says: /step 1 \d+\.\d+\nstep 2 \d/,
    draws: ['.jp-FPDT-run', 1],
  },
  { code: `console.log('looping')\nlet turns = 0\nwhile (true) turns++`, says: /looping\n(?:.|\n)*KeyboardInterrupt/, fails: true },
  { code: `[turns > 0, samples.length]`, says: /^\[ true, 40 \]$/ },
  { code: `process.kill(process.pid, 'SIGSEGV')\nawait pause(1000)`, says: /was ended by SIGSEGV.*all variables are gone/s, fails: true },
  { code: `const stats = await import('./stats.ts');\n[typeof samples, stats.mean([40, 44])]`, says: /^\[ 'undefined', 42 \].*Cannot find name 'samples'/s },
]
const SOON = { timeout: 15_000, interval: 50 }
const INTERRUPTED = CELLS.findIndex(({ code }) => code.includes('while (true)'))

const FILES = {
  'config.json': '{ "name": "tiny", "steps": 40 }\n',
  'stats.ts': `export interface Sample {
  step: number
  loss: number
}
export const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
`,
  'png.ts': `import { deflateSync } from 'node:zlib'

export function crc32(bytes: Uint8Array): number {
  let crc = ~0
  for (const byte of bytes) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  }
  return ~crc >>> 0
}

function part(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type), data])
  const [length, crc] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(data.length)
  crc.writeUInt32BE(crc32(body))
  return Buffer.concat([length, body, crc])
}

/** A picture by its pixels. */
export function png(width: number, height: number, colour: (x: number, y: number) => readonly [number, number, number]): Buffer {
  const head = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, 0])
  head.writeUInt32BE(width, 0)
  head.writeUInt32BE(height, 4)
  const rows = Array.from({ length: height }, (_, y) => [0, ...Array.from({ length: width }, (_, x) => colour(x, y)).flat()])
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
  return Buffer.concat([signature, part('IHDR', head), part('IDAT', deflateSync(Buffer.from(rows.flat()))), part('IEND', Buffer.alloc(0))])
}
`,
}

interface Output {
  readonly output_type: string
  readonly text?: string | readonly string[]
  readonly data?: Readonly<Record<string, string>>
  readonly traceback?: readonly string[]
}
interface JupyterApp {
  readonly commands: { execute(id: string, args?: object): Promise<unknown> }
  readonly shell: {
    readonly currentWidget: {
      readonly sessionContext: { readonly statusChanged: { connect(slot: (sender: unknown, status: string) => void): void } }
      readonly content: {
        readonly widgets: readonly { readonly model: { readonly executionCount: number | null; readonly outputs: { toJSON(): Output[] } } }[]
      }
    }
  }
}

let lab: Lab
let page: Page
const troubles: string[] = []

beforeAll(async () => {
  lab = await startLab({ kernel: true })
  for (const [name, text] of Object.entries(FILES)) writeFileSync(join(lab.folder, name), text)
  symlinkSync(join(root, 'node_modules'), join(lab.folder, 'node_modules'))
  const cells = CELLS.map(({ code, fails }, i) => ({
    cell_type: 'code',
    id: `c${i}`,
    metadata: { tags: fails ? ['raises-exception'] : [] },
    source: code,
    outputs: [],
    execution_count: null,
  }))
  const metadata = { kernelspec: { name: 'fpdt', display_name: 'TypeScript (FPDT)', language: 'typescript' }, language_info: { name: 'typescript' } }
  writeFileSync(join(lab.folder, 'thirty.ipynb'), JSON.stringify({ nbformat: 4, nbformat_minor: 5, metadata, cells }))
  page = await lab.open({ width: 1200, height: 1000 })
  page.on('pageerror', (error) => troubles.push(String(error)))
  await page.goto(`${lab.url}/lab/tree/thirty.ipynb?reset`)
  await page.locator('.jp-Notebook').waitFor({ timeout: 60_000 })
}, 120_000)
afterAll(async () => {
  await lab?.close()
  expect(troubles).toEqual([])
})

/** What the notebook of the page would save, cell by cell. */
const outputsOf = (): Promise<{ count: number | null; outputs: Output[] }[]> =>
  page.evaluate(() =>
    (window as unknown as { jupyterapp: JupyterApp }).jupyterapp.shell.currentWidget.content.widgets.map(({ model }) => ({
      count: model.executionCount,
      outputs: model.outputs.toJSON(),
    })),
  )
const idle = () => expect.poll(() => kernelStatus(page), { timeout: 60_000, interval: 50 }).toBe('idle')
const command = (id: string): Promise<void> =>
  page.evaluate(async (name) => {
    await (window as unknown as { jupyterapp: JupyterApp }).jupyterapp.commands.execute(name)
  }, id)
const joined = (text: string | readonly string[] = ''): string => (typeof text === 'string' ? text : text.join(''))
/** Without colours. */
const saying = (outputs: readonly Output[]): string =>
  stripVTControlCharacters(
    outputs.map(({ text, data, traceback }) => joined(text) + joined(data?.['text/plain'] ?? data?.['text/markdown']) + joined(traceback?.join('\n'))).join(''),
  )
const cell = (i: number): Locator => page.locator('.jp-Notebook .jp-Cell').nth(i)
const menu = async (name: string, item: string): Promise<void> => {
  await page.locator('.lm-MenuBar').getByRole('menuitem', { name, exact: true }).click()
  await page.locator('.lm-Menu .lm-Menu-itemLabel').getByText(item, { exact: true }).click()
}
const count = async (i: number): Promise<number | null> => (await outputsOf())[i]?.count ?? null

describe('a notebook of thirty cells in JupyterLab', () => {
  let all: Awaited<ReturnType<typeof outputsOf>>

  it('runs to its endless loop, is interrupted by the button of the toolbar, and goes on to the end', async () => {
    expect(CELLS.length).toBe(30)
    await idle()
    await menu('Run', 'Run All Cells')
    await expect.poll(async () => saying((await outputsOf())[INTERRUPTED]?.outputs ?? []), { timeout: 60_000, interval: 100 }).toContain('looping')
    await page.locator('jp-button[data-command="notebook:interrupt-kernel"], [data-command="notebook:interrupt-kernel"]').first().click()
    await expect.poll(() => count(INTERRUPTED), { timeout: 10_000, interval: 20 }).not.toBeNull()
    await expect.poll(() => count(CELLS.length - 1), { timeout: 30_000, interval: 100 }).toBe(CELLS.length)
    await idle()
    all = await outputsOf()
    expect(saying(all[INTERRUPTED]?.outputs ?? [])).not.toContain('does not stop')
  }, 120_000)

  for (const [i, { code, says, saysNot }] of CELLS.entries()) {
    it(`${i + 1}: ${code.split('\n').at(-1)?.slice(0, 60)}`, () => {
      const { count, outputs } = all[i] as (typeof all)[number]
      expect(count).toBe(i + 1)
      const text = saying(outputs)
      if (says !== undefined) expect(text).toMatch(says)
      if (saysNot !== undefined) expect(text).not.toMatch(saysNot)
    })
  }
  it('draws pictures, plots, tables, formulas and the run of a training on the page', async () => {
    for (const [i, { draws }] of CELLS.entries()) {
      if (draws === undefined) continue
      const [selector, times] = draws
      const drawn = cell(i).locator('.jp-OutputArea').locator(selector)
      await cell(i).scrollIntoViewIfNeeded()
      await expect.poll(() => drawn.count(), { timeout: 15_000, message: `${i + 1}: ${selector}` }).toBe(times)
      await drawn.first().scrollIntoViewIfNeeded()
      // A picture has its size once it is decoded.
      const isVisible = async (): Promise<boolean> => {
        const box = await drawn.first().boundingBox()
        return box !== null && box.width > 10 && box.height > 10
      }
      await expect.poll(isVisible, { timeout: 15_000, message: `${i + 1}: ${selector} is visible` }).toBe(true)
    }
  })

  for (const theme of ['Light', 'Dark']) {
    it(`can be read in the ${theme.toLowerCase()} theme`, async () => {
      await setTheme(page, `JupyterLab ${theme}`)
      let count = 0
      for (const i of CELLS.keys()) {
        await cell(i).scrollIntoViewIfNeeded()
        const texts = await Promise.all((await cell(i).locator('.jp-OutputArea-output').all()).map((output) => textsOf(output)))
        for (const { text, colour, on } of texts.flat()) {
          if (!/[\p{L}\p{N}]/u.test(text)) continue // marks of a line, in the red that JupyterLab gives terminals
          expect.soft(contrastOf(colour, on), `${i + 1}: ${text.slice(0, 80)} in ${colour} on ${on}`).toBeGreaterThanOrEqual(4.5)
          count++
        }
      }
      expect(count).toBeGreaterThan(CELLS.length)
      await page.screenshot({ path: join(results, `thirty-${theme.toLowerCase()}.png`) })
    })
  }

  it('completes and explains what is typed in the notebook, by its types', async () => {
    const last = cell(CELLS.length - 1)
    await last.locator('.cm-content').click()
    await page.keyboard.press('Control+End')
    await page.keyboard.type('\nstats.me')
    await page.keyboard.press('Tab')
    await expect.poll(() => page.locator('.jp-Completer').innerText(), SOON).toMatch(/mean/)
    await page.screenshot({ path: join(results, 'thirty-completer.png') })
    await page.keyboard.press('Enter')
    await expect.poll(() => last.locator('.cm-content').innerText(), SOON).toMatch(/\nstats\.mean$/)
    await page.keyboard.press('Shift+Tab')
    await expect.poll(() => page.locator('.jp-Tooltip').innerText(), SOON).toMatch(/values: readonly number\[\]\) => number/)
    await page.screenshot({ path: join(results, 'thirty-tooltip.png') })
    await page.keyboard.press('Escape')
  })

  it('asks in the cell: prompt waits for what is typed there', async () => {
    await command('notebook:insert-cell-below')
    const asking = cell(CELLS.length)
    await asking.locator('.cm-content').click()
    await page.keyboard.insertText("console.log('hello', prompt('Who? '))")
    await page.keyboard.press('Control+Enter')
    const input = asking.locator('.jp-Stdin-input')
    await input.waitFor()
    await input.fill('Ada')
    await page.screenshot({ path: join(results, 'thirty-prompt.png') })
    await input.press('Enter')
    await expect.poll(async () => saying((await outputsOf())[CELLS.length]?.outputs ?? []), SOON).toContain('hello Ada')
  })

  it('restarts by the menu: variables are gone, numbers begin anew', async () => {
    // The light of the kernel that was there is idle, too: that of the new one is after it has started.
    await page.evaluate(() => {
      const lights: string[] = []
      Object.assign(window, { lights })
      ;(window as unknown as { jupyterapp: JupyterApp }).jupyterapp.shell.currentWidget.sessionContext.statusChanged.connect((_, light) => lights.push(light))
    })
    const lights = (): Promise<string> => page.evaluate(() => (window as unknown as { lights: string[] }).lights.join(' '))
    await menu('Kernel', 'Restart Kernel…')
    await page.locator('.jp-Dialog').getByRole('button', { name: 'Confirm Kernel Restart' }).click()
    await expect.poll(lights, { timeout: 60_000 }).toMatch(/restarting.* idle$/)
    await command('notebook:insert-cell-below')
    const after = CELLS.length + 1
    await cell(after).locator('.cm-content').click()
    await page.keyboard.insertText('typeof stats')
    await page.keyboard.press('Control+Enter')
    await expect.poll(() => count(after), SOON).toBe(1)
    await expect.poll(async () => saying((await outputsOf())[after]?.outputs ?? []), SOON).toContain("'undefined'")
  })
})
