/** `fpdt/trace`: the format of a run, its codecs and its drawing. Imports nothing of Node and nothing of the engine. */

export { accountsOf, hiddenShare, type TimeSummary, timesOf } from './ask/accounts.js'
export { type AlgorithmLine, type AlgorithmPart, algorithmOf, type LineId, lineOf } from './ask/algorithm.js'
export { betterOf, type Comparison, compareRuns, type Difference, type DifferenceGroup, differenceOf, type OpDifference, type Side } from './ask/compare.js'
export { atOnce, computeAt, doing, lessonWords, type Running, stepFrom } from './ask/lesson.js'
export { spanOf } from './ask/lookup.js'
export {
  type Arrival,
  arrivalsOf,
  type Copy,
  FETCHED_KV,
  FETCHED_Q,
  type MeetingPlace,
  meetingAt,
  meetingPlaces,
  meetingRows,
  meetingsOf,
  metBy,
  placeAt,
  SOURCES,
  type Source,
  type Triangle,
  triangleOf,
} from './ask/meetings.js'
export { type Meeting, type Related, relatedTo, usesOf } from './ask/related.js'
export { livesAt, type Slot, type SlotChoice, slotsOf } from './ask/slots.js'
export { type AliveBuffer, type Spike, spikeAt } from './ask/spike.js'
export { type Stall, stallOf, stallsByCause, stallsOf } from './ask/stall.js'
export { type StepTimes, stepAt, stepsIn } from './ask/steps.js'
export {
  type Cell,
  COPIES,
  COPYING,
  layerAt,
  layersWithChunks,
  ON,
  partAt,
  stateAt,
  type ValueRow,
  type Whereabouts,
  WRITTEN,
  whereabouts,
} from './ask/whereabouts.js'
export { decodeTable, encodeTable, TABLES, type TableName } from './codec.js'
export { chainOf } from './draw/arrows.js'
export { drawHeat, type HeatLayout, type HeatScale, type HeatWords, heatWords, layOutHeat } from './draw/heat.js'
export * from './draw/index.js'
export { type Sheet, sheetOf } from './draw/sheet.js'
export { drawSlots, drawSlotsPointer, layOutSlots, type SlotsLayout, slotTargetAt } from './draw/slots.js'
export { inkFor } from './draw/theme.js'
export { drawTriangle, drawTrianglePointer, layOutTriangle, placeOfTriangle, type TriangleLayout, triangleTargetAt } from './draw/triangle.js'
export { drawWhere, drawWherePointer, layOutWhere, type WhereChoice, type WhereLayout, whereCellAt, whereTargetAt } from './draw/whereabouts.js'
export { chromeTrace } from './export/chrome.js'
export { memoryCsv, spansCsv } from './export/csv.js'
export { runSvg } from './export/svg.js'
export { decodeRunFile, encodeRunFile } from './file.js'
export { linesOf, MOST_LINES, textOf } from './lines.js'
export * from './live/messages.js'
export { memoryOf, peaksOf } from './memory.js'
export { type Grid, gridOf } from './model/grid.js'
export { highestAt } from './model/stack.js'
export { decodeSavedRun, keepNewest, MAX_SPANS, saveRun } from './saved.js'
export * from './schema.js'
export { joinColumns, selectRows } from './spans.js'
export { type PlaceWanted, UNITS, type Unit } from './units.js'
export { arrivalsInWords, cellWords, meetingWords, nextChange, slotWords, stateInWords } from './words/chunks.js'
export { amount, betterWords, differenceWords, headlines } from './words/compare.js'
export { CATEGORY_WORDS, opBrief } from './words/run.js'
