/**
 * `npm run lab`: sets everything up and opens JupyterLab with copies of the notebooks, in `notebooks/mine/`, which git ignores: the originals
 * stay as they are. What follows `--` goes to JupyterLab:
 *
 *   npm run lab -- --no-browser --port 9000
 */
import { spawn } from 'node:child_process'
import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { program, setup } from '../.ci/setup.mjs'
import { root } from '../.ci/task.mjs'

await program(async () => {
  await setup()
  const folder = join(root, 'notebooks/mine')
  mkdirSync(folder, { recursive: true })
  for (const name of readdirSync(join(root, 'notebooks')).filter((name) => name.endsWith('.ipynb'))) {
    const copy = join(folder, name)
    if (!existsSync(copy)) copyFileSync(join(root, 'notebooks', name), copy)
  }
  // The notebooks show them.
  cpSync(join(root, 'notebooks/pictures'), join(folder, 'pictures'), { recursive: true })
  // Jupyter refuses root unless told; in a container there is often no one else.
  const asRoot = process.getuid?.() === 0 ? ['--allow-root'] : []
  // As the default page, not as an argument: then the address that JupyterLab prints leads to the notebook too.
  const args = ['--LabApp.default_url=/lab/tree/01-first-step.ipynb', ...asRoot, ...process.argv.slice(2)]
  const lab = spawn(join(root, '.venv/bin/jupyter-lab'), args, { cwd: folder, stdio: 'inherit' })
  // Ctrl-C reaches JupyterLab too, which asks before it ends: we end when it does.
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
    process.removeAllListeners(signal)
    process.on(signal, () => signal === 'SIGTERM' && lab.kill(signal))
  }
  // Who ends npm, or its shell, alone leaves us behind: JupyterLab is not to outlive them.
  const parent = process.ppid
  const watch = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(watch)
    lab.kill('SIGTERM')
  }, 500)
  watch.unref()
  process.exitCode = await new Promise((done) => lab.on('exit', (code) => done(code ?? 1)))
})
