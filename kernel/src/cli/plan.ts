/** `fpdt plan`: what a training step would take of every tier, and how far the budgets reach. Nothing is allocated and nothing runs. */
import { existsSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { readConfig } from '../files/huggingface-config.js'
import { adamW } from '../fpdt/plan/optimizer.js'
import { PLANNED_OPS, type TrainOptions } from '../fpdt/plan/training-plan.js'
import { formatBytes, parseBytes, parseTokens } from '../fpdt/sizes.js'
import type { ModelConfig } from '../model/config.js'
import { namedModel } from '../model/named.js'
import { parameterCount } from '../model/parameters.js'
import { BACKENDS, type BackendName } from '../plan/workspace.js'
import { HIDDEN } from '../schedule/config.js'
import { SYSTEM_NAMES, SYSTEMS, type SystemName } from '../schedule/systems.js'
import { TIERS } from '../trace/schema.js'
import { type Arguments, type Command, readArguments, table, UsageError } from './command.js'
import { readJson } from './json.js'
import { type Asked, type Outlook, outlookOf } from './outlook.js'

const options = {
  model: { value: 'NAME|DIR', means: 'a preset such as llama-3-8b, or a folder with the config.json of a model in Hugging Face layout' },
  sequence: { value: 'TOKENS', means: 'length of a sequence, such as 2M' },
  chunk: { value: 'TOKENS', means: 'tokens of a chunk over all ranks, such as 64K. Default: an eighth of the sequence' },
  ranks: { value: 'N', means: 'ranks that share the sequence. Default: 1' },
  gpus: { value: 'N', means: 'the same as --ranks, with --backend cuda' },
  backend: { value: 'cpu|cuda', means: 'whose workspaces are counted. Default: cpu' },
  memory: { value: 'BYTES', means: 'device memory of a rank, such as 80GB' },
  host: { value: 'BYTES', means: 'host memory of a rank' },
  disk: { value: 'BYTES', means: 'disk space of a rank' },
  system: { value: 'NAME', means: `${SYSTEM_NAMES.join(', ')}, or all, which compares them. Default: fpdt` },
  dtype: { value: 'bf16|f32', means: 'of activations and weights. Default: bf16' },
  hidden: { value: 'bf16|f32', means: `with dtype bf16: of the hidden state between ops. Default: ${HIDDEN}` },
  batch: { value: 'N', means: 'sequences that go through a layer together. Default: 1' },
  accumulate: { value: 'N', means: 'batches whose gradients are summed. Default: 1' },
  offload: { value: 'TIER', means: 'where chunks wait: device or host' },
  checkpoints: { value: 'TIER', means: 'where the inputs of layers wait: device, host or disk' },
  keep: { value: 'WHAT', means: 'what the forward leaves for the backward: recompute, device, host, disk or all' },
  'backward-order': { value: 'ORDER', means: "outer loop of the attention's backward: kv, q or auto" },
  parameters: { value: 'TIER', means: 'where compute weights live: device or host' },
  states: { value: 'TIER', means: "where the optimizer's states live: device, host or disk" },
  threads: { value: 'N', means: 'threads of the compute pool, by which workspaces are sized. Default: as many as here' },
  json: { means: 'prints one JSON object' },
}

/** What makes one system differ from another: with `--system all` each has its own. */
const POLICIES = ['offload', 'checkpoints', 'keep'] as const

export const plan: Command = {
  operands: '',
  does: 'says what a training step takes of every tier, what makes the peak, how long a sequence the budgets hold and what goes over the links. Times are not predicted: they would need the rates of the machine that is planned for',
  options,
  run(args) {
    const { operands, given } = readArguments(args, options)
    if (operands.length > 0) throw new UsageError(`takes no ${operands[0]}; a model is given as --model NAME`)
    const asked = askedFor(given)
    const systems = systemsOf(given)
    const outlooks = systems.map((system) => outlookOf(asked, system, shown))
    shown('')
    if (given.has('json')) console.log(JSON.stringify(asJson(asked, outlooks)))
    else console.log([...headOf(asked), ...(outlooks.length === 1 ? inFull(asked, outlooks[0] as Outlook) : compared(outlooks))].join('\n'))
    return undefined
  },
}

/** What is being worked out, on a terminal: it may take a while, and is wiped away in the end. */
function shown(words: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${words}`)
}

function askedFor(given: Arguments['given']): Asked {
  const get = (name: keyof typeof options): string | undefined => given.get(name)
  const [name, sequence] = [get('model'), get('sequence')]
  if (name === undefined || sequence === undefined)
    throw new UsageError('needs --model and --sequence; try: fpdt plan --model llama-3-8b --sequence 2M --ranks 4 --memory 80GB')
  if (given.has('ranks') && given.has('gpus')) throw new UsageError('--ranks and --gpus are the same; give one')
  const count = (option: keyof typeof options): number | undefined => {
    const value = get(option)
    if (value !== undefined && !/^[1-9]\d{0,8}$/.test(value)) throw new UsageError(`--${option} ${value} is not a whole number above 0`)
    return value === undefined ? undefined : Number(value)
  }
  const backend = get('backend') ?? (given.has('gpus') ? 'cuda' : 'cpu')
  if (!BACKENDS.some((name) => name === backend)) throw new UsageError(`--backend ${backend} is not one of ${BACKENDS.join(' and ')}`)
  const chunk = get('chunk')
  const states = get('states')
  const written: Record<string, unknown> = {
    chunk: chunk === undefined ? undefined : parseTokens(chunk, 'chunk'),
    ranks: count('ranks') ?? count('gpus'),
    dtype: get('dtype'),
    hidden: get('hidden'),
    batch: count('batch'),
    accumulate: count('accumulate'),
    offload: get('offload'),
    checkpoints: get('checkpoints'),
    keep: get('keep'),
    backwardOrder: get('backward-order'),
    parameters: get('parameters'),
    optimizer: states === undefined ? undefined : adamW({ tier: states as 'device' }),
  }
  const budgets = { device: get('memory'), host: get('host'), disk: get('disk') }
  return {
    name,
    model: modelOf(name),
    options: {
      ...Object.fromEntries(Object.entries(written).filter(([, value]) => value !== undefined)),
      sequence: parseTokens(sequence, 'sequence'),
    } as TrainOptions,
    budgets: Object.fromEntries(
      Object.entries(budgets).flatMap(([tier, size]) => (size === undefined ? [] : [[tier, parseBytes(size, tier === 'device' ? 'memory' : tier)]])),
    ),
    target: { backend: backend as BackendName, threads: count('threads') ?? availableParallelism() },
  }
}

function systemsOf(given: Arguments['given']): readonly SystemName[] {
  const system = given.get('system') ?? 'fpdt'
  if (system !== 'all') return [system as SystemName] // `stepOf` refuses what is none
  const policy = POLICIES.find((name) => given.has(name))
  if (policy) throw new UsageError(`--${policy} is what makes one system differ from another; leave it out with --system all`)
  return SYSTEM_NAMES
}

function modelOf(name: string): ModelConfig {
  const file = join(name, 'config.json')
  if (!existsSync(file)) return namedModel(name)
  return readConfig(readJson(readFileSync(file, 'utf8'), file).value as object as Readonly<Record<string, unknown>>, file).model
}

function headOf({ name, model, options }: Asked): string[] {
  const { sequence, ranks = 1, dtype = 'bf16' } = options
  return [
    `${name}: ${parameterCount(model).toLocaleString('en')} parameters; ${tokens(Number(sequence))} on ${ranks} rank${ranks === 1 ? '' : 's'}, ${dtype}; bytes are of one rank`,
  ]
}

function inFull({ budgets }: Asked, { system, chunks, chunk, bytes, peak, links, longest, planned, fits }: Outlook): string[] {
  const tiers = TIERS.filter((tier) => bytes[tier] > 0).map((tier) => {
    const budget = budgets[tier]
    const verdict =
      budget === undefined ? '' : ` of ${formatBytes(budget)}: ${bytes[tier] <= budget ? 'fits' : `${formatBytes(bytes[tier] - budget)} too much`}`
    return [tier, `${formatBytes(bytes[tier])}${verdict}`] as const
  })
  return table([
    [
      'system',
      `${SYSTEMS[system].words}${chunks > 1 ? `, ${chunks} chunks of ${tokens(chunk)}` : ''}${fits === undefined ? '' : fits ? '; fits' : '; does not fit'}`,
    ],
    ...(chunks * chunk > planned
      ? [
          [
            'refused',
            `so many chunks make more ops than training plans (${PLANNED_OPS / 1e6} million): with chunk ${count(chunk)} it takes ${tokens(planned)} at most; take a larger chunk`,
          ] as const,
        ]
      : []),
    ...tiers,
    ['peak', `${formatBytes(peak.bytes)} alive on the device at once${peak.chunks < chunks ? ` (with ${peak.chunks} chunks)` : ''}, at ${peak.words}`],
    ['made of', peak.largest],
    ['links', linksInWords(links)],
    ...(longest === undefined
      ? []
      : [
          [
            'longest',
            `${longestInWords(longest)}${longest > planned ? `; with chunk ${count(chunk)} it takes ${tokens(planned)}, with a larger chunk more` : ''}`,
          ] as const,
        ]),
    ['time', 'not predicted: that would need the rates of the machine that is planned for'],
  ])
}

function compared(outlooks: readonly Outlook[]): string[] {
  const head = ['system', ...TIERS.map(String), 'fits', 'longest sequence', `of ${PLANNED_OPS / 1e6} M ops`, 'to host', 'from host']
  const rows = outlooks.map(({ system, bytes, fits, longest, planned, links }) => [
    system,
    ...TIERS.map((tier) => (bytes[tier] === 0 ? '-' : formatBytes(bytes[tier]))),
    fits === undefined ? '-' : fits ? 'yes' : 'no',
    longest === undefined ? '-' : longestInWords(longest),
    planned === Number.POSITIVE_INFINITY ? '-' : tokens(planned),
    formatBytes(links.offload),
    formatBytes(links.fetch),
  ])
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => (row[column] as string).length)))
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] as number) : cell.padStart(widths[column] as number)))
      .join('  ')
      .trimEnd()
  return [line(head), ...[...rows].map(line), 'Times are not predicted: that would need the rates of the machine that is planned for.']
}

function linksInWords({ offload, fetch, spill, load, collective }: Outlook['links']): string {
  const disk = spill + load === 0 ? '' : `; ${formatBytes(spill)} to the disk and ${formatBytes(load)} from it`
  return `${formatBytes(offload)} to the host and ${formatBytes(fetch)} from it${disk}; ${formatBytes(collective)} between ranks; a step`
}

function longestInWords(longest: number): string {
  return longest === Number.POSITIVE_INFINITY ? 'not limited by these budgets' : longest === 0 ? 'none' : tokens(longest)
}

function tokens(number: number): string {
  return `${count(number)} tokens`
}
function count(number: number): string {
  return number.toLocaleString('en')
}

/** JSON has no infinity: null where nothing limits it. */
function orNull(longest: number): number | null {
  return longest === Number.POSITIVE_INFINITY ? null : longest
}

function asJson({ name, model, options, budgets, target: { backend, threads } }: Asked, outlooks: readonly Outlook[]): object {
  const { optimizer: _, ...asked } = options
  return {
    model: name,
    parameters: parameterCount(model),
    ...asked,
    ...(backend === 'cpu' ? { threads } : { backend }),
    budget_bytes: budgets,
    systems: outlooks.map(({ system, chunk, chunks, bytes, peak, links, longest, planned, fits }) => ({
      system,
      chunk,
      chunks,
      bytes,
      ...(fits === undefined ? {} : { fits }),
      peak,
      link_bytes: links,
      ...(longest === undefined ? {} : { longest_sequence: orNull(longest), planned_sequence: orNull(planned) }),
    })),
  }
}
