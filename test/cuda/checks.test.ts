/** The checks of the emulator: small faults are each found where they are, and the same kernels without them pass. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Argument, type CheckOptions, type LaunchOptions, Module } from './emulator/index.js'
import { faultOf, kernel, lineOf, moduleOf, run } from './fixtures/ptx.js'

const all: CheckOptions = { races: true, initialised: true, banks: true, sectors: true }
const launch = (text: string, args: readonly Argument[], options: Omit<LaunchOptions, 'args'> = {}) =>
  faultOf(() => run(text, args, { checks: all, ...options }))
/** Without the line that bears `// planted`; or, `planted`, with it commented out. */
const variants = (text: string) => ({ clean: text, faulty: text.replace(/^(.*\/\/ planted)$/m, '// $1') })

/** The clean kernel passes under some seeds; without its planted line it is this fault under all of them, naming both lines. */
function found(
  text: string,
  args: () => readonly Argument[],
  options: Omit<LaunchOptions, 'args'>,
  kind: string,
  words: readonly (string | RegExp)[],
  lines: readonly string[] = [],
) {
  const { clean, faulty } = variants(text)
  expect(faulty).not.toBe(clean)
  for (const seed of [0, 1, 2]) {
    expect(launch(clean, args(), { ...options, seed })).toEqual({ kind: 'none', message: '' })
    const fault = launch(faulty, args(), { ...options, seed })
    expect(fault.kind, fault.message).toBe(kind)
    for (const word of words) expect(fault.message).toMatch(word)
    for (const line of lines) expect(fault.message).toContain(`line ${lineOf(faulty, line)}`)
  }
}

const storeShared = `mov.u32 %r0, s;
mad.lo.u32 %r1, %t, 4, %r0;`

describe('races in shared memory', () => {
  it('a missing bar.sync: read after write, or write after read', () => {
    const text = kernel(
      ['.u64 y'],
      `.shared .align 4 .b8 s[256];
${storeShared}
st.shared.u32 [%r1], %t; // the write
bar.sync 0; // planted
xor.b32 %r2, %t, 33;
mad.lo.u32 %r3, %r2, 4, %r0;
ld.shared.u32 %r4, [%r3]; // the read
mul.wide.u32 %d0, %t, 4;
add.s64 %d1, %y, %d0;
st.global.u32 [%d1], %r4;`,
    )
    const { clean, faulty } = variants(text)
    for (const seed of [0, 1, 2, 3]) {
      expect(launch(clean, [new Uint32Array(64)], { block: 64, seed }).kind).toBe('none')
      // `initialised` would find it, too, in the orders where the write is late.
      const fault = launch(faulty, [new Uint32Array(64)], { block: 64, seed, checks: { races: true } })
      expect(fault.kind).toBe('race')
      expect(fault.message).toMatch(/shared-memory race \((read after write|write after read)\) in kernel k, block 0, at offset \d+: thread \d+/)
      expect(fault.message).toContain(`line ${lineOf(faulty, '// the write')}`)
      expect(fault.message).toContain(`line ${lineOf(faulty, '// the read')}`)
    }
  })
  it('a missing bar.sync at the end of a loop: write after read, two warps apart', () => {
    found(
      kernel(
        ['.u64 y'],
        `.shared .align 4 .b8 s[512];
${storeShared}
xor.b32 %r2, %t, 64;
mad.lo.u32 %r3, %r2, 4, %r0;
mov.u32 %r5, 0;
$loop:
st.shared.u32 [%r1], %r5;
bar.sync 0;
ld.shared.u32 %r4, [%r3];
bar.sync 0; // planted
add.u32 %r5, %r5, 1;
setp.lt.u32 %p1, %r5, 3;
@%p1 bra $loop;`,
      ),
      () => [new Uint32Array(1)],
      { block: 128 },
      'race',
      [/write after read|read after write/],
    )
  })
  it('a missing bar.warp.sync, though the lanes go together', () => {
    found(
      kernel(
        [],
        `.shared .align 4 .b8 s[128];
${storeShared}
st.shared.u32 [%r1], %t; // the write
bar.warp.sync -1; // planted
xor.b32 %r2, %t, 1;
mad.lo.u32 %r3, %r2, 4, %r0;
ld.shared.u32 %r4, [%r3]; // the read`,
      ),
      () => [],
      { block: 32 },
      'race',
      ['read after write', 'no bar.warp.sync'],
      ['// the write', '// the read'],
    )
  })
  it('a shuffle orders no memory', () => {
    const text = kernel(
      [],
      `.shared .align 4 .b8 s[128];
${storeShared}
st.shared.u32 [%r1], %t;
shfl.sync.bfly.b32 %r7, %t, 1, 31, -1;
xor.b32 %r2, %t, 1;
mad.lo.u32 %r3, %r2, 4, %r0;
ld.shared.u32 %r4, [%r3];`,
    )
    expect(launch(text, [], { block: 32 }).kind).toBe('race')
  })
  it('a bar.warp.sync of too few lanes', () => {
    const text = (mask: string) =>
      kernel(
        [],
        `.shared .align 4 .b8 s[128];
${storeShared}
st.shared.u32 [%r1], %t;
setp.lt.u32 %p1, %t, 16;
@!%p1 bra $over;
bar.warp.sync 0x0000FFFF;
$over:
@%p1 bra $met;
bar.warp.sync 0xFFFF0000;
$met:
xor.b32 %r2, %t, ${mask};
mad.lo.u32 %r3, %r2, 4, %r0;
ld.shared.u32 %r4, [%r3];`,
      )
    expect(launch(text('15'), [], { block: 32 }).kind).toBe('none')
    expect(launch(text('16'), [], { block: 32 }).kind).toBe('race')
  })
  it('two lanes that write one word in one instruction', () => {
    const text = (shift: number) =>
      kernel([], `.shared .align 4 .b8 s[128];\nshr.u32 %r2, %t, ${shift};\nmov.u32 %r0, s;\nmad.lo.u32 %r1, %r2, 4, %r0;\nst.shared.u32 [%r1], %t;`)
    expect(launch(text(0), [], { block: 32 }).kind).toBe('none')
    expect(launch(text(1), [], { block: 32 })).toMatchObject({ kind: 'race', message: expect.stringContaining('write after write') })
  })
  it('bytes of one word are places of their own', () => {
    const text = (stride: number) =>
      kernel(
        [],
        `.shared .align 4 .b8 s[128];\nmov.u32 %r0, s;\nmad.lo.u32 %r1, %t, ${stride}, %r0;\nmov.u16 %h0, 1;\nst.shared.b16 [%r1], %h0;\nld.shared.b16 %h1, [%r1];`,
      )
    expect(launch(text(2), [], { block: 32 }).kind).toBe('none')
    expect(launch(text(0), [], { block: 2 }).kind).toBe('race')
  })
  it('atomics do not race with atomics, but with a plain read', () => {
    const text = (read: string) =>
      kernel(
        [],
        `.shared .align 4 .b8 s[4];
setp.ne.u32 %p1, %t, 0;
@%p1 bra $over;
st.shared.u32 [s], 0;
$over:
bar.sync 0;
atom.shared.add.u32 %r1, [s], 1;
${read}
ld.shared.u32 %r2, [s];`,
      )
    expect(launch(text('bar.sync 0;'), [], { block: 64 }).kind).toBe('none')
    expect(launch(text(''), [], { block: 64 })).toMatchObject({ kind: 'race', message: expect.stringMatching(/read after atomic|atomic after read/) })
  })
  it('a named barrier orders those that met, no others', () => {
    // Threads of warps 0 and 1 meet; warp 2 reads what warp 0 wrote.
    const text = (reader: number) =>
      kernel(
        [],
        `.shared .align 4 .b8 s[384];
${storeShared}
setp.ge.u32 %p1, %t, 64;
st.shared.u32 [%r1], %t;
@%p1 bra $over;
bar.sync 1, 64;
$over:
shr.u32 %r5, %t, 5;
setp.ne.u32 %p2, %r5, ${reader};
@%p2 bra $end;
and.b32 %r6, %t, 31;
mad.lo.u32 %r7, %r6, 4, %r0;
ld.shared.u32 %r8, [%r7];
$end:`,
      )
    for (const seed of [0, 1, 2]) {
      expect(launch(text(1), [], { block: 96, seed, checks: { races: true } }).kind).toBe('none')
      expect(launch(text(2), [], { block: 96, seed, checks: { races: true } }).kind).toBe('race')
    }
  })
  const pipeline = kernel(
    ['.u64 x'],
    `.shared .align 16 .b8 s[512];
mov.u32 %r0, s;
mad.lo.u32 %r1, %t, 16, %r0;
xor.b32 %r2, %t, 1;
mad.lo.u32 %r3, %r2, 16, %r0;
mul.wide.u32 %d0, %t, 16;
add.s64 %d1, %x, %d0;
mov.u32 %r5, 0;
$loop:
cp.async.cg.shared.global [%r1], [%d1], 16; // the copy
cp.async.commit_group;
cp.async.wait_group 0; // WAIT
bar.warp.sync -1; // ARRIVED
ld.shared.u32 %r4, [%r3]; // the read
bar.warp.sync -1; // READ
add.u32 %r5, %r5, 1;
setp.lt.u32 %p1, %r5, 2;
@%p1 bra $loop;`,
  )
  for (const [word, name] of [
    ['WAIT', 'a missing wait: a read during the copy'],
    ['ARRIVED', 'waited for, but only by the thread that copied'],
    ['READ', 'a copy into bytes that others still read, ordered only by what comes after its issue'],
  ] as const) {
    it(`cp.async: ${name}`, () => {
      found(
        pipeline.replace(`// ${word}`, '// planted'),
        () => [new Uint32Array(128)],
        { block: 32, checks: { races: true } },
        'race',
        [],
        ['// the copy', '// the read'],
      )
    })
  }
})

describe('races in global memory', () => {
  it('between threads of a block', () => {
    found(
      kernel(
        ['.u64 y'],
        `mul.wide.u32 %d0, %t, 4;
add.s64 %d1, %y, %d0;
st.global.u32 [%d1], %t; // the write
bar.sync 0; // planted
xor.b32 %r0, %t, 32;
mul.wide.u32 %d2, %r0, 4;
add.s64 %d3, %y, %d2;
ld.global.u32 %r1, [%d3]; // the read`,
      ),
      () => [new Uint32Array(64)],
      { block: 64 },
      'race',
      ['global-memory race', 'block 0'],
      ['// the write', '// the read'],
    )
  })
  it('between blocks: a tile that is one too wide', () => {
    const text = (width: number) =>
      kernel(
        ['.u64 y'],
        `mad.lo.u32 %r0, %block, 31, %t;\nsetp.ge.u32 %p1, %t, ${width};\n@%p1 bra $end;\nmul.wide.u32 %d0, %r0, 4;\nadd.s64 %d1, %y, %d0;\nst.global.u32 [%d1], %t;\n$end:`,
      )
    for (const residentBlocks of [1, 2]) {
      expect(launch(text(31), [new Uint32Array(128)], { block: 32, grid: 3, residentBlocks }).kind).toBe('none')
      expect(launch(text(32), [new Uint32Array(128)], { block: 32, grid: 3, residentBlocks })).toMatchObject({
        kind: 'race',
        message: expect.stringMatching(/write after write.*block \d/),
      })
    }
  })
  it('between blocks: reads of the same words do not race', () => {
    const text = kernel(['.u64 y'], 'mul.wide.u32 %d0, %t, 4;\nadd.s64 %d1, %y, %d0;\nld.global.u32 %r0, [%d1];')
    expect(launch(text, [new Uint32Array(32)], { block: 32, grid: 40 }).kind).toBe('none')
  })
  const turns = (acquire: string, release: string, before = '', after = '') =>
    kernel(
      ['.u64 y'],
      `atom.relaxed.gpu.global.add.u32 %r0, [%y+4], 1;
$spin:
ld.${acquire}global.u32 %r1, [%y];
setp.ne.u32 %p2, %r1, %r0;
@%p2 bra $spin;
${after}
ld.global.u32 %r3, [%y+64];
add.u32 %r3, %r3, 1;
st.global.u32 [%y+64], %r3;
add.u32 %r4, %r0, 1;
${before}
st.${release}global.u32 [%y], %r4;`,
    )
  for (const [name, text, kind] of [
    ['acquire and release', turns('acquire.gpu.', 'release.gpu.'), 'none'],
    ['fences and relaxed accesses', turns('relaxed.gpu.', 'relaxed.gpu.', 'fence.acq_rel.gpu;', 'fence.acq_rel.gpu;'), 'none'],
    ['__threadfence and volatile', turns('volatile.', 'volatile.', 'membar.gl;', 'membar.gl;'), 'none'],
    ['a relaxed load', turns('relaxed.gpu.', 'release.gpu.'), 'race'],
    ['a relaxed store', turns('acquire.gpu.', 'relaxed.gpu.'), 'race'],
    ['a fence at one end only', turns('relaxed.gpu.', 'relaxed.gpu.', 'fence.acq_rel.gpu;'), 'race'],
    ['a plain store of the flag', turns('acquire.gpu.', ''), 'race'],
  ] as const) {
    it(`between blocks that take turns by ${name}: ${kind}`, () => {
      for (const [seed, residentBlocks] of [
        [0, 1],
        [4, 2],
      ] as const) {
        const fault = launch(text, [new Uint32Array(32)], { block: 1, grid: 4, seed, residentBlocks, checks: { races: true } })
        expect(fault.kind, fault.message).toBe(kind)
      }
    })
  }
  it.each([0, 32])('a release by thread %i says what the others did only after a barrier, and an acquire tells them only after another', (thread) => {
    const text = kernel(
      ['.u64 y'],
      `setp.ne.u32 %p1, %t, ${thread};
mul.wide.u32 %d0, %t, 4;
add.s64 %d1, %y, %d0;
setp.ne.u32 %p2, %block, 0;
@%p2 bra $second;
st.global.u32 [%d1+64], %t; // the write
BEFORE
@%p1 bra $end;
st.release.gpu.global.u32 [%y], 1;
bra $end;
$second:
@%p1 bra $acquired;
$spin:
ld.acquire.gpu.global.u32 %r1, [%y];
setp.eq.u32 %p3, %r1, 0;
@%p3 bra $spin;
$acquired:
AFTER
ld.global.u32 %r2, [%d1+64]; // the read
$end:`,
    )
    const told = (before: string, after: string, scope = 'gpu') =>
      launch(text.replace('BEFORE', before).replace('AFTER', after).replaceAll('.gpu.', `.${scope}.`), [new Uint32Array(128)], {
        block: 64,
        grid: 2,
        checks: { races: true },
      })
    expect(told('bar.sync 0;', 'bar.sync 0;')).toEqual({ kind: 'none', message: '' })
    expect(told('', 'bar.sync 0;')).toMatchObject({ kind: 'race', message: expect.stringMatching(/read after write.*no release and acquire/) })
    expect(told('bar.sync 0;', '').kind).toBe('race')
    // A named barrier of all threads of one warp orders those of that warp alone.
    expect(told('bar.warp.sync -1;', 'bar.sync 0;').kind).toBe('race')
    expect(told('bar.sync 1, 64;', 'bar.sync 1, 64;').kind).toBe('none')
    expect(told('bar.sync 0;', 'bar.sync 0;', 'cta').kind).toBe('race') // among threads of a block only
  })
  it('what is done after a release is not released', () => {
    const text = (after: string) =>
      kernel(
        ['.u64 y'],
        `setp.ne.u32 %p2, %block, 0;
@%p2 bra $second;
st.global.u32 [%y+64], 1;
st.release.gpu.global.u32 [%y], 1;
${after}
bra $end;
$second:
ld.acquire.gpu.global.u32 %r1, [%y];
setp.eq.u32 %p3, %r1, 0;
@%p3 bra $second;
ld.global.u32 %r2, [%y+64];
$end:`,
      )
    expect(launch(text(''), [new Uint32Array(32)], { grid: 2, checks: { races: true } })).toEqual({ kind: 'none', message: '' })
    expect(launch(text('st.global.u32 [%y+64], 2;'), [new Uint32Array(32)], { grid: 2, checks: { races: true } }).kind).toBe('race')
  })
  it('atomics of scope cta race between blocks', () => {
    const text = (scope: string) => kernel(['.u64 y'], `atom.relaxed.${scope}.global.add.u32 %r1, [%y], 1;`)
    expect(launch(text('gpu'), [new Uint32Array(1)], { grid: 2 }).kind).toBe('none')
    expect(launch(text('cta'), [new Uint32Array(1)], { grid: 2 }).kind).toBe('race')
  })
  it('an asynchronous copy reads until it is waited for', () => {
    const text = kernel(
      ['.u64 x'],
      `.shared .align 16 .b8 s[16];
setp.ne.u32 %p1, %t, 0;
@%p1 bra $over;
cp.async.cg.shared.global [s], [%x], 16;
cp.async.wait_all; // planted
$over:
bar.sync 0;
@!%p1 bra $done;
st.global.u32 [%x], 1;
$done:
bar.sync 0;
cp.async.wait_all;`,
    )
    const { clean, faulty } = variants(text)
    for (const seed of [0, 1, 2]) {
      expect(launch(clean, [new Uint32Array(4)], { block: 2, seed }).kind).toBe('none')
    }
    expect(launch(faulty.replace('bar.sync 0;\ncp.async', 'cp.async'), [new Uint32Array(4)], { block: 2 }).kind).toBe('race')
    const sized = (bytes: number) =>
      kernel(['.u64 x'], `.shared .align 16 .b8 s[16];\nmov.u32 %r1, ${bytes};\ncp.async.cg.shared.global [s], [%x], 16, %r1;\ncp.async.wait_all;`)
    expect(launch(sized(16), [new Uint32Array(8)], { block: 1 }).kind).toBe('none')
    expect(launch(sized(17), [new Uint32Array(8)], { block: 1 }).kind).toBe('illegal address')
  })
  it('the last block by an atomic counter reads what all wrote', () => {
    const text = (fence: string) =>
      kernel(
        ['.u64 y'],
        `mul.wide.u32 %d0, %block, 4;
add.s64 %d1, %y, %d0;
st.global.u32 [%d1+64], %block;
${fence}
atom.global.add.u32 %r1, [%y], 1;
setp.ne.u32 %p1, %r1, 7;
@%p1 bra $end;
${fence}
ld.global.u32 %r2, [%y+64];
ld.global.u32 %r3, [%y+84];
$end:`,
      )
    expect(launch(text('membar.gl;'), [new Uint32Array(32)], { grid: 8, checks: { races: true } })).toEqual({ kind: 'none', message: '' })
    expect(launch(text(''), [new Uint32Array(32)], { grid: 8, checks: { races: true } }).kind).toBe('race')
  })
})

describe('memory that is not there', () => {
  const at = (instruction: string) =>
    kernel(
      ['.u64 x', '.u32 n'],
      `.shared .align 16 .b8 s[64];\nmov.u32 %r0, s;\nadd.u32 %r0, %r0, %n;\ncvt.u64.u32 %d0, %n;\nadd.s64 %d1, %x, %d0;\n${instruction}`,
    )
  const cases: readonly [name: string, instruction: string, good: number, bad: number, kind: string][] = [
    ['a load behind an array', 'ld.global.u32 %r1, [%d1];', 124, 128, 'illegal address'],
    ['a load before an array', 'ld.global.u32 %r1, [%d1+-8];', 8, 4, 'illegal address'],
    ['a store behind an array', 'st.global.u32 [%d1], 1;', 124, 128, 'illegal address'],
    ['a load that runs over the end', 'ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%d1];', 112, 128, 'illegal address'],
    ['an atomic behind an array', 'atom.global.add.u32 %r1, [%d1], 1;', 0, 1 << 20, 'illegal address'],
    ['an asynchronous copy from behind an array', 'cp.async.ca.shared.global [s], [%d1], 16;\ncp.async.wait_all;', 112, 128, 'illegal address'],
    ['a shared load out of bounds', 'ld.shared.u32 %r1, [%r0];', 60, 64, 'shared memory'],
    ['a shared store out of bounds', 'st.shared.v2.u32 [%r0], {%n, %n};', 56, 64, 'shared memory'],
    ['an asynchronous copy out of shared bounds', 'cp.async.ca.shared.global [%r0], [%x], 16;\ncp.async.wait_all;', 48, 64, 'shared memory'],
    ['a misaligned load', 'ld.global.u32 %r1, [%d1];', 4, 2, 'misaligned address'],
    ['a misaligned vector', 'ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%d1];', 16, 8, 'misaligned address'],
    ['a misaligned store', 'st.global.u64 [%d1], %d1;', 8, 4, 'misaligned address'],
    ['a misaligned shared load', 'ld.shared.u64 %d2, [%r0];', 8, 4, 'misaligned address'],
    ['a misaligned atomic', 'atom.global.add.u32 %r1, [%d1], 1;', 4, 1, 'misaligned address'],
    ['a misaligned asynchronous copy', 'cp.async.ca.shared.global [%r0], [%x], 16;\ncp.async.wait_all;', 16, 8, 'misaligned address'],
  ]
  for (const [name, instruction, good, bad, kind] of cases) {
    it(name, () => {
      const text = at(instruction)
      expect(launch(text, [new Uint8Array(128), { u32: good }], { checks: {} })).toEqual({ kind: 'none', message: '' })
      const fault = launch(text, [new Uint8Array(128), { u32: bad }], { checks: {} })
      expect(fault.kind, fault.message).toBe(kind)
      expect(fault.message).toContain(String(lineOf(text, instruction.split('\n')[0]!)))
    })
  }
  it('a store into memory that may only be read', () => {
    const text = at('st.global.u32 [%d1], 1;')
    expect(launch(text, [{ memory: new Uint8Array(128), writable: false }, { u32: 0 }], { checks: {} }).kind).toBe('illegal address')
    expect(launch(at('ld.global.u32 %r1, [%d1];'), [{ memory: new Uint8Array(128), writable: false }, { u32: 0 }], { checks: {} }).kind).toBe('none')
  })
  it('dynamic shared memory that is too small', () => {
    const text = kernel(['.u32 n'], 'mov.u32 %r0, dyn;\nadd.u32 %r0, %r0, %n;\nst.shared.u32 [%r0], 1;', { outside: '.extern .shared .align 16 .b8 dyn[];' })
    expect(launch(text, [{ u32: 1020 }], { shared: 1024 }).kind).toBe('none')
    expect(launch(text, [{ u32: 1024 }], { shared: 1024 }).kind).toBe('shared memory')
    expect(launch(text, [{ u32: 0 }]).kind).toBe('shared memory')
  })
  it('a null pointer', () => {
    expect(launch(kernel(['.u64 x'], 'ld.global.u32 %r1, [%x];'), [{ u64: 0n }]).kind).toBe('illegal address')
    expect(launch(kernel(['.u64 x'], 'ld.u32 %r1, [%x];'), [{ u64: 0n }]).kind).toMatch(/illegal address|shared memory/)
  })
})

describe('bytes that nobody wrote', () => {
  it('in shared memory', () => {
    const text = (last: number) =>
      kernel(
        [],
        `.shared .align 4 .b8 s[256];\n${storeShared}\nsetp.gt.u32 %p1, %t, ${last};\n@%p1 bra $over;\nst.shared.u32 [%r1], %t;\n$over:\nbar.sync 0;\nld.shared.u32 %r2, [%r1]; // the read`,
      )
    expect(launch(text(63), [], { block: 64 }).kind).toBe('none')
    const fault = launch(text(62), [], { block: 64 })
    expect(fault.kind).toBe('uninitialised')
    expect(fault.message).toContain('thread 63')
    expect(fault.message).toContain('offset 252')
    expect(fault.message).toContain(`line ${lineOf(text(62), '// the read')}`)
  })
  it('in shared memory of a later block, where an earlier one wrote', () => {
    const text = kernel([], '.shared .align 4 .b8 s[4];\nsetp.ne.u32 %p1, %block, 0;\n@%p1 bra $over;\nst.shared.u32 [s], 1;\n$over:\nld.shared.u32 %r1, [s];')
    expect(launch(text, [], { grid: 1 }).kind).toBe('none')
    expect(launch(text, [], { grid: 2 }).kind).toBe('uninitialised')
  })
  it('in global memory: what the kernel wrote may be read, and nothing else', () => {
    const text = kernel(['.u64 x', '.u32 n'], 'st.global.v2.u32 [%x+8], {%n, %n};\ncvt.u64.u32 %d0, %n;\nadd.s64 %d1, %x, %d0;\nld.global.u16 %h1, [%d1];')
    const x = { memory: new Uint8Array(64), written: false }
    for (const [offset, kind] of [
      [6, 'uninitialised'],
      [8, 'none'],
      [14, 'none'],
      [16, 'uninitialised'],
    ] as const) {
      expect(launch(text, [x, { u32: offset }]).kind, String(offset)).toBe(kind)
    }
    expect(launch(text, [new Uint8Array(64), { u32: 16 }]).kind).toBe('none')
  })
})

describe('kernels that never end', () => {
  it('a lane that left before a warp barrier: a deadlock or a divergence, never a result', () => {
    const text = (exit: string) => kernel([], `setp.eq.u32 %p1, %t, 3;\n${exit}\nbar.warp.sync -1;\nshfl.sync.idx.b32 %r1, %t, 0, 31, -1;`)
    expect(launch(text(''), [], { block: 32 }).kind).toBe('none')
    expect(launch(text('@%p1 bra $other;').replace('ret;\n}', 'ret;\n$other:\nbar.sync 0;\nret;\n}'), [], { block: 32 }).kind).toMatch(/deadlock|divergence/)
  })
  it('a shuffle by a lane that its own mask does not name', () => {
    expect(launch(kernel([], 'shfl.sync.idx.b32 %r1, %t, 0, 31, 1;'), [], { block: 2 }).kind).toMatch(/deadlock|divergence/)
  })
  it('a barrier that half of the block waits for and the other half passes by another', () => {
    const text = (second: number) => kernel([], `setp.lt.u32 %p1, %t, 32;\n@%p1 bra $low;\nbar.sync 1;\nbra $met;\n$low:\nbar.sync ${second};\n$met:`)
    expect(launch(text(1), [], { block: 64 }).kind).toBe('none')
    expect(launch(text(2), [], { block: 64 })).toMatchObject({ kind: 'deadlock' })
  })
  it('a loop without end', () => {
    const text = kernel([], '$again:\nadd.u32 %r1, %r1, 1;\nbra $again;')
    expect(launch(text, [], { mostInstructions: 100000 }).kind).toBe('deadlock')
  })
  it('a block that spins for another that never says a word', () => {
    const text = kernel(['.u64 y'], '$spin:\nld.acquire.gpu.global.u32 %r1, [%y];\nsetp.eq.u32 %p1, %r1, 0;\n@%p1 bra $spin;')
    expect(launch(text, [new Uint32Array(1)], { grid: 3, mostInstructions: 100000 }).kind).toBe('deadlock')
    expect(launch(text, [new Uint32Array([1])], { grid: 3, mostInstructions: 100000 }).kind).toBe('none')
  })
})

describe('launches that a GPU refuses', () => {
  const text = kernel(['.u64 x'], '', { maxThreads: 128 })
  it('more threads than the kernel was made for, none at all, or too many', () => {
    expect(launch(text, [new Uint8Array(1)], { block: 128 }).kind).toBe('none')
    for (const options of [{ block: 129 }, { block: 0 }, { grid: 0 }, { block: [8, 8, 3] as const }, { grid: [1, 70000, 1] as const }]) {
      expect(launch(text, [new Uint8Array(1)], options).kind, JSON.stringify(options)).toBe('launch')
    }
  })
  it('a wrong number of parameters, a kernel that is not there', () => {
    expect(launch(text, []).kind).toBe('error')
    expect(faultOf(() => new Module(text).launch('other')).kind).toBe('error')
  })
})

describe('bank conflicts', () => {
  /** Passes and the fewest of a load of `bytes` at `address` (%r1 from %t) by 32 lanes, counted by hand in the table. */
  const cases: readonly [name: string, address: string, bytes: 4 | 8 | 16, taken: number, fewest: number][] = [
    ['4 bytes, stride 1', 'shl.b32 %r1, %t, 2;', 4, 1, 1],
    ['4 bytes, stride 2 words', 'shl.b32 %r1, %t, 3;', 4, 2, 1],
    ['4 bytes, stride 4 words', 'shl.b32 %r1, %t, 4;', 4, 4, 1],
    ['4 bytes, stride 32 words: a column', 'shl.b32 %r1, %t, 7;', 4, 32, 1],
    ['4 bytes, stride 33 words: a padded column', 'mul.lo.u32 %r1, %t, 132;', 4, 1, 1],
    ['4 bytes, all from one word', 'mov.u32 %r1, 64;', 4, 1, 1],
    ['4 bytes, two words of one bank', 'and.b32 %r1, %t, 1;\nshl.b32 %r1, %r1, 7;', 4, 2, 1],
    ['4 bytes, any order', 'mul.lo.u32 %r1, %t, 28;\nand.b32 %r1, %r1, 127;', 4, 1, 1],
    // Half a warp at a time: 16 lanes of 8 bytes are 32 banks.
    ['8 bytes, stride 1', 'shl.b32 %r1, %t, 3;', 8, 2, 2],
    ['8 bytes, stride 2', 'shl.b32 %r1, %t, 4;', 8, 4, 2],
    ['8 bytes, all from one place', 'mov.u32 %r1, 8;', 8, 2, 2],
    // A quarter at a time: 8 lanes of 16 bytes are 32 banks.
    ['16 bytes, stride 1', 'shl.b32 %r1, %t, 4;', 16, 4, 4],
    ['16 bytes, rows of 64 bytes', 'shl.b32 %r1, %t, 6;', 16, 16, 4],
    ['16 bytes, rows of 128 bytes', 'shl.b32 %r1, %t, 7;', 16, 32, 4],
    ['16 bytes, rows of 144 bytes: padded', 'mul.lo.u32 %r1, %t, 144;', 16, 4, 4],
  ]
  const loads = { 4: 'ld.shared.u32 %r2, [%r1]', 8: 'ld.shared.v2.u32 {%r2, %r3}, [%r1]', 16: 'ld.shared.v4.u32 {%r2, %r3, %r4, %r5}, [%r1]' }
  const stores = { 4: 'st.shared.u32 [%r1], %t', 8: 'st.shared.v2.u32 [%r1], {%t, %t}', 16: 'st.shared.v4.u32 [%r1], {%t, %t, %t, %t}' }
  const counted = (text: string, words: string, args: readonly Argument[] = []) => {
    const { banks } = run(text, args, { block: 32, shared: 8192, checks: { banks: true } })
    return banks.find(({ line }) => line === lineOf(text, words))
  }
  const dynamic = { outside: '.extern .shared .align 128 .b8 dyn[];' }
  for (const [name, address, bytes, taken, fewest] of cases) {
    it(name, () => {
      for (const access of [loads[bytes], stores[bytes]]) {
        const text = kernel([], `${address}\nmov.u32 %r0, dyn;\nadd.u32 %r1, %r1, %r0;\n${access}; // counted`, dynamic)
        expect(counted(text, '// counted')).toEqual({ kernel: 'k', line: lineOf(text, '// counted'), instructions: 1, taken, fewest })
      }
    })
  }
  // Tiles of bf16, rows of 64 (128 bytes): lane l gives row l % 16, columns 8 * (l / 16).
  const matrix = (swizzle: string, suffix: string) =>
    kernel(
      [],
      `and.b32 %r2, %t, 15;
shr.u32 %r3, %t, 4;
${swizzle}
shl.b32 %r1, %r2, 7;
mad.lo.u32 %r1, %r3, 16, %r1;
mov.u32 %r0, dyn;
add.u32 %r1, %r1, %r0;
ldmatrix.sync.aligned.m8n8.${suffix} {%r4, %r5, %r6, %r7}, [%r1]; // counted`,
      dynamic,
    )
  for (const suffix of ['x4.shared.b16', 'x4.trans.shared.b16']) {
    it(`ldmatrix.${suffix}: rows of 128 bytes, swizzled and not`, () => {
      expect(counted(matrix('', suffix), '// counted')).toMatchObject({ taken: 32, fewest: 4 })
      expect(counted(matrix('and.b32 %r8, %r2, 7;\nxor.b32 %r3, %r3, %r8;', suffix), '// counted')).toMatchObject({ taken: 4, fewest: 4 })
    })
  }
  it('cp.async is counted once', () => {
    const text = kernel(
      ['.u64 x'],
      `mul.wide.u32 %d0, %t, 16;
add.s64 %d1, %x, %d0;
mov.u32 %r0, dyn;
mad.lo.u32 %r1, %t, 32, %r0;
cp.async.cg.shared.global [%r1], [%d1], 16; // counted
cp.async.wait_all;`,
      dynamic,
    )
    expect(counted(text, '// counted', [new Uint32Array(128)])).toMatchObject({ instructions: 1, taken: 8, fewest: 4 })
  })
  it('some lanes only, and a count over all blocks and launches', () => {
    const text = kernel([], 'setp.lt.u32 %p1, %t, 4;\nmov.u32 %r0, dyn;\nmad.lo.u32 %r1, %t, 128, %r0;\n@%p1 st.shared.u32 [%r1], %t; // counted', dynamic)
    const { banks } = run(text, [], { grid: 5, block: 64, shared: 8192, residentBlocks: 2, checks: { banks: true } })
    // The second warp has no lane below 4: no access.
    expect(banks).toEqual([{ kernel: 'k', line: lineOf(text, '// counted'), instructions: 5, taken: 20, fewest: 5 }])
  })
})

describe('sectors', () => {
  const cases: readonly [name: string, address: string, bytes: 2 | 4 | 16, taken: number, fewest: number][] = [
    ['4 bytes, stride 1', 'mul.wide.u32 %d0, %t, 4;', 4, 4, 4],
    ['4 bytes, stride 1, one word off', 'mul.wide.u32 %d0, %t, 4;\nadd.s64 %d0, %d0, 4;', 4, 5, 4],
    ['4 bytes, stride 2', 'mul.wide.u32 %d0, %t, 8;', 4, 8, 4],
    ['4 bytes, stride 8: a sector each', 'mul.wide.u32 %d0, %t, 32;', 4, 32, 4],
    ['4 bytes, all from one word', 'mov.u64 %d0, 0;', 4, 1, 1],
    ['4 bytes, backwards', 'sub.u32 %r1, 31, %t;\nmul.wide.u32 %d0, %r1, 4;', 4, 4, 4],
    ['2 bytes, stride 1', 'mul.wide.u32 %d0, %t, 2;', 2, 2, 2],
    ['2 bytes, rows of 96 bytes', 'mul.wide.u32 %d0, %t, 96;', 2, 32, 2],
    ['16 bytes, stride 1', 'mul.wide.u32 %d0, %t, 16;', 16, 16, 16],
    ['16 bytes, stride 2: half of each sector', 'mul.wide.u32 %d0, %t, 32;', 16, 32, 16],
  ]
  const loads = { 2: 'ld.global.b16 %h2, [%d1]', 4: 'ld.global.u32 %r2, [%d1]', 16: 'ld.global.v4.u32 {%r2, %r3, %r4, %r5}, [%d1]' }
  for (const [name, address, bytes, taken, fewest] of cases) {
    it(name, () => {
      const text = kernel(['.u64 x'], `${address}\nadd.s64 %d1, %x, %d0;\n${loads[bytes]}; // counted`)
      const { sectors } = run(text, [new Uint8Array(4096)], { block: 32, checks: { sectors: true } })
      expect(sectors).toEqual([{ kernel: 'k', line: lineOf(text, '// counted'), instructions: 1, taken, fewest }])
    })
  }
})

describe('the reader of PTX', () => {
  for (const line of [
    'frobnicate.u32 %r1, %r2;',
    'add.q32 %r1, %r2, %r3;',
    'wgmma.fence.sync.aligned;',
    'mbarrier.init.shared.b64 [%d1], 1;',
    'mov.u32 %r1, %nosuch;',
    'bra $nowhere;',
    'add.u32 %r1, %r99, 1;',
    'add.u32 %r1, %r2',
  ]) {
    it(`does not guess: ${line}`, () => {
      const text = kernel([], `mov.u32 %r2, 1;\n${line}`)
      const fault = faultOf(() => new Module(text))
      expect(fault.kind).toBe('unknown instruction')
      expect(fault.message).toMatch(/^(kernel k, )?PTX line \d+: /)
    })
  }
  it('says the kernel, the line and what to do', () => {
    const fault = faultOf(() => new Module(kernel([], 'frobnicate.u32 %r1, %r2;')))
    expect(fault.message).toMatch(
      /^kernel k, PTX line \d+: frobnicate\.u32 %r1, %r2;: the emulator knows no such instruction; write it otherwise, or add it .*emulator\/machine/,
    )
  })
  it('names kernels and their shapes', () => {
    const module = new Module(
      moduleOf(`.visible .entry one(.param .u32 a, .param .u64 b, .param .align 16 .b8 c[20], .param .u8 d)
.maxntid 64, 2, 1
{
.shared .align 8 .b8 s[24];
ret;
}
.entry two()
{
ret;
}`),
    )
    expect(module.kernels).toEqual([
      { name: 'one', offsets: [0, 8, 16, 36], sizes: [4, 8, 20, 1], parameterBytes: 37, staticSharedBytes: 24, mostThreads: 128 },
      { name: 'two', offsets: [], sizes: [], parameterBytes: 0, staticSharedBytes: 0, mostThreads: 1024 },
    ])
  })
  const real = kernel(
    ['.u64 x', '.u64 y', '.u32 n'],
    `.shared .align 16 .b8 s[512];
setp.ge.u32 %p1, %t, %n;
@%p1 bra $end;
mov.u32 %r0, s;
mul.wide.u32 %d0, %t, 4;
add.s64 %d1, %x, %d0;
ld.global.f32 %r1, [%d1];
mad.lo.u32 %r2, %t, 4, %r0;
st.shared.f32 [%r2], %r1;
bar.warp.sync -1;
xor.b32 %r3, %t, 1;
mad.lo.u32 %r4, %r3, 4, %r0;
ld.shared.f32 %r5, [%r4];
fma.rn.f32 %r6, %r5, 0f40000000, %r1;
shfl.sync.bfly.b32 %r7, %r6, 16, 31, -1;
add.f32 %r8, %r6, %r7;
add.s64 %d2, %y, %d0;
st.global.f32 [%d2], %r8;
$end:`,
  )
  it('a module with lines cut, doubled or swapped, or letters changed, runs or throws: the process lives', () => {
    const edit = fc.record({
      kind: fc.constantFrom('drop', 'double', 'swap', 'cut', 'letter'),
      at: fc.nat(),
      to: fc.nat(),
      letter: fc.constantFrom(...'%$.;,[]{}()@!0123456789abfrsux \n'),
    })
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
        let text = real
        for (const { kind, at, to, letter } of edits) {
          const lines = text.split('\n')
          const i = at % lines.length
          const j = to % lines.length
          if (kind === 'drop') lines.splice(i, 1)
          else if (kind === 'double') lines.splice(j, 0, lines[i]!)
          else if (kind === 'swap') [lines[i], lines[j]] = [lines[j]!, lines[i]!]
          text = kind === 'cut' ? text.slice(0, at % (text.length + 1)) : lines.join('\n')
          if (kind === 'letter' && text.length > 0) text = text.slice(0, at % text.length) + letter + text.slice((at % text.length) + 1)
        }
        const args = [new Float32Array(32), new Float32Array(32), { u32: 32 }]
        const { kind } = faultOf(() => run(text, args, { block: 32, mostInstructions: 100000, checks: all }))
        expect(typeof kind).toBe('string')
      }),
      { numRuns: 1500 },
    )
  })
})
