#!/usr/bin/env node
import { main } from '../lib/cli/main.js'

// `fpdt … | head` closes our output: nobody reads on, which is no fault of the command.
process.stdout.on('error', (error) => {
  if (error.code !== 'EPIPE') throw error
})
process.exitCode = await main(process.argv.slice(2))
