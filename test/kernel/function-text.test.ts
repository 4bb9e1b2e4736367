// biome-ignore-all lint/suspicious/noTemplateCurlyInString: cells are code in strings
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { TestKernel } from './client.js'

let kernel: TestKernel
beforeAll(async () => {
  kernel = await TestKernel.start()
})
afterAll(() => kernel.close())

it('is what was written, without types', async () => {
  await kernel.run(
    'async function add(a: number) { for (;;) return a + await 1 }\nconst arrow = async (x: number) => await x\nclass C { get g() { return () => 1 } static async *m() { yield await 2 } }',
  )
  expect((await kernel.run('process.stdout.write([add, arrow, C, C.m, Object.getOwnPropertyDescriptor(C.prototype, "g")!.get].join("\\n"))')).stdout).toBe(
    [
      'async function add(a) {',
      '\tfor (;;) return a + await 1;',
      '}',
      'async (x) => await x',
      'class C {',
      '\tget g() {',
      '\t\treturn () => 1;',
      '\t}',
      '\tstatic async *m() {',
      '\t\tyield await 2;',
      '\t}',
      '}',
      'async *m() {',
      '\t\tyield await 2;',
      '\t}',
      'get g() {',
      '\t\treturn () => 1;',
      '\t}',
    ].join('\n'),
  )
})

it('runs in a worker, which knows nothing of the notebook, and may call itself and import', async () => {
  const { error, stdout } = await kernel.run(
    [
      'import { Worker } from "node:worker_threads"',
      'async function work(n = 3): Promise<number> {',
      '  const { parentPort } = await import("node:worker_threads")',
      '  let sum = 0',
      '  for (let i = 0; i < n; i++) sum += i',
      '  const all = sum + (n > 0 ? await work(n - 1) : 0)',
      '  if (n === 3) parentPort!.postMessage(all)',
      '  return all',
      '}',
      'const worker = new Worker(`(${work})()`, { eval: true })',
      'console.log(await new Promise((resolve, reject) => worker.on("message", resolve).on("error", reject)))',
    ].join('\n'),
  )
  expect(error).toBeUndefined()
  expect(stdout).toBe('4\n')
})

it('of a local file is what was written there', async () => {
  writeFileSync(join(kernel.folder, 'local.ts'), 'export const wait = async (x: Promise<number>) => { while (true) return await x }\n')
  expect((await kernel.run('import { wait } from "./local"\nString(wait)')).result).toBe("'async (x) => {\\n\\twhile (true) return await x;\\n}'")
})

it('of Node itself is as it was, and so are its errors', async () => {
  expect((await kernel.run('[String(Math.max), String(Function.prototype.toString), "prototype" in Function.prototype.toString].join("; ")')).result).toBe(
    "'function max() { [native code] }; function toString() { [native code] }; false'",
  )
  expect((await kernel.run('Function.prototype.toString.call({})')).error?.evalue).toBe("Function.prototype.toString requires that 'this' be a Function")
})

it('stands in messages of errors, too', async () => {
  expect((await kernel.run('structuredClone(async () => await 1)')).error?.evalue).toBe('async () => await 1 could not be cloned.')
  expect((await kernel.run(';(await ({} as any)).missing()')).error?.evalue).toBe('(intermediate value).missing is not a function')
})
