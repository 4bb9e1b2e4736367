import { describe, expect, it } from 'vitest'
import { helpOf, readArguments, UsageError } from '../../../kernel/src/cli/command.js'

const options = { steps: { value: 'N', means: 'how many' }, json: { means: 'for programs' } }

describe('arguments', () => {
  it('are options with and without values, and operands, in any order', () => {
    const { operands, given } = readArguments(['a.json', '--steps', '3', '--json', 'b'], options)
    expect([operands, [...given]]).toEqual([
      ['a.json', 'b'],
      [
        ['steps', '3'],
        ['json', 'true'],
      ],
    ])
    expect(readArguments(['--steps=-3', '--', '--json'], options)).toEqual({ operands: ['--json'], given: new Map([['steps', '-3']]) })
  })

  it.each([
    [['--stpes', '3'], /no option --stpes; the nearest is --steps/],
    [['-j'], /no option -j; the nearest is --json/],
    [['--constructor'], /no option --constructor/],
    [['--steps'], /--steps needs its value: --steps N/],
    [['--steps', '--json'], /--steps needs its value/],
    [['--json=1'], /--json takes no value; got 1/],
    [['--json', '--json'], /--json is given twice/],
  ])('%j is refused', (args, message) => {
    expect(() => readArguments(args, options)).toThrow(message)
    expect(() => readArguments(args, options)).toThrow(UsageError)
  })

  it('are explained by the table that reads them', () => {
    const help = helpOf('train', { operands: 'CONFIG.json', does: 'trains', options, run: () => undefined })
    expect(help).toBe('fpdt train CONFIG.json [--steps N] [--json]\n\ntrains\n\n  --steps N  how many\n  --json     for programs')
  })
})
