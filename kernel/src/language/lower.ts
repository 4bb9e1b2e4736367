/**
 * Syntax that Node does not run and oxc leaves as it is, decorators and `using`, becomes JavaScript through TypeScript's own compiler. That is a
 * process and takes 90 ms, so it does only what needs it.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import vm from 'node:vm'
import { isFunction, type Node, walk } from './syntax.js'
import { executable } from './tsc.js'

interface Lowered {
  readonly code: string
  readonly map: object
}

/** What the compiler puts in front of its code; they stay where they are and are no names of the notebook. */
export const HELPER = /^__(?:addDisposableResource|disposeResources|esDecorate|propKey|runInitializers|setFunctionName)$/

let hasUsing: boolean | undefined

/** Whether a program has to be lowered, and what the compiler would not do: it drops decorators of parameters. The text is looked at first: a walk costs more. */
export function lowering(source: string, program: Node): { readonly isNeeded: boolean; readonly decoratedParameter: Node | undefined } {
  let isNeeded = false
  let decoratedParameter: Node | undefined
  if (/@|\busing\b/.test(source)) {
    walk(program, (node) => {
      const isUsing = node.type === 'VariableDeclaration' && (node.kind === 'using' || node.kind === 'await using')
      if (node.type === 'Decorator' || (isUsing && !runsUsing())) isNeeded = true
      if (isFunction(node)) decoratedParameter ??= (node.params as Node[]).find(({ decorators }) => Array.isArray(decorators) && decorators.length > 0)
    })
  }
  return { isNeeded, decoratedParameter }
}

/** Node 24 does. */
function runsUsing(): boolean {
  try {
    hasUsing ??= new vm.Script('{ using a = null }') !== undefined
  } catch {
    hasUsing = false
  }
  return hasUsing
}

/** Types, enums and parameter properties are emitted by the way. Throws when the compiler is missing. */
export function lower(source: string): Lowered {
  const folder = mkdtempSync(join(tmpdir(), 'fpdt-lower-'))
  try {
    const file = join(folder, 'cell.mts')
    writeFileSync(file, source)
    const options = '--ignoreConfig --noCheck --noResolve --types , --target es2022 --module esnext --verbatimModuleSyntax --sourceMap --pretty false'
    try {
      execFileSync(executable(), [...options.split(' '), '--outDir', folder, file], { stdio: 'pipe' })
    } catch (error) {
      // Its exit code speaks of mistakes of types too; what counts is whether it wrote something.
      if ((error as { status?: number | null }).status === undefined) throw error
    }
    const map = JSON.parse(readFileSync(join(folder, 'cell.mjs.map'), 'utf8')) as object
    return { code: readFileSync(join(folder, 'cell.mjs'), 'utf8').replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n'), map }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
