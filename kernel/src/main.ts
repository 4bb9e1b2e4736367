/**
 * The kernel's entry: `node main.js CONNECTION_FILE`, as the kernelspec says. This process is the supervisor; it runs no user code.
 * The executor is started first and loads while ZeroMQ does.
 */
import { setFlagsFromString } from 'node:v8'
import { FpdtError } from './errors.js'
import { connectionWarnings, readConnection } from './jupyter/connection.js'
import { ExecutorProcess } from './jupyter/executor-process.js'
import type { Kernel } from './jupyter/kernel.js'
import { onceOrphaned } from './jupyter/orphaned.js'

const [path] = process.argv.slice(2)
if (path === undefined) {
  process.stderr.write('usage: node main.js CONNECTION_FILE\nA Jupyter client writes that file; see the kernelspec.\n')
  process.exit(2)
}
// A server whose terminal is gone has its kernels still.
process.stderr.on('error', () => {})
const kernel = await start(path).catch((error: Error) => {
  if (!(error instanceof FpdtError)) throw error
  process.stderr.write(`fpdt kernel: ${error.message}\n`)
  process.exit(1)
})

// V8 optimises what has run some hundred times, on a core that the cells of a short session need; here that pays later, and for true loops.
setFlagsFromString('--interrupt-budget=250000')
process.on('SIGINT', () => kernel.interrupt())
process.on('SIGTERM', () => kernel.stop())
onceOrphaned(() => kernel.stop())

await kernel.stopped
await kernel.close()
process.exit(0)

async function start(path: string): Promise<Kernel> {
  const connection = readConnection(path)
  const executor = new ExecutorProcess()
  for (const warning of connectionWarnings(path, connection)) process.stderr.write(`fpdt kernel: ${warning}\n`)
  const { Kernel } = await import('./jupyter/kernel.js')
  return Kernel.start(connection, executor)
}
