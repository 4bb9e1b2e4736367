import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../../', import.meta.url))
const markdown = (source: string) => ({ id: `m${source.length}`, cell_type: 'markdown', metadata: {}, source })
const code = (source: string) => ({ id: `c${source.length}`, cell_type: 'code', metadata: {}, source, outputs: [], execution_count: null })

describe('executing a notebook headless', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'fpdt-execute-'))
  })
  afterEach(() => {
    rmSync(folder, { recursive: true, force: true })
  })

  /** Executes these cells in the installed kernel, as `npm run demo` does with the quick start. */
  function execute(cells: object[]) {
    const [notebook, executed] = [join(folder, 'a.ipynb'), join(folder, 'executed/a.ipynb')]
    const metadata = { kernelspec: { name: 'fpdt', display_name: 'TypeScript (FPDT)', language: 'typescript' } }
    writeFileSync(notebook, JSON.stringify({ nbformat: 4, nbformat_minor: 5, metadata, cells }))
    const { status, stdout, stderr } = spawnSync(join(root, '.venv/bin/python'), [join(root, 'notebooks/execute.py'), notebook, executed], { encoding: 'utf8' })
    return {
      status,
      stdout,
      stderr,
      saved: () => JSON.parse(readFileSync(executed, 'utf8')).cells as { outputs: Record<string, unknown>[]; execution_count: number | null }[],
    }
  }

  it('prints headings, streams and results in order, and saves them', () => {
    const { status, stdout, stderr, saved } = execute([
      markdown('# First\n\nWords.'),
      code("console.log('said')\n40 + 2"),
      markdown('## Second'),
      code("console.log('later')"),
    ])
    expect(status, stderr).toBe(0)
    expect(stdout).toMatch(/First\s+said\s+42\s+Second\s+later\s+.*a\.ipynb: 2 cells in \d+ s\n$/)
    expect(saved()[1]?.outputs.map((output) => output.output_type)).toEqual(['stream', 'execute_result'])
  })

  it('ends with exit code 1 at a cell that throws, says why, and saves what there is', () => {
    const { status, stdout, stderr, saved } = execute([code("throw new Error('chunk 7')"), code("console.log('never reached')")])
    expect(status).toBe(1)
    expect(stderr).toContain('chunk 7')
    expect(stdout).not.toContain('never reached')
    expect(saved()[0]?.outputs[0]).toMatchObject({ output_type: 'error', evalue: 'chunk 7' })
    expect(saved()[1]?.execution_count).toBe(null)
  })
})
