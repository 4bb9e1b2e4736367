/**
 * This kernel beside ipykernel, Deno's and tslab's, measured in one run through a real client: start, latency, completion, output, interrupts,
 * what survives a crash, and jupyter_kernel_test's score. `test/bench/kernel/` measures; here the others are installed and the table is made.
 *
 *   npm run bench -- kernel
 *   npm run bench -- kernel --write
 *   npm run bench -- kernel --only starts --beside DIR   one part; with the kernel built in another clone, as a column `before`
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { cache, follow, root, TaskError, task } from '../../.ci/task.mjs'
import { options, printTable } from './measure.mjs'
import { intoReadme, markdown } from './readme.mjs'

const here = (path) => fileURLToPath(new URL(`kernel/${path}`, import.meta.url))
const python = join(root, '.venv/bin/python')
const OURS = 'fpdt'
/** The others that npm has, at the versions that are compared. Both work without their install scripts. */
const PEERS = { deno: '2.9.6', tslab: '1.0.22' }
/** Two figures this close are level: between two runs of one program on a busy machine there is more. */
const LEVEL = 1.1

/** What nobody notices any more, in seconds: below it all are level. */
const UNNOTICED = { 'interrupt-loop': 0.02, 'interrupt-await': 0.02 }

/** The rows, in order. */
const ROWS = {
  'start-info': 'start to first kernel_info reply',
  'start-cell': 'start to first `1 + 1`',
  reply: '`1 + 1`, to its reply',
  idle: '`1 + 1`, to its idle',
  info: 'kernel_info',
  'completion-first': 'start to first completion of a typed member',
  'completion-typing': 'completion at each keystroke, 200 ms apart',
  'completion-types': 'completion: types; side effects',
  lines: '10,000 lines printed by one cell',
  'interrupt-loop': 'interrupt of `while (true) {}`',
  'interrupt-await': 'interrupt of a pending `await`',
  'interrupt-native': 'interrupt of a training step',
  comm: 'comm echo of 8 MiB',
  memory: 'idle memory',
  'memory-server': 'language server, once asked',
  exit: '`process.exit()` in a cell',
  abort: 'crash in a cell',
  'orphan-server': 'kill -9 of the server',
  'orphan-kernel': 'kill -9 of the kernel in a busy loop',
  late: 'a timer prints to',
  outside: 'a subprocess prints',
  redeclare: 'names declared again',
  imports: '`import`',
  'error-line': 'errors name the line of the cell',
  history: 'history',
  stdin: 'input from the user',
  expressions: 'user_expressions',
  silent: '`silent` is silent',
  stops: 'queued cells after an error',
  subshell: 'subshells',
  welcome: 'IOPub welcome',
  conformance: 'jupyter_kernel_test',
}

export async function kernel() {
  const folder = mkdtempSync(join(tmpdir(), 'fpdt-bench-'))
  try {
    fillNotebookFolder(folder)
    const specs = await kernels(folder)
    const table = await measured({ folder, specs, only: options.only ? [options.only] : [] })
    if (!options.only || options.only === 'conformance') Object.assign(table, { conformance: await conformance(specs, folder) })
    show(table, specs)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Where the notebooks would lie: a package, local files, and the types that tslab wants installed there. */
function fillNotebookFolder(folder) {
  const write = (path, text) => writeFileSync(join(folder, path), text)
  mkdirSync(join(folder, 'node_modules/greeter'), { recursive: true })
  mkdirSync(join(folder, 'node_modules/@types'))
  for (const types of ['@types/node', 'undici-types']) symlinkSync(join(root, 'node_modules', types), join(folder, 'node_modules', types))
  write('package.json', '{ "private": true, "type": "module", "dependencies": { "greeter": "1.0.0" } }\n')
  write('node_modules/greeter/package.json', '{ "name": "greeter", "version": "1.0.0", "type": "module", "exports": "./index.js" }\n')
  write('node_modules/greeter/index.js', 'export const greet = (who) => `hello ' + '$' + '{who}`\n')
  write('twice.ts', 'export const twice = (n: number): number => 2 * n\n')
  write('twice.py', 'def twice(n): return 2 * n\n')
  write('data.json', '{ "answer": 43 }\n')
}

/** The kernels that are there, as kernelspecs with a title and the language of their samples. */
async function kernels(folder) {
  const packages = join(cache, 'bench')
  const missing = await installPeers(packages)
  const at = (path) => join(packages, 'node_modules', path)
  const spec = (argv, more) => ({ argv: [...argv, '{connection_file}'], ...more })
  const ours = (title, lib) => spec([process.execPath, join(lib, 'kernel/lib/main.js')], { title, language: OURS, interrupt_mode: 'message' })
  const environment = { JUPYTER_DATA_DIR: join(folder, 'data'), IPYTHONDIR: join(folder, 'ipython') }
  const specs = {
    [OURS]: ours('this kernel', root),
    ...(options.beside ? { before: ours('before', options.beside) } : {}),
    ...(missing.deno
      ? {}
      : {
          deno: spec([denoBinary(at), 'jupyter', '--kernel', '--conn'], {
            title: `Deno ${PEERS.deno}`,
            language: 'deno',
            interrupt_mode: 'message',
            // With colours no result would equal what jupyter_kernel_test expects.
            env: { NO_COLOR: '1', DENO_DIR: join(packages, 'deno'), DENO_NO_UPDATE_CHECK: '1' },
          }),
        }),
    ...(missing.tslab
      ? {}
      : { tslab: spec([process.execPath, at('tslab/bin/tslab'), 'kernel', '--config-path'], { title: `tslab ${PEERS.tslab}`, language: 'tslab' }) }),
    python3: spec([python, '-m', 'ipykernel_launcher', '-f'], { title: `ipykernel ${await ipykernelVersion()}`, language: 'python3' }),
  }
  for (const made of Object.values(specs)) made.env = { ...environment, ...made.env }
  return specs
}

/** Installs what is not there yet; a package that cannot be had is named and left out. Returns which are missing. */
async function installPeers(packages) {
  mkdirSync(packages, { recursive: true })
  const manifest = join(packages, 'package.json')
  if (!existsSync(manifest)) writeFileSync(manifest, '{ "private": true, "type": "commonjs" }\n')
  const missing = {}
  for (const [name, version] of Object.entries(PEERS)) {
    if (installedVersion(packages, name) === version) continue
    const args = ['install', '--prefix', packages, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', `${name}@${version}`]
    await task(`install ${name} ${version}`, 'npm', args, { minutes: 3 }).catch((error) => {
      missing[name] = true
      console.log(`${name} is left out, it cannot be installed: ${error.message.split('\n').slice(0, 3).join(' ')}`)
    })
  }
  return missing
}

function installedVersion(packages, name) {
  const path = join(packages, 'node_modules', name, 'package.json')
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).version : undefined
}

/** The program itself lies in an optional dependency for each platform; its launcher would add the start of a Node to Deno's. */
function denoBinary(at) {
  const suffixes = process.platform === 'linux' ? [`linux-${process.arch}-glibc`, `linux-${process.arch}`] : [`${process.platform}-${process.arch}`]
  const found = suffixes.map((suffix) => at(`@deno/${suffix}/deno`)).find((path) => existsSync(path))
  if (found === undefined) throw new TaskError(`npm package deno ${PEERS.deno} has no program for ${suffixes.join(' or ')} in ${at('@deno')}`)
  return found
}

async function ipykernelVersion() {
  const { stdout } = await promisify(execFile)(python, ['-c', 'import ipykernel; print(ipykernel.__version__)'])
  return stdout.trim()
}

/** row -> kernel -> cell, as `kernel/main.py` finds them. */
async function measured(told) {
  const table = {}
  const path = join(told.folder, 'told.json')
  writeFileSync(path, JSON.stringify(told))
  let rest = ''
  const code = await follow(python, [here('main.py'), path], {
    minutes: 10,
    output: (chunk) => {
      const lines = (rest + chunk).split('\n')
      rest = lines.pop()
      for (const line of lines) {
        if (!line.startsWith('{')) console.error(line)
        else note(JSON.parse(line), table)
      }
    },
  })
  progress('')
  if (code !== 0) throw new TaskError(`the measurement ended with ${code}`)
  return table
}

function note(line, table) {
  if (line.kind === 'progress') progress(line.text)
  else if (line.kind === 'cell') {
    table[line.row] ??= {}
    table[line.row][line.kernel] = line
  }
}

let announced = 0
/** A terminal has one line, rewritten; a log one now and then. */
function progress(text) {
  if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${text}`)
  else if (text !== '' && Date.now() - announced > 20_000) {
    announced = Date.now()
    console.log(`  … ${text}`)
  }
}

/** What each kernel passes of jupyter_kernel_test; its kernelspecs come from here, so that nothing that is installed is meant. */
async function conformance(specs, folder) {
  for (const [name, { argv, title: display_name, language, interrupt_mode, env }] of Object.entries(specs)) {
    const spec = join(folder, 'kernels', name)
    mkdirSync(spec, { recursive: true })
    // With a history of its own: the suite counts what it finds there.
    const fresh = { ...env, JUPYTER_DATA_DIR: join(folder, 'conformance'), IPYTHONDIR: join(folder, 'conformance/ipython') }
    writeFileSync(join(spec, 'kernel.json'), JSON.stringify({ argv, display_name, language, interrupt_mode: interrupt_mode ?? 'signal', env: fresh }))
  }
  const cells = {}
  for (const [name, { language }] of Object.entries(specs)) {
    progress(`jupyter_kernel_test of ${name}`)
    const env = { ...process.env, JUPYTER_PATH: folder, JUPYTER_RUNTIME_DIR: folder }
    const args = [here('conformance.py'), name, language, join(root, 'test/kernel/conformance.py')]
    const { stdout } = await promisify(execFile)(python, args, { env, cwd: folder, timeout: 240_000 })
    const { passed, ran, failed } = JSON.parse(stdout.trim().split('\n').at(-1))
    cells[name] = { text: `${passed} of ${ran}${failed.length > 0 ? `; fails: ${failed.join(', ')}` : ''}`, value: ran - passed, good: failed.length === 0 }
  }
  progress('')
  return cells
}

function show(table, specs) {
  const names = Object.keys(specs)
  const shown = Object.keys(ROWS).filter((row) => row in table)
  const cell = (row, name) => table[row][name]?.text ?? '–'
  const rows = [
    ['', ...names.map((name) => specs[name].title)],
    ...shown.map((row) => [ROWS[row].replaceAll('`', ''), ...names.map((name) => cell(row, name))]),
  ]
  printTable('This kernel beside others, in one run; medians, in brackets the 95th of a hundred', rows, rows[0].length)
  const behind = shown.map((row) => lag(row, table[row], names)).filter((words) => words !== undefined)
  console.log(behind.length === 0 ? '\n  first or level in every row' : `\n  not first: ${behind.join('; ')}`)
  intoReadme('kernel', [
    markdown(
      [rows[0], ...shown.map((row) => [ROWS[row], ...names.map((name) => bold(cell(row, name), isBest(row, table[row], name, names)))])],
      rows[0].length,
    ),
    `Medians, in brackets the 95th of a hundred; ${availableParallelism()} cores, started and asked in turns. Bold: first, or within ${Math.round(100 * (LEVEL - 1))} % of it, interrupts within 20 ms. Memory is what the processes of an idle kernel take when no others share their files; ipykernel is one Python process. Deno's completion evaluates code and so knows no types.`,
  ])
}

const bold = (text, isBold) => (isBold ? `**${text}**` : text)

/** Best of those that do what the row asks: all of them in a row of words, in one of figures those level with the least. */
function isBest(row, cells, name, names) {
  const mine = cells[name]
  if (mine === undefined || mine.good !== true) return false
  const values = names
    .map((other) => cells[other])
    .filter((other) => other?.good && typeof other.value === 'number')
    .map(({ value }) => value)
  return typeof mine.value !== 'number' || mine.value <= Math.max(UNNOTICED[row] ?? 0, LEVEL * Math.min(...values))
}

/** In which rows ours is not among the best, and by how much. */
function lag(row, cells, names) {
  const mine = cells[OURS]
  if (mine === undefined || mine.good === null || isBest(row, cells, OURS, names)) return undefined
  if (!mine.good) return `${ROWS[row]} (${mine.text})`
  const [best] = names.filter((name) => name !== OURS && isBest(row, cells, name, names))
  return `${ROWS[row]} (${(mine.value / cells[best].value).toFixed(2)} times ${best}'s)`
}
