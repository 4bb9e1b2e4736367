/** What lanes of a warp do together on the emulated machine: shuffles, votes, matches, reductions, tensor cores and ldmatrix. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { add, BF16, bitsOf, decode, type Exact, encode, F16, F32, type Format, multiply, toNumber } from './fixtures/float.js'
import { kernel, run } from './fixtures/ptx.js'

const lanes = Array.from({ length: 32 }, (_, lane) => lane)

/** Runs a warp: inputs in %i0 ... and outputs from %o0 ..., .b32, `counts` of them; only lanes of `members` run the body. */
function warp(inputs: readonly (readonly number[])[], outputs: number, body: string, { members = 0xffffffff, more = '' } = {}): number[][] {
  const y = Array.from({ length: outputs }, () => new Uint32Array(32).fill(0xabababab))
  run(
    kernel(
      [...inputs.map((_, i) => `.u64 x${i}`), ...y.map((_, i) => `.u64 y${i}`), '.u32 members'],
      `mul.wide.u32 %d0, %t, 4;
shr.u32 %r0, %members, %t;
and.b32 %r0, %r0, 1;
setp.eq.u32 %p0, %r0, 0;
@%p0 bra $end;
${inputs.map((_, i) => `add.s64 %d1, %x${i}, %d0;\nld.global.b32 %i${i}, [%d1];`).join('\n')}
${body}
${y.map((_, i) => `add.s64 %d1, %y${i}, %d0;\nst.global.b32 [%d1], %o${i};`).join('\n')}
$end:`,
      { registers: `.reg .b32 %i<8>, %o<8>;\n${more}` },
    ),
    [...inputs.map((values) => new Uint32Array(values)), ...y, { u32: members >>> 0 }],
    { block: 32 },
  )
  return y.map((values) => [...values])
}

const word = fc.integer({ min: 0, max: 0xffffffff })
const row = fc.array(word, { minLength: 32, maxLength: 32 })

describe('shfl.sync', () => {
  // The ISA's own text, with its names.
  const source = (mode: string, lane: number, bval: number, cval: number): { from: number; inRange: boolean } => {
    const segmask = (cval >> 8) & 31
    const clamp = cval & 31
    const maxLane = (lane & segmask) | (clamp & ~segmask & 31)
    const minLane = lane & segmask
    const b = bval & 31
    const j = { up: lane - b, down: lane + b, bfly: lane ^ b, idx: minLane | (b & ~segmask & 31) }[mode]!
    const inRange = mode === 'up' ? j >= maxLane : j <= maxLane
    return { from: inRange ? j : lane, inRange }
  }
  for (const mode of ['up', 'down', 'bfly', 'idx']) {
    it(`shfl.sync.${mode}: all lanes, any offset, segment and clamp`, () => {
      // The offset is each lane's own; the segment and clamp are those of a kernel, 32, 16, 8, 4 and 2 wide, and any.
      const widths = [32, 16, 8, 4, 2].map((width) => ((32 - width) << 8) | (mode === 'up' ? 0 : 31))
      fc.assert(
        fc.property(row, row, fc.oneof(fc.constantFrom(...widths), fc.nat(0x1f1f)), (values, offsets, c) => {
          const [got, predicate] = warp([values, offsets], 2, `shfl.sync.${mode}.b32 %o0|%p1, %i0, %i1, ${c}, 0xFFFFFFFF;\nselp.u32 %o1, 1, 0, %p1;`)
          // `up` takes lanes below the clamp's lowest as they are; a source lane out of 0 ... 31 is out of range.
          const wanted = lanes.map((lane) => source(mode, lane, offsets[lane]!, c))
          expect(got).toEqual(wanted.map(({ from }) => values[from]))
          expect(predicate).toEqual(wanted.map(({ inRange }) => (inRange ? 1 : 0)))
        }),
        { numRuns: 60 },
      )
    })
  }
  it('among the lanes of a mask only', () => {
    fc.assert(
      fc.property(row, fc.integer({ min: 1, max: 0xffffffff }), (values, members) => {
        // Each member takes from the lowest one.
        const lowest = lanes.find((lane) => (members >>> lane) & 1)!
        const [got] = warp([values], 1, `shfl.sync.idx.b32 %o0, %i0, ${lowest}, 31, %members;`, { members })
        for (const lane of lanes) expect(got![lane]).toBe((members >>> lane) & 1 ? values[lowest] : 0xabababab)
      }),
      { numRuns: 20 },
    )
  })
  it('two halves that have parted shuffle each for itself', () => {
    const [got] = warp(
      [lanes],
      1,
      `setp.lt.u32 %p1, %t, 16;
@%p1 bra $low;
shfl.sync.down.b32 %o0, %i0, 3, 31, 0xFFFF0000;
bra $met;
$low:
shfl.sync.down.b32 %o0, %i0, 1, 31, 0x0000FFFF;
$met:
add.u32 %o0, %o0, 100;`,
    )
    // Lane 15 would take from lane 16, which is not of its mask: undefined, so not compared. Lanes 29 to 31 keep their own.
    const wanted = lanes.map((lane) => 100 + (lane < 16 ? lane + 1 : lane > 28 ? lane : lane + 3))
    expect(got!.filter((_, lane) => lane !== 15)).toEqual(wanted.filter((_, lane) => lane !== 15))
  })
  it('a butterfly sums a warp', () => {
    const values = lanes.map((lane) => lane * lane + 1)
    const steps = [16, 8, 4, 2, 1].map((step) => `shfl.sync.bfly.b32 %r1, %o0, ${step}, 31, -1;\nadd.u32 %o0, %o0, %r1;`).join('\n')
    const [got] = warp([values], 1, `mov.u32 %o0, %i0;\n${steps}`)
    expect(new Set(got)).toEqual(new Set([values.reduce((sum, value) => sum + value, 0)]))
  })
})

describe('votes, matches, reductions', () => {
  const mask = fc.integer({ min: 1, max: 0xffffffff })
  const of = (members: number) => lanes.filter((lane) => (members >>> lane) & 1)
  it('vote.sync.all, any, uni and ballot', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(0, 0, 1), { minLength: 32, maxLength: 32 }),
        mask,
        fc.constantFrom('as it is', 'none', 'all'),
        (values, members, kind) => {
          const flags = values.map((value) => (kind === 'none' ? 0 : kind === 'all' ? 1 : value))
          const [all, any, uni, ballot, negated] = warp(
            [flags],
            5,
            `setp.ne.u32 %p1, %i0, 0;
vote.sync.all.pred %p2, %p1, %members;
vote.sync.any.pred %p3, %p1, %members;
vote.sync.uni.pred %p4, %p1, %members;
vote.sync.ballot.b32 %o3, %p1, %members;
vote.sync.ballot.b32 %o4, !%p1, %members;
selp.u32 %o0, 1, 0, %p2;
selp.u32 %o1, 1, 0, %p3;
selp.u32 %o2, 1, 0, %p4;`,
            { members },
          )
          const chosen = of(members)
          const set = chosen.filter((lane) => flags[lane])
          for (const lane of chosen) {
            expect(all![lane]).toBe(set.length === chosen.length ? 1 : 0)
            expect(any![lane]).toBe(set.length > 0 ? 1 : 0)
            expect(uni![lane]).toBe(set.length === 0 || set.length === chosen.length ? 1 : 0)
            expect(ballot![lane]).toBe(set.reduce((sum, l) => sum + 2 ** l, 0))
            expect(negated![lane]).toBe(chosen.filter((l) => !flags[l]).reduce((sum, l) => sum + 2 ** l, 0))
          }
        },
      ),
      { numRuns: 30 },
    )
  })
  const reductions: Record<string, (a: number, b: number) => number> = {
    'add.u32': (a, b) => (a + b) >>> 0,
    'add.s32': (a, b) => (a + b) >>> 0,
    'min.u32': (a, b) => Math.min(a, b),
    'max.u32': (a, b) => Math.max(a, b),
    'min.s32': (a, b) => Math.min(a | 0, b | 0) >>> 0,
    'max.s32': (a, b) => Math.max(a | 0, b | 0) >>> 0,
    'and.b32': (a, b) => (a & b) >>> 0,
    'or.b32': (a, b) => (a | b) >>> 0,
    'xor.b32': (a, b) => (a ^ b) >>> 0,
  }
  for (const [name, f] of Object.entries(reductions)) {
    it(`redux.sync.${name}`, () => {
      fc.assert(
        fc.property(row, fc.oneof(fc.constant(0xffffffff), mask), (values, members) => {
          const [got] = warp([values], 1, `redux.sync.${name} %o0, %i0, %members;`, { members })
          const wanted = of(members)
            .map((lane) => values[lane]!)
            .reduce(f)
          for (const lane of of(members)) expect(got![lane]).toBe(wanted)
        }),
        { numRuns: 15 },
      )
    })
  }
  it('match.any.sync and match.all.sync', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3), { minLength: 32, maxLength: 32 }), fc.boolean(), mask, (values, same, members) => {
        const used = same ? values.map(() => 9) : values
        const [any, all, predicate] = warp(
          [used],
          3,
          'match.any.sync.b32 %o0, %i0, %members;\nmatch.all.sync.b32 %o1|%p1, %i0, %members;\nselp.u32 %o2, 1, 0, %p1;',
          { members },
        )
        const chosen = of(members)
        const equal = chosen.every((lane) => used[lane] === used[chosen[0]!])
        for (const lane of chosen) {
          expect(any![lane]).toBe(chosen.filter((l) => used[l] === used[lane]).reduce((sum, l) => sum + 2 ** l, 0))
          expect(all![lane]).toBe(equal ? members >>> 0 : 0)
          expect(predicate![lane]).toBe(equal ? 1 : 0)
        }
      }),
      { numRuns: 20 },
    )
  })
  it('activemask and the lane masks', () => {
    const [active, eq, lt, le, gt, ge, lane] = warp(
      [],
      7,
      `activemask.b32 %o0;
mov.u32 %o1, %lanemask_eq;
mov.u32 %o2, %lanemask_lt;
mov.u32 %o3, %lanemask_le;
mov.u32 %o4, %lanemask_gt;
mov.u32 %o5, %lanemask_ge;
mov.u32 %o6, %laneid;`,
    )
    for (const l of lanes) {
      const bit = 2 ** l
      expect([active![l], eq![l], lt![l], le![l], gt![l], ge![l], lane![l]]).toEqual([
        0xffffffff,
        bit,
        bit - 1,
        2 * bit - 1,
        2 ** 32 - 2 * bit,
        2 ** 32 - bit,
        l,
      ])
    }
  })
})

describe('ldmatrix', () => {
  // Matrix m has its row r at the address that lane 8 m + r gives. Lane l gets of each matrix the elements (l / 4, 2 (l % 4)) and the next of that row;
  // transposed, those of (2 (l % 4), l / 4) and (2 (l % 4) + 1, l / 4). Element (r, c) of matrix m is the number 64 m + 8 r + c here.
  for (const count of [1, 2, 4]) {
    for (const transposed of [false, true]) {
      it(`x${count}${transposed ? '.trans' : ''}`, () => {
        const elements = Uint16Array.from({ length: 64 * count }, (_, i) => i)
        const y = Array.from({ length: count }, () => new Uint32Array(32))
        const registers = Array.from({ length: count }, (_, i) => `%r${10 + i}`)
        // Rows lie in any order and 16 bytes apart from one another: row i at 32 * ((5 i) % 32).
        run(
          kernel(
            ['.u64 x', ...y.map((_, i) => `.u64 y${i}`)],
            `.shared .align 16 .b8 s[1024];
mov.u32 %r0, s;
mul.lo.u32 %r1, %t, 5;
and.b32 %r1, %r1, 31;
mad.lo.u32 %r2, %r1, 32, %r0;
setp.ge.u32 %p1, %t, ${8 * count};
@%p1 bra $filled;
mul.wide.u32 %d0, %t, 16;
add.s64 %d1, %x, %d0;
ld.global.v4.u32 {%r4, %r5, %r6, %r7}, [%d1];
st.shared.v4.u32 [%r2], {%r4, %r5, %r6, %r7};
$filled:
bar.warp.sync -1;
ldmatrix.sync.aligned.m8n8.x${count}${transposed ? '.trans' : ''}.shared.b16 {${registers.join(', ')}}, [%r2];
mul.wide.u32 %d2, %t, 4;
${y.map((_, i) => `add.s64 %d3, %y${i}, %d2;\nst.global.u32 [%d3], ${registers[i]};`).join('\n')}`,
          ),
          [elements, ...y],
          { block: 32, checks: { races: true, initialised: true } },
        )
        y.forEach((values, m) => {
          const at = (r: number, c: number) => 64 * m + 8 * r + c
          expect([...values]).toEqual(
            lanes.map((l) => {
              const group = l >> 2
              const pair = 2 * (l & 3)
              return transposed ? at(pair, group) | (at(pair + 1, group) << 16) : at(group, pair) | (at(group, pair + 1) << 16)
            }),
          )
        })
      })
    }
  }
})

describe('mma.sync.aligned.m16n8k16', () => {
  // "Matrix fragments for mma.m16n8k16 with floating point type" of the PTX ISA: groupID = lane / 4, threadID_in_group = lane % 4.
  const groupOf = (lane: number) => lane >> 2
  const inGroup = (lane: number) => lane & 3
  /** [row, column] of element i of A in a lane, i = 0 ... 7, two a register. */
  const placeA = (lane: number, i: number): [number, number] => [
    (i >= 0 && i < 2) || (i >= 4 && i < 6) ? groupOf(lane) : groupOf(lane) + 8,
    inGroup(lane) * 2 + (i & 1) + (i >= 4 ? 8 : 0),
  ]
  /** Of B, i = 0 ... 3. */
  const placeB = (lane: number, i: number): [number, number] => [inGroup(lane) * 2 + (i & 1) + (i >= 2 ? 8 : 0), groupOf(lane)]
  /** Of C and D, i = 0 ... 3. */
  const placeC = (lane: number, i: number): [number, number] => [i < 2 ? groupOf(lane) : groupOf(lane) + 8, inGroup(lane) * 2 + (i & 1)]

  /** D of A [16][16], B [16][8] and C [16][8], given and returned as bits. */
  function multiplied(type: string, a: readonly bigint[][], b: readonly bigint[][], c: readonly bigint[][]): bigint[][] {
    const pair = (low: bigint, high: bigint) => Number(low | (high << 16n))
    const inputs: number[][] = []
    for (let r = 0; r < 4; r++)
      inputs.push(lanes.map((l) => pair(...([0, 1].map((h) => a[placeA(l, 2 * r + h)[0]]![placeA(l, 2 * r + h)[1]]!) as [bigint, bigint]))))
    for (let r = 0; r < 2; r++)
      inputs.push(lanes.map((l) => pair(...([0, 1].map((h) => b[placeB(l, 2 * r + h)[0]]![placeB(l, 2 * r + h)[1]]!) as [bigint, bigint]))))
    const cIn = new Uint32Array(128)
    for (const l of lanes) for (let i = 0; i < 4; i++) cIn[4 * l + i] = Number(c[placeC(l, i)[0]]![placeC(l, i)[1]]!)
    const d = new Uint32Array(128)
    run(
      kernel(
        [...inputs.map((_, i) => `.u64 x${i}`), '.u64 c', '.u64 d'],
        `mul.wide.u32 %d0, %t, 4;
${inputs.map((_, i) => `add.s64 %d1, %x${i}, %d0;\nld.global.b32 %r${i}, [%d1];`).join('\n')}
mul.wide.u32 %d2, %t, 16;
add.s64 %d3, %c, %d2;
add.s64 %d4, %d, %d2;
ld.global.v4.b32 {%r10, %r11, %r12, %r13}, [%d3];
mma.sync.aligned.m16n8k16.row.col.f32.${type}.${type}.f32 {%r10, %r11, %r12, %r13}, {%r0, %r1, %r2, %r3}, {%r4, %r5}, {%r10, %r11, %r12, %r13};
st.global.v4.b32 [%d4], {%r10, %r11, %r12, %r13};`,
      ),
      [...inputs.map((values) => new Uint32Array(values)), cIn, d],
      { block: 32 },
    )
    const result = Array.from({ length: 16 }, () => new Array<bigint>(8).fill(0n))
    for (const l of lanes) for (let i = 0; i < 4; i++) result[placeC(l, i)[0]]![placeC(l, i)[1]] = BigInt(d[4 * l + i]!)
    return result
  }
  const matrix = (rows: number, columns: number, f: (r: number, c: number) => bigint) =>
    Array.from({ length: rows }, (_, r) => Array.from({ length: columns }, (_, c) => f(r, c)))

  for (const [type, format] of [
    ['bf16', BF16],
    ['f16', F16],
  ] as const) {
    it(`${type}: small whole numbers are exact, each place in its own`, () => {
      const number = (value: number, of: Format = format) => bitsOf(of, value)
      const a = (r: number, k: number) => ((r * 7 + k * 3) % 17) - 8
      const b = (k: number, n: number) => ((k * 5 + n * 11) % 13) - 6
      const d = multiplied(
        type,
        matrix(16, 16, (r, k) => number(a(r, k))),
        matrix(16, 8, (k, n) => number(b(k, n))),
        matrix(16, 8, (r, n) => number(r * 8 + n, F32)),
      )
      const wanted = matrix(16, 8, (r, n) => {
        let sum = r * 8 + n
        for (let k = 0; k < 16; k++) sum += a(r, k) * b(k, n)
        return number(sum, F32)
      })
      expect(d).toEqual(wanted)
    })
    it(`${type}: random numbers come out within a rounding of f32 of the exact sum`, () => {
      const real = fc.integer({ min: -2000, max: 2000 }).map((value) => bitsOf(format, value / 256))
      fc.assert(
        fc.property(
          fc.array(real, { minLength: 384, maxLength: 384 }),
          fc.array(fc.float({ min: -100, max: 100, noNaN: true }), { minLength: 128, maxLength: 128 }),
          (ab, cs) => {
            const a = matrix(16, 16, (r, k) => ab[16 * r + k]!)
            const b = matrix(16, 8, (k, n) => ab[256 + 8 * k + n]!)
            const c = matrix(16, 8, (r, n) => bitsOf(F32, cs[8 * r + n]!))
            const d = multiplied(type, a, b, c)
            for (let r = 0; r < 16; r++) {
              for (let n = 0; n < 8; n++) {
                let sum: Exact = decode(F32, c[r]![n]!)
                let size = Math.abs(toNumber(sum))
                for (let k = 0; k < 16; k++) {
                  const product = multiply(decode(format, a[r]![k]!), decode(format, b[k]![n]!))
                  sum = add(sum, product)
                  size += Math.abs(toNumber(product))
                }
                // Exact products, summed in double (its error is far below) and rounded once.
                const error = Math.abs(toNumber(decode(F32, d[r]![n]!)) - toNumber(sum))
                expect(error <= 2 ** -24 * Math.abs(toNumber(sum)) + 2 ** -48 * size, `row ${r}, column ${n}`).toBe(true)
              }
            }
          },
        ),
        { numRuns: 10 },
      )
    })
    it(`${type}: NaN and infinity stay where they belong`, () => {
      const one = bitsOf(format, 1)
      const infinity = bitsOf(format, Infinity)
      const d = multiplied(
        type,
        matrix(16, 16, (r, k) => (r === 3 && k === 9 ? bitsOf(format, Number.NaN) : r === 5 && k === 2 ? infinity : one)),
        matrix(16, 8, (k, n) => (n === 4 && k === 2 ? 0n : one)),
        matrix(16, 8, () => 0n),
      )
      for (let r = 0; r < 16; r++) {
        for (let n = 0; n < 8; n++) {
          const value = toNumber(decode(F32, d[r]![n]!))
          const wanted = r === 3 || (r === 5 && n === 4) ? Number.NaN : r === 5 ? Infinity : n === 4 ? 15 : 16
          expect(Object.is(value, wanted), `row ${r}, column ${n}: ${value}`).toBe(true)
        }
      }
    })
  }
  it('a result is as wide as f32 says', () => {
    const d = multiplied(
      'bf16',
      matrix(16, 16, (_, k) => (k === 0 ? encode(BF16, decode(F32, bitsOf(F32, 1))) : 0n)),
      matrix(16, 8, (k) => (k === 0 ? bitsOf(BF16, 1) : 0n)),
      matrix(16, 8, () => bitsOf(F32, 2 ** -25)),
    )
    expect(d.flat().every((bits) => bits === bitsOf(F32, 1))).toBe(true)
  })
})

describe('lane numbers of a narrow last warp', () => {
  it('a block of 40 threads: the second warp has 8 lanes', () => {
    const y = new Uint32Array(40)
    run(
      kernel(
        ['.u64 y'],
        `activemask.b32 %r1;
mov.u32 %r2, %warpid;
mov.u32 %r3, %laneid;
mad.lo.u32 %r4, %r2, 1000, %r3;
popc.b32 %r5, %r1;
mad.lo.u32 %r4, %r5, 100000, %r4;
mul.wide.u32 %d0, %t, 4;
add.s64 %d1, %y, %d0;
st.global.u32 [%d1], %r4;`,
      ),
      [y],
      { block: 40 },
    )
    expect([...y]).toEqual(Array.from({ length: 40 }, (_, t) => (t < 32 ? 3200000 + t : 800000 + 1000 + t - 32)))
  })
})
