/** The shell command `fpdt`: one entry of `COMMANDS` per subcommand. Prints, and returns the exit code. */
import { parseArgs } from 'node:util'
import { FpdtError } from './errors.js'
import { install, prefixDataFolder, userDataFolder } from './install.js'

interface Command {
  readonly usage: string
  readonly does: string
  run(args: string[]): Promise<void> | void
}

const COMMANDS: Readonly<Record<string, Command>> = {
  install: {
    usage: 'fpdt install --user | --prefix DIR',
    does: 'puts the kernel and the JupyterLab extension where Jupyter looks for them',
    run(args) {
      const { values } = parseArgs({ args, options: { user: { type: 'boolean' }, prefix: { type: 'string' } } })
      if ((values.user === true) === (values.prefix !== undefined))
        throw new FpdtError('option', `fpdt install needs either --user or --prefix DIR; try: fpdt install --user`)
      const { kernelspec, extension } = install(values.prefix === undefined ? userDataFolder() : prefixDataFolder(values.prefix))
      console.log(`kernel "TypeScript (FPDT)": ${kernelspec}\nJupyterLab extension: ${extension}`)
    },
  },
}

const usage = (): string => ['usage:', ...Object.values(COMMANDS).map(({ usage, does }) => `  ${usage}\n      ${does}`)].join('\n')

/** Runs `fpdt ARGS`. 0: done; 1: it failed; 2: there is no such command or option. */
export async function main([name, ...args]: string[]): Promise<number> {
  const command = name === undefined ? undefined : COMMANDS[name]
  if (!command) {
    const asked = name === undefined || name === '--help' || name === 'help'
    if (asked) console.log(usage())
    else console.error(`fpdt has no command ${name}; it has ${Object.keys(COMMANDS).join(', ')}`)
    return asked ? 0 : 2
  }
  try {
    await command.run(args)
    return 0
  } catch (error) {
    const wrongOption = (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS')
    if (!wrongOption && !(error instanceof FpdtError)) throw error
    console.error(`${(error as Error).message}${wrongOption ? `\nusage: ${command.usage}` : ''}`)
    return wrongOption ? 2 : 1
  }
}
