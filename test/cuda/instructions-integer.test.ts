/** Integer arithmetic, logic and comparison of the emulated machine, instruction by instruction, as the PTX ISA defines them. */
import { describe } from 'vitest'
import { COUNT, golden, I16, I32, I64, type Operand, signed, unsigned } from './fixtures/golden.js'

const operands: Record<number, Operand> = { 16: I16, 32: I32, 64: I64 }
const bit = (value: bigint, at: number): bigint => (value >> BigInt(at)) & 1n
const least = (a: bigint, b: bigint): bigint => (a < b ? a : b)
const greatest = (a: bigint, b: bigint): bigint => (a > b ? a : b)
const magnitude = (a: bigint): bigint => (a < 0n ? -a : a)

describe('integer arithmetic', () => {
  for (const width of [16, 32, 64] as const) {
    const O = operands[width]!
    for (const kind of ['u', 's'] as const) {
      const type = `${kind}${width}`
      const read = (bits: bigint) => (kind === 's' ? signed(width, bits) : bits)
      const two = (name: string, f: (a: bigint, b: bigint) => bigint | null) =>
        golden(`${name}.${type}`, [O, O], [O], `${name}.${type} %o0, %i0, %i1;`, (a, b) => f(read(a!), read(b!)))
      const three = (name: string, f: (a: bigint, b: bigint, c: bigint) => bigint) =>
        golden(`${name}.${type}`, [O, O, O], [O], `${name}.${type} %o0, %i0, %i1, %i2;`, (a, b, c) => f(read(a!), read(b!), read(c!)))
      two('add', (a, b) => a + b)
      two('sub', (a, b) => a - b)
      two('mul.lo', (a, b) => a * b)
      two('mul.hi', (a, b) => (a * b) >> BigInt(width))
      two('min', least)
      two('max', greatest)
      // What a division by zero gives is the machine's own business. The least number by -1 wraps.
      two('div', (a, b) => (b === 0n ? null : a / b))
      two('rem', (a, b) => (b === 0n ? null : a % b))
      three('mad.lo', (a, b, c) => a * b + c)
      if (width === 32) three('sad', (a, b, c) => magnitude(a - b) + c)
      if (width < 64) {
        const W = operands[2 * width]!
        golden(`mul.wide.${type}`, [O, O], [W], `mul.wide.${type} %o0, %i0, %i1;`, (a, b) => read(a!) * read(b!))
        golden(`mad.wide.${type}`, [O, O, W], [W], `mad.wide.${type} %o0, %i0, %i1, %i2;`, (a, b, c) => read(a!) * read(b!) + c!)
      }
      if (kind === 's') {
        golden(`abs.${type}`, [O], [O], `abs.${type} %o0, %i0;`, (a) => magnitude(read(a!)))
        golden(`neg.${type}`, [O], [O], `neg.${type} %o0, %i0;`, (a) => -read(a!))
      }
    }
  }
  golden('mad.hi.u32', [I32, I32, I32], [I32], 'mad.hi.u32 %o0, %i0, %i1, %i2;', (a, b, c) => ((a! * b!) >> 32n) + c!)
  golden('mad.hi.s32', [I32, I32, I32], [I32], 'mad.hi.s32 %o0, %i0, %i1, %i2;', (a, b, c) => ((signed(32, a!) * signed(32, b!)) >> 32n) + c!)
  golden('add of an immediate', [I32], [I32], 'add.s32 %o0, %i0, -7;', (a) => a! - 7n)
})

describe('bits', () => {
  for (const width of [16, 32, 64] as const) {
    const O = operands[width]!
    golden(`and.b${width}`, [O, O], [O], `and.b${width} %o0, %i0, %i1;`, (a, b) => a! & b!)
    golden(`or.b${width}`, [O, O], [O], `or.b${width} %o0, %i0, %i1;`, (a, b) => a! | b!)
    golden(`xor.b${width}`, [O, O], [O], `xor.b${width} %o0, %i0, %i1;`, (a, b) => a! ^ b!)
    golden(`not.b${width}`, [O], [O], `not.b${width} %o0, %i0;`, (a) => ~a!)
    golden(`cnot.b${width}`, [O], [O], `cnot.b${width} %o0, %i0;`, (a) => (a === 0n ? 1n : 0n))
    // A count of the width or more shifts all bits out; it does not wrap.
    golden(`shl.b${width}`, [O, COUNT], [O], `shl.b${width} %o0, %i0, %i1;`, (a, n) => (n! >= width ? 0n : a! << n!))
    golden(`shr.u${width}`, [O, COUNT], [O], `shr.u${width} %o0, %i0, %i1;`, (a, n) => (n! >= width ? 0n : a! >> n!))
    golden(`shr.s${width}`, [O, COUNT], [O], `shr.s${width} %o0, %i0, %i1;`, (a, n) => signed(width, a!) >> least(n!, BigInt(width)))
    if (width === 16) continue
    golden(`popc.b${width}`, [O], [I32], `popc.b${width} %o0, %i0;`, (a) => BigInt(a!.toString(2).replaceAll('0', '').length))
    golden(`clz.b${width}`, [O], [I32], `clz.b${width} %o0, %i0;`, (a) => BigInt(a === 0n ? width : width - a!.toString(2).length))
    golden(`brev.b${width}`, [O], [O], `brev.b${width} %o0, %i0;`, (a) => BigInt(`0b${[...a!.toString(2).padStart(width, '0')].reverse().join('')}`))
    golden(`bfind.u${width}`, [O], [I32], `bfind.u${width} %o0, %i0;`, (a) => (a === 0n ? -1n : BigInt(a!.toString(2).length - 1)))
    const found = (a: bigint) => (a === 0n ? -1n : BigInt(a.toString(2).length - 1))
    golden(`bfind.s${width}`, [O], [I32], `bfind.s${width} %o0, %i0;`, (a) => found(signed(width, a!) < 0n ? unsigned(width, ~a!) : a!))
    // Bit by bit, as the ISA writes it: position and length are the low 8 bits.
    for (const kind of ['u', 's']) {
      golden(`bfe.${kind}${width}`, [O, COUNT, COUNT], [O], `bfe.${kind}${width} %o0, %i0, %i1, %i2;`, (a, p, n) => {
        const position = Number(p! & 255n)
        const length = Number(n! & 255n)
        const fill = kind === 'u' || length === 0 ? 0n : bit(a!, Math.min(position + length - 1, width - 1))
        let result = 0n
        for (let i = 0; i < width; i++) result |= (i < length && position + i < width ? bit(a!, position + i) : fill) << BigInt(i)
        return result
      })
    }
    golden(`bfi.b${width}`, [O, O, COUNT, COUNT], [O], `bfi.b${width} %o0, %i0, %i1, %i2, %i3;`, (a, b, p, n) => {
      const position = Number(p! & 255n)
      const length = Number(n! & 255n)
      let result = b!
      for (let i = 0; i < length && position + i < width; i++) {
        const at = BigInt(position + i)
        result = (result & ~(1n << at)) | (bit(a!, i) << at)
      }
      return result
    })
  }
  // Two words as one of 64 bits, of which the left shift gives the upper half and the right shift the lower.
  for (const mode of ['wrap', 'clamp']) {
    const count = (n: bigint) => (mode === 'wrap' ? n & 31n : least(n, 32n))
    golden(`shf.l.${mode}.b32`, [I32, I32, COUNT], [I32], `shf.l.${mode}.b32 %o0, %i0, %i1, %i2;`, (a, b, n) => (((b! << 32n) | a!) << count(n!)) >> 32n)
    golden(`shf.r.${mode}.b32`, [I32, I32, COUNT], [I32], `shf.r.${mode}.b32 %o0, %i0, %i1, %i2;`, (a, b, n) => ((b! << 32n) | a!) >> count(n!))
  }
  for (let table = 0; table < 256; table += 1) {
    if (table % 17 !== 0 && ![0x80, 0xfe, 0x96, 0xe8, 0xca, 0xb8, 0x1e, 0x2d].includes(table)) continue
    golden(`lop3.b32 ${table}`, [I32, I32, I32], [I32], `lop3.b32 %o0, %i0, %i1, %i2, ${table};`, (a, b, c) => {
      let result = 0n
      for (let i = 0; i < 32; i++) result |= BigInt((table >> Number((bit(a!, i) << 2n) | (bit(b!, i) << 1n) | bit(c!, i))) & 1) << BigInt(i)
      return result
    })
  }
  const byte = (a: bigint, b: bigint, number: bigint) => (((b << 32n) | a) >> (8n * number)) & 255n
  golden('prmt.b32', [I32, I32, I32], [I32], 'prmt.b32 %o0, %i0, %i1, %i2;', (a, b, c) => {
    let result = 0n
    for (let i = 0; i < 4; i++) {
      const control = (c! >> BigInt(4 * i)) & 15n
      const chosen = byte(a!, b!, control & 7n)
      result |= (control & 8n ? (chosen & 128n ? 255n : 0n) : chosen) << BigInt(8 * i)
    }
    return result
  })
})

describe('comparison and choice', () => {
  const comparisons: Record<string, (a: bigint, b: bigint) => boolean> = {
    eq: (a, b) => a === b,
    ne: (a, b) => a !== b,
    lt: (a, b) => a < b,
    le: (a, b) => a <= b,
    gt: (a, b) => a > b,
    ge: (a, b) => a >= b,
  }
  for (const width of [16, 32, 64] as const) {
    const O = operands[width]!
    for (const kind of ['u', 's'] as const) {
      for (const [name, compare] of Object.entries(comparisons)) {
        const read = (bits: bigint) => (kind === 's' ? signed(width, bits) : bits)
        golden(`setp.${name}.${kind}${width}`, [O, O], [I32], `setp.${name}.${kind}${width} %p1, %i0, %i1;\nselp.u32 %o0, 1, 0, %p1;`, (a, b) =>
          compare(read(a!), read(b!)) ? 1n : 0n,
        )
      }
    }
    golden(`selp.b${width}`, [I32, O, O], [O], `setp.ne.b32 %p1, %i0, 0;\nselp.b${width} %o0, %i1, %i2, %p1;`, (p, a, b) => (p === 0n ? b! : a!))
  }
  for (const [name, compare] of Object.entries({ lo: comparisons.lt!, ls: comparisons.le!, hi: comparisons.gt!, hs: comparisons.ge! })) {
    golden(`setp.${name}.u32`, [I32, I32], [I32], `setp.${name}.u32 %p1, %i0, %i1;\nselp.u32 %o0, 1, 0, %p1;`, (a, b) => (compare(a!, b!) ? 1n : 0n))
  }
  const joins: Record<string, (a: boolean, b: boolean) => boolean> = { and: (a, b) => a && b, or: (a, b) => a || b, xor: (a, b) => a !== b }
  for (const [name, join] of Object.entries(joins)) {
    // p = (a < b) op c, q = !(a < b) op c; c negated in the second.
    golden(
      `setp.lt.${name}.s32 with two results`,
      [I32, I32, I32],
      [I32, I32, I32],
      `setp.ne.b32 %p1, %i2, 1;
setp.lt.${name}.s32 %p2|%p3, %i0, %i1, %p1;
setp.lt.${name}.s32 %p4, %i0, %i1, !%p1;
selp.u32 %o0, 1, 0, %p2;
selp.u32 %o1, 1, 0, %p3;
selp.u32 %o2, 1, 0, %p4;`,
      (a, b, c) => {
        const less = signed(32, a!) < signed(32, b!)
        return [join(less, c !== 1n), join(!less, c !== 1n), join(less, c === 1n)].map((value) => (value ? 1n : 0n))
      },
    )
    golden(
      `${name}.pred, not.pred`,
      [I32, I32],
      [I32, I32],
      `setp.gt.u32 %p1, %i0, 2;
setp.gt.u32 %p2, %i1, 2;
${name}.pred %p3, %p1, %p2;
not.pred %p4, %p3;
selp.u32 %o0, 1, 0, %p3;
selp.u32 %o1, 1, 0, %p4;`,
      (a, b) => (join(a! > 2n, b! > 2n) ? [1n, 0n] : [0n, 1n]),
    )
  }
  golden('slct.u32.s32', [I32, I32, I32], [I32], 'slct.u32.s32 %o0, %i0, %i1, %i2;', (a, b, c) => (signed(32, c!) >= 0n ? a! : b!))
  golden(
    'a guarded instruction',
    [I32, I32],
    [I32],
    'setp.eq.u32 %p1, %i1, 1;\nmov.u32 %o0, %i0;\n@%p1 add.u32 %o0, %o0, 5;\n@!%p1 add.u32 %o0, %o0, 6;',
    (a, b) => (b === 1n ? a! + 5n : a! + 6n),
  )
  golden('mov to and from vectors of parts', [I64], [I32, I32, I64], 'mov.b64 {%o0, %o1}, %i0;\nmov.b64 %o2, {%o1, %o0};', (a) => [
    a!,
    a! >> 32n,
    ((a! & 0xffffffffn) << 32n) | (a! >> 32n),
  ])
  golden('mov of halves', [I32], [I16, I16, I32], 'mov.b32 {%o0, %o1}, %i0;\nmov.b32 %o2, {%o1, %o0};', (a) => [
    a!,
    a! >> 16n,
    ((a! & 0xffffn) << 16n) | (a! >> 16n),
  ])
})
