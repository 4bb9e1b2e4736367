/** `fpdt plan`: what a training step would take of every tier, and how far the budgets reach. Nothing is allocated and nothing runs. */
import { existsSync, readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { aligned } from '../aligned.js'
import { FpdtError } from '../errors.js'
import { readConfig } from '../files/huggingface-config.js'
import { adamW, OPTIMIZER_DEFAULTS } from '../fpdt/plan/optimizer.js'
import { PLANNED_OPS, type TrainOptions } from '../fpdt/plan/training-plan.js'
import { formatBytes, parseBytes, parseTokens } from '../fpdt/sizes.js'
import type { ModelConfig } from '../model/config.js'
import { namedModel } from '../model/named.js'
import { parameterCount } from '../model/parameters.js'
import { BACKENDS, type BackendName } from '../plan/workspace.js'
import { HIDDEN } from '../schedule/config.js'
import { SYSTEM_NAMES, SYSTEMS, type SystemName } from '../schedule/systems.js'
import { TIERS, type Tier } from '../trace/schema.js'
import { count, counted } from '../trace/words/format.js'
import { type Arguments, asRefused, type Command, REFUSED, readArguments, table, UsageError } from './command.js'
import { TRAIN } from './config.js'
import { readJson } from './json.js'
import { type Asked, type Outlook, outlookOf } from './outlook.js'
import { Terminal } from './terminal.js'

const options = {
  model: { value: 'NAME|DIR', means: 'a preset such as llama-3-8b, or a folder with the config.json of a model in Hugging Face layout' },
  sequence: { value: 'TOKENS', means: 'length of a sequence, such as 2M' },
  chunk: { value: 'TOKENS', means: 'tokens of a chunk over all ranks, such as 64K. Default: an eighth of the sequence' },
  ranks: { value: 'N', means: 'ranks that share the sequence. Default: 1; fpdt train has one for each GPU' },
  gpus: { value: 'N', means: 'the same as --ranks, with --backend cuda' },
  backend: { value: 'cpu|cuda', means: 'whose workspaces are counted. Default: cpu, and cuda with --gpus' },
  memory: { value: 'BYTES', means: 'device memory that a rank may take, such as 80GB. Default: not checked' },
  host: { value: 'BYTES', means: 'host memory that a rank may take. Default: not checked' },
  disk: { value: 'BYTES', means: 'disk space that a rank may take. Default: not checked' },
  system: { value: 'NAME', means: `${SYSTEM_NAMES.join(', ')}, or all, which compares them. Default: fpdt` },
  dtype: { value: 'bf16|f32', means: 'of activations and weights. Default: bf16' },
  hidden: { value: 'bf16|f32', means: `with dtype bf16: of the hidden state between ops. Default: ${HIDDEN}` },
  batch: { value: 'N', means: 'sequences that go through a layer together. Default: 1' },
  accumulate: { value: 'N', means: 'batches whose gradients are summed. Default: 1' },
  offload: { value: 'TIER', means: 'where chunks wait: device or host. Default: by the system' },
  checkpoints: { value: 'TIER', means: 'where the inputs of layers wait: device, host or disk. Default: by the system' },
  keep: { value: 'WHAT', means: 'what the forward leaves for the backward: recompute, device, host, disk or all. Default: by the system' },
  'backward-order': { value: 'ORDER', means: "outer loop of the attention's backward: kv, q or auto, which moves fewer bytes. Default: auto" },
  parameters: { value: 'TIER', means: 'where compute weights live: device or host. Default: device' },
  states: { value: 'TIER', means: `where the optimizer's states live: device, host or disk. Default: ${OPTIMIZER_DEFAULTS.tier}` },
  threads: { value: 'N', means: 'with --backend cpu: threads of the compute pool, by which workspaces are sized. Default: as many as here' },
  json: { means: 'prints one JSON object' },
}

/** What makes one system differ from another: with `--system all` each has its own. */
const POLICIES = ['offload', 'checkpoints', 'keep'] as const

export const plan: Command = {
  operands: '',
  does: 'says what a training step takes of every tier, what makes the peak, how long a sequence the budgets hold and what goes over the links. Times are not predicted: they would need the rates of the machine that is planned for',
  options,
  more: () =>
    [
      'Exit codes: 0: the budgets that are given hold it; with --system all, with one system at least. 1: it failed, as where a file cannot',
      'be read. 2: no such option, or a value that is none. 3: training would not begin, and stderr says why: the budgets do not hold it, or it',
      'makes too many ops (what it takes is printed all the same), or sizes do not go together, as ranks that cannot share the heads.',
    ].join('\n'),
  run(args) {
    const { operands, given } = readArguments(args, options)
    if (operands.length > 0) throw new UsageError(`takes no ${operands[0]}; a model is given as --model NAME`)
    const asked = askedFor(given)
    const systems = systemsOf(given)
    const outlooks = outlooksOf(asked, systems)
    if (given.has('json')) console.log(JSON.stringify(asJson(asked, outlooks)))
    else console.log([...headOf(asked), ...(outlooks.length === 1 ? inFull(asked, outlooks[0] as Outlook) : compared(asked, outlooks))].join('\n'))
    const whys = outlooks.map((outlook) => whyNot(asked, outlook))
    if (!whys.every((why) => why !== undefined)) return 0
    console.error(`fpdt plan: ${whys.length === 1 ? whys[0] : `no system fits; ${systems.map((system, i) => `${system}: ${whys[i]}`).join('; ')}`}`)
    return REFUSED
  },
}

const TOO_MANY_OPS = `so many chunks make more ops than training plans (${PLANNED_OPS / 1e6} million)`

/** Why training would not begin; undefined where it would. */
function whyNot({ budgets }: Asked, { refused, bytes }: Outlook): string | undefined {
  const short = TIERS.filter((tier) => bytes[tier] > (budgets[tier] ?? Number.POSITIVE_INFINITY))
  const words = short.map((tier) => `the ${tier} tier needs ${formatBytes(bytes[tier])} a rank and is given ${formatBytes(budgets[tier] as number)}`)
  const all = [...words, ...(refused ? [TOO_MANY_OPS] : [])]
  return all.length > 0 ? all.join(', and ') : undefined
}

/** On a terminal what is being worked out is shown meanwhile, as it may take a while. */
function outlooksOf(asked: Asked, systems: readonly SystemName[]): Outlook[] {
  const terminal = new Terminal(process.stderr)
  try {
    return systems.map((system) => outlookOf(asked, system, systems.length > 1, (words) => terminal.show(words)))
  } catch (error) {
    throw asRefused(error)
  } finally {
    terminal.wipe()
    terminal.close()
  }
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
  if (given.has('gpus') && backend !== 'cuda') throw new UsageError(`--gpus means --backend cuda; for --backend ${backend} write --ranks ${get('gpus')}`)
  if (given.has('threads') && backend === 'cuda') throw new UsageError('--threads is of the CPU; leave it out with --backend cuda')
  for (const [option, { kind }] of Object.entries(CHOICES)) {
    const value = given.get(option)
    if (value !== undefined && !kind.is(value)) throw new UsageError(`--${option} ${value} is not ${kind.words}`)
  }
  const chunk = get('chunk')
  const states = get('states')
  const written: Record<string, unknown> = {
    chunk: chunk === undefined ? undefined : valued(() => parseTokens(chunk, 'chunk')),
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
      sequence: valued(() => parseTokens(sequence, 'sequence')),
    } as TrainOptions,
    budgets: Object.fromEntries(
      Object.entries(budgets).flatMap(([tier, size]) =>
        size === undefined ? [] : [[tier, valued(() => parseBytes(size, tier === 'device' ? 'memory' : tier))]],
      ),
    ),
    target: { backend: backend as BackendName, threads: count('threads') ?? availableParallelism() },
  }
}

/** Options that have the words of a key of `fpdt train`. */
const CHOICES = {
  dtype: TRAIN.dtype,
  hidden: TRAIN.hidden,
  offload: TRAIN.offload,
  checkpoints: TRAIN.checkpoints,
  keep: TRAIN.keep,
  'backward-order': TRAIN.backwardOrder,
  parameters: TRAIN.parameters,
  states: TRAIN.optimizer.tier,
} satisfies Partial<Record<keyof typeof options, unknown>>

/** A value of an option; what the library says of one that is none is the command line's mistake. */
function valued<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw error instanceof FpdtError ? new UsageError(error.message, { cause: error }) : error
  }
}

function systemsOf(given: Arguments['given']): readonly SystemName[] {
  const system = given.get('system') ?? 'fpdt'
  if (system !== 'all' && !TRAIN.system.kind.is(system)) throw new UsageError(`--system ${system} is not ${TRAIN.system.kind.words}, nor "all"`)
  if (system !== 'all') return [system as SystemName]
  const policy = POLICIES.find((name) => given.has(name))
  if (policy) throw new UsageError(`--${policy} is what makes one system differ from another; leave it out with --system all`)
  return SYSTEM_NAMES
}

function modelOf(name: string): ModelConfig {
  const file = join(name, 'config.json')
  if (!existsSync(file)) return valued(() => namedModel(name))
  return readConfig(readJson(readFileSync(file, 'utf8'), file).value as object as Readonly<Record<string, unknown>>, file).model
}

function headOf({ name, model, options }: Asked): string[] {
  const { sequence, ranks = 1, dtype = 'bf16' } = options
  return [`${name}: ${counted(parameterCount(model), 'parameter')}; ${tokens(Number(sequence))} on ${counted(ranks, 'rank')}, ${dtype}; bytes are of one rank`]
}

function inFull({ budgets, options: { ranks = 1 } }: Asked, outlook: Outlook): string[] {
  const { system, chunks, chunk, bytes, peak, links, longest, planned, fits, refused, padding, slow } = outlook
  const used = TIERS.filter((tier) => bytes[tier] > 0)
  const unchecked = used.filter((tier) => budgets[tier] === undefined)
  const tiers = used.map((tier) => {
    const budget = budgets[tier]
    const verdict =
      budget === undefined ? '' : ` of ${formatBytes(budget)}: ${bytes[tier] <= budget ? 'fits' : `${formatBytes(bytes[tier] - budget)} too much`}`
    // Ranks have a device each, and share the host.
    return [
      tier,
      `${formatBytes(bytes[tier])}${verdict}${tier !== 'device' && ranks > 1 ? `; all ${ranks} ranks ${formatBytes(ranks * bytes[tier])}` : ''}`,
    ] as const
  })
  const verdict = refused
    ? '; too many ops'
    : fits === undefined
      ? ''
      : !fits
        ? '; does not fit'
        : unchecked.length === 0
          ? '; fits'
          : `; fits, ${notChecked(unchecked)}`
  const rows = {
    system: `${SYSTEMS[system].words}${chunks > 1 ? `, ${chunks} chunks of ${tokens(chunk)}` : ''}${verdict}`,
    chunks: padding,
    refused: refused ? `${TOO_MANY_OPS}: with chunk ${count(chunk)} it takes ${tokens(planned)} at most; take a larger chunk` : undefined,
    ...Object.fromEntries(tiers),
    peak: `${formatBytes(peak.bytes)} alive on the device at once${peak.chunks < chunks ? ` (with ${peak.chunks} chunks)` : ''}, at ${peak.words}`,
    'made of': peak.largest,
    links: linksInWords(links),
    slow,
    longest: longest === undefined ? undefined : longestHere(longest),
    time: 'not predicted: that would need the rates of the machine that is planned for',
  }
  return table(Object.entries(rows).flatMap(([name, words]) => (words === undefined ? [] : [[name, words] as const])))

  function longestHere(longest: number): string {
    const more = longest > planned ? `; with chunk ${count(chunk)} it takes ${tokens(planned)}, with a larger chunk more` : ''
    const free = longest === Number.POSITIVE_INFINITY && unchecked.length > 0 ? ` (${notChecked(unchecked)})` : ''
    return `${longestInWords(longest)}${free}${more}`
  }
}

const BUDGETS = { device: '--memory', host: '--host', disk: '--disk' } as const
function notChecked(tiers: readonly Tier[]): string {
  return `${tiers.join(' and ')} not checked: no ${tiers.map((tier) => BUDGETS[tier]).join(', no ')} is given`
}

function compared({ budgets, options: { ranks = 1 } }: Asked, outlooks: readonly Outlook[]): string[] {
  // Ranks have a device each, and share the host.
  const shared = ranks > 1 ? [`host of all ${ranks}`] : []
  const head = ['system', ...TIERS.map(String), ...shared, 'fits', 'longest sequence', 'with this chunk', 'to host, a step', 'from host']
  const rows = outlooks.map(({ system, bytes, fits, refused, longest, planned, links }) => [
    system,
    ...TIERS.map((tier) => inTable(bytes[tier])),
    ...shared.map(() => inTable(ranks * bytes.host)),
    refused ? 'too many ops' : fits === undefined ? '-' : fits ? yes(bytes) : 'no',
    longest === undefined ? '-' : longestInWords(longest),
    planned === Number.POSITIVE_INFINITY ? '-' : tokens(planned),
    formatBytes(links.offload),
    formatBytes(links.fetch),
  ])
  const unchecked =
    Object.keys(budgets).length === 0 ? [] : TIERS.filter((tier) => budgets[tier] === undefined && outlooks.some(({ bytes }) => bytes[tier] > 0))
  const notes = [...new Set(outlooks.flatMap(({ slow }) => slow ?? []))]
  return [
    ...aligned([head, ...rows], [...head.keys()].slice(1)),
    ...(unchecked.length > 0 ? [`Memory of tiers: ${notChecked(unchecked)}.`] : []),
    `With this chunk: a plan holds ${PLANNED_OPS / 1e6} million ops; a larger chunk makes fewer.`,
    ...notes.map((note) => `Slow: ${note}.`),
    'Times are not predicted: that would need the rates of the machine that is planned for.',
  ]

  /** What was not asked is not answered. */
  function yes(bytes: Outlook['bytes']): string {
    const open = TIERS.filter((tier) => bytes[tier] > 0 && budgets[tier] === undefined)
    return open.length === 0 ? 'yes' : `yes; ${open.join(' and ')} not checked`
  }
}

function inTable(bytes: number): string {
  return bytes === 0 ? '-' : formatBytes(bytes)
}

function linksInWords({ offload, fetch, spill, load, collective }: Outlook['links']): string {
  const disk = spill + load === 0 ? '' : `; ${formatBytes(spill)} to the disk and ${formatBytes(load)} from it`
  return `${formatBytes(offload)} to the host and ${formatBytes(fetch)} from it${disk}; ${formatBytes(collective)} between ranks; a step`
}

function longestInWords(longest: number): string {
  return longest === Number.POSITIVE_INFINITY ? 'not limited by these budgets' : longest === 0 ? 'none' : tokens(longest)
}

function tokens(number: number): string {
  return counted(number, 'token')
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
    systems: outlooks.map(({ system, chunk, chunks, bytes, peak, links, longest, planned, fits, refused, padding, slow }) => ({
      system,
      chunk,
      chunks,
      bytes,
      ...(fits === undefined ? {} : { fits }),
      ...(refused ? { refused } : {}),
      ...(padding === undefined ? {} : { padding }),
      ...(slow === undefined ? {} : { slow }),
      peak,
      link_bytes: links,
      ...(longest === undefined ? {} : { longest_sequence: orNull(longest), planned_sequence: orNull(planned) }),
    })),
  }
}
