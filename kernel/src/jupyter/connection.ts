/**
 * The connection file that a Jupyter client writes before it starts a kernel: where the sockets are, and the keys. Its mistakes are told
 * before anything is bound, by file and field; the keys themselves are never shown.
 */
import { createHmac } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { FpdtError } from '../errors.js'
import { type CurveKeys, isPair, z85Key } from './curve.js'

export interface Connection {
  readonly transport: 'tcp' | 'ipc'
  /** Over ipc the beginning of the sockets' paths. */
  readonly ip: string
  /** Empty: messages are not signed. */
  readonly key: string
  /** Hash of the signature, by Node's name: `sha256` of `hmac-sha256`. */
  readonly hash: string
  readonly ports: Readonly<Record<Port, number>>
  /** There when every socket is to be encrypted. */
  readonly curve?: CurveKeys
}

export const PORTS = ['shell', 'control', 'iopub', 'stdin', 'hb'] as const
export type Port = (typeof PORTS)[number]

/** Beyond it ZeroMQ takes the remainder and binds elsewhere. */
const LAST_PORT = 65_535

/** Throws FpdtError 'connection-file' that names the file and the field. */
export function readConnection(path: string): Connection {
  const file = readFields(path)
  const wrong = (field: string, is: string): FpdtError => new FpdtError('connection-file', `${path}: ${field} is ${is}`)

  const { transport = 'tcp', ip = '127.0.0.1', key = '', signature_scheme: scheme = 'hmac-sha256' } = file
  if (transport !== 'tcp' && transport !== 'ipc') throw wrong('transport', `${shown(transport)}, not "tcp" or "ipc"`)
  if (typeof ip !== 'string' || !(transport === 'tcp' ? /^[\w.*-]+$/ : /^[^\0]+$/).test(ip)) {
    throw wrong('ip', transport === 'tcp' ? `${shown(ip)}, not an IPv4 address, host name, interface or "*"` : `${shown(ip)}, not a path`)
  }
  if (typeof key !== 'string') throw wrong('key', `of type ${typeof key}, not a string`)
  const hash = typeof scheme === 'string' && scheme.startsWith('hmac-') ? scheme.slice('hmac-'.length) : ''
  if (!isHash(hash)) throw wrong('signature_scheme', `${shown(scheme)}, not "hmac-" and a hash that Node knows; try "hmac-sha256"`)

  const ports = Object.fromEntries(
    PORTS.map((name) => {
      const port = file[`${name}_port`]
      if (!Number.isInteger(port) || (port as number) < 1 || (transport === 'tcp' && (port as number) > LAST_PORT)) {
        throw wrong(`${name}_port`, `${shown(port)}, not a port number from 1 to ${LAST_PORT}: the client chooses the ports`)
      }
      return [name, port as number]
    }),
  ) as Record<Port, number>
  const shared = PORTS.find((name, index) => PORTS.slice(0, index).some((other) => ports[other] === ports[name]))
  if (shared !== undefined) throw wrong(`${shared}_port`, `${ports[shared]}, which another of its ports is too`)
  const curve = readCurve(file, wrong)
  return { transport, ip, key, hash, ports, ...(curve && { curve }) }
}

export function address({ transport, ip, ports }: Connection, port: Port): string {
  return transport === 'tcp' ? `tcp://${ip}:${ports[port]}` : `ipc://${ip}-${ports[port]}`
}

/** What its owner should know although the kernel starts. Jupyter writes the file for its owner alone, unless it is told that it cannot. */
export function connectionWarnings(path: string, { transport, ip, key, curve }: Connection, env: NodeJS.ProcessEnv = process.env): string[] {
  const warnings: string[] = []
  const mode = statSync(path).mode & 0o777
  const isAllowed = /^(?:true|1)$/i.test(env.JUPYTER_ALLOW_INSECURE_WRITES ?? '')
  if ((mode & 0o066) !== 0 && !isAllowed) {
    const others = (mode & 0o022) !== 0 ? 'write' : 'read'
    warnings.push(`${path} has mode ${mode.toString(8)}, so others can ${others} it; whoever has its key runs code as you; try: chmod 600 ${path}`)
  }
  const isLocal = transport === 'ipc' || ip === 'localhost' || ip === 'lo' || /^127\./.test(ip)
  if (key === '' && curve === undefined && !isLocal) {
    warnings.push(`${path}: key is empty, so messages are not signed, and ip is ${ip}: whoever reaches that address runs code as you`)
  }
  return warnings
}

function readFields(path: string): Record<string, unknown> {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new FpdtError('connection-file', `cannot read the connection file: ${(cause as Error).message}`)
  }
  try {
    const fields: unknown = JSON.parse(text)
    if (typeof fields === 'object' && fields !== null && !Array.isArray(fields)) return fields as Record<string, unknown>
  } catch {
    // The words of JSON.parse quote the text, and the key is in it.
  }
  throw new FpdtError('connection-file', `${path} is not a JSON object: a Jupyter client writes that file, and starts the kernel with it`)
}

function readCurve(file: Record<string, unknown>, wrong: (field: string, is: string) => FpdtError): CurveKeys | undefined {
  const { curve_publickey: publicKey = null, curve_secretkey: secretKey = null } = file
  if (publicKey === null && secretKey === null) return undefined
  for (const [field, value] of Object.entries({ curve_publickey: publicKey, curve_secretkey: secretKey })) {
    if (value === null) throw wrong(field, 'missing, but the other key of the pair is there')
    if (typeof value !== 'string' || z85Key(value) === undefined) throw wrong(field, 'not a key of 32 bytes in Z85 (40 characters)')
  }
  const pair = { publicKey, secretKey } as CurveKeys
  if (!isPair(pair)) throw wrong('curve_publickey', 'not the public key of curve_secretkey')
  return pair
}

function isHash(name: string): boolean {
  try {
    createHmac(name, '')
    return name !== ''
  } catch {
    return false
  }
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? 'missing').slice(0, 80)
}
