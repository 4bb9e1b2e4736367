/**
 * Whether a machine has a GPU that can be used, before anything is built for it: in seconds, and from a clone that was never set up. What
 * is built answers best; otherwise the driver's traces are looked for, and where there is one only the build can tell more.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

/** Where the driver is loaded: its devices, its own folder, and the device of WSL. */
const TRACES = ['/proc/driver/nvidia/version', '/dev/nvidiactl', '/dev/dxg']

/**
 * Why no GPU can be used; undefined where one can, or where that is not known yet.
 * @param {string} root the repository
 */
export function whyNoGpu(root) {
  const built = askBuilt(root)
  if (built?.built) return built.available ? undefined : built.reason
  if (hasDriver()) return undefined
  return 'No NVIDIA driver was found (no /dev/nvidia*, and nvidia-smi lists nothing): on a machine with an NVIDIA GPU install its driver, in a container pass the GPU on (docker run --gpus all).'
}

/**
 * What the addon that is built says of GPUs; undefined where none is. In a process of its own: a build may replace the addon, which a process loads once.
 * @param {string} root the repository
 * @param {NodeJS.ProcessEnv} env of that process; its FPDT_NATIVE names another addon
 */
export function askBuilt(root, env = process.env) {
  if (!existsSync(join(root, 'native/lib/index.js'))) return undefined
  const program = `const { cudaDevices } = await import('@fpdt/native'); console.log(JSON.stringify(cudaDevices()))`
  const { status, stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { cwd: root, env, encoding: 'utf8', timeout: 60_000 })
  return status === 0 ? JSON.parse(stdout) : undefined
}

function hasDriver() {
  if (TRACES.some((path) => existsSync(path)) || readdirSync('/dev').some((name) => /^nvidia\d+$/.test(name))) return true
  const { status, stdout } = spawnSync('nvidia-smi', ['-L'], { encoding: 'utf8', timeout: 30_000 })
  return status === 0 && /^GPU \d/m.test(stdout)
}
