/** The compiler of the `typescript` package, as a program. */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

/** The Go binary of TypeScript's platform package; through its JavaScript launcher the first answer takes twice as long. */
export function executable(): string {
  const typescript = createRequire(import.meta.url).resolve('typescript/package.json')
  const name = `@typescript/typescript-${process.platform}-${process.arch}`
  try {
    return join(dirname(createRequire(typescript).resolve(`${name}/package.json`)), 'lib', process.platform === 'win32' ? 'tsc.exe' : 'tsc')
  } catch {
    throw new Error(`is missing: the package ${name} is not installed; run \`npm install\` without \`--omit=optional\``)
  }
}
