/**
 * `npm run demo`: sets everything up, executes a notebook headless through a real Jupyter client, prints what it printed.
 *
 *   node notebooks/run.mjs [NOTEBOOK]     the quick start unless one is named; the result goes to notebooks/executed/
 */
import { existsSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { program, setup } from '../.ci/setup.mjs'
import { follow, root, TaskError } from '../.ci/task.mjs'

await program(async () => {
  const notebook = resolve(process.argv[2] ?? join(root, 'notebooks/01-first-step.ipynb'))
  if (!existsSync(notebook)) throw new TaskError(`there is no notebook ${notebook}`)
  await setup()
  const executed = join(root, 'notebooks/executed', basename(notebook))
  const code = await follow(join(root, '.venv/bin/python'), [join(root, 'notebooks/execute.py'), notebook, executed], { minutes: 20 })
  if (code !== 0) throw new TaskError(code === 'timeout' ? `${notebook} did not end within 20 minutes` : `${notebook} failed`)
})
