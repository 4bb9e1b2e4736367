import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { LiveClient } from '../../../labextension/src/live/client.js'
import { LiveRun } from '../../../labextension/src/live/live-run.js'
import { kernelOfRun, NotebookKernel, type RunsClient } from '../../../labextension/src/live/notebook-kernel.js'
import type { KernelLike } from '../../../labextension/src/live/page-comm.js'
import { fixture } from '../trace/fixture.js'
import { FakeKernel } from './fake-kernel.js'

const TABLES = fixture({ ranks: 1, layers: 1, chunks: 2, steps: 1 })
const ID = TABLES.head.run_id
const make = (kernel: KernelLike): RunsClient => new LiveClient(kernel, () => new LiveRun(() => ({ steps: 4, spans: 200_000, frames: 10 })))

/** A notebook with a kernel, whose outputs are on the page or not. */
function notebook(path: string, kernel: FakeKernel | null, isDrawn = true): NotebookKernel {
  const kernelChanged = { connect: () => true, disconnect: () => true }
  const made = new NotebookKernel({ path, sessionContext: { session: { kernel }, kernelChanged } }, () => {})
  if (isDrawn) made.use(make)
  return made
}

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

describe('a run that several open notebooks hold', () => {
  const withRun = (): FakeKernel => {
    const kernel = new FakeKernel()
    kernel.add(TABLES)
    return kernel
  }

  it('is asked of the kernel that has it, wherever its notebook stands', async () => {
    const [copy, closed, own] = [notebook('copy.ipynb', new FakeKernel()), notebook('closed.ipynb', null), notebook('own.ipynb', withRun())]
    await vi.advanceTimersByTimeAsync(100)
    expect(kernelOfRun(ID, [copy, closed, own])).toBe(own)
    expect(kernelOfRun(ID, [own, copy])).toBe(own)
  })

  it('is asked of the first where no kernel is known to have it, and of none where none holds it', async () => {
    const [copy, unseen] = [notebook('copy.ipynb', new FakeKernel()), notebook('unseen.ipynb', withRun(), false)]
    await vi.advanceTimersByTimeAsync(100)
    expect(kernelOfRun(ID, [copy, unseen])).toBe(copy)
    expect(kernelOfRun(ID, [unseen, copy])).toBe(unseen)
    expect(kernelOfRun(ID, [])).toBeNull()
  })
})
