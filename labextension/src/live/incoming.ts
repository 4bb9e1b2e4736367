/**
 * Messages of a kernel, checked. They come from whatever process answers to the comm: nothing is used before its type and size
 * are known, and what is wrong is said in words.
 */
import {
  type Control,
  decodeTable,
  type Grid,
  type KernelMessage,
  LIVE_VERSION,
  linesOf,
  MOST_LINES,
  type PlanTables,
  RUN_STATES,
  type RunHead,
  type RunStatus,
  type SpanColumns,
  versionWords,
} from 'fpdt/trace'

/** The values of a buffer, as `peek` found them. */
export type Peeked = Omit<Extract<KernelMessage, { op: 'peeked' }>, 'grid'> & { readonly grid: Grid }

export type Incoming =
  | Extract<KernelMessage, { op: 'runs' | 'done' | 'refused' }>
  | { readonly op: 'plan'; readonly run_id: string; readonly seq: number; readonly head: RunHead; readonly plan: Plan }
  | (Extract<KernelMessage, { op: 'spans' }> & { readonly spans: SpanColumns })
  | Extract<KernelMessage, { op: 'step' }>
  | Peeked
/** What is known of a run before anything ran. */
export type Plan = PlanTables & { readonly predicted: SpanColumns | null }

/** As JupyterLab gives them: views on buffers of their own. */
export type Buffers = readonly (ArrayBuffer | ArrayBufferView)[]

const MOST_BYTES = 256 * 2 ** 20
const MOST_RUNS = 1000
const MOST_TEXT = 2000
const ACTIVITIES: readonly RunStatus['activity'][] = ['running', 'paused', 'held', 'idle', 'closed']
const VERBS: readonly Control['verb'][] = ['pause', 'resume', 'stop', 'step', 'until']

/** Throws an error that says what is wrong with the message. */
export function readMessage(data: unknown, buffers: Buffers): Incoming {
  const message = record(data, 'the message')
  const bytes = buffers.map(bytesOf)
  const buffer = (index: number): Uint8Array => bytes[index] ?? wrong(`it has ${bytes.length} buffers, not ${index + 1}`)
  switch (message.op) {
    case 'runs': {
      const otherVersion = versionWords(LIVE_VERSION, message.version)
      if (otherVersion) throw new Error(otherVersion)
      return { op: 'runs', version: LIVE_VERSION, runs: list(message.runs, 'runs', MOST_RUNS).map(statusOf) }
    }
    case 'plan': {
      if (message.seq !== 1) wrong(`a plan has seq ${String(message.seq).slice(0, 20)}, not 1`)
      const plan = {
        listing: listOf(buffer(0), 'listing'),
        names: listOf(buffer(1), 'names'),
        buffers: decodeTable('buffers', buffer(2)),
        uses: decodeTable('uses', buffer(3)),
        waits: decodeTable('waits', buffer(4)),
        predicted: message.predicted === true ? decodeTable('spans', buffer(5)) : null,
      }
      return { op: 'plan', ...numbered(message), head: headOf(message), plan }
    }
    case 'spans': {
      const spans = decodeTable('spans', buffer(0))
      const [step, attempt, of] = [whole(message.step, 'step'), whole(message.attempt, 'attempt'), whole(message.of, 'of')]
      if (spans.step.some((found) => found !== step)) wrong(`spans of step ${step} hold some of another step`)
      return { op: 'spans', ...numbered(message), step, attempt, of, status: statusOf(message.status), spans }
    }
    case 'step':
      return { op: 'step', ...numbered(message), head: headOf(message), status: statusOf(message.status) }
    case 'done':
    case 'refused':
      return { op: message.op, request: message.request === -1 ? -1 : whole(message.request, 'request'), words: text(message.words, 'words') }
    case 'peeked':
      return peekedOf(message, buffer(0))
    default:
      return wrong(`it is called ${String(message.op).slice(0, 40)}, which is not known`)
  }
}

function peekedOf(message: Record<string, unknown>, bytes: Uint8Array): Peeked {
  const said = record(message.grid, 'grid')
  const size = (name: string): number => whole(said[name], `grid.${name}`)
  const summary = record(said.summary, 'grid.summary')
  const figure = (name: string): number => finite(summary[name], `grid.summary.${name}`)
  const [down, across] = list(said.block, 'grid.block', 2).map((by) => whole(by, 'grid.block'))
  const [cellRows, cellColumns] = [size('cellRows'), size('cellColumns')]
  if (bytes.length !== 4 * cellRows * cellColumns) wrong(`${cellRows} x ${cellColumns} values in ${bytes.length} bytes`)
  return {
    op: 'peeked',
    request: whole(message.request, 'request'),
    name: text(message.name, 'name'),
    tier: text(message.tier, 'tier'),
    rank: whole(message.rank, 'rank'),
    grid: {
      shape: list(said.shape, 'grid.shape', 8).map((length) => whole(length, 'grid.shape')),
      rows: size('rows'),
      columns: size('columns'),
      block: [down ?? 1, across ?? 1],
      cellRows,
      cellColumns,
      values: Float64Array.from(new Float32Array(bytes.slice().buffer)),
      summary: {
        count: figure('count'),
        finite: figure('finite'),
        nan: figure('nan'),
        infinite: figure('infinite'),
        minimum: figure('minimum'),
        maximum: figure('maximum'),
        mean: figure('mean'),
        middle: figure('middle'),
      },
    },
  }
}

function statusOf(value: unknown): RunStatus {
  const status = record(value, 'a status')
  return {
    run_id: text(status.run_id, 'run_id'),
    title: text(status.title, 'title'),
    state: oneOf(RUN_STATES, status.state, 'state'),
    activity: oneOf(ACTIVITIES, status.activity, 'activity'),
    step: whole(status.step, 'step'),
    line: status.line === -1 ? -1 : whole(status.line, 'line'),
    words: text(status.words, 'words'),
    tokens_per_second: numberOrNull(status.tokens_per_second, 'tokens_per_second'),
    device_bytes: numberOrNull(status.device_bytes, 'device_bytes'),
    can: list(status.can, 'can', VERBS.length).map((verb) => oneOf(VERBS, verb, 'can')),
  }
}

/** The rest of a head is checked where it is opened (`openRun`), as that of a saved run is. */
function headOf(message: Record<string, unknown>): RunHead {
  const head = record(message.head, 'head')
  if (head.run_id !== message.run_id) wrong('its head is of another run')
  return head as unknown as RunHead
}

function numbered(message: Record<string, unknown>): { run_id: string; seq: number } {
  return { run_id: text(message.run_id, 'run_id'), seq: whole(message.seq, 'seq') }
}

function bytesOf(buffer: ArrayBuffer | ArrayBufferView): Uint8Array {
  if (buffer.byteLength > MOST_BYTES) wrong(`a buffer has ${buffer.byteLength} bytes, more than ${MOST_BYTES}`)
  return buffer instanceof ArrayBuffer ? new Uint8Array(buffer) : new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength)
}
function listOf(bytes: Uint8Array, name: string): readonly string[] {
  return linesOf(new TextDecoder().decode(bytes), MOST_LINES) ?? wrong(`${name} has more than ${MOST_LINES} lines`)
}

function record(value: unknown, name: string): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : wrong(`${name} is no object`)
}
function list(value: unknown, name: string, most: number): readonly unknown[] {
  if (!Array.isArray(value)) return wrong(`${name} is no list`)
  return value.length <= most ? value : wrong(`${name} has ${value.length} entries, more than ${most}`)
}
function text(value: unknown, name: string): string {
  return typeof value === 'string' ? value.slice(0, MOST_TEXT) : wrong(`${name} is no text`)
}
function whole(value: unknown, name: string): number {
  return Number.isSafeInteger(value) && (value as number) >= 0 ? (value as number) : wrong(`${name} is ${String(value).slice(0, 40)}, not a whole number`)
}
function finite(value: unknown, name: string): number {
  return Number.isFinite(value) ? (value as number) : wrong(`${name} is no number`)
}
function numberOrNull(value: unknown, name: string): number | null {
  return value === null || Number.isFinite(value) ? (value as number | null) : wrong(`${name} is no number`)
}
function oneOf<T extends string>(known: readonly T[], value: unknown, name: string): T {
  return known.includes(value as T) ? (value as T) : wrong(`${name} is ${String(value).slice(0, 40)}, which is not known`)
}
function wrong(words: string): never {
  throw new Error(`a message of the kernel cannot be used: ${words}`)
}
