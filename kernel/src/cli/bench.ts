/** `fpdt bench`: the benches of the repository, which a package installed on its own does not have. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'
import { FpdtError } from '../errors.js'
import type { Command } from './command.js'

const script = fileURLToPath(new URL('../../../test/bench/run.mjs', import.meta.url))
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

export const bench: Command = {
  operands: '[NAME…]',
  does: 'measures how fast this machine runs what training is made of; all subjects, or these. Needs the repository',
  options: {},
  async run(args) {
    if (!existsSync(script))
      throw new FpdtError('bench', `there is no ${script}: benches are part of the repository, not of the package; run npm run bench in a clone of it`)
    const child = spawn(process.execPath, [script, ...args], { stdio: 'inherit' })
    const forward = (signal: NodeJS.Signals): void => void child.kill(signal)
    for (const signal of FORWARDED) process.on(signal, forward)
    try {
      const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
      return code ?? 128 + constants.signals[signal as NodeJS.Signals]
    } finally {
      for (const signal of FORWARDED) process.off(signal, forward)
    }
  },
}
