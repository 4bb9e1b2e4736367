/** Where threads of the emulated machine go: divergence and reconvergence, loops, calls, barriers, and blocks that wait for one another. */
import { describe, expect, it } from 'vitest'
import { faultOf, kernel, moduleOf, run } from './fixtures/ptx.js'

const threads = (count: number) => Array.from({ length: count }, (_, t) => t)
/** Stores a register to y[thread]. */
const store = (register: string) => `mul.wide.u32 %d30, %t, 4;\nadd.s64 %d31, %y, %d30;\nst.global.u32 [%d31], ${register};`

function result(body: string, count: number, { seed = 0, registers = '', outside = '', checks = {} } = {}): number[] {
  const y = new Uint32Array(count)
  run(kernel(['.u64 y'], body, { registers, outside }), [y], { block: count, seed, checks })
  return [...y]
}

describe('divergence', () => {
  it('both sides of a branch, nested, and together again', () => {
    const body = `and.b32 %r1, %t, 1;
setp.eq.u32 %p1, %r1, 0;
@%p1 bra $even;
and.b32 %r2, %t, 2;
setp.eq.u32 %p2, %r2, 0;
@!%p2 bra $three;
mov.u32 %r3, 100;
bra $met;
$three:
mov.u32 %r3, 300;
bra $met;
$even:
mov.u32 %r3, 200;
$met:
bar.warp.sync -1;
activemask.b32 %r4;
popc.b32 %r4, %r4;
add.u32 %r3, %r3, %r4;
${store('%r3')}`
    expect(result(body, 64)).toEqual(threads(64).map((t) => 32 + (t % 2 === 0 ? 200 : t % 4 === 1 ? 100 : 300)))
  })
  it('a loop that each lane runs another number of times', () => {
    const body = `mov.u32 %r1, 0;
mov.u32 %r2, 0;
$loop:
setp.ge.u32 %p1, %r1, %t;
@%p1 bra $done;
add.u32 %r1, %r1, 1;
add.u32 %r2, %r2, %r1;
bra.uni $loop;
$done:
${store('%r2')}`.replace('bra.uni', 'bra')
    expect(result(body, 96)).toEqual(threads(96).map((t) => (t * (t + 1)) / 2))
  })
  it('lanes that leave early', () => {
    const body = `${store('%t')}
setp.lt.u32 %p1, %t, 10;
@%p1 exit;
setp.lt.u32 %p1, %t, 20;
@%p1 ret;
mov.u32 %r1, 7;
${store('%r1')}`
    expect(result(body, 40)).toEqual(threads(40).map((t) => (t < 20 ? t : 7)))
  })
  it('a branch by a table', () => {
    const body = `and.b32 %r1, %t, 3;
$table: .branchtargets $zero, $one, $two, $three;
brx.idx %r1, $table;
$zero:
mov.u32 %r2, 5;
bra $met;
$one:
mov.u32 %r2, 6;
$two:
mov.u32 %r2, 7;
bra $met;
$three:
mov.u32 %r2, 8;
$met:
${store('%r2')}`
    expect(result(body, 32)).toEqual(threads(32).map((t) => [5, 7, 7, 8][t % 4]))
  })
  it('a lock within a warp: each lane gets its turn', () => {
    const y = new Uint32Array(2)
    const text = kernel(
      ['.u64 y'],
      `$try:
atom.acquire.gpu.global.cas.b32 %r1, [%y], 0, 1;
setp.ne.u32 %p1, %r1, 0;
@%p1 bra $try;
ld.relaxed.gpu.global.u32 %r2, [%y+4];
add.u32 %r2, %r2, 1;
st.relaxed.gpu.global.u32 [%y+4], %r2;
atom.release.gpu.global.exch.b32 %r3, [%y], 0;`,
    )
    run(text, [y], { block: 32 })
    expect([...y]).toEqual([0, 32])
  })
})

describe('calls', () => {
  const double = `.func (.param .b32 out) twice(.param .b32 in)
{
.reg .b32 %a<2>;
ld.param.u32 %a0, [in];
add.u32 %a1, %a0, %a0;
st.param.b32 [out], %a1;
ret;
}`
  const call = (into: string, of: string, name = 'twice') => `{
.param .b32 p0;
st.param.b32 [p0], ${of};
.param .b32 q0;
call.uni (q0), ${name}, (p0);
ld.param.b32 ${into}, [q0];
}`
  it('a function with a parameter and a result, called twice', () => {
    expect(result(`${call('%r1', '%t')}\n${call('%r2', '%r1')}\n${store('%r2')}`, 64, { outside: double })).toEqual(threads(64).map((t) => 4 * t))
  })
  it('called by some lanes only', () => {
    const body = `mov.u32 %r2, %t;
setp.lt.u32 %p1, %t, 9;
@%p1 bra $over;
${call('%r2', '%t')}
$over:
${store('%r2')}`
    expect(result(body, 32, { outside: double })).toEqual(threads(32).map((t) => (t < 9 ? t : 2 * t)))
  })
  it('a function that calls itself is refused', () => {
    const again = double.replace('add.u32 %a1, %a0, %a0;', call('%a1', '%a0'))
    expect(faultOf(() => result(call('%r1', '%t'), 32, { outside: again }))).toMatchObject({
      kind: 'unknown instruction',
      message: expect.stringContaining('recursion'),
    })
  })
  it('a function that stores through a pointer to local memory', () => {
    const fill = `.func fill(.param .b64 where, .param .b32 what)
{
.reg .b64 %a;
.reg .b32 %c;
ld.param.u64 %a, [where];
ld.param.u32 %c, [what];
st.u32 [%a], %c;
st.u32 [%a+4], 5;
ret;
}`
    const body = `.local .align 8 .b8 l[8];
mov.u64 %d1, l;
cvta.local.u64 %d2, %d1;
{
.param .b64 p0;
st.param.b64 [p0], %d2;
.param .b32 p1;
st.param.b32 [p1], %t;
call.uni fill, (p0, p1);
}
ld.local.u32 %r1, [%d1];
ld.local.u32 %r2, [%d1+4];
add.u32 %r1, %r1, %r2;
${store('%r1')}`
    expect(result(body, 64, { outside: fill })).toEqual(threads(64).map((t) => t + 5))
  })
})

describe('barriers', () => {
  const reverse = (barrier: string) => `.shared .align 4 .b8 s[512];
mov.u32 %r0, s;
mad.lo.u32 %r1, %t, 4, %r0;
st.shared.u32 [%r1], %t;
${barrier}
sub.u32 %r2, 127, %t;
mad.lo.u32 %r3, %r2, 4, %r0;
ld.shared.u32 %r4, [%r3];
${store('%r4')}`
  for (const barrier of ['bar.sync 0;', 'barrier.sync 0;', 'bar.sync 3, 128;', 'barrier.sync.aligned 2;', 'bar.cta.sync 0;']) {
    for (const seed of [0, 1, 2]) {
      it(`${barrier} seed ${seed}`, () => {
        expect(result(reverse(barrier), 128, { seed, checks: { races: true, initialised: true } })).toEqual(threads(128).map((t) => 127 - t))
      })
    }
  }
  it('a barrier in a loop', () => {
    // Each round every thread adds its right neighbour's number.
    const body = `.shared .align 4 .b8 s[256];
mov.u32 %r0, s;
mad.lo.u32 %r1, %t, 4, %r0;
add.u32 %r2, %t, 1;
and.b32 %r2, %r2, 63;
mad.lo.u32 %r3, %r2, 4, %r0;
mov.u32 %r4, %t;
mov.u32 %r5, 0;
$loop:
st.shared.u32 [%r1], %r4;
bar.sync 0;
ld.shared.u32 %r6, [%r3];
add.u32 %r4, %r4, %r6;
bar.sync 0;
add.u32 %r5, %r5, 1;
setp.lt.u32 %p1, %r5, 5;
@%p1 bra $loop;
${store('%r4')}`
    let wanted = threads(64)
    for (let round = 0; round < 5; round++) wanted = wanted.map((value, t) => value + wanted[(t + 1) % 64]!)
    for (const seed of [0, 4]) expect(result(body, 64, { seed, checks: { races: true } })).toEqual(wanted)
  })
  it('two named barriers: each half of the block waits for itself alone', () => {
    const body = `.shared .align 4 .b8 s[512];
mov.u32 %r0, s;
mad.lo.u32 %r1, %t, 4, %r0;
st.shared.u32 [%r1], %t;
setp.lt.u32 %p1, %t, 64;
@%p1 bra $low;
bar.sync 1, 64;
bra $met;
$low:
bar.sync 2, 64;
$met:
xor.b32 %r2, %t, 63;
mad.lo.u32 %r3, %r2, 4, %r0;
ld.shared.u32 %r4, [%r3];
${store('%r4')}`
    for (const seed of [0, 3]) expect(result(body, 128, { seed, checks: { races: true } })).toEqual(threads(128).map((t) => t ^ 63))
  })
  it('bar.arrive is refused: nothing here says that who arrives learns nothing', () => {
    expect(() => result('bar.arrive 1, 64;', 64)).toThrow(/bar\.arrive/)
  })
  it('bar.red: and, or, and a count', () => {
    const body = `setp.lt.u32 %p1, %t, 70;
bar.red.popc.u32 %r1, 0, %p1;
bar.red.and.pred %p2, 0, %p1;
bar.red.or.pred %p3, 0, %p1;
selp.u32 %r2, 1000, 0, %p2;
selp.u32 %r3, 2000, 0, %p3;
add.u32 %r1, %r1, %r2;
add.u32 %r1, %r1, %r3;
${store('%r1')}`
    expect(result(body, 96)).toEqual(threads(96).map(() => 2070))
  })
  it('threads that have ended are not waited for', () => {
    const body = `setp.ge.u32 %p1, %t, 64;
@%p1 exit;
bar.sync 0;
${store('%t')}`
    expect(result(body, 96)).toEqual(threads(96).map((t) => (t < 64 ? t : 0)))
  })
})

describe('the grid', () => {
  it('three dimensions of blocks and threads', () => {
    const y = new Uint32Array(2 * 3 * 2 * 4 * 2 * 3)
    const text = moduleOf(`.visible .entry k(.param .u64 y)
{
.reg .b32 %r<16>;
.reg .b64 %d<4>;
ld.param.u64 %d0, [y];
mov.u32 %r0, %ctaid.x;
mov.u32 %r1, %ctaid.y;
mov.u32 %r2, %ctaid.z;
mov.u32 %r3, %nctaid.x;
mov.u32 %r4, %nctaid.y;
mov.u32 %r5, %tid.x;
mov.u32 %r6, %tid.y;
mov.u32 %r7, %tid.z;
mov.u32 %r8, %ntid.x;
mov.u32 %r9, %ntid.y;
mov.u32 %r10, %ntid.z;
mad.lo.u32 %r11, %r2, %r4, %r1;
mad.lo.u32 %r11, %r11, %r3, %r0;
mad.lo.u32 %r12, %r11, %r10, %r7;
mad.lo.u32 %r12, %r12, %r9, %r6;
mad.lo.u32 %r12, %r12, %r8, %r5;
mul.wide.u32 %d1, %r12, 4;
add.s64 %d2, %d0, %d1;
add.u32 %r13, %r12, 1;
st.global.u32 [%d2], %r13;
ret;
}`)
    run(text, [y], { grid: [2, 3, 2], block: [4, 2, 3] })
    expect([...y]).toEqual(threads(y.length).map((i) => i + 1))
  })
  // Blocks draw a ticket each, so that whoever is waited for has started; y: tickets drawn, tickets done, and 64 sums that pass from ticket to ticket.
  const handedOn = kernel(
    ['.u64 y'],
    `.shared .align 4 .b8 ticket[4];
setp.ne.u32 %p1, %t, 0;
@%p1 bra $wait;
atom.relaxed.gpu.global.add.u32 %r0, [%y], 1;
st.shared.u32 [ticket], %r0;
$spin:
ld.acquire.gpu.global.u32 %r1, [%y+4];
setp.ne.u32 %p2, %r1, %r0;
@%p2 bra $spin;
$wait:
bar.sync 0;
ld.shared.u32 %r0, [ticket];
mul.wide.u32 %d0, %t, 4;
add.s64 %d1, %y, %d0;
ld.global.u32 %r3, [%d1+8];
mad.lo.u32 %r3, %r3, 3, %r0;
st.global.u32 [%d1+8], %r3;
bar.sync 0;
@%p1 bra $end;
add.u32 %r4, %r0, 1;
st.release.gpu.global.u32 [%y+4], %r4;
$end:`,
  )
  for (const [seed, residentBlocks] of [
    [0, 1],
    [0, 2],
    [7, 1],
    [8, 2],
  ] as const) {
    it(`blocks that wait for the one before: seed ${seed}, ${residentBlocks} resident`, () => {
      const blocks = 6
      const y = new Uint32Array(2 + 64)
      run(handedOn, [y], { grid: blocks, block: 64, seed, residentBlocks, checks: { races: true, initialised: true } })
      let wanted = 0
      for (let ticket = 0; ticket < blocks; ticket++) wanted = wanted * 3 + ticket
      expect([...y]).toEqual([blocks, blocks, ...new Array(64).fill(wanted)])
    })
  }
  it('a seed changes the order of blocks, and the order is that of the seed', () => {
    const text = kernel(
      ['.u64 y'],
      `setp.ne.u32 %p1, %t, 0;
@%p1 bra $end;
atom.global.add.u32 %r1, [%y], 1;
mul.wide.u32 %d0, %r1, 4;
add.s64 %d1, %y, %d0;
st.global.u32 [%d1+4], %block;
$end:`,
    )
    const order = (seed: number) => {
      const y = new Uint32Array(17)
      run(text, [y], { grid: 16, block: 32, seed })
      return [...y.subarray(1)]
    }
    expect(order(0)).toEqual(threads(16))
    expect(order(1)).not.toEqual(order(0))
    expect(new Set([1, 2, 3, 4].map((seed) => order(seed).join())).size).toBeGreaterThan(1)
    expect([...order(3)].sort((a, b) => a - b)).toEqual(threads(16))
  })
})

describe('a trap', () => {
  it('ends the launch', () => {
    expect(faultOf(() => run(kernel([], 'setp.eq.u32 %p1, %t, 5;\n@%p1 trap;'), [], { block: 32 })).kind).toBe('trap')
    expect(faultOf(() => run(kernel([], 'setp.eq.u32 %p1, %t, 50;\n@%p1 trap;'), [], { block: 32 })).kind).toBe('none')
  })
})
