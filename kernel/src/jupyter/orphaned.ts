/**
 * Whoever started the kernel may be killed, and then nobody asks for the shutdown. Its own parent is looked at, and the server, which may have started
 * it through another program: jupyter_client tells its process id in JPY_PARENT_PID.
 */
const CHECK_MS = 1000

/** Calls back once, at most a second after the parent or the server is gone. Keeps no process alive. */
export function onceOrphaned(callback: () => void, server = Number(process.env.JPY_PARENT_PID)): void {
  // Process 1 as the parent from the start is legal, in containers; so is a server in another one, of which nothing is to be seen from here.
  const parent = process.ppid
  const isServerSeen = isAlive(server)
  const timer = setInterval(() => {
    if (process.ppid === parent && isAlive(server) === isServerSeen) return
    clearInterval(timer)
    callback()
  }, CHECK_MS)
  timer.unref()
}

function isAlive(pid: number): boolean {
  if (!(pid > 1)) return false
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM' // there, and somebody else's
  }
}
