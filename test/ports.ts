/** Ports for servers that bind them later, some of them in other processes. */
import { createServer } from 'node:net'

/** Below those that systems give to connections and to whoever asks for any port: between the look and the bind nobody else is given one. */
const [FIRST, COUNT] = [12_000, 20_000]
/** Test files run in processes side by side: each begins somewhere else, neighbours far apart. */
let next = (process.pid * 7919) % COUNT

export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = []
  while (ports.length < count) {
    const port = FIRST + next
    next = (next + 1) % COUNT
    if (await isFree(port)) ports.push(port)
  }
  return ports
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}
