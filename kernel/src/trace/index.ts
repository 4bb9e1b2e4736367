/** `fpdt/trace`: the format of a run, its codecs and its drawing. Imports nothing of Node and nothing of the engine. */
export { betterOf, type Comparison, compareRuns, type Difference, type DifferenceGroup, differenceOf, type OpDifference, type Side } from './ask/compare.js'
export { decodeTable, encodeTable, TABLES, type TableName } from './codec.js'
export * from './draw/index.js'
export * from './live/messages.js'
export { decodeSavedRun, keepNewest, MAX_SPANS, saveRun } from './saved.js'
export * from './schema.js'
