import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { curveKeyPair, Dealer, Subscriber } from 'zeromq'
import { TestKernel } from './client.js'

const keys = curveKeyPair()
const CHANNELS = ['shell', 'control', 'stdin', 'hb'] as const
/** A local handshake takes a few milliseconds. */
const SILENCE_MS = 400

let kernel: TestKernel

describe('a kernel whose connection file has CURVE keys', () => {
  beforeAll(async () => {
    kernel = await TestKernel.start(undefined, { connection: { curve_publickey: keys.publicKey, curve_secretkey: keys.secretKey } })
  })
  afterAll(() => kernel.close())

  it('speaks to a client that has them, on every channel', async () => {
    const { stdout, result } = await kernel.run('console.log("secret"); 6 * 7')
    expect({ stdout, result }).toEqual({ stdout: 'secret\n', result: '42' })
    expect(await kernel.request('control', 'kernel_info_request', {})).toMatchObject({ status: 'ok', implementation: 'fpdt' })
    await kernel.sendFrames('hb', [Buffer.from('ping')])
    expect(String((await kernel.receiveHeartbeat())[0])).toBe('ping')
  })

  const stranger = curveKeyPair()
  const strangers = {
    'speaks no CURVE': {},
    'takes another for the server': { curveServerKey: stranger.publicKey, curvePublicKey: keys.publicKey, curveSecretKey: keys.secretKey },
  }
  for (const [who, security] of Object.entries(strangers)) {
    it(`says nothing to a client that ${who}, although it signs rightly, and goes on`, async () => {
      const heard: string[] = []
      const dealers = CHANNELS.map((channel) => {
        const dealer = new Dealer({ linger: 0, ...security })
        dealer.connect(kernel.addresses[channel])
        return { channel, dealer }
      })
      const subscriber = new Subscriber({ linger: 0, ...security })
      subscriber.connect(kernel.addresses.iopub)
      subscriber.subscribe()
      const listen = async (name: string, socket: Dealer | Subscriber) => {
        for await (const _ of socket) heard.push(name)
      }
      void listen('iopub', subscriber)
      for (const { channel, dealer } of dealers) {
        void listen(channel, dealer)
        void dealer.send(kernel.frames('kernel_info_request', {})).catch(() => {}) // closed before it could be sent
      }
      await delay(SILENCE_MS)
      expect((await kernel.run('"mine"')).result).toBe("'mine'")
      expect(heard).toEqual([])
      for (const { dealer } of dealers) dealer.close()
      subscriber.close()
    })
  }
})
