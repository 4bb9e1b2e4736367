import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { configInWords, readTrainConfig, TRAIN, type TrainConfig } from '../../../kernel/src/cli/config.js'
import { modelOf, textOf } from '../../../kernel/src/cli/inputs.js'
import type { CpuOptions, CudaOptions } from '../../../kernel/src/fpdt/device.js'
import { adamW } from '../../../kernel/src/fpdt/plan/optimizer.js'
import { stepOf, type TrainOptions } from '../../../kernel/src/fpdt/plan/training-plan.js'
import { llama } from '../../../kernel/src/model/llama.js'
import { namedModel } from '../../../kernel/src/model/named.js'

const folder = mkdtempSync(join(tmpdir(), 'fpdt-config-'))
afterAll(() => rmSync(folder, { recursive: true }))
const file = join(folder, 'run.json')

function read(text: string) {
  writeFileSync(file, text)
  return readTrainConfig(file)
}
const needed = { model: 'gpt2', text: 'lib.dom.d.ts', sequence: '32K' }
const withKeys = (more: object): string => JSON.stringify({ ...needed, ...more })

describe('a configuration', () => {
  it('is read as it stands, its paths from its own folder', () => {
    const { config, path } = read(withKeys({ optimizer: { rate: 1e-3, maxNorm: null }, device: { memory: '1 GiB' } }))
    expect(config).toEqual({ ...needed, optimizer: { rate: 1e-3, maxNorm: null }, device: { memory: '1 GiB' } })
    expect([path('a/b'), path('/c')]).toEqual([join(folder, 'a/b'), '/c'])
  })

  it.each([
    [withKeys({ chunck: 1 }), /^run\.json:1:\d+: there is no key chunck; the nearest is chunk$/],
    [withKeys({ optimizer: { rat: 1 } }), /there is no key optimizer\.rat; the nearest is optimizer\.rate$/],
    [withKeys({ rate: 1 }), /there is no key rate; the nearest is optimizer\.rate$/],
    [withKeys({ memory: 1 }), /there is no key memory; the nearest is device\.memory$/],
    [withKeys({ checkpoint: { folder: 'x', rate: 1 } }), /there is no key checkpoint\.rate; the nearest is optimizer\.rate$/],
    [withKeys({ constructor: 1 }), /there is no key constructor/],
    ['{\n "model": "gpt2",\n "text": "x",\n "sequence": 512,\n "__proto__": 1 }', /^run\.json:5:2: there is no key __proto__/],
    [withKeys({ ranks: '2' }), /ranks "2" is not a whole number$/],
    [withKeys({ ranks: 1.5 }), /ranks 1\.5 is not a whole number$/],
    [withKeys({ documents: 'yes' }), /documents "yes" is not true or false$/],
    [withKeys({ system: 'FPDT' }), /system "FPDT" is not "ulysses", .* or "fpdt"$/],
    [withKeys({ lookAhead: 2 }), /lookAhead 2 is not 0 or 1$/],
    [withKeys({ text: [] }), /text \[\] is not a path, paths or an object$/],
    [withKeys({ device: '1 GiB' }), /device is an object, \{ "backend": … \}; got "1 GiB"$/],
    [withKeys({ device: null }), /device is an object/],
    [withKeys({ device: { backend: 'gpu' } }), /device\.backend "gpu" is not "cpu" or "cuda"$/],
    [withKeys({ device: { backend: 'cuda', devices: '0,1' } }), /device\.devices "0,1" is not a GPU's number or a list of them$/],
    ['{ "model": "gpt2", "text": "x" }', /^run\.json:1:1: sequence is missing: tokens \(32768 or "32K"\), length of a sequence/],
    ['[1]', /^run\.json:1:1: a configuration is an object, \{ "model": … \}; got \[1\]$/],
    ['{ "model": "gpt2", }', /^run\.json:1:20: expected a key in double quotes/],
  ])('%s is refused', (text, message) => {
    expect(() => read(text)).toThrow(message)
  })

  it('is refused where there is none, or something else', () => {
    expect(() => readTrainConfig(join(folder, 'nix.json'))).toThrow(/there is no file .*nix\.json; fpdt train --help/)
    expect(() => readTrainConfig(folder)).toThrow(/there is no file/)
    writeFileSync(file, ' '.repeat(2 ** 20 + 1))
    expect(() => readTrainConfig(file)).toThrow(/1048577 bytes; a configuration has 1048576 at most/)
  })

  it('gets the words of the library with the place of the value', () => {
    const { config, placed } = read(`{ "model": "gpt2", "text": "x",\n  "sequence": 512,\n  "ranks": 5, "optimizer": {\n "rate": -1 } }`)
    const message = (attempt: () => unknown): string => {
      try {
        attempt()
        return 'no error'
      } catch (error) {
        return (placed(error) as Error).message
      }
    }
    const { optimizer, model: _, text: __, ...options } = config
    expect(message(() => stepOf(namedModel('gpt2'), options))).toMatch(/^run\.json:3:3: ranks 5 does not divide/)
    expect(message(() => adamW(optimizer as object))).toMatch(/^run\.json:4:2: adamW rate -1 is not/)
  })

  it('is explained key by key, by the table that checks it', () => {
    const help = configInWords()
    const names = Object.entries(TRAIN).flatMap(([name, entry]) => ('means' in entry ? [name] : Object.keys(entry).map((key) => `${name}.${key}`)))
    expect(names.length).toBeGreaterThan(40)
    for (const name of names) expect(help).toMatch(new RegExp(`^  ${name.replace('.', '\\.')} {2,}\\S`, 'm'))
    const example = help.slice(help.lastIndexOf('\n  {\n'))
    expect(read(example).config.sequence).toBe('32K')
  })

  it('has a key for every option of either device', () => {
    const cpu: Record<keyof CpuOptions, true> = { memory: true, host: true, disk: true, diskFolder: true, threads: true, path: true }
    const cuda: Record<keyof CudaOptions, true> = { devices: true, memory: true, host: true, disk: true, diskFolder: true }
    expect(Object.keys(TRAIN.device).sort()).toEqual([...new Set(['backend', ...Object.keys(cpu), ...Object.keys(cuda)])].sort())
  })

  it('has a key for every option of training, and of AdamW', () => {
    // A record of all keys fails to compile when an option is added; functions cannot stand in a file.
    const options: Record<Exclude<keyof TrainOptions, 'weights'>, true> = {
      ...{ sequence: true, chunk: true, ranks: true, batch: true, accumulate: true, documents: true, system: true, dtype: true, hidden: true, optimizer: true },
      ...{ offload: true, checkpoints: true, keep: true, backwardOrder: true, parameters: true, lookAhead: true, prefetch: true },
      ...{ feedForwardRows: true, lossRows: true, seed: true },
    }
    expect(Object.keys(options).filter((name) => !(name in TRAIN))).toEqual([])
    expect(Object.keys(adamW()).filter((name) => !(name in TRAIN.optimizer))).toEqual([])
  })
})

describe('a model', () => {
  const path = (written: string): string => join(folder, written)
  const model = async (given: TrainConfig['model']) => (await modelOf(given, path)).model

  it('is a preset, one with changes, or sizes', async () => {
    expect(await model('llama-3-8b')).toEqual(namedModel('llama-3-8b'))
    expect(await model({ preset: 'gpt2', layers: 2 })).toEqual(namedModel('gpt2', { layers: 2 }))
    expect(await model({ family: 'llama', layers: 1, width: 32, heads: 2 })).toEqual(llama({ layers: 1, width: 32, heads: 2 }))
    expect((await model({ family: 'gpt', layers: 1, width: 32, heads: 2 })).family).toBe('gpt2')
  })

  it.each([
    ['llama-3-9b', /no preset llama-3-9b; the nearest is llama-3-8b/],
    [{ layers: 1 }, /needs one of "preset", "family" and "load"/],
    [{ preset: 'gpt2', family: 'gpt' }, /needs one of/],
    [{ family: 'lama' }, /family "lama" is not known; the nearest is "llama"/],
    [{ family: 'llama', layer: 1, width: 32, heads: 2 }, /llama\(\{ layer \}\).*The nearest is layers/],
    [{ load: 'nix' }, /there is no folder .*nix/],
    [{ load: 'nix', layers: 2 }, /takes the path of a folder and nothing else; got layers/],
    [{ load: 3 }, /takes the path of a folder and nothing else; got 3/],
  ])('%j is refused', async (given, message) => {
    await expect(model(given as TrainConfig['model'])).rejects.toThrow(message)
  })
})

describe('a text', () => {
  const path = (written: string): string => join(folder, written)
  const text = (given: TrainConfig['text']) => textOf(given, path)

  it('is a file, several as documents, or token ids', async () => {
    writeFileSync(path('a.txt'), 'one two three')
    writeFileSync(path('t.bin'), new Uint16Array([5, 6, 7, 8]))
    expect((await text('a.txt')).length).toBe(3)
    expect([...((await text(['a.txt', 'a.txt'])).documents as ArrayLike<number> & Iterable<number>)]).toEqual([0, 4])
    expect([...(await text({ file: 't.bin', dtype: 'uint16' })).read(1, 2)]).toEqual([6, 7])
    expect((await text({ file: ['t.bin', 't.bin'], dtype: 'uint16' })).length).toBe(8)
    expect((await text('lib.dom.d.ts')).length).toBeGreaterThan(100_000)
    writeFileSync(path('lib.dom.d.ts'), 'a file of that name')
    expect((await text('lib.dom.d.ts')).length).toBe(5)
  })

  it.each([
    ['nix.txt', /there is no file .*nix\.txt/],
    [{ file: 't.bin', dtyp: 'uint16' }, /text \{ "dtyp" \} is not known; the nearest is "dtype"/],
    [{ file: 3 }, /\{ "file": 3 \} is neither a path nor a list of paths/],
    [{ file: [] }, /neither a path nor a list of paths/],
    [{ dtype: 'uint16' }, /neither a path nor a list of paths/],
    [{ file: 't.bin' }, /no header that says what its numbers are/],
    [{ file: 't.bin', dtype: 'int8' }, /dtype "int8" is not/],
  ])('%j is refused', async (given, message) => {
    await expect(text(given as TrainConfig['text'])).rejects.toThrow(message)
  })
})
