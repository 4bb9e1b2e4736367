/** What user code can do to the descriptors and the processes around it, and how the kernel goes on. */
import { afterEach, expect, it } from 'vitest'
import { type Setup, TestKernel } from './client.js'

let kernel: TestKernel
const start = async (setup: Setup = {}) => {
  kernel = await TestKernel.start(undefined, setup)
}
afterEach(() => kernel.close())

const SPAWN = "const { spawn, execSync } = require('node:child_process'); const { pid } = spawn('sleep', ['1000'], { stdio: 'inherit', detached: true });"
/** Of a shell that Node could not name: the executor prints into Node's sockets. */
const SOCKETS = { env: { 'BASH_FUNC_module%%': '() { :; }' } }

for (const [what, setup] of [
  ['pipes', {}],
  ['sockets', SOCKETS],
] as const) {
  it(`the end of an executor is seen while a process it detached holds its ${what}`, async () => {
    await start(setup)
    let sleeping = 0
    try {
      const ended = await kernel.run(`${SPAWN} console.log(pid); process.exit(3)`)
      sleeping = Number(ended.stdout)
      expect(sleeping).toBeGreaterThan(0)
      expect(ended.error?.evalue).toMatch('exited with code 3 while this cell ran')
      expect((await kernel.run('1 + 1')).result).toBe('2')
    } finally {
      if (sleeping > 0) process.kill(sleeping, 'SIGKILL')
    }
  })
}

it('text of a cell is never taken for a sign of the kernel', async () => {
  await start(SOCKETS)
  const { stdout, error } = await kernel.run("for (let i = 0; i < 3; i++) { console.log('pipes'); await new Promise((resolve) => setTimeout(resolve, 50)) }")
  expect(error).toBeUndefined()
  expect(stdout).toBe('pipes\npipes\npipes\n')
})

it('bytes that a cell writes among the notes end its process with words, also where they announce a long note', async () => {
  await start()
  const { error } = await kernel.run("require('node:fs').writeSync(5, Buffer.from([255, 255, 0, 0, 0, 0, 0, 0])); 1")
  expect(error?.evalue).toMatch(/wrote to file descriptor 5, which is the kernel's, and was ended/)
  expect((await kernel.run('1 + 1')).result).toBe('2')
})

it('a cell that ends within a character leaves nothing of it to the next', async () => {
  await start()
  expect((await kernel.run('process.stdout.write(Buffer.from([0xe2, 0x82])); 1')).stdout).toBe('\ufffd')
  expect((await kernel.run("console.log('next')")).stdout).toBe('next\n')
  const parted = "process.stdout.write(Buffer.from([0xe2, 0x82])); process.stderr.write('x'); process.stdout.write(Buffer.from([0xac]))"
  expect((await kernel.run(parted)).stdout).toBe('€')
})
