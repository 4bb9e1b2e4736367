/** Questions of cells to the user: input_request out, input_reply in. There is one at a time, because the thread that asks waits for its answer. */
import type { ExecutorProcess } from './executor-process.js'
import type { Message } from './message.js'
import type { Ask } from './output-order.js'

interface Question {
  readonly cell: number
  /** The execute_request of the cell: its client is the one that is asked. */
  readonly request: Message
  readonly id: string
}

export class Stdin {
  #question: Question | undefined

  /** `send` gives the id of the message, and whether its client was there to take it. */
  constructor(
    private readonly executor: ExecutorProcess,
    private readonly send: (type: string, content: object, request: Message) => { readonly id: string; readonly sent: Promise<boolean> },
  ) {}

  /** `request` is what the cell answers. */
  async ask({ cell, prompt, password }: Ask, request: Message): Promise<void> {
    const { id, sent } = this.send('input_request', { prompt, password }, request)
    const question = { cell, request, id }
    this.#question = question
    if ((await sent) || this.#question !== question) return
    this.#answer({ failed: 'the client that runs this cell does not listen on its stdin channel' })
  }

  /** An input_reply. What nobody asked for is dropped; an answer to an earlier question can be told where the client names its parent, as JupyterLab does. */
  receive({ identities, parent, content }: Message): void {
    const { request, id } = this.#question ?? {}
    const isAsked = request !== undefined && Buffer.concat(identities).equals(Buffer.concat(request.identities))
    if (!isAsked || (parent.msg_type === 'input_request' && parent.msg_id !== id)) return
    const { value } = content
    // Jupyter's consoles send this sign for Ctrl-D: no answer.
    this.#answer({ text: typeof value === 'string' && value !== '\u0004' ? value : null })
  }

  #answer(answer: Parameters<ExecutorProcess['answer']>[1]): void {
    this.executor.answer(this.#question?.cell as number, answer)
    this.#question = undefined
  }
}
