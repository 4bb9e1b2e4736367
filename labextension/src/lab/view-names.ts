/** In the order in which they stand below each other. */
export const VIEWS = ['timeline', 'slots', 'chunks', 'where', 'lesson', 'numbers', 'curves', 'compare', 'ops'] as const
export type ViewName = (typeof VIEWS)[number]
