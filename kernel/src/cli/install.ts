/** `fpdt install`: the kernel and the extension into a Jupyter data folder. */
import { install as installInto, prefixDataFolder, userDataFolder } from '../install.js'
import { type Command, readArguments, UsageError } from './command.js'

const options = {
  user: { means: "into this user's Jupyter folder" },
  prefix: { value: 'DIR', means: 'into a virtual or conda environment, or /usr/local' },
}

export const install: Command = {
  operands: '',
  does: 'puts the kernel and the JupyterLab extension where Jupyter looks for them',
  options,
  run(args) {
    const { given, operands } = readArguments(args, options)
    if (operands.length > 0) throw new UsageError(`takes no ${operands[0]}; a folder is given as --prefix DIR`)
    const prefix = given.get('prefix')
    if (given.has('user') === (prefix !== undefined)) throw new UsageError('needs either --user or --prefix DIR; try: fpdt install --user')
    const { kernelspec, extension } = installInto(prefix === undefined ? userDataFolder() : prefixDataFolder(prefix))
    console.log(`kernel "TypeScript (FPDT)": ${kernelspec}\nJupyterLab extension: ${extension}`)
    return undefined
  },
}
