/**
 * How the runs of the open notebooks stand: of a live run what its kernel said last, of others what was saved. The client of live
 * runs fills this in; the status bar reads it.
 */
import type { RunStatus } from 'fpdt/trace'
import type { NotebookRun } from './notebooks.js'

export interface Standing {
  readonly path: string
  readonly run_id: string
  readonly title: string
  /** One or two words. */
  readonly state: string
  readonly step: number | null
  readonly tokens_per_second: number | null
  /** Peak of one rank. */
  readonly device_bytes: number | null
}

/** By path of the notebook. */
const live = new Map<string, readonly RunStatus[]>()
const listeners = new Set<() => void>()

/** What the kernel of a notebook says of its runs; none when there is no kernel any more. */
export function setLive(path: string, runs: readonly RunStatus[]): void {
  if (runs.length > 0) live.set(path, runs)
  else if (!live.delete(path)) return
  for (const listener of [...listeners]) listener()
}

export function onLive(listener: () => void): { dispose(): void } {
  listeners.add(listener)
  return { dispose: () => listeners.delete(listener) }
}

/** The run of a notebook to tell of: one that runs before one that waits, a live one before a saved one, a later one before an earlier one. */
export function standingOf(path: string, saved: readonly NotebookRun[]): Standing | null {
  const order = ['running', 'paused', 'held', 'idle'] as const
  const runs = live.get(path) ?? []
  const status = order.flatMap((activity) => runs.findLast((run) => run.activity === activity) ?? [])[0]
  if (status) {
    const { run_id, title, activity, step, tokens_per_second, device_bytes } = status
    return { path, run_id, title, state: ACTIVITY[activity], step, tokens_per_second, device_bytes }
  }
  const last = saved.findLast((run) => run.path === path)
  return last ? savedStanding(last) : null
}

const ACTIVITY: Readonly<Record<RunStatus['activity'], string>> = {
  running: 'running',
  paused: 'paused',
  held: 'held at an op',
  idle: 'between steps',
  closed: 'closed',
}
const STATE: Readonly<Record<string, string>> = {
  planned: 'predicted',
  running: 'saved while running',
  done: 'done',
  stopped: 'stopped',
  failed: 'failed',
  lost: 'lost',
}

/** A payload is not checked before it is drawn: what is not there, or not what it should be, is left out. */
function savedStanding({ path, run_id, head }: NotebookRun): Standing {
  const last = head.steps?.at(-1)
  const device = head.peaks?.find(({ tier }) => tier === 'device')
  return {
    path,
    run_id,
    title: typeof head.title === 'string' ? head.title : '',
    state: STATE[String(head.state)] ?? 'saved',
    step: number(last?.step),
    tokens_per_second: number(last?.tokens_per_second) || null,
    device_bytes: number(device?.bytes),
  }
}

function number(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null
}
