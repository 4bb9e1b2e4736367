/** Loads, stores, address spaces, atomics and asynchronous copies of the emulated machine. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Memory } from './emulator/index.js'
import { add, BF16, decode, encode, F32, F64 } from './fixtures/float.js'
import { signed, unsigned } from './fixtures/golden.js'
import { faultOf, kernel, moduleOf, run, words } from './fixtures/ptx.js'

const bytesOf = (memory: Memory): number[] => [...new Uint8Array(memory.buffer, memory.byteOffset, memory.byteLength)]
const random = (count: number, seed: number): Uint8Array => {
  let state = seed
  return Uint8Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state >>> 24
  })
}

describe('loads and stores', () => {
  // Each type into each register that is wide enough: signed ones are extended by their sign, all others by zeros.
  for (const [type, width] of [
    ['u8', 8],
    ['s8', 8],
    ['b8', 8],
    ['u16', 16],
    ['s16', 16],
    ['b16', 16],
    ['u32', 32],
    ['s32', 32],
    ['b32', 32],
    ['u64', 64],
    ['s64', 64],
    ['b64', 64],
  ] as const) {
    for (const register of [16, 32, 64] as const) {
      if (register < width) continue
      it(`ld.${type} into ${register} bits, st.${type} of them`, () => {
        const x = random((32 * width) / 8, 3)
        const wide = words(register, new Array(32).fill(0n))
        const y = new Uint8Array(x.length)
        const name = { 16: '%h1', 32: '%r1', 64: '%d9' }[register]
        run(
          kernel(
            ['.u64 x', '.u64 wide', '.u64 y'],
            `mul.wide.u32 %d0, %t, ${width / 8};
add.s64 %d1, %x, %d0;
add.s64 %d2, %y, %d0;
mul.wide.u32 %d3, %t, ${register / 8};
add.s64 %d4, %wide, %d3;
ld.global.${type} ${name}, [%d1];
st.global.${type} [%d2], ${name};
st.global.b${register} [%d4], ${name};`,
          ),
          [x, wide, y],
          { block: 32 },
        )
        expect(bytesOf(y)).toEqual([...x])
        const values =
          width === 8
            ? [...x].map(BigInt)
            : Array.from(
                words(width, []).constructor === BigUint64Array
                  ? new BigUint64Array(x.buffer)
                  : width === 16
                    ? new Uint16Array(x.buffer)
                    : new Uint32Array(x.buffer),
                BigInt,
              )
        expect(Array.from(wide as ArrayLike<number | bigint>, BigInt)).toEqual(
          values.map((value) => unsigned(register, type.startsWith('s') ? signed(width, value) : value)),
        )
      })
    }
  }
  for (const count of [2, 4] as const) {
    for (const width of [8, 16, 32, 64] as const) {
      if (count * width > 128) continue
      it(`v${count}.b${width}`, () => {
        const x = random((32 * count * width) / 8, 5)
        const y = new Uint8Array(x.length)
        const registers = Array.from({ length: count }, (_, i) => `${width === 64 ? '%d1' : width === 32 ? '%r1' : '%h1'}${i}`)
        const list = (order: string[]) => `{${order.join(', ')}}`
        run(
          kernel(
            ['.u64 x', '.u64 y'],
            `mul.wide.u32 %d0, %t, ${(count * width) / 8};
add.s64 %d1, %x, %d0;
add.s64 %d2, %y, %d0;
ld.global.v${count}.b${width} ${list(registers)}, [%d1];
st.global.v${count}.b${width} [%d2], ${list(registers.toReversed())};`,
          ),
          [x, y],
          { block: 32 },
        )
        const element = width / 8
        const wanted = Array.from({ length: 32 }, (_, t) =>
          Array.from({ length: count }, (_, i) => [...x.subarray((t * count + count - 1 - i) * element, (t * count + count - i) * element)]).flat(),
        ).flat()
        expect(bytesOf(y)).toEqual(wanted)
      })
    }
  }
  it('offsets in an address, positive and negative, in all spaces', () => {
    const y = new Uint32Array(4)
    run(
      kernel(
        ['.u64 y'],
        `.shared .align 16 .b8 s[64];
.local .align 16 .b8 l[64];
mov.u32 %r0, s;
add.u32 %r0, %r0, 32;
st.shared.u32 [%r0+-8], 11;
st.shared.u32 [s+60], 12;
ld.shared.u32 %r1, [s+24];
ld.shared.u32 %r2, [%r0+28];
st.local.u32 [l+4], 13;
mov.u64 %d1, l;
ld.local.u32 %r3, [%d1+4];
add.s64 %d2, %y, 8;
st.global.u32 [%d2+-8], %r1;
st.global.u32 [%d2+-4], %r2;
st.global.u32 [%d2], %r3;
st.global.u32 [%d2+4], 14;`,
      ),
      [y],
    )
    expect([...y]).toEqual([11, 12, 13, 14])
  })
  it('generic addresses of global, shared and local memory, and back', () => {
    const y = new Uint32Array([7, 0, 0, 0, 0])
    run(
      kernel(
        ['.u64 y'],
        `.shared .align 4 .b8 s[8];
.local .align 4 .b8 l[8];
cvta.to.global.u64 %d0, %y;
cvta.global.u64 %d1, %d0;
mov.u64 %d2, s;
cvta.shared.u64 %d3, %d2;
mov.u64 %d4, l;
cvta.local.u64 %d5, %d4;
ld.u32 %r1, [%d1];
st.u32 [%d3+4], %r1;
ld.shared.u32 %r2, [s+4];
add.u32 %r2, %r2, 1;
st.local.u32 [l], %r2;
ld.u32 %r3, [%d5];
st.u32 [%d1+4], %r2;
st.global.u32 [%d0+8], %r3;
cvta.to.shared.u64 %d6, %d3;
cvt.u32.u64 %r4, %d6;
ld.shared.u32 %r5, [%r4+4];
st.global.u32 [%d0+12], %r5;
isspacep.shared %p1, %d3;
isspacep.shared %p2, %d1;
selp.u32 %r6, 1, 0, %p1;
selp.u32 %r7, 2, 0, %p2;
or.b32 %r6, %r6, %r7;
st.global.u32 [%d0+16], %r6;`,
      ),
      [y],
    )
    expect([...y]).toEqual([7, 8, 8, 7, 1])
  })
  it('local memory is of each thread', () => {
    const y = new Uint32Array(64)
    run(
      kernel(
        ['.u64 y'],
        `.local .align 4 .b8 l[64];
mov.u64 %d0, l;
and.b32 %r0, %t, 15;
mul.wide.u32 %d1, %r0, 4;
add.s64 %d2, %d0, %d1;
st.local.u32 [%d2], %t;
ld.local.u32 %r1, [%d2];
mul.wide.u32 %d3, %t, 4;
add.s64 %d4, %y, %d3;
st.global.u32 [%d4], %r1;`,
      ),
      [y],
      { block: 64 },
    )
    expect([...y]).toEqual(Array.from({ length: 64 }, (_, t) => t))
  })
  it('variables of the module, constant and global, with and without values', () => {
    const y = new Uint32Array(6)
    const text = kernel(
      ['.u64 y'],
      `ld.const.u32 %r1, [c+4];
ld.global.u32 %r2, [g];
mov.u64 %d1, g;
ld.global.u32 %r3, [%d1+8];
add.u32 %r4, %r2, 1;
st.global.u32 [g], %r4;
ld.const.u8 %h1, [b+2];
cvt.u32.u16 %r5, %h1;
ld.global.f32 %r6, [f+4];
st.global.v2.u32 [%y], {%r1, %r2};
st.global.v2.u32 [%y+8], {%r3, %r5};
st.global.u32 [%y+16], %r6;
ld.global.u32 %r7, [g];
st.global.u32 [%y+20], %r7;`,
      {
        outside:
          '.const .align 4 .u32 c[2] = {5, 6};\n.global .align 4 .u32 g[3] = {1, 2};\n.const .align 1 .b8 b[4] = {1, 2, 255, 4};\n.global .align 4 .f32 f[2] = {0f3F800000, 0f40000000};',
      },
    )
    run(text, [y])
    expect([...y]).toEqual([6, 1, 0, 255, 0x40000000, 2])
  })
  it('parameters: of all types, and a structure by its bytes', () => {
    const y = new Uint8Array(24)
    const text = moduleOf(`.visible .entry k(.param .u64 y, .param .u8 a, .param .f64 d, .param .align 8 .b8 s[12])
{
.reg .b64 %d<4>;
.reg .b32 %r<4>;
.reg .b16 %h<2>;
.reg .f64 %f;
ld.param.u64 %d0, [y];
ld.param.u8 %h0, [a];
ld.param.f64 %f, [d];
ld.param.u32 %r1, [s+8];
ld.param.v2.u32 {%r2, %r3}, [s];
st.global.f64 [%d0], %f;
st.global.v2.u32 [%d0+8], {%r3, %r2};
st.global.u32 [%d0+16], %r1;
st.global.u8 [%d0+20], %h0;
ret;
}`)
    run(text, [y, { u8: 200 }, { f64: -1.5 }, { bytes: Uint8Array.of(1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0) }])
    const view = new DataView(y.buffer)
    expect([view.getFloat64(0, true), view.getUint32(8, true), view.getUint32(12, true), view.getUint32(16, true), y[20]]).toEqual([-1.5, 2, 1, 3, 200])
  })
  it('cache hints change nothing', () => {
    const x = new Uint32Array([1, 2, 3, 4])
    const y = new Uint32Array(4)
    run(
      kernel(
        ['.u64 x', '.u64 y'],
        `ld.global.nc.u32 %r0, [%x];
ld.global.nc.L1::no_allocate.v2.u32 {%r1, %r2}, [%x];
ld.global.cg.u32 %r3, [%x+8];
ld.global.ca.u32 %r4, [%x+12];
prefetch.global.L2 [%x];
st.global.wb.u32 [%y], %r0;
st.global.cs.u32 [%y+4], %r2;
st.global.cg.u32 [%y+8], %r3;
st.volatile.global.u32 [%y+12], %r4;`,
      ),
      [x, y],
    )
    expect([...y]).toEqual([1, 2, 3, 4])
  })
})

describe('atomics', () => {
  const widths = { u32: 32, s32: 32, b32: 32, u64: 64, s64: 64, b64: 64, f32: 32, f64: 64 } as const
  type Type = keyof typeof widths
  const read = (type: Type, bits: bigint) => (type.startsWith('s') ? signed(widths[type], bits) : bits)
  const number = { f32: F32, f64: F64 } as const
  const operations: Record<string, { types: readonly Type[]; f: (type: Type, old: bigint, b: bigint) => bigint }> = {
    add: {
      types: ['u32', 's32', 'u64', 'f32', 'f64'],
      f: (type, old, b) => (type === 'f32' || type === 'f64' ? encode(number[type], add(decode(number[type], old), decode(number[type], b))) : old + b),
    },
    min: { types: ['u32', 's32', 'u64', 's64'], f: (type, old, b) => (read(type, b) < read(type, old) ? b : old) },
    max: { types: ['u32', 's32', 'u64', 's64'], f: (type, old, b) => (read(type, b) > read(type, old) ? b : old) },
    and: { types: ['b32', 'b64'], f: (_, old, b) => old & b },
    or: { types: ['b32', 'b64'], f: (_, old, b) => old | b },
    xor: { types: ['b32', 'b64'], f: (_, old, b) => old ^ b },
    exch: { types: ['b32', 'b64'], f: (_, _old, b) => b },
    inc: { types: ['u32'], f: (_, old, b) => (old >= b ? 0n : old + 1n) },
    dec: { types: ['u32'], f: (_, old, b) => (old === 0n || old > b ? b : old - 1n) },
  }
  for (const [operation, { types, f }] of Object.entries(operations)) {
    for (const type of types) {
      for (const space of ['global', 'shared'] as const) {
        it(`atom.${space}.${operation}.${type}: each lane on a word of its own`, () => {
          const width = widths[type]
          const register = width === 32 ? '%r' : '%d1'
          const text = kernel(
            ['.u64 x', '.u64 b', '.u64 old'],
            `.shared .align 8 .b8 s[256];
mul.wide.u32 %d0, %t, ${width / 8};
add.s64 %d1, %x, %d0;
add.s64 %d2, %b, %d0;
add.s64 %d3, %old, %d0;
cvt.u32.u64 %r9, %d0;
mov.u32 %r8, s;
add.u32 %r8, %r8, %r9;
ld.global.b${width} ${register}1, [%d2];
${space === 'shared' ? `ld.global.b${width} ${register}2, [%d1];\nst.shared.b${width} [%r8], ${register}2;` : ''}
atom.${space}.${operation}.${type} ${register}3, [${space === 'shared' ? '%r8' : '%d1'}], ${register}1;
${space === 'shared' ? `ld.shared.b${width} ${register}4, [%r8];\nst.global.b${width} [%d1], ${register}4;` : ''}
st.global.b${width} [%d3], ${register}3;`,
          )
          fc.assert(
            fc.property(
              fc.array(fc.tuple(fc.bigInt(0n, (1n << BigInt(width)) - 1n), fc.bigInt(0n, (1n << BigInt(width)) - 1n), fc.boolean(), fc.nat(3)), {
                minLength: 32,
                maxLength: 32,
              }),
              (rows) => {
                // Near and equal numbers, too: inc and dec turn round there.
                const before = rows.map(([a, b, near, by]) => (near ? unsigned(width, b + BigInt(by) - 1n) : a))
                const operands = rows.map(([, b]) => b)
                const x = words(width, before)
                const old = words(width, new Array(32).fill(0n))
                run(text, [x, words(width, operands), old], { block: 32 })
                expect(Array.from(old as ArrayLike<number | bigint>, BigInt)).toEqual(before)
                const nan = (bits: bigint) => (type in number && decode(number[type as 'f32'], bits).kind === 'nan' ? 'NaN' : bits)
                expect(Array.from(x as ArrayLike<number | bigint>, (value) => nan(BigInt(value)))).toEqual(
                  before.map((value, i) => nan(unsigned(width, f(type, value, operands[i]!)))),
                )
              },
            ),
            { numRuns: 10 },
          )
        })
      }
    }
  }
  for (const width of [32, 64] as const) {
    it(`atom.cas.b${width}`, () => {
      const register = width === 32 ? '%r' : '%d1'
      const x = words(
        width,
        Array.from({ length: 32 }, (_, t) => BigInt(t % 3)),
      )
      const old = words(width, new Array(32).fill(0n))
      run(
        kernel(
          ['.u64 x', '.u64 old'],
          `mul.wide.u32 %d0, %t, ${width / 8};
add.s64 %d1, %x, %d0;
add.s64 %d2, %old, %d0;
atom.global.cas.b${width} ${register}1, [%d1], 1, 77;
st.global.b${width} [%d2], ${register}1;`,
        ),
        [x, old],
        { block: 32 },
      )
      expect(Array.from(x as ArrayLike<number | bigint>, Number)).toEqual(Array.from({ length: 32 }, (_, t) => (t % 3 === 1 ? 77 : t % 3)))
      expect(Array.from(old as ArrayLike<number | bigint>, Number)).toEqual(Array.from({ length: 32 }, (_, t) => t % 3))
    })
  }
  it('all threads of all blocks on one word: every old value once', () => {
    const x = new Uint32Array(1)
    const old = new Uint32Array(512)
    const text = kernel(
      ['.u64 x', '.u64 old'],
      `atom.global.add.u32 %r1, [%x], 1;
mad.lo.u32 %r2, %block, 128, %t;
mul.wide.u32 %d0, %r2, 4;
add.s64 %d1, %old, %d0;
st.global.u32 [%d1], %r1;`,
    )
    for (const [seed, residentBlocks] of [
      [0, 1],
      [5, 1],
      [9, 2],
    ] as const) {
      x[0] = 0
      run(text, [x, old], { grid: 4, block: 128, seed, residentBlocks })
      expect(x[0]).toBe(512)
      expect([...old].sort((a, b) => a - b)).toEqual(Array.from({ length: 512 }, (_, i) => i))
    }
  })
  it('red: as atom, with nothing returned', () => {
    const x = new Uint32Array([0, 0xffffffff, 0])
    const f = new Float32Array(1)
    run(
      kernel(
        ['.u64 x', '.u64 f'],
        `red.global.add.u32 [%x], %t;
red.global.and.b32 [%x+4], 0xFFFF00FF;
red.relaxed.gpu.global.max.u32 [%x+8], %t;
red.global.add.f32 [%f], 0f3F000000;`,
      ),
      [x, f],
      { block: 64 },
    )
    expect([...x]).toEqual([2016, 0xffff00ff, 63])
    expect(f[0]).toBe(32)
  })
})

describe('cp.async', () => {
  for (const [operation, bytes] of [
    ['ca', 4],
    ['ca', 8],
    ['ca', 16],
    ['cg', 16],
  ] as const) {
    for (const source of [undefined, 0, bytes / 2, bytes]) {
      it(`cp.async.${operation} of ${bytes} bytes${source === undefined ? '' : `, ${source} of them from the source and zeros behind`}`, () => {
        const x = random(32 * bytes, 9)
        const y = new Uint8Array(32 * bytes)
        run(
          kernel(
            ['.u64 x', '.u64 y', '.u32 n'],
            `.shared .align 16 .b8 s[512];
mul.wide.u32 %d0, %t, ${bytes};
add.s64 %d1, %x, %d0;
add.s64 %d2, %y, %d0;
cvt.u32.u64 %r0, %d0;
mov.u32 %r1, s;
add.u32 %r1, %r1, %r0;
cp.async.${operation}.shared.global [%r1], [%d1], ${bytes}${source === undefined ? '' : ', %n'};
cp.async.commit_group;
cp.async.wait_group 0;
${Array.from({ length: bytes / 4 }, (_, i) => `ld.shared.u32 %r2, [%r1+${4 * i}];\nst.global.u32 [%d2+${4 * i}], %r2;`).join('\n')}`,
          ),
          [x, y, { u32: source ?? bytes }],
          { block: 32 },
        )
        expect([...y]).toEqual([...x].map((value, i) => (i % bytes < (source ?? bytes) ? value : 0)))
      })
    }
  }
  const staged = (wait: string) =>
    kernel(
      ['.u64 x', '.u64 y'],
      `.shared .align 16 .b8 s[48];
mov.u32 %r1, s;
cp.async.cg.shared.global [%r1], [%x], 16;
cp.async.commit_group;
cp.async.cg.shared.global [%r1+16], [%x+16], 16;
cp.async.commit_group;
cp.async.cg.shared.global [%r1+32], [%x+32], 16;
cp.async.commit_group;
${wait}
ld.shared.u32 %r2, [s];
ld.shared.u32 %r3, [s+16];
ld.shared.u32 %r4, [s+32];
st.global.u32 [%y], %r2;
st.global.u32 [%y+4], %r3;
st.global.u32 [%y+8], %r4;`,
    )
  const x = new Uint32Array([1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0])
  for (const [wait, arrived] of [
    ['cp.async.wait_group 0;', 3],
    ['cp.async.wait_group 1;', 2],
    ['cp.async.wait_group 2;', 1],
    ['cp.async.wait_group 3;', 0],
    ['cp.async.wait_all;', 3],
  ] as const) {
    it(`${wait} lets ${arrived} of three groups be there, and no more`, () => {
      const y = new Uint32Array(3)
      run(staged(wait), [x, y])
      expect([...y].map((value, i) => value === i + 1)).toEqual([0, 1, 2].map((i) => i < arrived))
    })
  }
  it('the source is not read where the size is 0', () => {
    const text = kernel(
      ['.u64 x', '.u32 n'],
      '.shared .align 16 .b8 s[16];\nmov.u32 %r1, s;\ncp.async.cg.shared.global [%r1], [%x], 16, %n;\ncp.async.wait_all;',
    )
    const beyond = { memory: new Uint32Array(4), offset: 1024 }
    expect(faultOf(() => run(text, [beyond, { u32: 0 }])).kind).toBe('none')
    expect(faultOf(() => run(text, [beyond, { u32: 16 }])).kind).toBe('illegal address')
  })
})

describe('bf16 in memory', () => {
  it('a store of 16 bits and a load of them is the number', () => {
    const x = new Float32Array([1, -2.5, 3.140625, 1e-3])
    const y = new Uint16Array(4)
    run(
      kernel(
        ['.u64 x', '.u64 y'],
        `mul.wide.u32 %d0, %t, 4;
add.s64 %d1, %x, %d0;
mul.wide.u32 %d2, %t, 2;
add.s64 %d3, %y, %d2;
ld.global.f32 %r1, [%d1];
cvt.rn.bf16.f32 %h1, %r1;
st.global.b16 [%d3], %h1;`,
      ),
      [x, y],
      { block: 4 },
    )
    const bits = new Uint32Array(x.buffer)
    expect([...y]).toEqual([...bits].map((value) => Number(encode(BF16, decode(F32, BigInt(value))))))
  })
})
