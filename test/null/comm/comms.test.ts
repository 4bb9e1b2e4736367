import { describe, expect, it } from 'vitest'
import { type CommEvent, Comms } from '../../../kernel/src/comm/comms.js'
import { onComm, openComm } from '../../../kernel/src/comm/index.js'

function setUp() {
  const sent: CommEvent[] = []
  return { sent, comms: new Comms((event) => sent.push(event)) }
}
const rest = { data: {}, metadata: {}, buffers: [] }
const opened = (id: string, target: string): CommEvent => ({ type: 'open', id, target, ...rest })
const message = (id: string, data: object = {}): CommEvent => ({ type: 'msg', id, ...rest, data })
const closed = (id: string): CommEvent => ({ type: 'close', id, ...rest })

describe('comms', () => {
  it('send any view of memory as just the bytes it shows', () => {
    const { sent, comms } = setUp()
    const memory = new Uint8Array([0, 1, 2, 3, 4, 5, 6, 7])
    comms.open(
      't',
      {},
      { buffers: [memory.buffer, memory.subarray(2, 5), new DataView(memory.buffer, 7), new Uint16Array(memory.buffer, 2, 1), new Uint8Array()] },
    )
    expect(sent[0]?.buffers.map((buffer) => [...buffer])).toEqual([[0, 1, 2, 3, 4, 5, 6, 7], [2, 3, 4], [7], [2, 3], []])
  })

  it('send data as it is at that moment, as JSON has it', () => {
    const { sent, comms } = setUp()
    const data = { date: new Date(0), list: [1], nothing: undefined }
    comms.open('t', data)
    data.list.push(2)
    expect(sent[0]?.data).toEqual({ date: '1970-01-01T00:00:00.000Z', list: [1] })
  })

  it('refuse what no message can carry, and open nothing then', () => {
    const { sent, comms } = setUp()
    for (const data of [null, 7, 'text', [1], () => 1]) expect(() => comms.open('t', data as never)).toThrow(/not a JSON object/)
    expect(() => comms.open('t', {}, { metadata: [] as never })).toThrow(/metadata of a comm message is an array/)
    expect(() => comms.open('t', {}, { buffers: ['text' as never] })).toThrow(/buffer 0 .* string/)
    expect(sent).toEqual([])
  })

  it('are closed once, from either side, and say so', async () => {
    const { sent, comms } = setUp()
    const [mine, theirs] = [comms.open('t'), comms.open('t')]
    const heard: string[] = []
    mine.onClose(() => heard.push('mine'))
    theirs.onClose(() => heard.push('theirs'))
    mine.close()
    mine.close()
    await comms.receive(closed(theirs.id))
    theirs.close()
    expect(sent.filter(({ type }) => type === 'close').map(({ id }) => id)).toEqual([mine.id])
    expect(heard).toEqual(['theirs'])
    expect([mine.isClosed, theirs.isClosed]).toEqual([true, true])
    expect(() => theirs.send({})).toThrow(/is closed; open another/)
  })

  it('reach all handlers in order, also after one that throws, and not those taken away', async () => {
    const { comms } = setUp()
    const heard: string[] = []
    comms.register('t', (comm) => {
      comm.onMessage(() => heard.push('first'))
      comm.onMessage(() => {
        heard.push('second')
        throw new Error('on purpose')
      })
      const off = comm.onMessage(() => heard.push('never'))
      comm.onMessage(async () => heard.push('last'))
      off()
    })
    await comms.receive(opened('a', 't'))
    await expect(comms.receive(message('a'))).rejects.toThrow('on purpose')
    expect(heard).toEqual(['first', 'second', 'last'])
  })

  it('of a target belong to its last registration, whose end does not end a later one', async () => {
    const { sent, comms } = setUp()
    const heard: string[] = []
    const endFirst = comms.register('t', () => heard.push('first'))
    const endSecond = comms.register('t', () => heard.push('second'))
    endFirst()
    await comms.receive(opened('a', 't'))
    endSecond()
    await comms.receive(opened('b', 't'))
    expect(heard).toEqual(['second'])
    expect(sent.map(({ type, id }) => [type, id])).toEqual([['close', 'b']])
  })

  it('that are unknown are left alone', async () => {
    const { sent, comms } = setUp()
    await comms.receive(message('nobody'))
    await comms.receive(closed('nobody'))
    expect(sent).toEqual([])
  })
})

it('outside a kernel there is no front end, and both words say so', () => {
  expect(() => openComm('t')).toThrow(/openComm needs a front end/)
  expect(() => onComm('t', () => {})).toThrow(/onComm needs a front end/)
})
