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
export { type ConvertOptions, loadHuggingFace, type SaveOptions, saveHuggingFace } from '../files/huggingface.js'
export type { ModelConfig, Positions, RotaryScaling } from '../model/config.js'
export { type GptOptions, gpt } from '../model/gpt.js'
export { type LlamaOptions, llama } from '../model/llama.js'
export { namedModel } from '../model/named.js'
export { parameterCount } from '../model/parameters.js'
export { PRESETS } from '../model/presets.js'
export { Progress, type ProgressOptions, progress } from '../progress.js'
/** Constructors of ops, for schedules of one's own: `ops.compute(ops.at('forward', 0), 'attend', { state, q, k, v }, { first: 1 })`. */
export * as ops from '../schedule/emit.js'
export { glossary } from '../schedule/glossary.js'
export { KERNELS, type Kernel } from '../schedule/kernels.js'
export type { Op, Place } from '../schedule/ops.js'
export { parseListing, printListing } from '../schedule/print.js'
export { SYSTEMS, type SystemName } from '../schedule/systems.js'
export { type Dtype, rows, type Value, view } from '../schedule/values.js'
export { BYTE_VOCABULARY, byteText } from '../text/byte-text.js'
export { type TokenFileOptions, tokenFile } from '../text/token-file.js'
export { GPT2_VOCABULARY, type LongText, longText, type TextOptions, type TextSource } from '../text/tokens.js'
export type { TimeSummary } from '../trace/ask/accounts.js'
export type { StepSummary, Tier } from '../trace/schema.js'
export { type Converted, convert } from './convert.js'
export { type CpuOptions, type CudaOptions, Device, type DeviceDescription, type ListedDevice } from './device.js'
export type { Inputs, Results, Scalars } from './own/loaded-schedule.js'
export { OwnSchedule, PlannedSchedule } from './own/own-schedule.js'
export type { Attended, AttentionGradients } from './own/primitives/attention.js'
export type { Primitives } from './own/primitives/index.js'
export { type ByTier, type OpSource, type ScheduleOptions, value } from './own/schedule-plan.js'
export { concat, largestDifference, random, Tensor, tensor } from './own/tensor.js'
export { adamW, type Optimizer } from './plan/optimizer.js'
export { PlannedRun } from './plan/planned-run.js'
export { bytesOfStep, type StepBytes } from './plan/step-bytes.js'
export type { TrainOptions } from './plan/training-plan.js'
export { Answers, type MeetingRow, type WhichStep } from './run/answers.js'
export type { RunControl } from './run/control.js'
export type { EvaluateOptions, Evaluation } from './run/evaluation.js'
export { type Loaded, load } from './run/load.js'
export type { ParameterValues } from './run/parameters.js'
export { Stepper } from './run/stepper.js'
export { TrainingRun } from './run/training-run.js'
export { formatBytes } from './sizes.js'
