import { describe, expect, it } from 'vitest'
import { longBytes, longRun } from './long-run.js'

const K = 1024

describe('the device bytes of a long sequence', () => {
  it('are planned the same for 64 K, 256 K and 1 M tokens in chunks of 16 K', () => {
    const [short, ...longer] = [64 * K, 256 * K, 1024 * K].map((sequence) => longBytes(sequence).device)
    for (const bytes of longer) expect(bytes / short!).toBe(1)
  })

  it('are those of a real step of 16 K tokens in chunks of 4 K; 64 K and 256 K run in test/long, 1 M in the bench', async () => {
    const { loss, touched } = await longRun(16 * K, 4 * K)
    expect(loss).toBeGreaterThan(0)
    expect(touched.device).toBe(longBytes(256 * K, 4 * K).device)
    expect(touched.host).toBe(longBytes(16 * K, 4 * K).host)
  })
})
