/** The life of the kernel beside ipykernel, through the real jupyter_client. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { root } from '../../.ci/task.mjs'
import { printTable } from './measure.mjs'

const CLIENT = fileURLToPath(new URL('kernel.py', import.meta.url))

export async function kernel() {
  const { stdout } = await promisify(execFile)(join(root, '.venv/bin/python'), [CLIENT], { timeout: 120_000 })
  const measured = JSON.parse(stdout)
  const rows = [['', 'start to kernel_info ms', '1 + 1 to idle, p50 ms', 'p95 ms', '1000 lines printed ms']]
  for (const [name, { start, p50, p95, lines }] of Object.entries(measured))
    rows.push([name, ...[start, p50, p95, lines].map((seconds) => (seconds * 1e3).toFixed(1))])
  printTable('A kernel from start to answer, ipykernel (python3) beside; in turns, start and lines best of 3', rows)
}
