/**
 * Set-up: from a clean clone to everything built and installed under the repository. Every command that needs it calls it
 * first; what is already done costs a hash of its inputs.
 *
 *   node .ci/setup.mjs                all that demo and lab need
 *   node .ci/setup.mjs --test         what the tests need besides
 *   node .ci/setup.mjs native lab     these stages and what they stand on
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { fingerprint, sources, unlessStamped } from './stamp.mjs'
import { findNvcc, findPython, requirePlatform, requireSystem, systemValues } from './system.mjs'
import { cache, root, TaskError, task } from './task.mjs'

const at = (...parts) => join(root, ...parts)
const stamp = (name) => join(cache, 'stamps', name)
const node = (script, ...args) => [process.execPath, [script, ...args]]

/** A stage: what must be done before it, and how it is done. */
const stages = {
  platform: { needs: [], run: () => requirePlatform() },

  system: {
    needs: ['platform'],
    run: () => unlessStamped(stamp('system'), fingerprint([at('.ci/system.mjs')], systemValues(false)), [], () => requireSystem(false)),
  },

  browser: {
    needs: ['platform'],
    run: () => unlessStamped(stamp('browser'), fingerprint([at('.ci/system.mjs')], systemValues(true)), [], () => requireSystem(true)),
  },

  npm: { needs: ['platform'], run: installPackages },

  native: {
    needs: ['system', 'npm'],
    run: () => {
      const inputs = [
        ...sources(at('native'), /\.(cc|h|cu|cuh|txt|cmake|in)$/),
        ...['node-api-headers', 'node-addon-api'].map((name) => at('node_modules', name, 'package.json')),
      ]
      const print = fingerprint(inputs, [root, process.arch, process.env.CXX, process.env.CXXFLAGS, systemValues(false), cudaValues()])
      return unlessStamped(stamp('native'), print, [at('native/build/fpdt.node')], () => buildNative('fpdt'))
    },
  },

  'cuda-compiler': {
    needs: ['python'],
    run: () => {
      const requirements = at('.ci/requirements-cuda.txt')
      const print = fingerprint([requirements, at('.venv/fpdt.stamp')])
      return unlessStamped(at('.venv/fpdt-cuda.stamp'), print, [], () => installPython('CUDA compiler and tools', requirements))
    },
  },

  emulator: {
    needs: ['cuda-compiler', 'native'],
    run: () => {
      const inputs = [...sources(at('test/cuda/emulator'), /\.(cc|h|txt|map)$/), stamp('native')]
      const makes = [at('native/build/fpdt-emulated.node'), at('native/build/emulator/emulator.node')]
      return unlessStamped(stamp('emulator'), fingerprint(inputs), makes, () => buildNative('all', '-DFPDT_EMULATOR=ON'))
    },
  },

  ts: {
    needs: ['npm'],
    run: () => {
      const inputs = [...sources(at('kernel/src'), /\.ts$/), ...sources(at('native'), /\.ts$/), ...configurations('native', 'kernel')]
      const makes = [at('kernel/lib/main.js'), at('native/lib/index.js')]
      return unlessStamped(stamp('ts'), fingerprint(inputs, compilerVersion()), makes, () =>
        task('TypeScript', ...node(at('node_modules/typescript/bin/tsc'), '-b', 'native', 'kernel'), { minutes: 5 }),
      )
    },
  },

  lab: {
    needs: ['ts'],
    run: () => {
      const inputs = [...sources(at('labextension'), /\.(ts|css|svg|json)$/), ...sources(at('kernel/src'), /\.ts$/), ...configurations('kernel')]
      return unlessStamped(stamp('lab'), fingerprint(inputs, compilerVersion()), [at('labextension/dist/package.json')], buildLab)
    },
  },

  python: {
    needs: ['system'],
    run: () => {
      const requirements = at('.ci/requirements.txt')
      // The scripts of an environment name its folder, so a moved clone makes a new one.
      return unlessStamped(at('.venv/fpdt.stamp'), fingerprint([requirements], root), [at('.venv/bin/python'), at('.venv/bin/jupyter-lab')], () =>
        makeEnvironment(requirements),
      )
    },
  },

  'python-test': {
    needs: ['python'],
    run: () => {
      const requirements = at('.ci/requirements-test.txt')
      const print = fingerprint([requirements, at('.venv/fpdt.stamp')])
      return unlessStamped(at('.venv/fpdt-test.stamp'), print, [], () => installPython('Python packages of the tests', requirements))
    },
  },

  jupyter: {
    needs: ['ts', 'lab', 'python'],
    run: () => {
      const inputs = [...sources(at('kernel/kernelspec'), /./), stamp('lab'), at('kernel/src/install.ts'), at('.venv/fpdt.stamp')]
      const share = at('.venv/share/jupyter')
      const makes = [join(share, 'kernels/fpdt/kernel.json'), join(share, 'labextensions/@fpdt/labextension/package.json')]
      return unlessStamped(stamp('jupyter'), fingerprint(inputs, [root, process.execPath]), makes, () =>
        task('kernel and extension into .venv', ...node(at('kernel/bin/fpdt.mjs'), 'install', '--prefix', at('.venv')), { minutes: 1 }),
      )
    },
  },
}

const forUse = ['native', 'jupyter']
const forTests = [...forUse, 'browser', 'python-test']

/**
 * Does the named stages and what they stand on, each once. Throws `TaskError` with all that there is to say.
 * @param {{ tests?: boolean, only?: string[] }} [options]
 */
export async function setup({ tests = false, only = [] } = {}) {
  const done = new Set()
  const visit = async (name) => {
    if (done.has(name)) return
    done.add(name)
    for (const before of stages[name].needs) await visit(before)
    await stages[name].run()
  }
  for (const name of only.length > 0 ? only : tests ? forTests : forUse) {
    if (!(name in stages)) throw new TaskError(`no stage is called ${name}; there are ${Object.keys(stages).join(', ')}`)
    await visit(name)
  }
}

/** Runs `main` as a program: a `TaskError` is printed without its stack and becomes exit code 1. */
export async function program(main) {
  try {
    await main()
  } catch (error) {
    console.error(error instanceof TaskError ? error.message : error)
    process.exitCode = 1
  }
}

function configurations(...packages) {
  return [at('tsconfig.base.json'), ...packages.flatMap((name) => [at(name, 'tsconfig.json'), at(name, 'package.json')])]
}

function compilerVersion() {
  return JSON.parse(readFileSync(at('node_modules/typescript/package.json'), 'utf8')).version
}

/** `npm ci`, unless what npm noted in node_modules is what the lockfile says: then someone has done it already. */
async function installPackages() {
  const lock = JSON.parse(readFileSync(at('package-lock.json'), 'utf8')).packages
  const notePath = at('node_modules/.package-lock.json')
  if (existsSync(notePath)) {
    const installed = JSON.parse(readFileSync(notePath, 'utf8')).packages
    // Packages of other platforms are optional and stay out; links are the workspaces.
    const missing = Object.entries(lock).filter(
      ([path, entry]) => path.includes('node_modules/') && !entry.optional && installed[path]?.version !== entry.version,
    )
    const foreign = Object.entries(installed).filter(([path, entry]) => lock[path]?.version !== entry.version)
    if (missing.length + foreign.length === 0) return
  }
  const npm = process.env.npm_execpath
  const [command, args] = npm?.endsWith('.js') ? node(npm) : ['npm', []]
  await task('npm packages', command, [...args, 'ci', '--no-audit', '--no-fund', '--loglevel=error'], { minutes: 12 })
}

/** What decides whether native/cuda is compiled, and for which GPUs. */
function cudaValues() {
  const compiler = findNvcc()
  const installed = at('.venv/fpdt-cuda.stamp')
  return [compiler && [compiler, statSync(compiler).mtimeMs], existsSync(installed) && readFileSync(installed, 'utf8'), process.env.CUDA_HOME]
}

async function buildNative(target, ...options) {
  const build = at('native/build')
  const notes = join(build, 'CMakeCache.txt')
  // CMake refuses a build folder that came from elsewhere with its clone.
  const home = existsSync(notes) && readFileSync(notes, 'utf8').match(/^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m)?.[1]
  if (home && home !== at('native')) rmSync(build, { recursive: true })
  // The build asks `node` for header folders: it shall be this one, on PATH or not.
  const env = { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}` }
  await task('native configure', 'cmake', ['-S', at('native'), '-B', build, '-DCMAKE_BUILD_TYPE=Release', ...options], { minutes: 2, env })
  // One line: what the build has of CUDA, or why it has nothing of it.
  const said = readFileSync(join(cache, 'logs/native-configure.log'), 'utf8').match(/^-- fpdt: ((?:no )?cuda .*)$/m)
  if (said) console.log(said[1])
  await task('native build', 'cmake', ['--build', build, '--target', target, '--parallel', String(availableParallelism())], { minutes: 25, env })
}

async function buildLab() {
  await task('extension: TypeScript', ...node(at('node_modules/typescript/bin/tsc'), '-b', 'labextension'), { minutes: 5 })
  const builder = at('node_modules/@jupyter/builder/lib/build-labextension.js')
  const core = at('node_modules/@jupyterlab/core-meta/core.package.json')
  await task('extension: bundle', ...node(builder, '--core-package-file', core, '.'), { minutes: 5, cwd: at('labextension') })
}

async function makeEnvironment(requirements) {
  const python = at('.venv/bin/python')
  const works = existsSync(python) && spawnSync(python, ['-m', 'pip', '--version'], { timeout: 60_000 }).status === 0 && belongsHere()
  if (!works) await task('Python environment', findPython() ?? 'python3', ['-m', 'venv', '--clear', at('.venv')], { minutes: 3 })
  // JupyterLab carries a CommonJS program (its yarn), which would take the module type of our package.json above it.
  writeFileSync(at('.venv/package.json'), '{ "type": "commonjs" }\n')
  await installPython('Python packages', requirements)
}

/** Whether .venv was made in this folder: its scripts hold its path. */
function belongsHere() {
  return readFileSync(at('.venv/bin/activate'), 'utf8').includes(at('.venv'))
}

function installPython(title, requirements) {
  const pip = ['-m', 'pip', 'install', '--disable-pip-version-check', '--no-input', '--progress-bar', 'off', '-r', requirements]
  return task(title, at('.venv/bin/python'), pip, { minutes: 12 })
}

if (process.argv[1] && import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  await program(() => setup({ tests: process.argv.includes('--test'), only: process.argv.slice(2).filter((name) => !name.startsWith('--')) }))
}
