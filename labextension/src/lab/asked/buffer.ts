/** The life of a kept buffer, and the ops of a kept meeting. */
import {
  bytes,
  CATEGORIES,
  CATEGORY_WORDS,
  count,
  duration,
  NONE,
  NONE_32,
  opBrief,
  READS,
  type Related,
  type Run,
  relatedTo,
  type Target,
  TIERS,
  usesOf,
  WRITES,
} from 'fpdt/trace'
import type { Session } from '../session.js'
import { answer, type Cell, link, opLink, sentence, table } from './parts.js'

/** More users than this would not be read. */
const MOST_SPANS = 16
const MOST_PLACES = 12

export function askedBuffer(session: Session, run: Run, target: Target & { kind: 'buffer' }): HTMLElement[] {
  const { buffer, rank } = target
  const { buffers, names } = run
  const size = buffers.size_bytes[buffer]
  const related = relatedTo(run, target)
  // This one, and those before and after it.
  const first = Math.max(0, related.buffers.indexOf(buffer) - MOST_PLACES / 2)
  const places = related.buffers.slice(first, first + MOST_PLACES)
  const birth = buffers.birth[buffer]
  const [offset, end] = [buffers.offset_bytes[buffer], buffers.offset_bytes[buffer] + size]
  const life = buffers.persistent[buffer]
    ? 'It is there before the first op and after the last.'
    : `It is there from ${birth === NONE_32 ? 'before the first op' : opBrief(run, birth)} to the end of its last user.`
  return [
    answer(`${names[buffer]} on the ${TIERS[buffers.tier[buffer]]}`, [
      sentence(
        `${bytes(size)} for ${CATEGORY_WORDS[CATEGORIES[buffers.category[buffer]]]}, bytes ${count(offset)} to ${count(end)} of the arena of every rank. ${life}`,
      ),
      table(
        related.buffers.length > places.length ? `Where this value has a place, ${places.length} of ${related.buffers.length}` : 'Where this value has a place',
        ['tier', 'bytes ', 'from'],
        places.map((other): Cell[] => [
          other === buffer ? `${TIERS[buffers.tier[other]]} (this one)` : link(session, TIERS[buffers.tier[other]], { kind: 'buffer', buffer: other, rank }),
          bytes(buffers.size_bytes[other]),
          buffers.birth[other] === NONE_32 ? 'before the first op' : opBrief(run, buffers.birth[other]),
        ]),
      ),
    ]),
    answer('Who uses it', [spansTable(session, run, related, buffer)]),
  ]
}

export function askedMeeting(session: Session, run: Run, target: Target & { kind: 'meeting' }): HTMLElement[] {
  const { q, kv, phase, layer, rank } = target
  const related = relatedTo(run, target)
  const where = layer === NONE ? phase : `${phase} of layer ${layer}`
  return [
    answer(`Query chunk ${q} meets key/value chunk ${kv} in the ${where}, rank ${rank}`, [
      related.spans.length > 0 ? spansTable(session, run, related) : sentence('They do not meet in what was kept.'),
    ]),
    answer('What they touch', [
      table(
        `${related.buffers.length} buffers`,
        ['buffer', 'bytes ', 'tier', 'for'],
        related.buffers.map((buffer) => [
          link(session, run.names[buffer], { kind: 'buffer', buffer, rank }),
          bytes(run.buffers.size_bytes[buffer]),
          TIERS[run.buffers.tier[buffer]],
          CATEGORY_WORDS[CATEGORIES[run.buffers.category[buffer]]],
        ]),
      ),
    ]),
  ]
}

/** Spans in time; with a buffer, how they use it. */
function spansTable(session: Session, run: Run, { spans }: Related, buffer?: number): HTMLElement {
  const rows = [...spans].sort((a, b) => run.spans.start_ns[a] - run.spans.start_ns[b])
  const shown = rows.slice(0, MOST_SPANS)
  const caption = rows.length > shown.length ? `The first ${shown.length} of ${rows.length} ops` : `${rows.length} ops`
  const access = (row: number): string => {
    const use = usesOf(run, run.spans.op[row]).find((one) => one.buffer === buffer)?.access ?? 0
    return [use & READS ? 'reads' : '', use & WRITES ? 'writes' : ''].filter(Boolean).join(' and ')
  }
  return table(
    caption,
    ['op', 'step ', 'starts ', 'takes ', ...(buffer === undefined ? [] : ['access'])],
    shown.map((row): Cell[] => [
      opLink(session, run, row),
      String(run.spans.step[row]),
      duration(run.spans.start_ns[row]),
      duration(run.spans.duration_ns[row]),
      ...(buffer === undefined ? [] : [access(row)]),
    ]),
  )
}
