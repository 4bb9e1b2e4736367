/**
 * What the machine itself must have: checked by use, not by name, so a compiler or a library from anywhere will do.
 * On Debian and Ubuntu, missing parts are installed when that needs no password; otherwise one line names them.
 */
import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { TaskError, task } from './task.mjs'

const compiler = () => process.env.CXX ?? 'c++'

/** Runs `command` for at most 20 s; gives what it printed, or null when it failed. */
function probe(command, args, input = '') {
  const { status, stdout } = spawnSync(command, args, { input, encoding: 'utf8', timeout: 20_000 })
  return status === 0 ? stdout : null
}

/** Full path of the first of `names` on PATH, or null. */
function findProgram(...names) {
  for (const name of names) {
    for (const folder of (process.env.PATH ?? '').split(delimiter)) {
      const path = join(folder, name)
      try {
        accessSync(path, constants.X_OK)
        if (statSync(path).isFile()) return path
      } catch {
        // Not in this folder.
      }
    }
  }
  return null
}

const atLeast = (version, least) => {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major > least[0] || (major === least[0] && minor >= least[1])
}

/** The first Python on PATH that is new enough and can make virtual environments, or null. */
export function findPython() {
  for (const name of ['python3', 'python3.14', 'python3.13', 'python3.12', 'python3.11', 'python3.10']) {
    const path = findProgram(name)
    if (path && probe(path, ['-c', 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))']) !== null) return path
  }
  return null
}

/** A Chromium that Playwright can drive, or null. `CHROMIUM` names one that is not on PATH. */
export function findChromium() {
  return process.env.CHROMIUM ?? findProgram('chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable')
}

/** CUDA's compiler, where native/cmake/cuda.cmake looks for it but for .venv, or null: the CPU backend needs none. */
export function findNvcc() {
  const toolkits = existsSync('/usr/local') ? readdirSync('/usr/local').filter((name) => /^cuda(-|$)/.test(name)) : []
  const homes = [process.env.CUDA_HOME, process.env.CUDA_PATH, ...toolkits.map((name) => join('/usr/local', name))]
  const inHome = homes.flatMap((home) => (home ? [join(home, 'bin/nvcc')] : [])).find((path) => existsSync(path))
  return findProgram('nvcc') ?? inHome ?? null
}

/** @typedef {{ what: string, packages: string[], present: () => boolean }} Requirement */

/** @type {Requirement[]} */
const build = [
  {
    what: 'a C++20 compiler',
    packages: ['g++'],
    present: () => probe(compiler(), ['-std=c++20', '-fsyntax-only', '-x', 'c++', '-'], '#include <concepts>\n#include <span>\nstd::span<int> s;') !== null,
  },
  { what: 'CMake 3.22 or newer', packages: ['cmake'], present: () => atLeast(probe('cmake', ['--version'])?.match(/[\d.]+/)?.[0] ?? '0', [3, 22]) },
  { what: 'make', packages: ['make'], present: () => probe('make', ['--version']) !== null },
  {
    what: 'oneDNN 2.6 or newer with headers',
    packages: ['libdnnl-dev'],
    present: () =>
      probe(
        compiler(),
        ['-x', 'c++', '-', '-ldnnl', '-o', '/dev/null'],
        '#include <oneapi/dnnl/dnnl.h>\n#if DNNL_VERSION_MAJOR * 100 + DNNL_VERSION_MINOR < 206\n#error\n#endif\nint main() { return dnnl_version() == nullptr; }',
      ) !== null,
  },
  { what: 'Python 3.10 or newer with venv', packages: ['python3', 'python3-venv'], present: () => findPython() !== null },
]

/** @type {Requirement[]} */
const browser = [
  { what: 'Chromium', packages: ['chromium'], present: () => findChromium() !== null },
  {
    what: 'a font',
    packages: ['fonts-dejavu-core'],
    present: () => ['/usr/share/fonts', '/usr/local/share/fonts', join(process.env.HOME ?? '/', '.fonts')].some((path) => existsSync(path)),
  },
]

/** What the answers below depend on, cheap to read: the programs that answered and when they last changed. */
export function systemValues(forTests) {
  const programs = [compiler(), 'cmake', 'make', 'python3', ...(forTests ? ['chromium', 'chromium-browser', 'google-chrome'] : [])]
  return [process.env.CXX, process.env.CHROMIUM, ...programs.map((name) => findProgram(name)).map((path) => path && [path, statSync(path).mtimeMs])]
}

/** Sees to it that the parts for building (or, for tests, the browser) are there. */
export async function requireSystem(forTests) {
  const requirements = forTests ? browser : build
  const missing = requirements.filter((requirement) => !requirement.present())
  if (missing.length === 0) return
  const packages = missing.flatMap((requirement) => requirement.packages)
  const names = missing.map((requirement) => requirement.what).join(', ')
  if (!findProgram('apt-get'))
    throw new TaskError(`missing: ${names}. Install them with this system's package manager (on Debian they are ${packages.join(' ')}).`)
  const root = process.getuid?.() === 0
  if (!root && probe('sudo', ['-n', 'true']) === null)
    throw new TaskError(`missing: ${names}. Install them with: sudo apt-get update && sudo apt-get install ${packages.join(' ')}`)
  console.log(`missing: ${names}; installing ${packages.join(' ')}`)
  const asRoot = (title, line) =>
    task(title, root ? 'env' : 'sudo', [...(root ? [] : ['-n', 'env']), 'DEBIAN_FRONTEND=noninteractive', ...line.split(' ')], { minutes: 10 })
  await asRoot('package lists', 'apt-get update')
  await asRoot('system packages', `apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=120 ${packages.join(' ')}`)
  const still = missing.filter((requirement) => !requirement.present())
  if (still.length > 0) {
    throw new TaskError(
      `still missing after installing ${packages.join(' ')}: ${still.map((requirement) => requirement.what).join(', ')}. Put a newer one on PATH (a compiler: CXX=...).`,
    )
  }
}

const thisMachine = () => ({
  node: process.versions.node,
  platform: process.platform,
  arch: process.arch,
  glibc: process.report?.getReport().header.glibcVersionRuntime,
})

/**
 * Refuses, in words, machines and versions of Node on which the rest cannot work.
 * @param {{ node: string, platform: string, arch: string, glibc?: string }} [machine]
 */
export function requirePlatform({ node, platform, arch, glibc } = thisMachine()) {
  const [major, minor] = node.split('.').map(Number)
  if (!((major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major > 22)) {
    throw new TaskError(`Node ${node} will not do: use 20.19 or newer of 20, 22.12 or newer of 22, or any later version.`)
  }
  if (platform !== 'linux' || !['x64', 'arm64'].includes(arch)) {
    throw new TaskError(`${platform} ${arch} is not supported: use Linux on x86-64 or arm64 (a container or WSL 2 will do).`)
  }
  if (!glibc)
    throw new TaskError('this Linux has no glibc (Alpine, for one, has musl), which the prebuilt ZeroMQ addon needs: use Debian, Ubuntu, Fedora or the like.')
}
