/**
 * Puts the kernel and the JupyterLab extension into a Jupyter data folder. Knows Jupyter's folders and nothing of Python:
 * both are static files (jupyter_core "paths"; jupyter_client "kernel specs"; JupyterLab "prebuilt extensions").
 *
 *   DATA/kernels/fpdt/kernel.json                          absolute paths of Node and of the kernel's entry
 *   DATA/labextensions/@fpdt/labextension/package.json     and the bundle beside it
 */
import { cpSync, existsSync, mkdirSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, dirname, isAbsolute, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FpdtError } from './errors.js'

/** What is installed: the kernel's entry file, and the folder of the built extension with `install.json` beside it. */
export interface Built {
  readonly entry: string
  readonly extension: string
}

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const built: Built = { entry: here('../lib/main.js'), extension: here('../../labextension/dist') }

/** Jupyter's data folder of this user, on Linux. */
export function userDataFolder(env: NodeJS.ProcessEnv = process.env): string {
  return env.JUPYTER_DATA_DIR || join(env.XDG_DATA_HOME || join(homedir(), '.local/share'), 'jupyter')
}

/** Jupyter's data folder of an environment: a virtual or conda environment, or `/usr/local`. */
export function prefixDataFolder(prefix: string): string {
  return resolve(prefix, 'share/jupyter')
}

/** Installs into `dataFolder`, replacing what an earlier call left; gives the two folders made. Throws FpdtError 'not-built', 'folder'. */
export function install(dataFolder: string, { entry, extension }: Built = built): { kernelspec: string; extension: string } {
  for (const path of [entry, join(extension, 'package.json')]) {
    if (!existsSync(path)) throw new FpdtError('not-built', `${path} is not there: the kernel or its extension is not built; try: npm run build`)
  }
  const spec = { argv: [node(), entry, '{connection_file}'], ...JSON.parse(readFileSync(here('../kernelspec/kernel.json'), 'utf8')) }
  const kernelspec = replaceFolder(join(dataFolder, 'kernels/fpdt'), (folder) => {
    cpSync(here('../kernelspec'), folder, { recursive: true })
    writeFileSync(join(folder, 'kernel.json'), `${JSON.stringify(spec, null, 2)}\n`)
  })
  const labextension = replaceFolder(join(dataFolder, 'labextensions/@fpdt/labextension'), (folder) => {
    cpSync(extension, folder, { recursive: true })
    // The words with which JupyterLab's extension manager says how to uninstall.
    cpSync(join(extension, '../install.json'), join(folder, 'install.json'))
  })
  return { kernelspec, extension: labextension }
}

/**
 * The path of Node that outlives its next upgrade: package managers move the real file with every version (`Cellar/node/24.1.0/bin/node`) and keep a
 * link to it on PATH. So the first `node` on PATH, if it is the one that runs now; but not a link of fnm's, which goes with its shell.
 */
export function node(env: NodeJS.ProcessEnv = process.env, running = process.execPath): string {
  const folders = (env.PATH ?? '').split(delimiter).filter((folder) => isAbsolute(folder) && !folder.includes('fnm_multishells'))
  const first = folders.map((folder) => join(folder, 'node')).find((path) => existsSync(path))
  return first !== undefined && realpathSync(first) === realpathSync(running) ? first : running
}

/** Fills a folder beside `path` and moves it there: a server that looks meanwhile finds the old one, none, or the new one, never a part. */
function replaceFolder(path: string, fill: (folder: string) => void): string {
  const fresh = `${path}.${process.pid}`
  try {
    mkdirSync(dirname(path), { recursive: true })
    fill(fresh)
    rmSync(path, { recursive: true, force: true })
    renameSync(fresh, path)
  } catch (error) {
    if (existsSync(fresh)) rmSync(fresh, { recursive: true })
    throw new FpdtError('folder', `cannot write ${path}: ${(error as Error).message}; try another --prefix, or --user`, { cause: error })
  }
  return path
}
