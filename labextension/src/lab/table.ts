/** The ops in view as an HTML table: for reading exact numbers, for copying, and for screen readers. */
import { byteRate, bytes, count, duration, flopRate, flops, KINDS, NONE, opLine, PHASES, type Run, STREAMS, type View } from 'fpdt/trace'
import { element } from './dom.js'

/** More rows would make the page slow and would not be read. */
const MOST_ROWS = 300

const COLUMNS = ['op', 'rank', 'stream', 'step', 'phase', 'layer', 'q', 'kv', 'start', 'duration', 'bytes', 'rate', 'FLOP', 'FLOP/s']

export function opsTable(run: Run, view: View): HTMLElement {
  const { spans } = run
  const inView: number[] = []
  for (let row = 0; row < spans.op.length; row++) {
    if (spans.start_ns[row] < view.end_ns && spans.start_ns[row] + spans.duration_ns[row] > view.start_ns) inView.push(row)
  }
  inView.sort((a, b) => spans.start_ns[a] - spans.start_ns[b])
  const rows = inView.slice(0, MOST_ROWS)
  const caption =
    inView.length > rows.length
      ? `The first ${count(rows.length)} of ${count(inView.length)} ops in view; zoom in to list the others.`
      : `${count(inView.length)} ops in view.`
  return element(
    'div',
    'jp-FPDT-table',
    [
      element('table', '', [
        element('caption', '', caption),
        element('thead', '', [
          element(
            'tr',
            '',
            COLUMNS.map((name) => element('th', '', name, { scope: 'col' })),
          ),
        ]),
        element(
          'tbody',
          '',
          rows.map((row) =>
            element(
              'tr',
              '',
              cells(run, row).map((text) => element('td', '', text)),
            ),
          ),
        ),
      ]),
    ],
    { tabindex: '0', role: 'region', 'aria-label': 'Ops in view' },
  )
}

function cells(run: Run, row: number): string[] {
  const { spans } = run
  const length = spans.duration_ns[row]
  const index = (value: number): string => (value === NONE ? '' : String(value))
  const moved = spans.bytes[row]
  const operations = spans.flops[row]
  const moves = KINDS[spans.kind[row]] !== 'compute' && length > 0
  return [
    opLine(run, spans.op[row]).replace(/\s*@\w+$/, ''),
    String(spans.rank[row]),
    STREAMS[spans.stream[row]],
    String(spans.step[row]),
    PHASES[spans.phase[row]],
    index(spans.layer[row]),
    index(spans.q[row]),
    index(spans.kv[row]),
    duration(spans.start_ns[row]),
    duration(length),
    moved > 0 ? bytes(moved) : '',
    moved > 0 && moves ? byteRate(moved, length) : '',
    operations > 0 ? flops(operations) : '',
    operations > 0 && length > 0 ? flopRate(operations, length) : '',
  ]
}
