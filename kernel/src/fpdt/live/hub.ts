/**
 * The runs of this process and the pages that look at them. Where there is no front end nothing happens at all, and while no page is open
 * next to nothing; one timer serves all pages, and runs only while a page has something to be told.
 */
import { COMM_HOST, type Comm, onComm } from '../../comm/index.js'
import { BATCH_MS, LIVE_TARGET, LIVE_VERSION, type RunStatus, versionWords } from '../../trace/live/messages.js'
import { type FollowedRun, statusOf } from './followed-run.js'
import { Page } from './page.js'
import { requestOf } from './requests.js'

/** Of the main thread's time, while something runs: telling pages of it takes no more, as long as they still hear of it SLOWEST_MS later. */
const MOST_SHARE = 0.01
const SLOWEST_MS = 250
/** Pages that are loaded again leave their comm behind. Who is closed here and still there opens another. */
const MOST_PAGES = 32

const runs = new Map<string, FollowedRun>()
const pages = new Map<Comm, Page>()
let isRegistered = false
let isListNew = false
let timer: NodeJS.Timeout | undefined
let next_ms = 0 // when pages may be told again

/** Shows a run to pages, until the returned function is called. */
export function showLive(run: FollowedRun): () => void {
  if (!(COMM_HOST in globalThis)) return () => {}
  register()
  const { run_id } = run.head
  runs.set(run_id, run)
  const unwatch = run.control.watch(changed)
  changed()
  return () => {
    unwatch()
    tellAll() // that it is closed
    runs.delete(run_id)
    changed()
  }
}

function register(): void {
  if (isRegistered) return
  isRegistered = true
  onComm(LIVE_TARGET, (comm, { data }) => {
    const otherVersion = versionWords(data.version, LIVE_VERSION)
    if (otherVersion) return turnAway(comm, otherVersion)
    const page = new Page(comm, runs, wake)
    pages.set(comm, page)
    comm.onMessage(({ data }) => page.receive(data))
    comm.onClose(() => pages.delete(comm))
    for (const oldest of [...pages.keys()].slice(0, -MOST_PAGES)) {
      pages.delete(oldest)
      oldest.close()
    }
    page.tell(statuses())
  })
}

/** Says why to a page of any version. It stays open: a page that were hung up on would take the runs for gone. */
function turnAway(comm: Comm, words: string): void {
  comm.onMessage(({ data }) => comm.send({ op: 'refused', request: requestOf(data), words: `${words}.` }))
  comm.send({ op: 'runs', version: LIVE_VERSION, runs: [] })
}

function changed(): void {
  if (pages.size === 0) return
  isListNew = true
  wake()
}
/** Something is to be sent: at once, or when the time has come. */
function wake(): void {
  if (timer || pages.size === 0) return
  timer = setTimeout(send, Math.max(0, next_ms - performance.now()))
  timer.unref()
}
function send(): void {
  timer = undefined
  const began_ms = performance.now()
  if (isListNew) tellAll()
  let more = false
  for (const page of pages.values()) more = page.send() || page.isWatching || more
  const isBusy = [...runs.values()].some(({ control }) => control.activity === 'running')
  next_ms = began_ms + Math.max(BATCH_MS, isBusy ? Math.min(SLOWEST_MS, (performance.now() - began_ms) / MOST_SHARE) : 0)
  if (more) wake()
}
function tellAll(): void {
  isListNew = false
  const list = statuses()
  for (const page of pages.values()) page.tell(list)
}
function statuses(): RunStatus[] {
  return [...runs.values()].map(statusOf)
}
