/** The views there are. One that is not in this table is not offered. */
import type { RunView, Session, ViewName } from '../session.js'
import { ChunksView } from './chunks.js'
import { CompareView } from './compare.js'
import { CurvesView } from './curves.js'
import { LessonView } from './lesson.js'
import { NumbersView } from './numbers.js'
import { OpsView } from './ops.js'
import { SlotsView } from './slots.js'
import { TimelineView } from './timeline.js'
import { WhereView } from './where.js'

export interface ViewKind {
  /** One or two words: its button and its heading. */
  readonly title: string
  /** One sentence: what it shows. */
  readonly hint: string
  create(session: Session): RunView
}

export const KINDS_OF_VIEW: Readonly<Partial<Record<ViewName, ViewKind>>> = {
  timeline: { title: 'Timeline', hint: 'What runs when on each stream, and memory over time', create: (session) => new TimelineView(session) },
  numbers: { title: 'Numbers', hint: 'Where the time of a step went, and the longest waits', create: (session) => new NumbersView(session) },
  slots: { title: 'Slots', hint: 'Places of the arena: one is filled while another is used', create: (session) => new SlotsView(session) },
  chunks: { title: 'Chunks', hint: 'Which query chunk met which key/value chunk, and where k and v came from', create: (session) => new ChunksView(session) },
  where: { title: 'Where', hint: 'On which tier each chunk is, or on its way', create: (session) => new WhereView(session) },
  lesson: { title: 'Lesson', hint: 'Which line of the algorithm an op is, and what it does', create: (session) => new LessonView(session) },
  curves: { title: 'Curves', hint: 'Loss, speed, MFU and hidden copies over the steps', create: (session) => new CurvesView(session) },
  compare: { title: 'Compare', hint: 'Another run below this one, and what differs', create: (session) => new CompareView(session) },
  ops: { title: 'Ops', hint: 'List the ops in view', create: (session) => new OpsView(session) },
}
