/**
 * The runs saved in the notebooks that are open: what tabs, status bar and commands know without a kernel. Follows the models of
 * the notebooks, not their outputs on the page, which JupyterLab may not have made yet.
 */
import type { DocumentRegistry, IDocumentWidget } from '@jupyterlab/docregistry'
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces'
import { JSONExt, type ReadonlyPartialJSONValue } from '@lumino/coreutils'
import { DisposableDelegate, type IDisposable } from '@lumino/disposable'
import { type ISignal, Signal } from '@lumino/signaling'
import type { RunHead } from 'fpdt/trace'
import { RUN_MIME } from './mime-type.js'

/** One saved run. Its head is what the payload says; nothing of it has been checked yet. */
export interface NotebookRun {
  readonly path: string
  readonly run_id: string
  readonly head: Partial<RunHead>
  readonly payload: unknown
}

/** What is used of the model of a notebook. */
interface NotebookModel {
  readonly cells?: {
    readonly length: number
    get(index: number): { readonly outputs?: { readonly length: number; get(index: number): IRenderMime.IMimeModel } }
  }
}

/** Typing changes a notebook too; so long it may go on before outputs are looked at again. */
const SETTLED_MS = 150

export class OpenNotebooks implements DocumentRegistry.WidgetExtension {
  readonly #open = new Map<DocumentRegistry.Context, readonly NotebookRun[]>()
  readonly #changed = new Signal<this, void>(this)
  readonly #renamed = new Signal<this, { readonly from: string; readonly to: string }>(this)

  get changed(): ISignal<this, void> {
    return this.#changed
  }

  get renamed(): ISignal<this, { readonly from: string; readonly to: string }> {
    return this.#renamed
  }

  /** Of all open notebooks; those of one notebook in the order of its cells. */
  get runs(): readonly NotebookRun[] {
    return [...this.#open.values()].flat()
  }

  isOpen(path: string): boolean {
    return [...this.#open.keys()].some((context) => context.path === path)
  }

  find(path: string, run_id: string): NotebookRun | undefined {
    return this.runs.find((run) => run.path === path && run.run_id === run_id)
  }

  createNew(_: IDocumentWidget, context: DocumentRegistry.Context): IDisposable {
    let timer = 0
    let path = context.path
    const look = (): void => {
      timer = 0
      const found = runsOf(context)
      const before = this.#open.get(context) ?? []
      this.#open.set(context, found)
      if (!sameRuns(before, found)) this.#changed.emit()
    }
    const soon = (): void => {
      timer ||= window.setTimeout(look, SETTLED_MS)
    }
    const rename = (): void => {
      const from = path
      path = context.path
      this.#renamed.emit({ from, to: path })
      look()
    }
    this.#open.set(context, [])
    context.model.contentChanged.connect(soon)
    context.pathChanged.connect(rename)
    void context.ready.then(soon)
    return new DisposableDelegate(() => {
      window.clearTimeout(timer)
      context.model.contentChanged.disconnect(soon)
      context.pathChanged.disconnect(rename)
      this.#open.delete(context)
      this.#changed.emit()
    })
  }
}

/** Those saved in a notebook, in the order of its cells. */
export function runsOf({ path, model }: DocumentRegistry.Context): NotebookRun[] {
  const { cells } = model as unknown as NotebookModel
  const found: NotebookRun[] = []
  for (let i = 0; i < (cells?.length ?? 0); i++) {
    const outputs = cells?.get(i).outputs
    for (let j = 0; j < (outputs?.length ?? 0); j++) {
      const payload = outputs?.get(j).data[RUN_MIME]
      const head = headOf(payload)
      if (head) found.push({ path, run_id: head.run_id, head, payload })
    }
  }
  return found
}

function headOf(payload: unknown): (Partial<RunHead> & { run_id: string }) | null {
  if (typeof payload !== 'object' || payload === null) return null
  const { head } = payload as { head?: unknown }
  return typeof head === 'object' && head !== null && typeof (head as { run_id?: unknown }).run_id === 'string'
    ? (head as Partial<RunHead> & { run_id: string })
    : null
}

function sameRuns(a: readonly NotebookRun[], b: readonly NotebookRun[]): boolean {
  return a.length === b.length && a.every((run, i) => run.run_id === b[i].run_id && run.path === b[i].path && samePayload(run.payload, b[i].payload))
}

/** A model gives out copies of its JSON, whose long strings are the same ones: this takes no time. */
export function samePayload(a: unknown, b: unknown): boolean {
  return JSONExt.deepEqual(a as ReadonlyPartialJSONValue, b as ReadonlyPartialJSONValue)
}
