/** The stand-in for libcudart: CUDA programs compiled by nvcc and linked with it do what CUDA promises, lag as on a GPU, and what they do wrong is found. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Outcome, Programs } from './runtime/programs.js'

const seeds = Array.from({ length: 12 }, (_, seed) => seed)
const policies = ['prompt', 'lazy', 'eager', 'random']
const waits = [1, 2, 3, 4, 5, 6]

describe('CUDA programs on the emulator', () => {
  let programs: Programs
  let cases = ''
  beforeAll(() => {
    programs = new Programs()
    cases = programs.build('cases.cu')
  })
  afterAll(() => programs?.close())
  const run = (name: string, configure: object = {}, plant: readonly object[] = []) => programs.run(cases, [name], { configure, plant })
  const quiet = { faults: [], unordered: [], notes: [] }

  describe('streams and events', () => {
    it('a pipeline of three streams with all its waits is right in every order', () => {
      for (const seed of seeds) {
        const { out, report } = run('pipeline', { seed })
        expect(out, `seed ${seed}`).toEqual({ wrong: 0, error: 'cudaSuccess' })
        expect(report).toMatchObject(quiet)
        expect(report).toMatchObject({ default_stream_ops: 0, pageable_copies: 0, timed_waits: 0 })
      }
    })

    it.each(waits)('without its wait number %i it is wrong in some order, and reported in every one', (nth) => {
      const wrong = seeds.map((seed) => {
        const { out, report } = run('pipeline', { seed }, [{ call: 'cudaStreamWaitEvent', nth, what: 'drop' }])
        expect(report.plants[0]?.used).toBe(true)
        expect(report.unordered.length, `seed ${seed}`).toBeGreaterThan(0)
        expect(report.unordered[0]).toMatch(/^unordered: .* on stream \d of device 0 \((reads|writes)\) and .* \((reads|writes)\) touch 400 bytes at 0x/)
        return Number(out.wrong)
      })
      expect(wrong[0]).toBe(0) // seed 0 goes in the order of issue: there nothing shows but the report
      expect(Math.max(...wrong)).toBeGreaterThan(0)
    })

    it.each(waits)('without its record number %i likewise', (nth) => {
      const wrong = seeds.map((seed) => {
        const { out, report } = run('pipeline', { seed }, [{ call: 'cudaEventRecord', nth, what: 'drop' }])
        expect(report.unordered.length, `seed ${seed}`).toBeGreaterThan(0)
        return Number(out.wrong)
      })
      expect(Math.max(...wrong)).toBeGreaterThan(0)
    })

    it('a wait is for the most recent record at the time of the call, and for nothing where there is none', () => {
      for (const policy of policies) {
        const [between, after, never] = (['wait between', 'wait after', 'never'] as const).map((name) => run(name, { seed: 3, policy })) as [
          Outcome,
          Outcome,
          Outcome,
        ]
        expect(after).toMatchObject({ out: { wait: 'cudaSuccess', got: [2] }, report: quiet })
        // The wait between the two writes is ordered after the first alone.
        expect(between.report.unordered).toHaveLength(1)
        expect([1, 2]).toContain((between.out.got as number[])[0])
        expect(never.report.unordered).toHaveLength(1)
        expect(never.out.wait).toBe('cudaSuccess')
      }
      expect(run('wait between', { policy: 'lazy' }).out.got).toEqual([1])
      expect(run('never', { policy: 'lazy' }).out.got).toEqual([-1])
    })

    it('an event that has not happened says so, and does happen when it is asked again and again', () => {
      for (const seed of [1, 4, 7]) {
        const { out, report } = run('queries', { seed, policy: 'lazy' })
        expect(report.unordered).toHaveLength(1) // a query orders nothing
        expect(report.timed_waits).toBe(1)
        expect(out).toEqual({ unrecorded: 'cudaSuccess', 'at once': 'cudaErrorNotReady', elapsed: 'cudaErrorNotReady', asked: 1, 'at last': 'cudaSuccess' })
      }
    })

    it('the default stream waits for blocking streams and they for it; others are not ordered with it', () => {
      for (const seed of seeds.slice(0, 6)) {
        expect(run('blocking', { seed })).toMatchObject({ out: { got: [3] }, report: { ...quiet, default_stream_ops: 2 } })
        expect(run('non-blocking', { seed }).report.unordered.length).toBeGreaterThan(0)
      }
    })

    it('a host function comes after what is before it, without being waited for, and may not call CUDA', () => {
      for (const policy of policies) expect(run('host function', { policy, seed: 5 }).out).toEqual({ calls: 1, value: 6, inside: 'cudaErrorNotPermitted' })
    })

    it('several host threads at once, each with a stream, do not block each other', () => {
      for (const policy of policies) {
        const { out, report } = run('threads', { policy, seed: 2 })
        expect(out).toEqual({ last: [100], error: 'cudaSuccess' })
        expect(report).toMatchObject(quiet)
      }
    })

    it('event times grow along the streams and lie between what the host saw before and after, on a clock that drifts', () => {
      for (const seed of [0, 1, 2, 3]) {
        expect(run('clock', { seed, devices: 2 }).out).toEqual({
          early: 0,
          late: 0,
          backwards: 0,
          'across devices': 'cudaErrorInvalidResourceHandle',
          unrecorded: 'cudaErrorInvalidResourceHandle',
          'without timing': 'cudaErrorInvalidResourceHandle',
          'event of another device': 'cudaErrorInvalidResourceHandle',
        })
      }
    })
  })

  describe('random programs of fills, copies, records and waits', () => {
    const [streams, events, buffers, elements] = [4, 3, 2, 6]
    const number = (below: number) => fc.integer({ min: 0, max: below - 1 })
    const stream = number(streams)
    /** Some elements of a buffer: [buffer, first, how many]. */
    const range = fc
      .tuple(number(buffers), number(elements), number(elements))
      .map(([buffer, one, two]) => [buffer, Math.min(one, two), Math.abs(one - two) + 1] as const)
    const command = fc.oneof(
      { weight: 3, arbitrary: fc.tuple(stream, range).map(([s, [b, at, n]]) => ({ word: 'fill', s, to: [b, at, n] as const })) },
      {
        weight: 3,
        arbitrary: fc.tuple(stream, range, number(elements)).map(([s, [b, from, n], place]) => {
          const to = [1 - b, Math.min(place, elements - n), n] as const
          return { word: 'copy', s, from: [b, from, n] as const, to }
        }),
      },
      { weight: 4, arbitrary: fc.tuple(stream, number(events)).map(([s, e]) => ({ word: 'record', s, e })) },
      { weight: 5, arbitrary: fc.tuple(stream, number(events)).map(([s, e]) => ({ word: 'wait', s, e })) },
      { weight: 1, arbitrary: stream.map((s) => ({ word: 'sync', s })) },
    )
    type Range = readonly [number, number, number]
    interface Command {
      readonly word: string
      readonly s: number
      readonly e?: number
      readonly from?: Range
      readonly to?: Range
    }
    const text = ({ word, s, e, from, to }: Command) => [word, s, e, ...(from?.slice(0, 2) ?? []), ...(to ?? [])].filter((part) => part !== undefined).join(' ')
    const places = (range?: Range) => (range ? Array.from({ length: range[2] }, (_, i) => range[0] * elements + range[1] + i) : [])

    /** The definition: which ops come before which, by stream order, waits and the host's; whether two that conflict are not ordered; and the values. */
    function oracle(program: readonly Command[]): { unordered: boolean; values: number[] } {
      const before: Set<number>[] = []
      const last = new Map<number, number>()
      const recorded = new Map<number, number>()
      let host = new Set<number>()
      const values = Array.from({ length: buffers * elements }, () => 0)
      let unordered = false
      program.forEach(({ word, s, e, from, to }, i) => {
        const own = new Set(host)
        const join = (op: number | undefined) => {
          if (op === undefined) return
          own.add(op)
          for (const earlier of before[op] as Set<number>) own.add(earlier)
        }
        join(last.get(s))
        if (word === 'wait') join(recorded.get(e as number))
        before.push(own)
        const [reads, writes] = [places(from), places(to)]
        const moved = reads.map((place) => values[place] as number)
        writes.forEach((place, j) => {
          values[place] = from ? (moved[j] as number) : i + 1
        })
        if (word === 'record') recorded.set(e as number, i)
        if (word === 'sync') host = own
        else last.set(s, i)
        program.slice(0, i).forEach((other, j) => {
          const [otherReads, otherWrites] = [places(other.from), places(other.to)]
          const conflict = writes.some((p) => otherWrites.includes(p) || otherReads.includes(p)) || reads.some((p) => otherWrites.includes(p))
          if (conflict && !own.has(j)) unordered = true
        })
      })
      return { unordered, values }
    }

    it('are reported under every policy exactly where two ops that conflict are not ordered; else the values are those of the order of issue', () => {
      let reported = 0
      let clean = 0
      fc.assert(
        fc.property(fc.array(command, { minLength: 2, maxLength: 25 }), fc.nat(1000), (program, seed) => {
          const { unordered, values } = oracle(program)
          const lines = policies.flatMap((policy) => [
            `control ${JSON.stringify({ reset: true, configure: { seed, policy } })}`,
            program.map(text).join(' '),
            `control ${JSON.stringify({ report: true })}`,
          ])
          const answers = programs.ask(cases, ['interpret'], lines)
          policies.forEach((policy, p) => {
            const report = JSON.parse(answers[3 * p + 2] as string) as { unordered: string[]; faults: string[] }
            expect(report.faults).toEqual([])
            expect(report.unordered.length > 0, `${policy}: ${report.unordered}`).toBe(unordered)
            if (!unordered || policy === 'prompt') expect(answers[3 * p + 1]?.trim().split(' ').map(Number)).toEqual(values)
          })
          if (unordered) reported++
          else clean++
        }),
        { numRuns: 120 },
      )
      expect(Math.min(reported, clean)).toBeGreaterThan(5) // both kinds were there
    })
  })

  describe('memory', () => {
    it('a host that follows a device pointer dies of it', () => {
      expect(run('touch').signal).toBe('SIGSEGV')
    })

    it('what does not fit is refused, and fits when room was made', () => {
      const { out, report } = run('limit', { devices: [{ memory: 1 << 20 }] })
      expect(out).toEqual({
        first: 'cudaSuccess',
        second: 'cudaErrorMemoryAllocation',
        pointer: 1,
        last: 'cudaErrorMemoryAllocation',
        forgotten: 'cudaSuccess',
        free: (1 << 20) - (600 << 10),
        total: 1 << 20,
        freed: 'cudaSuccess',
        again: 'cudaSuccess',
        twice: 'cudaErrorInvalidValue',
        aligned: 1,
      })
      expect(report.devices).toEqual([{ used: 600 << 10, peak: 600 << 10, total: 1 << 20 }])
    })

    it('copies in rows move those bytes and no others; ranges, pitches and directions that cannot be are refused', () => {
      for (const policy of policies) {
        const { out, report } = run('copies', { policy, seed: 1 })
        expect(out).toEqual({
          in: 'cudaSuccess',
          across: 'cudaSuccess',
          back: 'cudaSuccess',
          wrong: 0,
          gap: 0,
          pitch: 'cudaErrorInvalidPitchValue',
          direction: 'cudaErrorInvalidValue',
          'no direction': 'cudaErrorInvalidMemcpyDirection',
          'past the end': 'cudaErrorInvalidValue',
          'past the end of pinned': 'cudaErrorInvalidValue',
          'memset past the end': 'cudaErrorInvalidValue',
          '2D past the end': 'cudaErrorInvalidValue',
          '2D up to the end': 'cudaSuccess',
          nothing: 'cudaSuccess',
          end: 'cudaSuccess',
        })
        expect(report.notes.join()).toContain('113 bytes from byte 0 on run past the end of an allocation of 112 bytes')
      }
    })

    it('pinned memory that is written again too early is seen by the copy; pageable memory is taken when the call is made', () => {
      const got = (name: string) => seeds.map((seed) => (run(name, { seed }).out.got as number[])[0])
      expect(new Set(got('pinned reuse'))).toEqual(new Set([1, 2]))
      expect(new Set(got('pageable reuse'))).toEqual(new Set([1]))
      expect(run('pageable reuse').report.pageable_copies).toBe(1)
    })

    it('pointers say what they are, pinned and registered memory is the device’s too, and fresh memory is NaN', () => {
      expect(run('pointers', { seed: 1 }).out).toEqual({
        types: [2, 1, 0, 0], // cudaMemoryTypeDevice, Host, Unregistered; one past the end
        fresh: -1,
        'fresh on the device': [-1],
        mapped: 'cudaSuccess',
        same: 1,
        'written by the device': 9,
        registered: 'cudaSuccess',
        again: 'cudaErrorHostMemoryAlreadyRegistered',
        own: 8,
        'flags of registered': 'cudaErrorInvalidValue',
        unregistered: 'cudaSuccess',
        unknown: 'cudaErrorHostMemoryNotRegistered',
        'no such flags': 'cudaErrorInvalidValue',
        'nothing there': 'cudaErrorInvalidValue',
        'of a device': 'cudaErrorInvalidValue',
        'no bytes': 'cudaErrorInvalidValue',
      })
    })

    it('freeing waits for the device, and memory that was freed is nobody’s', () => {
      const { out } = run('freed', { seed: 1 })
      expect(out).toEqual({ freed: 'cudaSuccess', before: 'cudaSuccess', 'another address': 1, after: 'cudaErrorIllegalAddress' })
    })

    it('bytes that nobody wrote are found when a kernel reads them', () => {
      const { out, report } = run('uninitialised', { checks: ['initialised'] })
      expect(out).toEqual({ written: 'cudaSuccess', 'written by a kernel': 'cudaSuccess', 'not written': 'cudaErrorLaunchFailure' })
      expect(report.faults[0]).toContain('uninitialised')
      expect(run('uninitialised').out['not written']).toBe('cudaSuccess')
    })
  })

  describe('devices', () => {
    it('a fault loses its device for good, and no other', () => {
      for (const seed of [0, 1, 2, 3]) {
        const { out, report } = run('sticky', { seed, devices: 2 })
        const lost = 'cudaErrorIllegalAddress'
        expect(out).toMatchObject({
          inside: 'cudaSuccess',
          wait: lost,
          malloc: lost,
          next: lost,
          still: lost,
          other: 'cudaSuccess',
          works: 'cudaSuccess',
          back: lost,
        })
        if (seed === 1) expect(out.launch).toBe('cudaSuccess') // lazy: it comes out at the wait, as on a GPU
        expect(report.faults).toHaveLength(1)
        expect(report.faults[0]).toMatch(/illegal address: .*write_at.* 0 bytes after the end of a region of 400 bytes.*on stream \d of device 0/)
      }
    })

    it('a kernel may use another device’s memory only with peer access; copies need none', () => {
      const lost = 'cudaErrorIllegalAddress'
      const all = {
        'foreign stream': 'cudaErrorInvalidResourceHandle',
        copy: 'cudaSuccess',
        copied: [3],
        'wrong devices': 'cudaErrorInvalidValue',
        without: lost,
      }
      expect(run('peers', { devices: 2, seed: 1 })).toMatchObject({
        out: { ...all, can: 1, enabled: 'cudaSuccess', twice: 'cudaErrorPeerAccessAlreadyEnabled', added: [13], disabled: 'cudaSuccess' },
        report: { unordered: [], faults: [expect.stringContaining('memory of device 1, to which device 0 has no access')] },
      })
      const apart = [{}, { peer: false }]
      expect(run('peers', { devices: apart }).out).toMatchObject({ ...all, can: 0, enabled: 'cudaErrorPeerAccessUnsupported' })
    })

    it('are what they are told to be, or are not there', () => {
      const well = { driver: 'cudaSuccess', counted: 'cudaSuccess', count: 1, launch: 'cudaSuccess', wait: 'cudaSuccess' }
      const named = run('hello', { driver: 13010, devices: [{ name: 'Test', major: 9, memory: 1 << 28 }] }).out
      expect(named).toMatchObject({ ...well, version: 13010, major: 9, memory: 1 << 28, name: 'Test' })
      const absent = run('hello', { driver: 0 }).out
      for (const call of ['counted', 'asked', 'malloc', 'launch', 'wait']) expect(absent[call], call).toBe('cudaErrorInsufficientDriver')
      expect(absent).toMatchObject({ driver: 'cudaSuccess', version: 0, count: 0 })
      expect(run('hello', { driver: 12080 }).out.counted).toBe('cudaErrorInsufficientDriver')
      expect(run('hello', { devices: 0 }).out).toMatchObject({ counted: 'cudaErrorNoDevice', count: 0, malloc: 'cudaErrorNoDevice' })
      const old = run('hello', { devices: [{ major: 7, minor: 5 }] })
      expect(old.out).toMatchObject({ major: 7, malloc: 'cudaSuccess', launch: 'cudaErrorNoKernelImageForDevice' })
      expect(old.report.notes.join()).toContain('no PTX for a device of compute capability 75 in the fat binary: it holds compute_80')
    })
  })

  describe('modules', () => {
    it('variables are each device’s own, shared memory needs leave, and launch bounds hold', () => {
      for (const seed of [0, 1]) {
        expect(run('module', { seed, devices: 2 })).toMatchObject({
          out: {
            counted: [7, 1, 2, 3, 4],
            changed: [8, 1, 7, 8, 4],
            counter: 8,
            'on another device': [6, 1, 2, 3, 4],
            'too much': 'cudaErrorInvalidValue',
            beyond: 'cudaErrorInvalidValue',
            allowed: 'cudaSuccess',
            launched: 'cudaSuccess',
            reversed: [19999, 19998],
            bound: 64,
            'beyond its bound': 'cudaErrorInvalidValue',
            'too many threads': 'cudaErrorInvalidConfiguration',
            'no block': 'cudaErrorInvalidConfiguration',
            end: 'cudaSuccess',
          },
          report: { faults: [], unordered: [] },
        })
      }
    })

    it('a fat binary without PTX that can be read is refused in words', () => {
      const one = (name: string, ...flags: string[]) => programs.run(programs.build('one_kernel.cu', name, flags), [])
      const plain = ['-Xfatbin', '-compress=false']
      const refused = { launch: 'cudaErrorNoKernelImageForDevice', value: -1 }
      const sass = one('sass', '-gencode', 'arch=compute_80,code=sm_80', ...plain)
      expect(sass.out).toEqual(refused)
      expect(sass.report.notes[0]).toContain('it holds sm_80')
      const compressed = one('compressed', '-gencode', 'arch=compute_80,code=compute_80')
      expect(compressed.out).toEqual(refused)
      expect(compressed.report.notes[0]).toContain('compile with -Xfatbin -compress=false')
      const several = one('several', '-gencode', 'arch=compute_75,code=compute_75', '-gencode', 'arch=compute_90,code=[sm_90,compute_90]', ...plain)
      expect(several.out).toEqual({ launch: 'cudaSuccess', value: 42 }) // compute_75 is the highest that sm_80 can be given
    })
  })

  describe('planted faults', () => {
    const well = { 'malloc a': 'cudaSuccess', 'malloc b': 'cudaSuccess', launch: 'cudaSuccess', wait: 'cudaSuccess' }
    const planted = (plant: object) => {
      const outcome = run('round trip', {}, [plant])
      expect(outcome.report.plants[0]?.used ?? outcome.report.plants[0]?.applied === 1).toBe(true)
      return outcome
    }
    it('change what the call does, and only that', () => {
      expect(run('round trip')).toMatchObject({ out: { ...well, right: 100, second: 6 }, report: quiet })
      const right = (call: string, nth: number, what: string) => planted({ call, nth, what }).out
      expect(right('cudaMemsetAsync', 1, 'drop')).toMatchObject({ ...well, right: 75 })
      expect(right('cudaMemsetAsync', 1, 'shorten')).toMatchObject({ ...well, right: 75 })
      expect(right('cudaMemcpyAsync', 1, 'shorten')).toMatchObject({ ...well, right: 75 })
      expect(right('cudaMemcpyAsync', 1, 'swap')).toMatchObject({ ...well, right: 25, second: 4 })
      expect(right('cudaMemcpyAsync', 2, 'shorten')).toMatchObject({ ...well, right: 50 })
      expect(right('cudaMemcpyAsync', 2, 'late')).toMatchObject({ ...well, right: 0 })
      expect(right('cudaLaunchKernel', 1, 'drop')).toMatchObject({ ...well, right: 25 })
      expect(right('cudaLaunchKernel', 1, 'late')).toMatchObject({ ...well, right: 25 })
      expect(right('cudaMalloc', 2, 'fail')).toMatchObject({ 'malloc a': 'cudaSuccess', 'malloc b': 'cudaErrorMemoryAllocation' })
      const lost = 'cudaErrorLaunchFailure'
      expect(right('cudaLaunchKernel', 1, 'fail')).toMatchObject({ 'malloc b': 'cudaSuccess', launch: lost, wait: lost })
    })

    it('in PTX change the code that is run', () => {
      const { out } = planted({ ptx: '3add', find: 'add\\.s32 +(%r\\d+, %r7,)', replace: 'sub.s32 $1', nth: 1 })
      expect(out).toMatchObject({ ...well, second: 1 - 5 })
    })
  })

  it('what is not emulated is refused by its name, with what to do', () => {
    const { out, report } = run('refused')
    const refused = 'cudaErrorNotSupported'
    expect(out).toEqual({ managed: refused, capture: refused, cooperative: refused })
    expect(report.notes).toEqual([
      expect.stringMatching(/^cudaMallocManaged: managed memory is not emulated; use cudaMalloc .*npm run gpu/),
      expect.stringMatching(/^cudaStreamBeginCapture: .*graphs are not emulated; put the ops .*npm run gpu/),
      expect.stringMatching(/^cudaLaunchCooperativeKernel: cooperative launches are not emulated.*order blocks by counters.*npm run gpu/),
    ])
  })

  it('names and words of errors are CUDA’s', () => {
    expect(run('errors').out).toEqual({
      0: 'cudaSuccess: no error',
      2: 'cudaErrorMemoryAllocation: out of memory',
      35: 'cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version',
      600: 'cudaErrorNotReady: device not ready',
      700: 'cudaErrorIllegalAddress: an illegal memory access was encountered',
      719: 'cudaErrorLaunchFailure: unspecified launch failure',
      12345: 'unrecognized error code: unrecognized error code',
    })
  })

  it('settings that are not known are refused', () => {
    expect(() => run('hello', { sed: 1 })).toThrow(/no member of configure sed/)
    expect(() => run('hello', {}, [{ call: 'cudaMalloc', what: 'forget' }])).toThrow(/no fault forget/)
  })
})
