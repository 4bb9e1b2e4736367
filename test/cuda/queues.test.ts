/** Streams of ranks that share a GPU need hardware queues of their own, which the driver gives only where the environment asks before CUDA starts. */
import { expect, it } from 'vitest'

const NAME = 'CUDA_DEVICE_MAX_CONNECTIONS'

it('asks for the most hardware queues', async () => {
  delete process.env[NAME]
  await import('./emulated.js')
  expect(process.env[NAME]).toBe('32')
})
