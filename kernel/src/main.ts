/**
 * The kernel's entry: `node main.js CONNECTION_FILE`, as the kernelspec says. This process is the supervisor; it runs no user code.
 * The executor is started first and loads while ZeroMQ does.
 */
import { readConnection } from './jupyter/connection.js'
import { ExecutorProcess } from './jupyter/executor-process.js'

const PARENT_CHECK_MS = 1000

const [path] = process.argv.slice(2)
if (path === undefined) {
  process.stderr.write('usage: node main.js CONNECTION_FILE\nA Jupyter client writes that file; see the kernelspec.\n')
  process.exit(2)
}
const connection = readConnection(path)
const executor = new ExecutorProcess()
const { Kernel } = await import('./jupyter/kernel.js')
const kernel = await Kernel.start(connection, executor)

process.on('SIGINT', () => kernel.interrupt())
process.on('SIGTERM', () => kernel.stop())
// A server that was killed cannot ask for the shutdown. Process 1 as the parent from the start is legal, in containers.
const parent = process.ppid
setInterval(() => process.ppid === parent || kernel.stop(), PARENT_CHECK_MS).unref()

await kernel.stopped
await kernel.close()
process.exit(0)
