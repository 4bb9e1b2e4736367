import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { curveKeyPair } from 'zeromq'
import { FpdtError } from '../../../kernel/src/errors.js'
import { address, connectionWarnings, readConnection } from '../../../kernel/src/jupyter/connection.js'

const folder = mkdtempSync(join(tmpdir(), 'fpdt-connection-'))
afterAll(() => rmSync(folder, { recursive: true }))
const path = join(folder, 'connection.json')
const SECRET = 'a0436f6c-1916-498b-8eb9-e81ab9368e84'
const FIELDS = {
  transport: 'tcp',
  ip: '127.0.0.1',
  key: SECRET,
  signature_scheme: 'hmac-sha256',
  shell_port: 5001,
  control_port: 5002,
  iopub_port: 5003,
  stdin_port: 5004,
  hb_port: 5005,
  kernel_name: 'fpdt',
}

function read(fields: unknown): ReturnType<typeof readConnection> {
  writeFileSync(path, typeof fields === 'string' ? fields : JSON.stringify(fields), { mode: 0o600 })
  return readConnection(path)
}

function refusal(fields: unknown): string {
  try {
    read(fields)
  } catch (error) {
    expect(error).toBeInstanceOf(FpdtError)
    // Node prints the cause of an error too, and whatever hangs on it.
    expect(String((error as FpdtError).cause)).not.toContain(SECRET)
    return (error as FpdtError).message
  }
  throw new Error(`accepted: ${JSON.stringify(fields)}`)
}

describe('readConnection', () => {
  it('reads what jupyter_client writes, and gives the addresses of its sockets', () => {
    const connection = read(FIELDS)
    expect(connection).toEqual({
      transport: 'tcp',
      ip: '127.0.0.1',
      key: SECRET,
      hash: 'sha256',
      ports: { shell: 5001, control: 5002, iopub: 5003, stdin: 5004, hb: 5005 },
    })
    expect(address(connection, 'hb')).toBe('tcp://127.0.0.1:5005')
    const ipc = read({ ...FIELDS, transport: 'ipc', ip: '/run/kernel-1-ipc', shell_port: 1 })
    expect(address(ipc, 'shell')).toBe('ipc:///run/kernel-1-ipc-1')
  })

  it('takes a pair of CURVE keys, which libzmq made', () => {
    for (let pair = 0; pair < 20; pair++) {
      const { publicKey, secretKey } = curveKeyPair()
      expect(read({ ...FIELDS, curve_publickey: publicKey, curve_secretkey: secretKey }).curve).toEqual({ publicKey, secretKey })
    }
    expect(read({ ...FIELDS, curve_publickey: null, curve_secretkey: null }).curve).toBeUndefined()
  })

  it('refuses half a pair, a malformed key and a key of another pair', () => {
    const { publicKey, secretKey } = curveKeyPair()
    const curve = (curve_publickey: unknown, curve_secretkey: unknown) => refusal({ ...FIELDS, curve_publickey, curve_secretkey })
    expect(curve(publicKey, undefined)).toBe(`${path}: curve_secretkey is missing, but the other key of the pair is there`)
    expect(curve(undefined, secretKey)).toBe(`${path}: curve_publickey is missing, but the other key of the pair is there`)
    for (const bad of ['', 'short', 5, '"'.repeat(40), '#'.repeat(40), `${secretKey.slice(0, 39)} `, `${secretKey}0`]) {
      expect(curve(publicKey, bad)).toBe(`${path}: curve_secretkey is not a key of 32 bytes in Z85 (40 characters)`)
    }
    expect(curve(curveKeyPair().publicKey, secretKey)).toBe(`${path}: curve_publickey is not the public key of curve_secretkey`)
  })

  it('names file and field of whatever is wrong, and never shows a key', () => {
    const wrong: Record<string, fc.Arbitrary<unknown>> = {
      transport: fc.oneof(fc.string(), fc.integer(), fc.constant(null)).filter((value) => value !== 'tcp' && value !== 'ipc'),
      ip: fc.oneof(fc.constantFrom('', '::1', 'a b', '127.0.0.1:80', 'tcp://x', '\0', 'ä'), fc.integer(), fc.constant(null), fc.array(fc.string())),
      key: fc.oneof(fc.integer(), fc.constant(null), fc.constant([SECRET]), fc.constant({ SECRET })),
      signature_scheme: fc.oneof(fc.constantFrom('', 'sha256', 'hmac-', 'hmac-nosuchhash', 'HMAC-SHA256'), fc.integer(), fc.constant(null)),
    }
    const port = fc.oneof(
      fc.integer({ max: 0 }),
      fc.integer({ min: 65_536 }),
      fc.double().filter((n) => !Number.isInteger(n)),
      fc.string(),
      fc.constant(null),
    )
    for (const name of ['shell', 'control', 'iopub', 'stdin', 'hb']) wrong[`${name}_port`] = port
    fc.assert(
      fc.property(fc.oneof(...Object.entries(wrong).map(([field, value]) => fc.tuple(fc.constant(field), value))), ([field, value]) => {
        const message = refusal({ ...FIELDS, [field]: value })
        expect(message.startsWith(`${path}: ${field} is `)).toBe(true)
        expect(message).not.toContain(SECRET)
      }),
      { numRuns: 400 },
    )
  })

  it('refuses ports that are missing or shared', () => {
    const { hb_port: _, ...rest } = FIELDS
    expect(refusal(rest)).toContain('hb_port is missing')
    expect(refusal({ ...FIELDS, hb_port: FIELDS.shell_port })).toContain('hb_port is 5001, which another of its ports is too')
  })

  it('refuses what is no JSON object without a word of its text, and says when there is no file', () => {
    for (const text of ['', '[]', 'null', '7', `{"key": ${SECRET}}`, `{"key": "${SECRET}"`, `"${SECRET}"`, '\xff']) {
      expect(refusal(text)).toBe(`${path} is not a JSON object: a Jupyter client writes that file, and starts the kernel with it`)
    }
    expect(() => readConnection(join(folder, 'none.json'))).toThrow(/cannot read the connection file: ENOENT.*none\.json/)
  })
})

describe('connectionWarnings', () => {
  const warnings = (fields: object, mode: number, env: NodeJS.ProcessEnv = {}) => {
    const connection = read(fields)
    chmodSync(path, mode)
    return connectionWarnings(path, connection, env)
  }

  it('says that others can read or write a file with the key, unless Jupyter was told to allow it', () => {
    expect(warnings(FIELDS, 0o600)).toEqual([])
    expect(warnings(FIELDS, 0o644)).toEqual([`${path} has mode 644, so others can read it; whoever has its key runs code as you; try: chmod 600 ${path}`])
    expect(warnings(FIELDS, 0o620)).toEqual([expect.stringContaining('others can write it')])
    expect(warnings(FIELDS, 0o644, { JUPYTER_ALLOW_INSECURE_WRITES: 'True' })).toEqual([])
  })

  it('says that messages are not signed where others can reach the sockets', () => {
    expect(warnings({ ...FIELDS, key: '' }, 0o600)).toEqual([])
    expect(warnings({ ...FIELDS, key: '', transport: 'ipc', ip: 'kernel-ipc' }, 0o600)).toEqual([])
    expect(warnings({ ...FIELDS, key: '', ip: '*' }, 0o600)).toEqual([expect.stringContaining('key is empty, so messages are not signed, and ip is *')])
    expect(warnings({ ...FIELDS, key: '', ip: '10.0.0.1' }, 0o600)).toHaveLength(1)
    expect(warnings({ ...FIELDS, ip: '10.0.0.1' }, 0o600)).toEqual([])
  })
})
