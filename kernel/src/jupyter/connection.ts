/** The connection file a Jupyter client writes before it starts a kernel. */
import { readFileSync } from 'node:fs'
import { FpdtError } from '../errors.js'

export interface Connection {
  readonly transport: 'tcp' | 'ipc'
  readonly ip: string
  readonly key: string
  /** `hmac-sha256` and its like; the part after `hmac-` is the hash. */
  readonly signature_scheme: string
  readonly shell_port: number
  readonly control_port: number
  readonly iopub_port: number
  readonly stdin_port: number
  readonly hb_port: number
}

const PORTS = ['shell_port', 'control_port', 'iopub_port', 'stdin_port', 'hb_port'] as const
export type Port = (typeof PORTS)[number]

/** Throws FpdtError 'connection-file' that names the file and the field. */
export function readConnection(path: string): Connection {
  let parsed: Partial<Connection>
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'))
  } catch (cause) {
    throw new FpdtError('connection-file', `cannot read the connection file ${path}: ${(cause as Error).message}`, { cause })
  }
  for (const port of PORTS) {
    if (!Number.isInteger(parsed[port])) throw new FpdtError('connection-file', `${path}: ${port} is ${parsed[port]}, not a port number`)
  }
  const { transport = 'tcp', ip = '127.0.0.1', key = '', signature_scheme = 'hmac-sha256' } = parsed
  if (transport !== 'tcp' && transport !== 'ipc') throw new FpdtError('connection-file', `${path}: transport is ${transport}, not tcp or ipc`)
  if (!signature_scheme.startsWith('hmac-')) throw new FpdtError('connection-file', `${path}: signature_scheme is ${signature_scheme}, not hmac-<hash>`)
  return { ...(parsed as Connection), transport, ip, key, signature_scheme }
}

export function address(connection: Connection, port: Port): string {
  const { transport, ip } = connection
  return transport === 'tcp' ? `tcp://${ip}:${connection[port]}` : `ipc://${ip}-${connection[port]}`
}
