/**
 * `fpdt`: the words a notebook uses. Works the same in any Node program.
 *
 *   import { Device, llama, adamW, longText } from 'fpdt'
 *   const device = await Device.cpu({ memory: '1 GiB', host: '8 GiB' })
 *   const model = llama({ layers: 4, width: 256, heads: 4, kvHeads: 2, feedForward: 688 })
 *   const run = await device.train(model, { sequence: '32K', chunk: '4K', ranks: 2, optimizer: adamW({ rate: 3e-4 }) })
 *   run.plan
 *   await run.step(longText('lib.dom.d.ts'))
 */

export { MFU_FORMULA, modelFlops } from '../cost/flops.js'
export { FpdtError } from '../errors.js'
export type { ModelConfig, Positions, RotaryScaling } from '../model/config.js'
export { type GptOptions, gpt } from '../model/gpt.js'
export { type ConvertOptions, loadHuggingFace, type SaveOptions, saveHuggingFace } from '../model/huggingface.js'
export { type LlamaOptions, llama } from '../model/llama.js'
export { namedModel } from '../model/named.js'
export { parameterCount } from '../model/parameters.js'
export { PRESETS } from '../model/presets.js'
export { type TokenFileOptions, tokenFile } from '../model/token-file.js'
export { GPT2_VOCABULARY, type LongText, longText, type TextOptions, type TextSource } from '../model/tokens.js'
/** Constructors of ops, for schedules of one's own: `ops.compute(ops.at('forward', 0), 'attend', { state, q, k, v }, { first: 1 })`. */
export * as ops from '../schedule/emit.js'
export { glossary } from '../schedule/glossary.js'
export { KERNELS, type Kernel } from '../schedule/kernels.js'
export type { Op, Place } from '../schedule/ops.js'
export { parseListing, printListing } from '../schedule/print.js'
export { SYSTEMS, type SystemName } from '../schedule/systems.js'
export { type Dtype, rows, type Value, view } from '../schedule/values.js'
export type { StepSummary, Tier } from '../trace/schema.js'
export type { TimeSummary } from '../trace/summary.js'
export { type Converted, convert } from './convert.js'
export { type CpuOptions, Device } from './device.js'
export type { EvaluateOptions, Evaluation } from './evaluation.js'
export { type Loaded, load } from './load.js'
export type { Inputs, Results, Scalars } from './loaded-schedule.js'
export { adamW, type Optimizer } from './optimizer.js'
export { OwnSchedule, PlannedSchedule } from './own-schedule.js'
export type { ParameterValues } from './parameters.js'
export { PlannedRun } from './planned-run.js'
export type { Attended, AttentionGradients } from './primitives/attention.js'
export type { Primitives } from './primitives/index.js'
export { type ByTier, type OpSource, type ScheduleOptions, value } from './schedule-plan.js'
export { formatBytes } from './sizes.js'
export { bytesOfStep, type StepBytes } from './step-bytes.js'
export { Stepper } from './stepper.js'
export { concat, largestDifference, random, Tensor, tensor } from './tensor.js'
export type { TrainOptions } from './training-plan.js'
export { TrainingRun } from './training-run.js'
