/** Laws of the schedule for many draws, and far larger ones: `npm test` has time for few. */
import fc from 'fast-check'
import { it } from 'vitest'
import { bytesAreForetoldWithPrefetch } from '../null/fpdt/laws.js'
import { aStepIsCorrect, aStepIsCorrectUnderEverySystem, linksAreForetoldWithPrefetch, linksOfALongStepAreForetold } from '../null/schedule/laws.js'

const MINUTES = 60_000

it('a step is a correct schedule for any sizes', () => fc.assert(aStepIsCorrect, { numRuns: 300 }), 5 * MINUTES)
it('a step is one under every system', () => fc.assert(aStepIsCorrectUnderEverySystem, { numRuns: 150 }), 5 * MINUTES)
it('three short walks foretell what a long step moves', () => fc.assert(linksOfALongStepAreForetold, { numRuns: 60 }), 5 * MINUTES)
it('what a step moves is foretold with up to 64 chunks fetched ahead', () => fc.assert(linksAreForetoldWithPrefetch(64), { numRuns: 20 }), 5 * MINUTES)
it('bytes of a step are foretold with up to 64 chunks fetched ahead', () => fc.assert(bytesAreForetoldWithPrefetch(64), { numRuns: 5 }), 5 * MINUTES)
