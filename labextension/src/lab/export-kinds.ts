/** The files that a run can be saved as. Words alone: the palette has them before a run is drawn. */
export const EXPORTS = {
  png: 'PNG picture',
  svg: 'SVG picture',
  spans: 'CSV of ops',
  memory: 'CSV of memory',
  arrow: 'Arrow file',
  trace: 'Chrome trace (Perfetto)',
} as const
export type ExportKind = keyof typeof EXPORTS
export const EXPORT_KINDS = Object.keys(EXPORTS) as ExportKind[]
