/**
 * What tests are worth that run on an emulator: bugs are planted in the kernels' PTX, in the host's calls and in the kernels' sources, and each must be
 * found by a check that passes without it.
 */
import './planted/cuda.js'
import { beforeAll, describe, expect, it } from 'vitest'
import type { Finding, PlantedBug } from './planted/bug.js'
import { CASES } from './planted/cases.js'
import { begin, findings, plant } from './planted/cuda.js'
import { HOST_BUGS } from './planted/host-bugs.js'
import { PTX_BUGS } from './planted/ptx-bugs.js'
import { SOURCE_BUGS } from './planted/source-bugs.js'
import { compile, toolkit } from './planted/sources.js'

type Name = keyof typeof CASES
const found = async (
  name: Name,
  arm: () => void = () => {},
): Promise<{ error: Error | undefined; faults: readonly string[]; unordered: readonly string[]; plants: ReturnType<typeof findings>['plants'] }> => {
  let error: Error | undefined
  try {
    await CASES[name](arm)
  } catch (thrown) {
    error = thrown as Error
  }
  const { faults, unordered, plants } = findings()
  return { error, faults, unordered, plants }
}

function expectFound({ error, faults, unordered }: Awaited<ReturnType<typeof found>>, by: Finding): void {
  const all = [...(error ? [`${error.name}: ${error.message}`] : []), ...faults, ...unordered].join('\n')
  if (by === 'wrong') expect(error?.name, all).toBe('AssertionError')
  else if (typeof by === 'string') expect([...faults, ...unordered], all).toContainEqual(expect.stringMatching(`^${by}: `))
  else expect(error?.message, all).toMatch(by)
}

describe('without a bug', () => {
  it.each(Object.keys(CASES) as Name[])('%s is right, and nothing is reported', async (name) => {
    begin(0)
    const { error, faults, unordered } = await found(name)
    if (error) throw error
    expect({ faults, unordered }).toEqual({ faults: [], unordered: [] })
  })
})

function check(bug: PlantedBug) {
  return async () => {
    // A host's call may not be made at all (nobody waits for what is done already): that depends on how far its threads are.
    for (let attempt = 0; ; attempt++) {
      begin(bug.seed ?? 0)
      const outcome = await found(bug.upsets, () => plant(bug.plant))
      const [state] = outcome.plants
      if (state?.used === false && attempt < 20) continue
      expect(state).toMatchObject('call' in bug.plant ? { used: true } : { applied: 1 })
      return expectFound(outcome, bug.by)
    }
  }
}
describe('a bug in the PTX is found', () => {
  for (const bug of PTX_BUGS) it(`${bug.name}: ${bug.why}`, check(bug))
})
describe('a bug in the calls of the host is found', () => {
  beforeAll(() => {
    begin(0)
    return CASES['attendBackward, heads of 64'](() => {}) // the first run takes memory, with calls that are not to be counted
  })
  for (const bug of HOST_BUGS) it(`${bug.name}: ${bug.why}`, check(bug))
})

describe.skipIf(!toolkit)(`a bug in the sources is found${toolkit ? '' : ' (skipped: there is no nvcc)'}`, () => {
  // Two compilers at a time, begun at once, in the order in which tests wait for them.
  const compiled = new Map<string, Promise<string>>()
  const files = [...new Map(SOURCE_BUGS.map(({ edit: { file }, kernel }) => [file, kernel]))]
  beforeAll(() => {
    const edits = [...files.map(([file]) => [file, { file }] as const), ...SOURCE_BUGS.map(({ name, edit }) => [name, edit] as const)]
    const lanes = [Promise.resolve(''), Promise.resolve('')]
    edits.forEach(([name, edit], i) => {
      const ptx = (lanes[i % 2] as Promise<string>).then(() => compile(edit))
      lanes[i % 2] = ptx.catch(() => '')
      ptx.catch(() => '') // the test that waits for it says so
      compiled.set(name, ptx)
    })
  })
  // That a file is compiled here and put in place of what ships is not what is found.
  it.each(files)('and none in %s as it is', { timeout: 240_000 }, async (file, kernel) => {
    const module = await (compiled.get(file) as Promise<string>)
    for (const name of new Set(SOURCE_BUGS.filter(({ edit }) => edit.file === file).map(({ upsets }) => upsets))) {
      begin(0)
      const { error, faults, unordered, plants } = await found(name, () => plant({ ptx: kernel, module }))
      expect({ error, faults, unordered }).toEqual({ error: undefined, faults: [], unordered: [] })
      expect(plants).toMatchObject([{ applied: 1 }])
    }
  })
  for (const bug of SOURCE_BUGS)
    it(`${bug.name}: ${bug.why}`, { timeout: 240_000 }, async () => {
      const module = await (compiled.get(bug.name) as Promise<string>)
      await check({ ...bug, plant: { ptx: bug.kernel, module } })()
    })
})
