/** What steps give, as a reader of a cell sees it: the figures, and the names by which a program has them. */
import type { TimeSummary } from '../../trace/ask/accounts.js'
import { copyTime, hiddenShare } from '../../trace/ask/accounts.js'
import { IDLE_CAUSES, type RankAccount, type StepSummary } from '../../trace/schema.js'
import { count, counted, duration, percent } from '../../trace/words/format.js'
import { IDLE_WORDS } from '../../trace/words/names.js'

/** Figures of a step, each with its name and unit; '' for what it has not. */
export function figuresOf({ loss, gradient_norm, tokens, duration_ns, tokens_per_second, mfu }: StepSummary) {
  return {
    loss: `loss ${loss === null ? 'not finite' : loss.toFixed(4)}`,
    norm: gradient_norm === null ? '' : `gradient norm ${gradient_norm.toPrecision(3)}`,
    time: `${counted(tokens, 'token')} in ${duration(duration_ns)}`,
    rate: `${count(tokens_per_second)} tokens/s`,
    mfu: mfu === null ? '' : `MFU ${percent(mfu)}`,
  }
}

/** `step 3: loss 5.2554, gradient norm 3.70, 256 tokens in 87.7 ms, 2,920 tokens/s, MFU 0.3 %`. */
export function stepInWords(summary: StepSummary): string {
  const { loss, norm, time, rate, mfu } = figuresOf(summary)
  return `step ${summary.step}: ${listed(loss, norm, time, rate, mfu)}`
}

/** Figures that there are, in one sentence. */
export function listed(...figures: readonly string[]): string {
  return figures.filter((figure) => figure !== '').join(', ')
}

/** With where its time went on each rank. */
export function summaryInWords(summary: StepSummary): string {
  const names = '{ step, loss, gradient_norm, tokens, tokens_per_second, mfu, mfu_formula, model_flops, start_ns, duration_ns, accounts }'
  return [stepInWords(summary), ...summary.accounts.map(accountInWords), names].join('\n')
}

export function timesInWords({ duration_ns, ranks, exposedCopy_ns, exposedCollective_ns, hiddenCopyShare }: TimeSummary): string {
  const hidden = hiddenCopyShare === null ? '' : `; ${percent(hiddenCopyShare)} of the copies' time lies under compute`
  return [
    `${duration(duration_ns)}: compute waits ${duration(exposedCopy_ns)} for copies and ${duration(exposedCollective_ns)} for other ranks, mean of the ranks${hidden}`,
    ...ranks.map(accountInWords),
    '{ start_ns, duration_ns, ranks, exposedCopy_ns, exposedCollective_ns, hiddenCopyShare }',
  ].join('\n')
}

/** `  rank 0: compute 12.1 ms; waits 812 µs for copies, 1.20 ms for other ranks; copies 97 µs, 24.6 % of them hidden`. */
function accountInWords(account: RankAccount): string {
  const waits = IDLE_CAUSES.filter((cause) => account.idle_ns[cause] > 0).map((cause) => `${duration(account.idle_ns[cause])} ${IDLE_WORDS[cause].brief}`)
  const share = hiddenShare([account])
  return [
    `  rank ${account.rank}: compute ${duration(account.busy_ns.compute)}`,
    ...(waits.length > 0 ? [`waits ${waits.join(', ')}`] : []),
    ...(share === null ? [] : [`copies ${duration(copyTime(account))}, ${percent(share)} of them hidden`]),
  ].join('; ')
}
