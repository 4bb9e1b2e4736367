/** `npm run gpu`: the run book of a machine with a GPU, as `USAGE` tells. What is asked of whoever runs it: to send the report. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { program, setup } from '../../.ci/setup.mjs'
import { cache, follow, root } from '../../.ci/task.mjs'
import { whyNoGpu } from './find.mjs'

const NO_SUCH_OPTION = 2
const NO_GPU = 3

const USAGE = `npm run gpu -- [--skip-tests] [--small]

The run book of a machine with an NVIDIA GPU: builds (some minutes), runs the CUDA suites on the GPU, trains a few steps of a Llama with
FPDT and takes its trace apart, does the same beside PyTorch where that has CUDA, and writes .cache/gpu/report.md. Some ten minutes.

  --skip-tests   the step and the benches alone
  --small        a model and a sequence that take seconds
  --help         this

Exit codes: 0 all is well; 1 something failed, and the report says what; 2 no such option; 3 there is no GPU that can be used.`

const options = optionsOf(process.argv.slice(2))
if (options.help) console.log(USAGE)
else if (options.wrong) {
  console.error(`npm run gpu: ${options.wrong}\n\n${USAGE}`)
  process.exitCode = NO_SUCH_OPTION
} else await program(main)

/** Options by name; `wrong`: what cannot be meant, in words. */
function optionsOf(args) {
  const known = { 'skip-tests': { type: 'boolean' }, small: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } }
  try {
    return parseArgs({ args, options: known }).values
  } catch (error) {
    if (!String(error.code).startsWith('ERR_PARSE_ARGS')) throw error
    return { wrong: error.message.split('. ')[0] }
  }
}

function sayNoGpu(reason) {
  console.log(`No GPU: ${reason}`)
  process.exitCode = NO_GPU
}

async function main() {
  const none = whyNoGpu(root)
  if (none) return sayNoGpu(none)
  await setup({ only: ['ts', 'cuda-compiler', 'native'] })
  const { cudaDevices } = await import('@fpdt/native')
  const { available, reason, devices } = cudaDevices()
  if (!available) return sayNoGpu(reason)
  const folder = join(cache, 'gpu')
  mkdirSync(folder, { recursive: true })
  const report = [`# A GPU ran this\n`, machine(devices)]
  const failed = []
  const part = async (title, run) => {
    console.log(`\n${title}`)
    try {
      report.push(`## ${title}\n`, await run())
    } catch (error) {
      failed.push(title)
      report.push(`## ${title}: failed\n`, `\`\`\`\n${error instanceof Error ? error.message : error}\n\`\`\``)
      console.error(error instanceof Error ? error.message : error)
    }
    writeFileSync(join(folder, 'report.md'), `${report.join('\n')}\n`)
  }
  if (!options['skip-tests']) await part('Cases on the GPU', cases)
  const { steps, beside } = await import('./steps.mjs')
  await part('A step of FPDT', () => steps(folder, options.small))
  await part('Beside PyTorch', () => beside(options.small))
  console.log(`\n${join(folder, 'report.md')}${failed.length > 0 ? `; failed: ${failed.join(', ')}` : ''}`)
  process.exitCode = failed.length > 0 ? 1 : 0
}

function machine(devices) {
  const said = (command, ...args) => spawnSync(command, args, { encoding: 'utf8' }).stdout?.trim() ?? ''
  const gpus = devices.map(({ index, name, capability, memoryBytes, usable, reason }) => {
    return `- GPU ${index}: ${name}, sm_${capability.replace('.', '')}, ${(memoryBytes / 2 ** 30).toFixed(1)} GiB${usable ? '' : `; not usable: ${reason}`}`
  })
  const smi = said('nvidia-smi', '--query-gpu=driver_version,clocks.max.sm,power.limit,pcie.link.gen.max', '--format=csv')
  const commit = said('git', '-C', root, 'describe', '--always', '--dirty')
  return [...gpus, '', `Commit ${commit}, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}.`, smi && `\n\`\`\`\n${smi}\n\`\`\``, '']
    .filter(Boolean)
    .join('\n')
}

/** The CUDA suites, which take the GPU by themselves. */
async function cases() {
  const code = await follow(process.execPath, [join(root, 'test/run.mjs'), 'cuda'], { minutes: 40 })
  const path = join(cache, 'reports/cuda.json')
  if (!existsSync(path)) throw new Error(`the suites gave no report, exit code ${code}`)
  const { numPassedTests, numFailedTests, testResults } = JSON.parse(readFileSync(path, 'utf8'))
  const failures = testResults.flatMap(({ assertionResults }) => assertionResults.filter(({ status }) => status === 'failed'))
  const words = failures.map(({ fullName, failureMessages }) => `- ${fullName}: ${failureMessages[0]?.split('\n')[0] ?? ''}`)
  const text = [`${numPassedTests} passed, ${numFailedTests} failed.`, '', ...words].join('\n')
  if (code !== 0) throw new Error(text)
  return text
}
