/** Matrix products at the shapes of a training step, as a share of the best GEMM rate of the same minute. */
import { measureGemm } from '../../kernel/lib/cost/machine.js'
import { bestInTurns, bf16, device, f32, giga, kernelCall, milliseconds, percent, printTable, ROUNDS } from './measure.mjs'

/** What: rows, outputs, inputs. The layers are those of width 256 with 4 + 2 · 2 heads of 64 and a feed-forward width of 688. */
const SHAPES = {
  'loss head': [512, 50257, 256],
  'q, k, v': [512, 512, 256],
  output: [512, 256, 256],
  'gate, up': [256, 1376, 256],
  down: [256, 256, 688],
}

export async function gemm() {
  const rows = [['matrix', 'rows x outputs x inputs', 'project GF/s', 'of best', 'projectBackward', 'of best', 'weightGradient', 'of best', 'ms in all']]
  let best = 0
  const measured = []
  for (const [name, [count, outputs, inputs]] of Object.entries(SHAPES)) {
    const head = name === 'loss head'
    const numbers = { rows: count, outputs, inputs, outF32: head ? 1 : 0, bf16: 1, first: 0, doutStride: head ? 2 * outputs : outputs }
    const out = head ? f32(count * outputs) : bf16(count * outputs)
    const [a, weight] = [bf16(count * inputs), bf16(outputs * inputs)]
    const dout = bf16(count * numbers.doutStride)
    const times = await bestInTurns({
      project: kernelCall('project', numbers, [out, a, weight]),
      projectBackward: kernelCall('projectBackward', numbers, [bf16(count * inputs), dout, weight]),
      weightGradient: kernelCall('weightGradient', numbers, [f32(outputs * inputs), dout, a]),
    })
    measured.push([name, [count, outputs, inputs], times])
    best = Math.max(best, measureGemm(device, 'bf16'))
  }
  for (let i = measured.length; i < ROUNDS; i++) best = Math.max(best, measureGemm(device, 'bf16'))
  for (const [name, shape, times] of measured) {
    const flops = 2 * shape[0] * shape[1] * shape[2]
    const columns = Object.values(times).flatMap((time) => [giga(flops / time), percent(flops / time / best)])
    rows.push([name, shape.join(' x '), ...columns, milliseconds(Object.values(times).reduce((sum, time) => sum + time, 0))])
  }
  printTable(`Matrix products, bf16. Best GEMM: ${giga(best)} GF/s.`, rows, 2)
}
