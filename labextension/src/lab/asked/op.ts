/** A kept op: what it is, why it waited, and what it reads and writes. */
import { bytes, CATEGORIES, CATEGORY_WORDS, chainOf, duration, opWords, READS, type Run, type Stall, type Target, TIERS, usesOf, WRITES } from 'fpdt/trace'
import type { Session } from '../session.js'
import { answer, link, sentence, table } from './parts.js'

export function askedOp(session: Session, run: Run, { row }: Target & { kind: 'span' }): HTMLElement[] {
  const { spans, buffers, names } = run
  const waits = chainOf(run, row).map((stall) => waitOf(session, run, stall, stall.row === row))
  const used = usesOf(run, spans.op[row]).map(({ buffer, access }) => [
    access === (READS | WRITES) ? 'reads and writes' : access === WRITES ? 'writes' : 'reads',
    link(session, names[buffer], { kind: 'buffer', buffer, rank: spans.rank[row] }),
    bytes(buffers.size_bytes[buffer]),
    TIERS[buffers.tier[buffer]],
    CATEGORY_WORDS[CATEGORIES[buffers.category[buffer]]],
  ])
  const total = usesOf(run, spans.op[row]).reduce((sum, { buffer }) => sum + buffers.size_bytes[buffer], 0)
  const { phrase, op, place, cost } = opWords(run, row, session.shown.window)
  return [
    answer(phrase, [...(op.startsWith(phrase) ? [] : [sentence(op)]), sentence(place), sentence(cost)]),
    answer(
      'Why it began then',
      waits.length > 0 ? waits : [sentence(`It began as soon as its stream was free, ${duration(spans.start_ns[row])} after the run began.`)],
    ),
    answer('What it touches', [table(`${used.length} buffers of ${bytes(total)}`, ['access', 'buffer', 'bytes ', 'tier', 'for'], used)]),
  ]
}

/** Why it waited; the name of what it waited for is the link to that. */
function waitOf(session: Session, run: Run, { row, on, name, words }: Stall, isFirst: boolean): HTMLElement {
  const told = isFirst ? words : `That one, on rank ${run.spans.rank[row]}, ${words.charAt(0).toLowerCase()}${words.slice(1)}`
  if (on === null) return sentence(told)
  const at = told.indexOf(name)
  return sentence(told.slice(0, at), link(session, name, { kind: 'span', row: on }), told.slice(at + name.length))
}
