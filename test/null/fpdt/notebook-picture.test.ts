import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { DISPLAY_HOST, type DisplayHost } from '../../../kernel/src/display.js'
import { NotebookPicture } from '../../../kernel/src/fpdt/run/notebook-picture.js'

const world = globalThis as { [DISPLAY_HOST]?: DisplayHost | undefined }
const before = world[DISPLAY_HOST]

/** A notebook that notes whether each drawing replaces an earlier one. */
function notebook(rest: Pick<DisplayHost, 'wordsOnly' | 'owner'> = {}): boolean[] {
  const updates: boolean[] = []
  world[DISPLAY_HOST] = { ...rest, display: (_, options) => void updates.push(options?.update === true), onInterrupt: () => () => {} }
  return updates
}
const picture = (): NotebookPicture => new NotebookPicture('run', async () => ({ 'text/plain': 'run' }))

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
  world[DISPLAY_HOST] = before
})

describe('a picture that follows steps', () => {
  it('is drawn at once, and then once for all steps of the next two seconds', async () => {
    const updates = notebook()
    const drawn = picture()
    await drawn.follow()
    expect(updates).toEqual([false])
    for (let step = 0; step < 5; step++) await drawn.follow()
    expect(updates).toEqual([false])
    await vi.advanceTimersByTimeAsync(2000)
    expect(updates).toEqual([false, true])
  })
  it('is drawn when work has begun that lasts, and what came of it at once in its place', async () => {
    const updates = notebook()
    const drawn = picture()
    expect(drawn.begin()).toBe(true)
    expect(updates).toEqual([])
    await vi.advanceTimersByTimeAsync(300)
    expect(updates).toEqual([false])
    await drawn.follow()
    expect(updates).toEqual([false, true])
    expect(drawn.begin()).toBe(false)
    const short = picture()
    short.begin()
    await short.follow()
    await vi.advanceTimersByTimeAsync(5000)
    expect(updates).toEqual([false, true, false])
  })
  it('does not keep a caller who asks for it soon', async () => {
    const updates = notebook()
    const drawn = picture()
    await drawn.follow(true)
    expect(updates).toEqual([])
    await vi.advanceTimersByTimeAsync(0)
    expect(updates).toEqual([false])
  })
  it('is drawn a last time at its end, if it ever was, and follows nothing after it', async () => {
    const updates = notebook()
    const drawn = picture()
    await drawn.follow()
    await drawn.end()
    await drawn.follow()
    await vi.advanceTimersByTimeAsync(5000)
    expect(updates).toEqual([false, true])
    const never = picture()
    await never.follow(true)
    await never.end()
    await vi.advanceTimersByTimeAsync(5000)
    expect(updates).toHaveLength(2)
  })
  it('is shown once by each cell that works, also while another does and when it is run again', async () => {
    const [first, second, again] = [{}, {}, {}]
    let cell: object = first
    const updates = notebook({ owner: () => cell })
    const drawn = picture()
    await drawn.follow()
    cell = second
    expect(drawn.begin()).toBe(true)
    await drawn.follow() // at once, however lately it was drawn elsewhere: what is shown later is no part of the cell
    expect(updates).toEqual([false, false])
    cell = first
    expect(drawn.begin()).toBe(false)
    await drawn.follow()
    await vi.advanceTimersByTimeAsync(2000)
    expect(updates).toEqual([false, false, true])
    cell = again
    await drawn.redraw()
    await drawn.draw()
    expect(updates).toEqual([false, false, true, true, true])
    await drawn.follow(true)
    await vi.advanceTimersByTimeAsync(0)
    expect(updates).toEqual([false, false, true, true, true, false])
  })
  it('is shown by a cell that works, though another ended with it', async () => {
    const [value, work] = [{}, {}]
    let cell: object = value
    const updates = notebook({ owner: () => cell })
    const drawn = picture()
    drawn.shownAsValue()
    expect(drawn.begin()).toBe(false)
    cell = work
    expect(drawn.begin()).toBe(true)
    await vi.advanceTimersByTimeAsync(300)
    await drawn.follow()
    expect(updates).toEqual([false, true])
  })
  it('is not drawn for a terminal, which shows words alone', async () => {
    const updates = notebook({ wordsOnly: true })
    const drawn = picture()
    await drawn.draw()
    await drawn.follow()
    await drawn.end()
    expect(updates).toEqual([])
  })
})
