/**
 * `npm test`: sets everything up, lints, runs the suites folder by folder, cheapest first. At the end each failure is told
 * again in a line that begins with `✗`; the last line of output is `N passed, N failed` over all of them; the exit code is 1
 * when anything failed.
 *
 *   node test/run.mjs               all
 *   node test/run.mjs null kernel   these folders
 *   node test/run.mjs cuda          the CUDA backend: on a GPU where there is one, else on the emulator of test/cuda
 *   node test/run.mjs long          what takes minutes, and is run on its own
 */
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { setup } from '../.ci/setup.mjs'
import { findChromium } from '../.ci/system.mjs'
import { cache, follow, root, TaskError } from '../.ci/task.mjs'
import { askBuilt } from './gpu/find.mjs'

const reports = join(cache, 'reports')

/** Suites of test/backend that run on every backend. */
const KERNELS = [
  ...['activation', 'attention', 'cross-entropy', 'embedding', 'gemm', 'norm', 'optimizer', 'rotary', 'round', 'softmax-merge', 'workspace'],
  ...['addon', 'arena', 'collective', 'executor'],
]

/** Suites by what they need. `together`: how many files share the machine; those of the addon use all cores themselves. `apart`: not of `npm test`. `stages`: of set-up, where not those of all tests. */
const suites = {
  null: { needs: 'nothing but TypeScript', files: ['test/null/'], minutes: 12, together: Number.POSITIVE_INFINITY },
  backend: { needs: 'the addon', files: ['test/backend/'], minutes: 10, together: 1 },
  step: { needs: 'the addon, torch and transformers', files: ['test/step/'], minutes: 20, together: 1 },
  kernel: { needs: 'Jupyter', files: ['test/kernel/'], minutes: 15, together: 2 },
  lab: { needs: 'JupyterLab and a browser', files: ['test/lab/'], minutes: 20, together: 2 },
  cuda: {
    needs: 'nvcc, which is installed where there is none',
    files: ['test/cuda/', ...KERNELS.map((name) => `test/backend/${name}.test.ts`)],
    minutes: 28,
    together: 2,
    apart: true,
    stages: ['ts', 'emulator'],
    env: cudaEnvironment,
  },
  long: { needs: 'the addon, and minutes', files: ['test/long/'], minutes: 30, together: 1, apart: true },
}

/** Runs one suite. A file that cannot be loaded, an error outside a test and a timeout each count as one failure. */
async function runSuite(name, { files, minutes, together, env: own }) {
  const report = join(reports, `${name}.json`)
  const args = [
    'run',
    ...files,
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
    ...(together === 1 ? ['--no-file-parallelism'] : []),
    ...(together === 2 ? ['--maxWorkers=2'] : []),
  ]
  const env = { ...process.env, CI: 'true', CHROMIUM: findChromium() ?? '', ...own?.() }
  const code = await follow(process.execPath, [join(root, 'node_modules/vitest/vitest.mjs'), ...args], { minutes, env })
  if (code === 'timeout' || !existsSync(report)) {
    return { passed: 0, skipped: 0, failures: [code === 'timeout' ? `${name}: ended after ${minutes} minutes` : `${name}: no report, exit code ${code}`] }
  }
  const { testResults } = JSON.parse(readFileSync(report, 'utf8'))
  const tests = testResults.flatMap((file) => file.assertionResults)
  const count = (...statuses) => tests.filter((test) => statuses.includes(test.status)).length
  const failures = testResults.flatMap(failuresOfFile)
  if (failures.length === 0 && code !== 0) failures.push(`${name}: exit code ${code} although no test failed: an error outside of them, above`)
  return { passed: count('passed'), skipped: tests.length - count('passed', 'failed'), failures }
}

/** What failed in a file, each as one line: its path, the test, the first lines of its error. A file that failed without a failed test could not be loaded. */
function failuresOfFile({ name, status, message, assertionResults }) {
  const path = relative(root, name)
  const line = (...parts) =>
    parts
      .join(' > ')
      .replace(/\n +at .*/g, '')
      .replace(/\s+/g, ' ')
      .slice(0, 1000)
  const failed = assertionResults.filter((test) => test.status === 'failed')
  if (status === 'failed' && failed.length === 0) return [line(path, message)]
  return failed.map(({ fullName, failureMessages }) => line(path, fullName, failureMessages.join(' ')))
}

/** Where the CUDA backend is tested: on a GPU that can be used, else on the emulator, with fewer random cases. Says which. */
function cudaEnvironment() {
  const { devices = [], reason = '' } = askBuilt(root, { ...process.env, FPDT_NATIVE: undefined }) ?? {}
  const gpu = devices.find(({ usable }) => usable)
  console.log(gpu ? `cuda: on ${gpu.name}` : `cuda: on the emulator. ${reason}`)
  if (gpu) return { FPDT_TEST_BACKEND: 'cuda' }
  return { FPDT_TEST_BACKEND: 'cuda', FPDT_NATIVE: join(root, 'native/build/fpdt-emulated.node'), FPDT_TEST_RUNS: process.env.FPDT_TEST_RUNS ?? '4' }
}

/** Lint, format and types of everything. Only what fails counts: a clean lint is not a passed test. */
async function runLint() {
  const tools = [
    ['@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.'],
    ['typescript/bin/tsc', '-b'],
    ['typescript/bin/tsc', '-p', 'test'],
  ]
  const failures = []
  for (const [tool, ...args] of tools) {
    const code = await follow(process.execPath, [join(root, 'node_modules', tool), ...args], { minutes: 3 })
    if (code !== 0) failures.push(`${tool} ${args.join(' ')}: exit code ${code}, its words are above`)
  }
  return { passed: 0, skipped: 0, failures }
}

const seconds = (since) => `${Math.round((Date.now() - since) / 1000)} s`

/** Runs the named suites, prints a table, gives the exit code. */
async function main(names) {
  const started = Date.now()
  const rows = []
  const told = []
  const record = (name, { passed, failures, skipped }, since) => {
    rows.push({ suite: name, passed, failed: failures.length, skipped, time: seconds(since) })
    told.push(...failures)
  }
  rmSync(reports, { recursive: true, force: true })
  mkdirSync(reports, { recursive: true })
  try {
    const stages = names.map((name) => suites[name]?.stages)
    await setup(stages.length > 0 && stages.every(Boolean) ? { only: stages.flat() } : { tests: true })
    record('set-up', { passed: 0, skipped: 0, failures: [] }, started)
    const all = names.length === 0
    if (all) {
      const since = Date.now()
      record('lint', await runLint(), since)
    }
    for (const name of all ? Object.keys(suites).filter((suite) => !suites[suite].apart) : names) {
      if (!(name in suites)) throw new TaskError(`there is no suite ${name}; there are ${Object.keys(suites).join(', ')}`)
      const since = Date.now()
      console.log(`\n${name}: needs ${suites[name].needs}`)
      record(name, await runSuite(name, suites[name]), since)
    }
  } catch (error) {
    console.error(error instanceof TaskError ? error.message : error)
    record('set-up', { passed: 0, skipped: 0, failures: [`set-up: ${error.message}`] }, started)
  }
  const sum = (column) => rows.reduce((total, row) => total + row[column], 0)
  console.table(Object.fromEntries(rows.map(({ suite, ...row }) => [suite, row])))
  console.log(`${seconds(started)}, ${sum('skipped')} skipped`)
  for (const failure of told) console.log(`✗ ${failure}`)
  console.log(`${sum('passed')} passed, ${sum('failed')} failed`)
  return sum('failed') > 0 || sum('passed') === 0 ? 1 : 0
}

process.exitCode = await main(process.argv.slice(2))
