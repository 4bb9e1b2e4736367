/** What `npm test` has no time for. */
import { describe, expect, it } from 'vitest'
import { longBytes, longRun } from '../step/long-run.js'

const K = 1024
const MINUTES = 60_000

describe('a real step of 64 K tokens', () => {
  it(
    'touches the bytes of the device that one of 1 M is planned to',
    async () => {
      const { loss, touched } = await longRun(64 * K)
      expect(loss).toBeGreaterThan(0)
      expect(touched.device).toBe(longBytes(1024 * K).device)
      expect(touched.host).toBe(longBytes(64 * K).host)
    },
    10 * MINUTES,
  )
})

describe('a real step of 256 K tokens', () => {
  it(
    'touches not one byte more of the device than one of 64 K does',
    async () => {
      const { loss, touched } = await longRun(256 * K)
      expect(loss).toBeGreaterThan(0)
      expect(touched.device).toBe(longBytes(64 * K).device)
      expect(touched.host).toBe(longBytes(256 * K).host)
    },
    30 * MINUTES,
  )
})
