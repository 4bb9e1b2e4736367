/** `notebooks/03-step-by-step.ipynb` runs to its end under a real client, and the answers that it computes from its own run are right. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

interface Cell {
  id: string
  cell_type: string
  source: string | string[]
  outputs?: { output_type: string; text?: string | string[]; data?: Record<string, unknown> }[]
}
let folder: string
let cells: Cell[]

const textOf = (lines: string | string[] = ''): string => [lines].flat().join('')
/** What the cell printed. */
const printed = (id: string): string => {
  const cell = cells.find((one) => one.id === id)
  if (!cell) throw new Error(`the notebook has no cell ${id}`)
  return (cell.outputs ?? []).map(({ text }) => textOf(text)).join('')
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'fpdt-step-by-step-'))
  const executed = join(folder, 'executed.ipynb')
  const script = [join(root, 'notebooks/execute.py'), join(root, 'notebooks/03-step-by-step.ipynb'), executed]
  execFileSync(join(root, '.venv/bin/python'), script, { timeout: 150_000, stdio: 'pipe' })
  cells = JSON.parse(readFileSync(executed, 'utf8')).cells
}, 160_000)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('the answers of the six questions', () => {
  it('device bytes stay flat while the host grows by the same for every chunk', () => {
    const rows = [...printed('step-12').matchAll(/│ (\d+)\s+│ '(\d+)'\s+│ '([\d.]+)\sMiB'\s+│ '([\d.]+)\sMiB'/g)].map(([, ...columns]) => columns.map(Number))
    expect(rows.map(([sequence, chunks]) => [sequence, chunks])).toEqual([8, 16, 32, 64].map((chunks) => [chunks * 1024, chunks]))
    expect(new Set(rows.map(([, , device]) => device)).size).toBe(1)
    const perChunk = rows.slice(1).map(([, chunks, , host], i) => (host - rows[i][3]) / (chunks - rows[i][1]))
    for (const growth of perChunk) expect(growth).toBeCloseTo(perChunk[0], 1)
    expect(perChunk[0]).toBeGreaterThan(1)
  })

  it('36 meetings in a forward of 8 chunks, 28 of them with keys and values from the host', () => {
    expect(printed('step-14')).toMatch(/^36 meetings; .* = 36\n28 of them .* = 28\n/)
    expect(printed('step-14')).toContain('(0, 0) made, (1, 0) host, (1, 1) made, (2, 0) host, (2, 1) host')
  })

  it('both runs of the double buffer are measured', () => {
    for (const prefetch of [1, 0]) {
      const [, fetches, waits] = new RegExp(`prefetch ${prefetch} +│ '([\\d.]+) ms' +│ '([\\d.]+) ms'`).exec(printed('step-16')) ?? []
      expect(Number(fetches)).toBeGreaterThan(0)
      expect(Number(waits)).toBeGreaterThanOrEqual(0)
    }
  })

  it('compute and its waits add up to the wall time', () => {
    expect(printed('step-18')).toMatch(/: difference 0\n/)
    expect(printed('step-18').match(/^- Waited .* for /gm)?.length).toBe(3)
  })

  it('the buffers alive at the peak add up to it, and an op made it', () => {
    const [, sum, bytes] = /buffers add up to (\d+) of (\d+) bytes/.exec(printed('step-20')) ?? []
    expect(Number(bytes)).toBeGreaterThan(2 ** 20)
    expect(sum).toBe(bytes)
    expect(printed('step-20')).toMatch(/^[\d.]+\sMiB, pushed there by \w+ /)
  })

  it('every phase took a part of the time', () => {
    const shares = [...printed('step-22').matchAll(/(\w+) ([\d.]+) %/g)].map(([, phase, share]) => [phase, Number(share)] as const)
    expect(shares.map(([phase]) => phase).sort()).toEqual(['backward', 'embedding', 'forward', 'loss', 'optimizer', 'recompute'])
    expect(shares.reduce((sum, [, share]) => sum + share, 0)).toBeCloseTo(100, 0)
    expect(Number(/takes ([\d.]+) times/.exec(printed('step-22'))?.[1])).toBeGreaterThan(0)
  })
})

it('pictures in the texts of the notebooks are there', () => {
  for (const name of ['01-first-step', '02-five-systems', '03-step-by-step']) {
    const { cells } = JSON.parse(readFileSync(join(root, `notebooks/${name}.ipynb`), 'utf8')) as { cells: Cell[] }
    const texts = cells.filter(({ cell_type }) => cell_type === 'markdown').map(({ source }) => textOf(source))
    const linked = texts.flatMap((text) => [...text.matchAll(/\]\(([^)#:]+)\)/g)].map(([, path]) => path))
    expect(linked.filter((path) => !existsSync(join(root, 'notebooks', path)))).toEqual([])
  }
})
