/** What made this spike: memory at a kept instant, by category and by buffer, what brought it there and what goes next. */
import { bytes, CATEGORY_WORDS, count, duration, percent, phraseOf, placeWords, type Run, type Spike, spikeAt, type Target, type Theme } from 'fpdt/trace'
import type { Session } from '../session.js'
import { answer, bar, type Cell, link, opLink, sentence, table } from './parts.js'

/** Buffers that are named one by one; the others are small. */
const MOST_BUFFERS = 12

export function askedInstant(session: Session, run: Run, theme: Theme, { tier, rank, time_ns }: Target & { kind: 'instant' }): HTMLElement[] {
  const spike = spikeAt(run, rank, tier, time_ns)
  if (!spike) return []
  const { bytes: total, categories, budget_bytes, unnamed_bytes } = spike
  const room =
    budget_bytes === null
      ? 'It has no budget.'
      : total <= budget_bytes
        ? `${bytes(budget_bytes - total)} below the budget of ${bytes(budget_bytes)}.`
        : `${bytes(total - budget_bytes)} above the budget of ${bytes(budget_bytes)}.`
  return [
    answer(`${tier} memory of rank ${rank} at ${duration(time_ns)}`, [
      sentence(`${bytes(total)} in ${spike.buffers.length} buffers, ${count(total)} bytes exactly. ${room}`),
      unnamed_bytes > 0 ? sentence(`Of these, ${bytes(unnamed_bytes)} are held from before what was kept, and have no name.`) : null,
      table(
        'Bytes by category',
        ['for', 'share', 'bytes ', '% '],
        categories.map((part) => [
          CATEGORY_WORDS[part.category],
          bar(part.bytes / total, theme.categories[part.category]),
          bytes(part.bytes),
          percent(part.bytes / total),
        ]),
      ),
    ]),
    answer('How it came to this, and what goes next', [pushed(session, run, spike), freed(session, run, spike)]),
    answer('Largest buffers', [buffersTable(session, run, spike)]),
  ]
}

function pushed(session: Session, run: Run, { pushed: last, rank, time_ns }: Spike): HTMLElement {
  if (!last) return sentence('Everything was there before the first op that was kept.')
  const name = link(session, run.names[last.buffer] ?? 'a buffer', { kind: 'buffer', buffer: last.buffer, rank })
  if (last.row === null)
    return sentence(name, `, ${bytes(last.bytes)}, was there ${last.op === null ? 'before the first op' : `since ${phraseOf(run, last.op)}`}.`)
  return sentence(
    last.time_ns < time_ns ? `Pushed here ${duration(time_ns - last.time_ns)} before by ` : 'Pushed here by ',
    opLink(session, run, last.row),
    ` (${placeWords(run, last.row)}), which makes `,
    name,
    `, ${bytes(last.bytes)}.`,
  )
}

function freed(session: Session, run: Run, { freed: next, rank, time_ns }: Spike): HTMLElement {
  if (!next) return sentence('Nothing of it is freed in what was kept.')
  const named = next.buffers.filter((buffer) => buffer in run.names)
  const names = named.slice(0, 4).flatMap((buffer, i): Cell[] => [i === 0 ? '' : ', ', link(session, run.names[buffer], { kind: 'buffer', buffer, rank })])
  const more = named.length > 4 ? ` and ${named.length - 4} more` : ''
  const last: Cell = next.row === null ? phraseOf(run, next.op) : opLink(session, run, next.row)
  return sentence(`Next freed: ${bytes(next.bytes)} in ${duration(next.time_ns - time_ns)}, of `, ...names, `${more}, when `, last, ' has ended.')
}

function buffersTable(session: Session, run: Run, { buffers, bytes: total, rank, time_ns }: Spike): HTMLElement {
  const largest = buffers.slice(0, MOST_BUFFERS)
  const rest = buffers.slice(MOST_BUFFERS).reduce((sum, one) => sum + one.bytes, 0)
  const shown = largest.reduce((sum, one) => sum + one.bytes, 0)
  const caption =
    rest > 0
      ? `The ${largest.length} largest, ${percent(shown / total)} of it; the other ${buffers.length - largest.length} have ${bytes(rest)}.`
      : `All ${largest.length}.`
  return table(
    caption,
    ['buffer', 'bytes ', 'for', 'since ', 'until ', 'made by', 'used next by'],
    largest.map((one): Cell[] => [
      link(session, one.name, { kind: 'buffer', buffer: one.buffer, rank }),
      bytes(one.bytes),
      CATEGORY_WORDS[one.category],
      one.since_ns === null ? 'before' : one.since_ns === time_ns ? 'now' : `−${duration(time_ns - one.since_ns)}`,
      one.until_ns === null ? 'the end' : `+${duration(one.until_ns - time_ns)}`,
      one.madeBy === null ? 'there from the start' : phraseOf(run, one.madeBy),
      one.nextUse === null ? 'not in this step' : opLink(session, run, one.nextUse),
    ]),
  )
}
