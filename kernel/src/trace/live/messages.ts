/**
 * What a page and a kernel say to each other of runs, over one comm per notebook of a page and its kernel (target `fpdt.runs`), which the
 * page opens. It carries all runs; a run that nobody follows sends nothing but its status.
 *
 *   page                              kernel
 *   open {version}              ->
 *                               <-    runs      what there is, and again whenever a run appears, moves on or ends
 *   follow {run_id}             ->
 *                               <-    plan      head and plan tables; the numbering of `seq` begins at 1
 *                               <-    spans     what ran since, at most 20 a second
 *   ack {run_id, seq}           ->              at the latest after half of CREDIT; without it the kernel stops sending
 *                               <-    step      a step is over: the new head
 *   control {run_id, do}        ->
 *                               <-    done or refused, with the number of the request
 *
 * Servers drop messages silently when they are many, and replay them to pages that come back: `seq` counts the messages of a
 * followed run from 1 without a gap. A page that misses one says `follow` again and gets plan and a snapshot: the newest spans
 * that fit. Tables travel as buffers, each one self-contained Arrow stream (`codec.ts`), uncompressed.
 *
 * Each says its version first, the page as it opens and the kernel in `runs`. Where they differ the kernel serves nothing, and both say why.
 *
 * The target is there from the first run on; a page that opens the comm before gets it closed, and opens it again when it sees an
 * output of a run. A run that is closed is said to be so once, and is in no later list.
 */
import type { Grid } from '../model/grid.js'
import type { RunHead, RunState } from '../schema.js'
import type { PlaceWanted, Unit } from '../units.js'

export const LIVE_TARGET = 'fpdt.runs'
export const LIVE_VERSION = 2
/** What a reader does where page and kernel speak different versions; '' where they speak the same. */
export function versionWords(page: unknown, kernel: unknown): string {
  if (page === kernel) return ''
  const than = Number(page) < Number(kernel) ? 'an older fpdt than' : Number(page) > Number(kernel) ? 'a newer fpdt than' : 'another fpdt than'
  const versions = [page, kernel].map((version) => String(version).slice(0, 20))
  return `this page is of ${than} the kernel (version ${versions[0]} of live runs, not version ${versions[1]}): reload the page; if that does not help, restart the kernel`
}
/** Messages of one run that may be on their way to a page that has not acknowledged them. */
export const CREDIT = 16
/** Least time between two messages of spans of one run. */
export const BATCH_MS = 50

/** Of the training, not of the view. `step` runs on to the end of the op, chunk, layer or step that comes next, and pauses there. */
export type Control =
  | { readonly verb: 'pause' | 'resume' | 'stop' }
  | { readonly verb: 'step'; readonly unit: Unit }
  | { readonly verb: 'until'; readonly place: PlaceWanted }

export type PageMessage =
  | { readonly op: 'follow' | 'unfollow'; readonly run_id: string }
  | { readonly op: 'ack'; readonly run_id: string; readonly seq: number }
  | { readonly op: 'control'; readonly run_id: string; readonly request: number; readonly do: Control }
  /** Values of a buffer where it stands, while the run is paused: at most `most` numbers, reduced by blocks. */
  | { readonly op: 'peek'; readonly run_id: string; readonly request: number; readonly name: string; readonly rank: number; readonly most: number }

/** Where a run stands. */
export interface RunStatus {
  readonly run_id: string
  readonly title: string
  readonly state: RunState
  /** `idle`: between steps. `held`: a stepper is open, and no cell runs it. */
  readonly activity: 'running' | 'paused' | 'held' | 'idle' | 'closed'
  /** The step under way, or the last one. */
  readonly step: number
  /** The op that was done last, -1 before the first, and its words. */
  readonly line: number
  readonly words: string
  /** Of the last step. */
  readonly tokens_per_second: number | null
  readonly device_bytes: number | null
  /** What `control` may ask for now. */
  readonly can: readonly Control['verb'][]
}

export type KernelMessage =
  | { readonly op: 'runs'; readonly version: number; readonly runs: readonly RunStatus[] }
  /** Buffers: listing and names (`lines.ts`, UTF-8), then the tables buffers, uses, waits, and predicted spans where `predicted`. The head has all steps so far, and no peaks: pages find them (`memory.ts`). */
  | { readonly op: 'plan'; readonly run_id: string; readonly seq: number; readonly head: RunHead; readonly predicted: boolean }
  /**
   * Buffer: a spans table, of one step, whose times count from the start of the run. `of`: spans of the step so far, these among
   * them; where a page has fewer, the kernel has left some out. `attempt` counts the steps that were begun: one that was dropped is
   * begun again under its number, and a page forgets the spans of the former attempt.
   */
  | {
      readonly op: 'spans'
      readonly run_id: string
      readonly seq: number
      readonly step: number
      readonly attempt: number
      readonly of: number
      readonly status: RunStatus
    }
  /** After the spans of the step. `head.steps` holds the steps that are over since the last head, so that a message does not grow with the run; a step that is said again replaces what was said of it. */
  | { readonly op: 'step'; readonly run_id: string; readonly seq: number; readonly head: RunHead; readonly status: RunStatus }
  | { readonly op: 'done'; readonly request: number; readonly words: string }
  /** `request` is -1 where what is refused had none. */
  | { readonly op: 'refused'; readonly request: number; readonly words: string }
  /** Buffer: f32 cells of the grid, row by row: each is the value of its block that stands out most. The rest of the grid is of all values. */
  | {
      readonly op: 'peeked'
      readonly request: number
      readonly name: string
      readonly tier: string
      readonly rank: number
      readonly grid: Omit<Grid, 'values'>
    }
