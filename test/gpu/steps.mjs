/** Steps of a Llama on the GPU: what they take, where the time goes, what hides; alone, and beside PyTorch. */
import { spawn, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { root } from '../../.ci/task.mjs'
import { Device, llama, longText } from '../../kernel/lib/fpdt/index.js'

const SMALL = { layers: 2, width: 128, heads: 2, kvHeads: 1, headSize: 64, feedForward: 256, tied: false }
/** Of Llama 3 8B's width and heads, with fewer layers: kernels see the shapes of the real model. */
const WIDE = { layers: 4, width: 4096, heads: 32, kvHeads: 8, headSize: 128, feedForward: 14336, tied: false }
const TURNS = 3

const sizesOf = (small) =>
  small
    ? { model: { ...SMALL, vocab: 257 }, lengths: [{ sequence: 512, chunk: 128 }], memory: '512 MiB' }
    : {
        model: { ...WIDE, vocab: 32768 },
        lengths: [
          { sequence: 2 ** 15, chunk: 2 ** 13 },
          { sequence: 2 ** 17, chunk: 2 ** 14 },
        ],
        memory: undefined,
      }

/** Words of a vocabulary smaller than the text's. */
function textBelow(vocabulary) {
  const text = longText('lib.dom.d.ts')
  return longText(text.read(0, text.length).map((token) => token % vocabulary))
}
const seconds = (ns) => `${(ns / 1e9).toFixed(3)} s`
const table = ([head, ...rows]) => [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
const percent = (share) => (share === null ? '' : `${(100 * share).toFixed(1)} %`)

/** Trains a few steps of each length; the trace of the last one is written beside the report. */
export async function steps(folder, small) {
  const { model, lengths, memory } = sizesOf(small)
  const device = await Device.cuda(memory ? { memory, host: memory } : {})
  const lines = []
  try {
    const { peakFlopsPerSecond } = device.rates('bf16')
    lines.push(`${device.description.name}; best product ${(peakFlopsPerSecond / 1e12).toFixed(1)} TFLOP/s in bf16.`, '')
    const rows = [['tokens', 'chunk', 'step', 'tokens/s', 'MFU', 'loss', 'device bytes: predicted', 'allocated', 'touched']]
    for (const { sequence, chunk } of lengths) {
      const run = await device.train(llama(model), { sequence, chunk })
      const text = textBelow(model.vocab)
      let summary
      for (let turn = 0; turn < TURNS; turn++) summary = await run.step(text)
      const { predicted, allocated, touched } = run.memory('device')
      const { duration_ns, tokens_per_second, mfu, loss } = summary
      rows.push([
        `${sequence}`,
        `${chunk}`,
        seconds(duration_ns),
        tokens_per_second.toFixed(0),
        percent(mfu),
        loss.toFixed(4),
        `${predicted}`,
        `${allocated}`,
        `${touched}`,
      ])
      if (predicted !== allocated || touched !== predicted) throw new Error(`predicted ${predicted} bytes, allocated ${allocated}, touched ${touched}`)
      lines.push(`Where the time of compute went, ${sequence} tokens:`, '', table(accountRows(summary)), '')
      lines.push(
        'What waited longest:',
        '',
        ...run
          .ask()
          .stalls({ most: 5 })
          .map(({ words }) => `- ${words}`),
        '',
      )
      const trace = join(folder, `step-${sequence}.arrow`)
      await run.trace(trace)
      lines.push(`Trace: ${trace}`, '')
      await run.close()
    }
    return [table(rows), '', ...lines].join('\n')
  } finally {
    await device.close()
  }
}

/** The same lengths in PyTorch, on the same GPU, in turns with ours; lengths that PyTorch has no memory for are said to be so. */
export async function beside(small) {
  const python = [join(root, '.venv/bin/python'), 'python3'].find(
    (path) => spawnSync(path, ['-c', 'import torch; assert torch.cuda.is_available()']).status === 0,
  )
  if (!python) return 'PyTorch with CUDA is not installed: `pip install torch` and run this again to have the comparison.'
  const { model, lengths, memory } = sizesOf(small)
  const { layers, width, heads, feedForward, vocab } = model
  const { positions, normEps } = llama(model)
  const rows = [['tokens', 'PyTorch, s', 'FPDT, s', 'FPDT / PyTorch, tokens/s']]
  for (const { sequence, chunk } of lengths) {
    // The peer has as many key/value heads as heads: so has ours here.
    const sizes = JSON.stringify({ layers, width, heads, feedForward, vocabulary: vocab, theta: positions.theta, normEps, threads: 8, device: 'cuda' })
    const peer = await stepsOf(python, sizes, sequence)
    const device = await Device.cuda(memory ? { memory, host: memory } : {})
    const run = await device.train(llama({ ...model, kvHeads: heads }), { sequence, chunk })
    let best = Number.POSITIVE_INFINITY
    for (let turn = 0; turn < TURNS; turn++) best = Math.min(best, (await run.step(textBelow(vocab))).duration_ns / 1e9)
    await device.close()
    rows.push([`${sequence}`, peer === null ? 'out of memory' : peer.toFixed(3), best.toFixed(3), peer === null ? '' : (peer / best).toFixed(2)])
  }
  return table(rows)
}

/** Seconds of PyTorch's best step; null where it ended before it had one. */
async function stepsOf(python, sizes, tokens) {
  const child = spawn(python, [fileURLToPath(new URL('../bench/pytorch.py', import.meta.url)), sizes], { stdio: ['pipe', 'pipe', 'pipe'] })
  let said = ''
  child.stderr.on('data', (text) => {
    said += text
  })
  child.stdin.on('error', () => {})
  child.stdin.end(`${tokens}\n`.repeat(TURNS))
  let best = null
  for await (const line of createInterface(child.stdout)) if (line.startsWith('{')) best = Math.min(best ?? Number.POSITIVE_INFINITY, JSON.parse(line).seconds)
  if (best === null && !/out of memory/i.test(said)) throw new Error(`PyTorch failed: ${said.trim().split('\n').at(-1)}`)
  return best
}

/** Each rank: what compute did and waited for, and how far copies hid under it. */
function accountRows({ duration_ns, accounts }) {
  const causes = Object.keys(accounts[0].idle_ns)
  const copied = ({ busy_ns }) => busy_ns.fetch + busy_ns.offload + busy_ns.load + busy_ns.spill
  return [
    ['rank', 'step', 'compute', ...causes.map((cause) => `idle: ${cause}`), 'copies', 'of them hidden'],
    ...accounts.map((account) => [
      `${account.rank}`,
      seconds(duration_ns),
      seconds(account.busy_ns.compute),
      ...causes.map((cause) => seconds(account.idle_ns[cause])),
      seconds(copied(account)),
      percent(copied(account) > 0 ? account.hidden_copy_ns / copied(account) : null),
    ]),
  ]
}
