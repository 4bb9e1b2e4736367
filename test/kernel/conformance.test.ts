/** Runs conformance.py under the repository's Python environment; each of its unittests is a test here. */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { MAIN } from './client.js'

interface Line {
  readonly test: string
  readonly status: 'passed' | 'failed' | 'skipped'
  readonly detail: string
}

const lines = await run()

describe('jupyter_client', () => {
  it('ran the whole suite', () => {
    expect(lines.length).toBeGreaterThanOrEqual(21)
    expect(lines.filter(({ status }) => status === 'skipped')).toEqual([])
  })

  for (const { test, status, detail } of lines) {
    it(test, () => {
      if (status !== 'passed') expect.fail(detail)
    })
  }
})

async function run(): Promise<Line[]> {
  const folder = mkdtempSync(join(tmpdir(), 'fpdt-conformance-'))
  try {
    const spec = join(folder, 'kernels', 'fpdt')
    mkdirSync(spec, { recursive: true })
    const kernelspec = JSON.parse(readFileSync(new URL('../../kernel/kernelspec/kernel.json', import.meta.url), 'utf8'))
    writeFileSync(join(spec, 'kernel.json'), JSON.stringify({ ...kernelspec, argv: [process.execPath, MAIN, '{connection_file}'] }))
    const file = (path: string) => fileURLToPath(new URL(path, import.meta.url))
    const env = { ...process.env, JUPYTER_PATH: folder, JUPYTER_DATA_DIR: folder, JUPYTER_RUNTIME_DIR: folder }
    const { stdout } = await promisify(execFile)(file('../../.venv/bin/python'), [file('./conformance.py')], { env, cwd: folder, timeout: 120_000 })
    return stdout
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
