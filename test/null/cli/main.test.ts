import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest'
import { main } from '../../../kernel/src/cli/main.js'
import { FpdtError } from '../../../kernel/src/errors.js'
import { Device } from '../../../kernel/src/fpdt/device.js'
import { bytesOfStep } from '../../../kernel/src/fpdt/plan/step-bytes.js'
import { longestInMemory, longestPlanned } from '../../../kernel/src/fpdt/plan/what-fits.js'
import { formatBytes } from '../../../kernel/src/fpdt/sizes.js'
import { gpt } from '../../../kernel/src/model/gpt.js'

const folder = mkdtempSync(join(tmpdir(), 'fpdt-main-'))
afterAll(() => rmSync(folder, { recursive: true }))
afterEach(() => {
  vi.restoreAllMocks()
})

async function said(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const out = vi.spyOn(console, 'log').mockImplementation(() => {})
  const err = vi.spyOn(console, 'error').mockImplementation(() => {})
  const code = await main(args)
  const ended = { code, out: out.mock.calls.join('\n'), err: err.mock.calls.join('\n') }
  vi.restoreAllMocks()
  return ended
}

describe('fpdt', () => {
  it('explains itself, as a whole and by command', async () => {
    for (const args of [[], ['--help'], ['help']])
      expect(await said(...args)).toMatchObject({ code: 0, out: expect.stringMatching(/fpdt train CONFIG\.json\n/), err: '' })
    for (const args of [
      ['help', 'train'],
      ['train', '--help'],
    ])
      expect((await said(...args)).out).toMatch(/optimizer\.rate +a number; default 0\.0003/)
  })

  it.each([
    [['trian'], /^fpdt has no command trian; the nearest is train/],
    [['help', 'trian'], /^fpdt has no command trian/],
    [['constructor'], /^fpdt has no command constructor/],
    [['convert', 'one'], /needs two folders, FROM and TO\nusage: fpdt convert FROM TO/],
    [['convert', 'a', 'b', '--dtype', 'f16'], /--dtype f16 is neither bf16 nor f32/],
    [['train'], /needs one configuration/],
    [['train', 'a.json', 'b.json'], /needs one configuration/],
    [['install', 'here'], /takes no here; a folder is given as --prefix DIR/],
  ])('%j: exit code 2', async (args, message) => {
    expect(await said(...args)).toEqual({ code: 2, out: '', err: expect.stringMatching(message) })
  })
})

describe('fpdt train', () => {
  it.each([
    [{ steps: 0 }, [], 1, /^fpdt train: run\.json:1:\d+: steps 0 is not a whole number above 0/],
    [{ evaluation: { every: 0, text: 'x' } }, [], 1, /evaluation\.every 0 is not a whole number above 0/],
    [{ checkpoint: { every: 1 } }, [], 1, /checkpoint needs its folder/],
    [{ save: { dtype: 'f32' } }, [], 1, /save needs its folder/],
    [{ evaluation: { every: 1 } }, [], 1, /evaluation needs its text/],
    [{}, ['--resume'], 1, /checkpoint needs its folder/],
    [{ text: 'nix.txt' }, [], 1, /^fpdt train: run\.json:1:\d+: .*there is no file .*nix\.txt/],
    [{ checkpoint: { folder: 'run.json' } }, [], 1, /^fpdt train: \S*run\.json is a file; give the path of a folder/],
    [{ save: { folder: '/proc/nowhere/model' } }, [], 1, /^fpdt train: \/proc\/nowhere\/?\S* could not be written: /],
    [{}, ['--steps', 'many'], 2, /--steps many is not a whole number above 0\nusage: /],
  ])('%j %j: exit code %i, before anything is computed', async (more, args, code, message) => {
    writeFileSync(join(folder, 'run.json'), JSON.stringify({ model: 'gpt2', text: 'lib.dom.d.ts', sequence: 512, ...more }))
    expect(await said('train', join(folder, 'run.json'), ...args)).toEqual({ code, out: '', err: expect.stringMatching(message) })
  })
})

describe('fpdt train, where the device does not open', () => {
  const device = { threads: 2, path: 'avx2' }
  it.each([
    ['device', 'the addon cannot be loaded: build it'],
    ['path', 'instruction path "avx2" is not one that this processor has'],
  ])('names the place of %s: %s', async (key, message) => {
    vi.spyOn(Device, 'cpu').mockRejectedValue(new FpdtError('native', message))
    const json = JSON.stringify({ model: 'gpt2', text: 'lib.dom.d.ts', sequence: 512, device })
    writeFileSync(join(folder, 'run.json'), json)
    const column = json.indexOf(`"${key}"`) + 1
    expect(await said('train', join(folder, 'run.json'))).toEqual({ code: 1, out: '', err: `fpdt train: run.json:1:${column}: ${message}` })
  })
})

describe('fpdt convert', () => {
  it.each([
    ['nix', /^fpdt convert: there is no folder nix; /],
    [tmpdir(), /^fpdt convert: .* has no config\.json; /],
  ])('of %s is refused', async (from, message) => {
    expect(await said('convert', from, join(folder, 'to'))).toEqual({ code: 1, out: '', err: expect.stringMatching(message) })
  })
})

describe('fpdt plan', () => {
  const model = gpt('2')
  const broken = join(folder, 'broken')
  mkdirSync(broken)
  writeFileSync(join(broken, 'config.json'), '{')

  it('says what the library plans and foretells', async () => {
    const options = { sequence: 512, chunk: 128, ranks: 2 }
    const budgets = { device: 2 ** 30, host: 3e8 }
    const asked = ['--model', 'gpt-2', '--sequence', '512', '--chunk', '128', '--ranks', '2', '--threads', '2', '--memory', '1 GiB', '--host', '300 MB']
    const { code, out, err } = await said('plan', ...asked, '--json')
    expect([code, err]).toEqual([3, expect.stringMatching(/^fpdt plan: the device tier needs 1\.\d+\sGiB a rank and is given 1\.00\sGiB$/)])
    const { walked: _, ...bytes } = bytesOfStep(model, options, { threads: 2 })
    const { sequence: __, ...sizes } = options
    const longest_sequence = longestInMemory(model, sizes, { budgets, threads: 2 })
    const planned_sequence = longestPlanned(model, sizes)
    const { systems, ...rest } = JSON.parse(out)
    expect(systems).toMatchObject([
      { system: 'fpdt', chunk: 128, chunks: 4, bytes, fits: bytes.device <= 2 ** 30 && bytes.host <= 3e8, longest_sequence, planned_sequence },
    ])
    expect(systems[0].peak.bytes).toBeLessThanOrEqual(bytes.device)
    expect(rest).toEqual({ model: 'gpt-2', parameters: 124_439_808, sequence: 512, chunk: 128, ranks: 2, threads: 2, budget_bytes: budgets })
    expect((await said('plan', ...asked)).out).toMatch(
      /^gpt-2: 124,439,808 parameters; 512 tokens on 2 ranks, bf16; .*\n {2}system +FPDT, 4 chunks of 128 tokens; .*\n {2}device +[\d.]+\s[KMG]iB of 1\.00\sGiB: /,
    )
  })

  it('says where the ops of a plan end, whatever the memory', { timeout: 240_000 }, async () => {
    const asked = ['--model', 'gpt-2.7b', '--sequence', '64K', '--chunk', '8K', '--memory', '1 TB']
    const { out } = await said('plan', ...asked)
    expect(out.replaceAll(/\s+/g, ' ')).toContain(
      ' longest not limited by these budgets (host not checked: no --host is given); with chunk 8,192 it takes 557,056 tokens, with a larger chunk more time ',
    )
    expect(out).not.toContain('refused')
    const long = await said('plan', '--model', 'gpt-2.7b', '--sequence', '1M', '--chunk', '8K', '--memory', '1 TB')
    expect(long).toMatchObject({ code: 3, err: expect.stringMatching(/^fpdt plan: so many chunks make more ops than training plans/) })
    expect(long.out).toMatch(/, 128 chunks of 8,192 tokens; too many ops\n/)
    expect(long.out.replaceAll(/\s+/g, ' ')).toContain(
      'refused so many chunks make more ops than training plans (2 million): with chunk 8,192 it takes 557,056 tokens at most',
    )
  })

  it('ends with 3 where the budgets do not hold it, after all that was asked for', async () => {
    const asked = ['--model', 'gpt-2', '--sequence', '512', '--chunk', '128', '--ranks', '2']
    const tight = await said('plan', ...asked, '--memory', '80GB', '--host', '1MB')
    expect(tight).toMatchObject({ code: 3, err: expect.stringMatching(/^fpdt plan: the host tier needs .*\sMiB a rank and is given 977\sKiB$/) })
    expect(tight.out).toMatch(/ host +[\d.]+\sMiB of 977\sKiB: [\d.]+\sMiB too much; all 2 ranks [\d.]+\sMiB\n/)
    expect(await said('plan', ...asked, '--memory', '80GB', '--host', '1GB')).toMatchObject({ code: 0, err: '', out: expect.stringMatching(/; fits\n/) })
    const none = await said('plan', ...asked.slice(0, 4), '--memory', '1MB', '--system', 'all')
    expect(none).toMatchObject({ code: 3, err: expect.stringMatching(/^fpdt plan: no system fits; ulysses: the device tier .*; fpdt: the device tier /) })
  })

  it('says what it did not check, and counts the host of all ranks', async () => {
    const asked = ['--model', 'gpt-2', '--sequence', '512', '--chunk', '128', '--ranks', '2']
    const without = (await said('plan', ...asked, '--memory', '80GB')).out
    expect(without).toMatch(/; fits, host not checked: no --host is given\n/)
    expect(without).toMatch(/ host +[\d.]+\sMiB; all 2 ranks [\d.]+\sMiB\n/)
    const host = (await said('plan', ...asked, '--host', '1GB')).out
    expect(host).toMatch(/; fits, device not checked: no --memory is given\n/)
    expect(host).toMatch(/ longest +1,024 tokens\n/) // as many positions as GPT-2 has
    expect((await said('plan', '--model', 'gpt-2', '--sequence', '512', '--memory', '80GB', '--system', 'all')).out).toMatch(
      /: host not checked: no --host is given\.\n/,
    )
  })

  it('says what padding a chunk has, and which attention is slow on GPUs', async () => {
    const shown = async (...args: string[]) => (await said('plan', ...args)).out.replaceAll(/\s+/g, ' ')
    const gpt2 = ['--model', 'gpt-2', '--sequence', '300']
    expect(await shown(...gpt2, '--chunk', '1K')).toContain(
      'chunks 1 of 1024 tokens; it holds 300, the rest of it is padding that counts for nothing and takes memory: chunk 300 holds',
    )
    expect(await shown(...gpt2, '--chunk', '128')).toContain('chunks 3 of 128 tokens; the last holds 44, the rest of it is padding')
    expect(await shown(...gpt2, '--chunk', '100')).not.toContain('padding')
    const wide = ['--model', 'gpt-2', '--sequence', '512', '--chunk', '128']
    expect(await shown(...wide, '--gpus', '2')).not.toContain('slow')
    expect(await shown(...wide, '--dtype', 'f32')).not.toContain('slow')
    expect(await shown(...wide, '--dtype', 'f32', '--gpus', '2')).toMatch(
      / slow attention in f32 with heads of 64 takes the general kernel, .*choose dtype 'bf16' for tensor cores/,
    )
    const { out } = await said('plan', ...wide, '--backend', 'cuda', '--dtype', 'f32', '--json')
    expect(JSON.parse(out).systems[0].slow).toMatch(/^attention in f32 with heads of 64 /)
  })

  it('has no word on what fits where no budget is given', async () => {
    const { out } = await said('plan', '--model', 'gpt-2', '--sequence', '512', '--json')
    expect(Object.keys(JSON.parse(out).systems[0])).toEqual(['system', 'chunk', 'chunks', 'bytes', 'peak', 'link_bytes'])
  })

  it('says of systems whose ops a plan does not hold that they are too many, also where memory is enough', async () => {
    // 500 chunks: 36 million ops.
    const asked = ['--model', 'gpt-2', '--sequence', '1000', '--chunk', '2', '--memory', '80GB']
    const { code, out } = await said('plan', ...asked, '--system', 'all')
    expect(code).toBe(0) // those without chunks fit
    const rows = out.split('\n').slice(2, 7)
    for (const row of rows) expect(row).toMatch(/^ulysses/.test(row) ? / yes; host not checked / : / too many ops /)
    const alone = await said('plan', ...asked, '--json')
    expect([alone.code, JSON.parse(alone.out).systems]).toMatchObject([3, [{ system: 'fpdt', fits: false, refused: true }]])
  })

  it('compares the five systems', async () => {
    const { code, out } = await said('plan', '--model', 'gpt-2', '--sequence', '1K', '--chunk', '256', '--system', 'all', '--gpus', '2', '--memory', '80GB')
    expect(code).toBe(0)
    const rows = out.split('\n').slice(2, 7)
    expect(rows.map((row) => row.split(' ')[0])).toEqual(['ulysses', 'ulysses-checkpoint', 'ulysses-offload', 'fpdt-device', 'fpdt'])
    for (const row of rows) expect(row).toMatch(/ yes; host not checked +1,024 tokens /)
    expect(out).toMatch(/Times are not predicted/)
    // With the host's budget the answer is whole; the host of all ranks is twice that of one.
    const asked = ['plan', '--model', 'gpt-2', '--sequence', '1K', '--chunk', '256', '--gpus', '2']
    const { host } = JSON.parse((await said(...asked, '--json')).out).systems[0].bytes
    const whole = await said(...asked, '--system', 'all', '--memory', '80GB', '--host', '80GB')
    const fpdt = whole.out.split('\n').find((row) => row.startsWith('fpdt ')) as string
    expect(fpdt).toMatch(/ yes +1,024 tokens /)
    expect(fpdt).toContain(` ${formatBytes(2 * host)} `)
  })

  it.each([
    [['--model', 'gpt-2'], 2, /needs --model and --sequence/],
    [['--model', 'gpt-3', '--sequence', '1K'], 2, /no preset gpt-3; the nearest is gpt-2/],
    [['--model', 'gpt-2', '--sequence', '1Q'], 2, /sequence "1Q" is not a size/],
    [['--model', 'gpt-2', '--sequence', '4K'], 3, /4096.*1024/],
    [['--model', 'gpt-2', '--sequence', '1K', '--ranks', '2', '--gpus', '2'], 2, /are the same; give one/],
    [['--model', 'gpt-2', '--sequence', '1K', '--ranks', 'two'], 2, /--ranks two is not a whole number/],
    [['--model', 'gpt-2', '--sequence', '1K', '--system', 'deepspeed'], 2, /--system deepspeed is not "ulysses", .*, nor "all"/],
    [['--model', 'gpt-2', '--sequence', '1K', '--system', 'all', '--keep', 'host'], 2, /leave it out with --system all/],
    [['--model', 'gpt-2', '--sequence', '1K', '--states', 'moon'], 2, /--states moon is not "device", "host" or "disk"/],
    [['--model', 'gpt-2', '--sequence', '1K', '--memory', 'much'], 2, /memory "much" is not a size/],
    [['--model', 'gpt-2', '--sequence', '1K', '--gpus', '2', '--backend', 'cpu'], 2, /--gpus means --backend cuda; for --backend cpu write --ranks 2/],
    [['--model', 'gpt-2', '--sequence', '1K', '--gpus', '2', '--threads', '2'], 2, /--threads is of the CPU; leave it out/],
    [['--model', 'gpt-2', '--sequence', '1K', '--keep', 'zz'], 2, /--keep zz is not "recompute", /],
    [['--model', 'gpt-2', '--sequence', '1K', '--backward-order', 'qk'], 2, /--backward-order qk is not "auto", /],
    [['--model', 'gpt-2', '--sequence', '1K', '--chunk', '-1'], 2, /chunk "-1" is not a size/],
    [['--model', 'gpt-2', '--sequence', '1K', '--ranks', '5'], 3, /^fpdt plan: ranks 5 does not divide the 12 query heads/],
    [['--model', broken, '--sequence', '1K'], 1, /^fpdt plan: .*config\.json/],
    [['--model', 'gpt-2', '--sequence', '1K', '--system', 'ulysses', '--chunk', '256'], 3, /chunk cannot be given with system 'ulysses'/],
    [['--model', 'gpt-2', '--sequence', '1K', '--backend', 'metal'], 2, /--backend metal is not one of cpu and cuda/],
    [['--modle', 'gpt-2'], 2, /no option --modle; the nearest is --model/],
  ])('%j: exit code %i', async (args, code, message) => {
    expect(await said('plan', ...args)).toEqual({ code, out: '', err: expect.stringMatching(message) })
  })
})
