/** Floating-point arithmetic and conversion of the emulated machine against exact arithmetic in BigInt. */
import { describe, expect, it } from 'vitest'
import {
  add,
  BF16,
  bitsOf,
  decode,
  type Exact,
  encode,
  F16,
  F32,
  F64,
  type Format,
  multiply,
  negate,
  numberOf,
  type Rounding,
  toInteger,
  whole,
} from './fixtures/float.js'
import { golden, I8, I16, I32, I64, type Operand, R16, R32, R64, RB16, signed, unsigned } from './fixtures/golden.js'
import { each } from './fixtures/ptx.js'

const NAN = 'NaN'
const formats = { f32: { operand: R32, format: F32 }, f64: { operand: R64, format: F64 } } as const

describe('arithmetic, rounded once', () => {
  for (const [type, { operand: O, format }] of Object.entries(formats)) {
    const of = (bits: bigint | undefined) => decode(format, bits!)
    golden(`add.${type}`, [O, O], [O], `add.${type} %o0, %i0, %i1;`, (a, b) => encode(format, add(of(a), of(b))))
    golden(`sub.${type}`, [O, O], [O], `sub.${type} %o0, %i0, %i1;`, (a, b) => encode(format, add(of(a), negate(of(b)))))
    golden(`mul.${type}`, [O, O], [O], `mul.${type} %o0, %i0, %i1;`, (a, b) => encode(format, multiply(of(a), of(b))))
    golden(`fma.rn.${type}`, [O, O, O], [O], `fma.rn.${type} %o0, %i0, %i1, %i2;`, (a, b, c) => encode(format, add(multiply(of(a), of(b)), of(c))))
    // JavaScript's own division and square root are those of f64; that rounding them again to f32 is harmless follows from 53 >= 2 * 24 + 2.
    const value = (bits: bigint | undefined) => numberOf(format, bits!)
    golden(`div.rn.${type}`, [O, O], [O], `div.rn.${type} %o0, %i0, %i1;`, (a, b) => bitsOf(format, value(a) / value(b)))
    golden(`sqrt.rn.${type}`, [O], [O], `sqrt.rn.${type} %o0, %i0;`, (a) => bitsOf(format, Math.sqrt(value(a))))
    golden(`rcp.rn.${type}`, [O], [O], `rcp.rn.${type} %o0, %i0;`, (a) => bitsOf(format, 1 / value(a)))
    golden(`abs.${type}`, [O], [O], `abs.${type} %o0, %i0;`, (a) => encode(format, abs(of(a))))
    golden(`neg.${type}`, [O], [O], `neg.${type} %o0, %i0;`, (a) => encode(format, negate(of(a))))
    // One NaN gives the other operand; +0 is above -0.
    const extreme = (a: bigint, b: bigint, sign: 1 | -1) => {
      if (Number.isNaN(value(a))) return encode(format, of(b))
      if (Number.isNaN(value(b))) return encode(format, of(a))
      const negative = (bits: bigint) => bits >> BigInt(format.bits - 1) === 1n
      const less = value(a) < value(b) || (value(a) === value(b) && negative(a))
      return less === sign < 0 ? a : b
    }
    golden(`min.${type}`, [O, O], [O], `min.${type} %o0, %i0, %i1;`, (a, b) => extreme(a!, b!, -1))
    golden(`max.${type}`, [O, O], [O], `max.${type} %o0, %i0, %i1;`, (a, b) => extreme(a!, b!, 1))
    if (type === 'f32') {
      const nan = (a: bigint, b: bigint) => Number.isNaN(value(a)) || Number.isNaN(value(b))
      golden('min.NaN.f32', [O, O], [O], 'min.NaN.f32 %o0, %i0, %i1;', (a, b) => (nan(a!, b!) ? encode(format, { kind: 'nan' }) : extreme(a!, b!, -1)))
      golden('max.NaN.f32', [O, O], [O], 'max.NaN.f32 %o0, %i0, %i1;', (a, b) => (nan(a!, b!) ? encode(format, { kind: 'nan' }) : extreme(a!, b!, 1)))
    }
    golden(`copysign.${type}`, [O, O], [O], `copysign.${type} %o0, %i0, %i1;`, (a, b) => {
      const sign = 1n << BigInt(format.bits - 1)
      return (b! & ~sign) | (a! & sign)
    })
    golden(
      `selp and mov.${type}`,
      [I32, O, O],
      [O],
      `.reg .${type} %x;\nsetp.eq.u32 %p1, %i0, 1;\nmov.${type} %x, %i1;\nselp.${type} %o0, %x, %i2, %p1;`,
      (p, a, b) => (p === 1n ? a! : b!),
    )
  }
  golden('an immediate of hexadecimal bits', [R32], [R32], 'add.f32 %o0, %i0, 0f40490FDB;', (a) => encode(F32, add(decode(F32, a!), decode(F32, 0x40490fdbn))))
  golden('an immediate of 64 bits', [R64], [R64], 'mul.f64 %o0, %i0, 0d3FF8000000000000;', (a) =>
    encode(F64, multiply(decode(F64, a!), decode(F64, 0x3ff8000000000000n))),
  )
  golden('add.sat.f32', [R32, R32], [R32], 'add.sat.f32 %o0, %i0, %i1;', (a, b) => clamped(encode(F32, add(decode(F32, a!), decode(F32, b!)))))
})

const abs = (a: Exact): Exact => (a.kind === 'nan' ? a : { ...a, negative: false })
/** To [0, 1]; NaN becomes 0. */
function clamped(bits: bigint): bigint {
  const value = numberOf(F32, bits)
  return value > 1 ? 0x3f800000n : value > 0 ? bits : 0n
}

describe('16-bit arithmetic', () => {
  for (const [type, O, format] of [
    ['bf16', RB16, BF16],
    ['f16', R16, F16],
  ] as const) {
    const of = (bits: bigint | undefined) => decode(format, bits!)
    const fused = (a: bigint, b: bigint, c: bigint) => encode(format, add(multiply(of(a), of(b)), of(c)))
    golden(`fma.rn.${type}`, [O, O, O], [O], `fma.rn.${type} %o0, %i0, %i1, %i2;`, (a, b, c) => fused(a!, b!, c!))
    golden(
      `fma.rn.${type}x2`,
      [O, O, O, O, O, O],
      [O, O],
      `mov.b32 %r1, {%i0, %i1};
mov.b32 %r2, {%i2, %i3};
mov.b32 %r3, {%i4, %i5};
fma.rn.${type}x2 %r4, %r1, %r2, %r3;
mov.b32 {%o0, %o1}, %r4;`,
      (a, d, b, e, c, f) => [fused(a!, b!, c!), fused(d!, e!, f!)],
    )
  }
})

describe('comparison', () => {
  const ordered: Record<string, (a: number, b: number) => boolean> = {
    eq: (a, b) => a === b,
    ne: (a, b) => a < b || a > b,
    lt: (a, b) => a < b,
    le: (a, b) => a <= b,
    gt: (a, b) => a > b,
    ge: (a, b) => a >= b,
  }
  const nan = (a: number, b: number) => Number.isNaN(a) || Number.isNaN(b)
  const all: Record<string, (a: number, b: number) => boolean> = { ...ordered, num: (a, b) => !nan(a, b), nan }
  for (const [name, compare] of Object.entries(ordered)) all[`${name}u`] = (a, b) => nan(a, b) || compare(a, b)
  for (const [type, { operand: O, format }] of Object.entries(formats)) {
    for (const [name, compare] of Object.entries(all)) {
      golden(`setp.${name}.${type}`, [O, O], [I32], `setp.${name}.${type} %p1, %i0, %i1;\nselp.u32 %o0, 1, 0, %p1;`, (a, b) =>
        compare(numberOf(format, a!), numberOf(format, b!)) ? 1n : 0n,
      )
    }
  }
  for (const test of ['finite', 'infinite', 'number', 'notanumber', 'normal', 'subnormal']) {
    golden(`testp.${test}.f32`, [R32], [I32], `testp.${test}.f32 %p1, %i0;\nselp.u32 %o0, 1, 0, %p1;`, (a) => {
      const value = numberOf(F32, a!)
      const tiny = value !== 0 && Math.abs(value) < 2 ** -126 // zero counts as normal
      const answers: Record<string, boolean> = {
        finite: Number.isFinite(value),
        infinite: Math.abs(value) === Infinity,
        number: !Number.isNaN(value),
        notanumber: Number.isNaN(value),
        normal: Number.isFinite(value) && !tiny,
        subnormal: tiny,
      }
      return answers[test] ? 1n : 0n
    })
  }
})

describe('conversion', () => {
  const integers = [8, 16, 32, 64].flatMap((width) => (['u', 's'] as const).map((kind) => ({ name: `${kind}${width}`, kind, width })))
  const operandOf: Record<number, Operand> = { 8: I8, 16: I16, 32: I32, 64: I64 }
  const read = (kind: string, width: number, bits: bigint) => (kind === 's' ? signed(width, bits) : unsigned(width, bits))
  const range = (kind: string, width: number): [bigint, bigint] =>
    kind === 's' ? [-(1n << BigInt(width - 1)), (1n << BigInt(width - 1)) - 1n] : [0n, (1n << BigInt(width)) - 1n]
  const within = (value: bigint, [low, high]: [bigint, bigint]) => (value < low ? low : value > high ? high : value)
  for (const from of integers) {
    for (const to of integers) {
      if (from.name === to.name) continue
      golden(`cvt.${to.name}.${from.name}`, [operandOf[from.width]!], [operandOf[to.width]!], `cvt.${to.name}.${from.name} %o0, %i0;`, (a) =>
        read(from.kind, from.width, a!),
      )
      // Only where something can be out of range.
      const [low, high] = range(to.kind, to.width)
      if (to.width === 8 || from.width === 8 || range(from.kind, from.width).every((end) => end >= low && end <= high)) continue
      golden(`cvt.sat.${to.name}.${from.name}`, [operandOf[from.width]!], [operandOf[to.width]!], `cvt.sat.${to.name}.${from.name} %o0, %i0;`, (a) =>
        within(read(from.kind, from.width, a!), [low, high]),
      )
    }
  }
  const reals = { f16: { O: R16, format: F16 }, f32: { O: R32, format: F32 }, f64: { O: R64, format: F64 } } as const
  const roundings: readonly Rounding[] = ['rn', 'rz', 'rm', 'rp']
  for (const [name, { O, format }] of Object.entries(reals)) {
    for (const { name: type, kind, width } of integers) {
      if (width === 8) continue
      for (const rounding of roundings) {
        golden(`cvt.${rounding}.${name}.${type}`, [operandOf[width]!], [O], `cvt.${rounding}.${name}.${type} %o0, %i0;`, (a) =>
          encode(format, whole(read(kind, width, a!)), rounding),
        )
        golden(`cvt.${rounding}i.${type}.${name}`, [O], [operandOf[width]!], `cvt.${rounding}i.${type}.${name} %o0, %i0;`, (a) => {
          const value = decode(format, a!)
          // The ISA: 0 where neither the source is f64 nor the destination has 64 bits, else the highest bit alone.
          if (value.kind === 'nan') return name !== 'f64' && width !== 64 ? 0n : 1n << BigInt(width - 1)
          const [low, high] = range(kind, width)
          if (value.kind === 'infinite') return value.negative ? low : high
          return within(toInteger(value, rounding), [low, high])
        })
      }
    }
  }
  const narrowing = [
    ['f32', F32, R32, 'f64', F64, R64, roundings],
    ['f16', F16, R16, 'f32', F32, R32, roundings.slice(0, 2)],
    ['bf16', BF16, RB16, 'f32', F32, R32, roundings.slice(0, 2)],
  ] as const
  for (const [to, toFormat, toOperand, from, fromFormat, fromOperand, list] of narrowing) {
    for (const rounding of list) {
      golden(`cvt.${rounding}.${to}.${from}`, [fromOperand], [toOperand], `cvt.${rounding}.${to}.${from} %o0, %i0;`, (a) =>
        encode(toFormat, decode(fromFormat, a!), rounding),
      )
    }
  }
  golden('cvt.f64.f32', [R32], [R64], 'cvt.f64.f32 %o0, %i0;', (a) => encode(F64, decode(F32, a!)))
  golden('cvt.f32.f16', [R16], [R32], 'cvt.f32.f16 %o0, %i0;', (a) => encode(F32, decode(F16, a!)))
  golden('bf16 to f32 by a shift', [RB16], [R32], 'mov.b32 %o0, {0, %i0};', (a) => encode(F32, decode(BF16, a!)))
  for (const [type, format, O] of [
    ['bf16', BF16, RB16],
    ['f16', F16, R16],
  ] as const) {
    // The first source goes into the upper half.
    golden(`cvt.rn.${type}x2.f32`, [R32, R32], [O, O], `cvt.rn.${type}x2.f32 %r1, %i0, %i1;\nmov.b32 {%o0, %o1}, %r1;`, (a, b) => [
      encode(format, decode(F32, b!)),
      encode(format, decode(F32, a!)),
    ])
  }
  for (const rounding of roundings) {
    golden(`cvt.${rounding}i.f32.f32: to a whole number`, [R32], [R32], `cvt.${rounding}i.f32.f32 %o0, %i0;`, (a) => {
      const value = decode(F32, a!)
      if (value.kind !== 'finite') return encode(F32, value)
      const rounded = whole(toInteger(value, rounding))
      return encode(F32, { ...rounded, negative: value.negative } as Exact)
    })
  }
  golden('cvt.sat.f32.f32', [R32], [R32], 'cvt.sat.f32.f32 %o0, %i0;', (a) => clamped(a!))
})

describe('approximations', () => {
  const inputs = [0, 1e-40, 2 ** -126, 1e-20, 0.001, 0.3, 0.5, 0.75, 1, 1.5, 2, 3.1, 10, 100, 127, 1e20, 3e38, Infinity]
  const values = [...inputs, ...inputs.map((value) => -value), Number.NaN].map(Math.fround)
  /** Relative error, where the result is neither 0 nor infinite; absolute for sine and cosine. */
  const cases: Record<string, { f: (x: number) => number; error: number; of?: (x: number) => boolean }> = {
    'rcp.approx.f32': { f: (x) => 1 / x, error: 2 ** -23 },
    'rcp.approx.ftz.f32': { f: (x) => 1 / x, error: 2 ** -23, of: (x) => x === 0 || (Math.abs(x) >= 2 ** -126 && Math.abs(x) < 2 ** 126) },
    'sqrt.approx.f32': { f: Math.sqrt, error: 2 ** -22 },
    'rsqrt.approx.f32': { f: (x) => 1 / Math.sqrt(x), error: 2 ** -22 },
    'ex2.approx.f32': { f: (x) => 2 ** x, error: 2 ** -22 },
    'ex2.approx.ftz.f32': { f: (x) => 2 ** x, error: 2 ** -22, of: (x) => Math.abs(x) >= 2 ** -126 && x > -126 },
    'lg2.approx.f32': { f: Math.log2, error: 2 ** -22 },
    'sin.approx.f32': { f: Math.sin, error: 2 ** -20.9, of: (x) => Math.abs(x) <= 3.2 || !Number.isFinite(x) },
    'cos.approx.f32': { f: Math.cos, error: 2 ** -20.9, of: (x) => Math.abs(x) <= 3.2 || !Number.isFinite(x) },
    'tanh.approx.f32': { f: Math.tanh, error: 2 ** -11 },
  }
  for (const [name, { f, error, of = () => true }] of Object.entries(cases)) {
    it(name, () => {
      const chosen = values.filter(of)
      const results = each(
        [32],
        [32],
        `${name} %o0, %i0;`,
        chosen.map((value) => [bitsOf(F32, value)]),
      )
      expect(chosen.length).toBeGreaterThan(8)
      chosen.forEach((value, i) => {
        const wanted = Math.fround(f(value))
        const got = numberOf(F32, results[i]![0]!)
        const close = Math.abs(got - wanted) <= error * Math.max(Math.abs(wanted), 2 ** -120)
        expect(Object.is(got, wanted) || close, `${name}(${value}) = ${got}, not ${wanted}`).toBe(true)
      })
    })
  }
  for (const name of ['div.approx.f32', 'div.full.f32']) {
    it(name, () => {
      const pairs = values
        .flatMap((a) => values.map((b) => [a, b] as const))
        .filter(([, b]) => !(Math.abs(b) >= 2 ** 126) && !(b !== 0 && Math.abs(b) < 2 ** -126))
      const results = each(
        [32, 32],
        [32],
        `${name} %o0, %i0, %i1;`,
        pairs.map(([a, b]) => [bitsOf(F32, a), bitsOf(F32, b)]),
      )
      pairs.forEach(([a, b], i) => {
        const wanted = Math.fround(a / b)
        const got = numberOf(F32, results[i]![0]!)
        const close = Math.abs(got - wanted) <= 2 ** -22 * Math.max(Math.abs(wanted), 2 ** -120)
        expect(Object.is(got, wanted) || close, `${a} / ${b} = ${got}, not ${wanted}`).toBe(true)
      })
    })
  }
})

describe('the reference itself', () => {
  it('rounds like JavaScript', () => {
    const values = [0, -0, 1, 1 / 3, 1e-45, 7e-46, 7.1e-46, 1e-40, 2 ** -149 * 1.5, 3.4028235e38, 3.4028236e38, 1e39, -Infinity, Math.PI, 16777217]
    for (const value of values) expect(numberOf(F32, bitsOf(F32, value)), String(value)).toBe(Math.fround(value))
    expect(String(numberOf(F32, bitsOf(F32, Number.NaN)))).toBe(NAN)
  })
  it('rounds the four ways', () => {
    const third: Exact = { kind: 'finite', negative: false, mantissa: 0x1555555n, exponent: -26 }
    const all = (value: Exact, format: Format) => (['rn', 'rz', 'rm', 'rp'] as const).map((rounding) => encode(format, value, rounding))
    expect(all(third, BF16)).toEqual([0x3eabn, 0x3eaan, 0x3eaan, 0x3eabn])
    expect(all(negate(third), BF16)).toEqual([0xbeabn, 0xbeaan, 0xbeabn, 0xbeaan])
  })
})
