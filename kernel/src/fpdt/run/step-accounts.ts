/** Where the time of an executed or predicted step went. */
import type { Plan } from '../../plan/plan.js'
import type { Program } from '../../plan/program.js'
import { accountsOf } from '../../trace/ask/accounts.js'
import { planTables } from '../../trace/plan-tables.js'
import type { RankAccount, StepSummary } from '../../trace/schema.js'
import { type StepSpans, spanTable } from '../../trace/spans.js'

/** `times`: when the step began and how long it took. `backend` of the device: ranks of `cpu` share their cores. */
export function stepAccounts(
  plan: Plan,
  program: Program,
  record: StepSpans,
  times: Pick<StepSummary, 'start_ns' | 'duration_ns'>,
  backend: string,
): RankAccount[] {
  return accountsOf({ ...planTables(plan), spans: spanTable(program, [record]) }, { ...times, step: record.step }, backend)
}
