/**
 * What other kernels of notebooks fall into, and where a test holds that this one does not. A row without its test fails here, so that a test which is
 * renamed or deleted takes its trap along knowingly. Numbers with # are threads of the projects named.
 */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

/** A file under `test/`, and the title of a test in it as it is reported. */
type Held = readonly [file: string, title: string]

const COMPLAINTS: Readonly<Record<string, readonly Held[]>> = {
  'comms are missing or one-way (tslab #23, deno #20592, anywidget #582)': [
    ['kernel/comms.test.ts', 'echoes data, metadata and any buffers, with the message as parent and one session'],
    ['kernel/comms.test.ts', 'is announced with data and buffers between the prints around it, and carries messages both ways'],
  ],
  'the stop button kills or restarts the kernel (deno #24491, ijavascript, evcxr, xeus-cpp)': [
    ['kernel/interrupt.test.ts', 'stops an empty while loop and keeps the state'],
    ['kernel/clients-server.test.ts', 'starts the kernel, runs cells, interrupts a loop with its state kept, and shuts down during another'],
    ['lab/thirty.test.ts', 'runs to its endless loop, is interrupted by the button of the toolbar, and goes on to the end'],
  ],
  'comm messages wait behind the running cell (ipykernel #65, #646, ipywidgets #1349)': [
    ['kernel/comms.test.ts', 'are answered while a cell awaits, and overtake those queued behind it'],
    ['kernel/comms.test.ts', 'may be awaited by the handler of another of the same comm'],
    ['kernel/training.test.ts', 'comm messages are answered while a training step runs, also on the main shell'],
  ],
  'hangs at the first start or a restart, lost replies (vscode-jupyter #17228, #17151, deno #20542, #28634)': [
    ['kernel/clients-server.test.ts', 'restarts five times in a row, each time by its own will, and leaves no process of the former'],
    ['kernel/lifetime.test.ts', 'greets each subscriber, and tells the first one, once, that it is starting'],
  ],
  'processes are left behind by a shutdown or a server that died (deno #20556, ipykernel #517, #1271, jupyter_console #221)': [
    ['kernel/clients-server.test.ts', 'killed leaves no process behind, whatever its kernels were doing'],
    ['kernel/lifetime.test.ts', 'leaves no process behind after shutdown_request, and exits with 0'],
    ['kernel/lifetime.test.ts', 'takes the processes that user code started along'],
    ['kernel/magics.test.ts', 'end when the executor is killed'],
    ['kernel/assist.test.ts', 'is left behind by no kernel, even one that is killed'],
    ['kernel/clients.test.ts', 'executes, continues what is incomplete, completes, asks, interrupts, shows errors and crashes, and leaves no process'],
  ],
  'output after idle is lost in nbclient and nbconvert (ijavascript #62, deno #24437)': [
    ['kernel/clients.test.ts', 'saves outputs of all kinds, and with --allow-errors goes on after an error and a crash'],
    ['kernel/outputs.test.ts', 'of 10,000 prints arrives whole, in order, before idle, in few messages'],
    ['null/jupyter/output-order.test.ts', 'is the order of writing, of each cell before its end, however cells overlap and streams are cut and interleaved'],
  ],
  'output appears in the wrong cell (jupyterlab #3936, ijavascript #58, ipykernel #1186, #1289)': [
    ['kernel/outputs.test.ts', 'that was printed later goes to the cell that started it, also while another prints'],
    ['kernel/subshells.test.ts', 'show their outputs in their own cells, also late ones, while others print'],
  ],
  'output of libraries and subprocesses is invisible, or its capture deadlocks (ipykernel #110, #882, #847)': [
    ['kernel/outputs.test.ts', 'of subprocesses, which write to the file descriptors, takes its place among it'],
    ['kernel/outputs.test.ts', 'does not hang the kernel when the cell closes its file descriptors'],
    ['kernel/slow-client.test.ts', 'a cell that prints forever waits for the slowest client; it can be interrupted, and nothing is lost'],
  ],
  "`Identifier 'x' has already been declared` (ijavascript #107, nteract #1864)": [
    ['kernel/cells.test.ts', 'live on in later cells and may be declared again as anything'],
  ],
  "modules are not importable, not found from the notebook's folder, not typed (tslab #72, #48, #40, deno #26816)": [
    ['kernel/cells.test.ts', 'reach packages of the folder the kernel was started in'],
    ['kernel/cells.test.ts', 'reach local files: TypeScript by either extension, JavaScript, JSON'],
    ['kernel/types.test.ts', 'obey a tsconfig.json beside the notebook, also one that changes'],
    ['kernel/types.test.ts', 'follow local files that are edited, made and removed, and packages that are installed'],
  ],
  'zeromq is compiled at installation, or not at all (zeromq.js #710, #715, #718)': [
    ['kernel/zeromq.test.ts', 'comes built for every platform that we run on, and the one of this platform is what was loaded'],
  ],
  'types of other cells are missing, stale or reported twice (deno #21709, vscode_deno #932)': [
    ['kernel/types.test.ts', 'follow names to their newest declaration'],
    ['kernel/assist.test.ts', 'follows a name to its newest declaration'],
  ],
  'completions come too late for JupyterLab, or at the wrong place behind an emoji (deno #20657, #22771)': [
    ['lab/thirty.test.ts', 'completes and explains what is typed in the notebook, by its types'],
    ['kernel/assist.test.ts', 'replaces only the member name, at positions in code points'],
    ['kernel/assist.test.ts', 'answers with nothing, and runs cells, while the language server hangs'],
  ],
  '`IOPub message rate exceeded` (jupyterlab #8769, notebook #4583)': [
    ['kernel/outputs.test.ts', 'of 10,000 prints arrives whole, in order, before idle, in few messages'],
  ],
  'the kernelspec names a program that an upgrade removed (deno #25306, tslab #26, #82)': [
    ['null/install.test.ts', 'names Node as PATH does when that is the same program: a package manager moves the real one with every version'],
    ['null/install.test.ts', 'writes a kernelspec whose argv starts the kernel from any folder'],
  ],
}

const PROTOCOL: Readonly<Record<string, readonly Held[]>> = {
  'silent and store_history are ignored, counts rise regardless (tslab, ijavascript, evcxr)': [
    ['kernel/protocol.test.ts', 'counts only what is stored'],
    ['kernel/protocol.test.ts', 'that is silent publishes nothing but its status'],
  ],
  'user_expressions are not evaluated (tslab, deno, ijavascript)': [['kernel/protocol.test.ts', 'evaluates user expressions, each by itself']],
  'stop_on_error is a delay of 200 ms, or the status `abort` (tslab)': [
    ['kernel/protocol.test.ts', 'that fails stops those queued behind it, unless told otherwise'],
  ],
  'is_complete is never `invalid` (tslab, deno, evcxr)': [['kernel/protocol.test.ts', 'knows complete, incomplete and invalid']],
  'history is empty (tslab, deno, ijavascript, evcxr)': [
    ['kernel/protocol.test.ts', 'finds what was run, with its result'],
    ['null/jupyter/history.test.ts', 'finds by tail, range and search, over sessions'],
  ],
  'comm_info is answered by another reply; comm_open of an unknown target by a comm_close on shell (tslab, deno)': [
    ['kernel/comms.test.ts', 'is listed by target while it is open, and no more when the front end closed it'],
    ['kernel/comms.test.ts', 'is closed by the kernel when nobody registered its target'],
  ],
  'messages with buffers are taken for forged, because the buffers are signed (tslab)': [
    ['null/jupyter/wire.test.ts', 'signs as the protocol says: HMAC-SHA256 over header, parent, metadata and content, not over buffers'],
  ],
  'what is forged is parsed before its signature is checked': [['null/jupyter/wire.test.ts', 'checks the signature before it parses']],
  'messages are replayed (jmp, deno)': [['null/jupyter/wire.test.ts', 'refuses a message that is sent a second time']],
  'JupyterLab drops comm messages whose session is not that of kernel_info': [
    ['kernel/protocol.test.ts', 'stand between busy and idle, on shell and on control, and all messages have one session'],
  ],
  'control waits behind shell': [['kernel/protocol.test.ts', 'on control are answered while a cell runs']],
  'a kernel that sends `starting` before anyone has subscribed tells nobody': [
    ['kernel/lifetime.test.ts', 'greets each subscriber, and tells the first one, once, that it is starting'],
  ],
  'only the first subscriber of a topic is welcomed, without XPUB_VERBOSE': [
    ['kernel/lifetime.test.ts', 'greets each subscriber, and tells the first one, once, that it is starting'],
  ],
  'subscriptions that are no UTF-8 end the kernel': [['kernel/fuzz.test.ts', 'takes no harm from subscriptions that are none, or are thousands']],
  'input is asked for though allow_stdin is false': [['kernel/stdin.test.ts', 'ends with an error that says what to do, when the client takes no input']],
  'a prompt blocks everything else (deno)': [['kernel/stdin.test.ts', 'completion, inspection and information are answered']],
  'subshells share counts and stop each other': [['kernel/subshells.test.ts', 'count their own cells, and stop only their own on an error']],
  'an update of a display has no id, or `transient` is null, and nbclient crashes': [
    ['kernel/outputs.test.ts', 'updates an output by its id'],
    ['kernel/clients.test.ts', 'saves outputs of all kinds, and with --allow-errors goes on after an error and a crash'],
  ],
  'the tail of a cell that ended with its process is lost': [
    ['kernel/lifetime.test.ts', 'killed in a cell is the error of that cell; the next one runs in a fresh process'],
    ['kernel/lifetime.test.ts', 'sends what a cell has printed, its error and idle before it exits on shutdown_request'],
  ],
  'a message type that is a word of every object calls it': [['kernel/lifetime.test.ts', 'ignores messages whose type is a word of every object']],
  'keys of CURVE are ignored and messages go in the clear': [['kernel/curve.test.ts', 'speaks to a client that has them, on every channel']],
}

const RUNNING: Readonly<Record<string, readonly Held[]>> = {
  'terminateExecution aborts Node 20 inside AsyncLocalStorage, timers and immediates': [
    ['kernel/interrupt.test.ts', 'stops a loop in a timer that the cell waits for and keeps the state'],
    ['kernel/interrupt.test.ts', 'stops a loop in a function of the cell, after an await and keeps the state'],
  ],
  'a pending await is not interrupted (deno)': [['kernel/interrupt.test.ts', 'stops a promise that never settles and keeps the state']],
  'an interrupt waits for output that is still draining (deno, 8 s)': [
    ['kernel/slow-client.test.ts', 'a cell that prints forever waits for the slowest client; it can be interrupted, and nothing is lost'],
  ],
  'what an interrupted cell left goes on in the background': [
    ['kernel/interrupt.test.ts', 'ends the background work of an interrupted cell at its next await'],
  ],
  'an interrupt that came late hits the next cell': [
    ['kernel/interrupt.test.ts', 'may be asked for many times at once; the cells after it are not meant'],
    ['kernel/interrupt.test.ts', 'changes nothing when no cell runs'],
  ],
  'native code does not hear of an interrupt': [
    ['kernel/interrupt.test.ts', 'tells native work through the display host'],
    ['kernel/training.test.ts', 'a training step that is interrupted rejects at once with `stopped`; the kernel answers; the next step trains'],
  ],
  'what cannot be interrupted is silent about it': [
    ['kernel/interrupt.test.ts', 'says so when code does not stop, and ends the process at the second interrupt'],
    ['kernel/interrupt.test.ts', 'reaches a loop inside a package only by ending the process, and says so first'],
  ],
  'the executor outlives a supervisor that was killed: `disconnect` does not fire in a busy loop': [
    ['kernel/lifetime.test.ts', 'killed while a cell is in a busy loop leaves no process behind'],
    ['kernel/lifetime.test.ts', 'killed while a training step runs leaves no process behind'],
  ],
  'process 1 as the parent is taken for an orphan in a container (ipykernel #233)': [
    ['kernel/lifetime.test.ts', 'lives on when JPY_PARENT_PID names nothing that can be seen, as in a container'],
  ],
  'const cannot become let, as in V8 replMode (deno)': [['kernel/cells.test.ts', 'live on in later cells and may be declared again as anything']],
  'transpilers drop imports that the cell does not use': [
    ['kernel/cells.test.ts', 'reach Node, with and without prefix, and stay for later cells though unused in their own'],
  ],
  'a file that was edited, or that imports one that was, is not loaded anew': [
    ['kernel/cells.test.ts', 'load a file anew when it, or one that it imports, was edited'],
  ],
  'stack traces show the lines of what cells are turned into': [
    ['kernel/cells.test.ts', 'are shown with the lines of the cell, innermost first, without frames of the kernel'],
    ['kernel/errors.test.ts', 'does not show what cells are turned into'],
  ],
  'an error of a timer or a forgotten promise ends the process': [
    ['kernel/cells.test.ts', 'of timers and forgotten promises are printed where they were caused, and end nothing'],
  ],
  'completion evaluates `(expression)` (deno), inspection and display run getters': [
    ['kernel/assist.test.ts', 'lists the members of a variable of an earlier cell, by its type, without evaluating anything'],
    ['kernel/assist.test.ts', 'runs no code: neither getters nor proxies nor iterators are touched'],
    ['kernel/cells.test.ts', 'runs no getter to show a value'],
  ],
  'one document of all cells gives stale types and error 2451': [['kernel/types.test.ts', 'follow names to their newest declaration']],
  'a language server that died takes completion along': [
    ['kernel/assist.test.ts', 'goes on when the language server was killed'],
    ['null/assist/server-life.test.ts', 'starts one that does not live less and less often, at last once a minute'],
    ['null/assist/language-server.test.ts', 'that says nothing for eight seconds, with a question open, is ended; whoever asked is told'],
  ],
  'an error is printed to stderr besides its message (jupyter_kernel_test wants exactly one)': [
    ['kernel/cells.test.ts', 'are shown with the lines of the cell, innermost first, without frames of the kernel'],
  ],
  'results have colours, and no client finds the text (deno without NO_COLOR)': [['kernel/cells.test.ts', 'shows \'text\' for "text"']],
}

const ZEROMQ: Readonly<Record<string, readonly Held[]>> = {
  'a second send before the first resolves throws EBUSY: 513 of 5,000 messages arrive, IOPub is dead (tslab)': [
    ['kernel/comms.test.ts', 'gets 1,000 messages in order, and answers in order'],
    ['kernel/outputs.test.ts', 'of 10,000 prints arrives whole, in order, before idle, in few messages'],
  ],
  'PUB drops silently above its high-water mark (xeus-python: idle is lost)': [
    ['kernel/slow-client.test.ts', 'a cell that prints forever waits for the slowest client; it can be interrupted, and nothing is lost'],
    ['kernel/slow-client.test.ts', 'a client that takes nothing is cut off after its time, and the others get everything'],
  ],
  'sockets in a worker abort the process when it exits (rc 134); unsent messages hang the exit': [
    ['kernel/lifetime.test.ts', 'leaves no process behind after shutdown_request, and exits with 0'],
    ['kernel/lifetime.test.ts', 'shuts down while a cell is in a busy loop'],
  ],
  'the heart stops while a cell is busy': [['kernel/protocol.test.ts', 'of the heartbeat are echoed']],
  'sockets listen elsewhere than the connection file says': [
    ['kernel/security.test.ts', 'are where the connection file says and nowhere else; the processes it starts listen nowhere'],
  ],
}

describe.each([
  ['complaints about kernels', COMPLAINTS],
  ['the protocol', PROTOCOL],
  ['running code', RUNNING],
  ['ZeroMQ', ZEROMQ],
])('%s', (_, traps) => {
  for (const [trap, held] of Object.entries(traps)) {
    it(trap, () => {
      expect(held.length).toBeGreaterThan(0)
      for (const [file, title] of held)
        expect(
          titlesOf(file).some((has) => has(title)),
          `${file} has no test '${title}'`,
        ).toBe(true)
    })
  }
})

/** Whether a file has a test of a title that runs: literally, or by a template whose parts all stand in the file. */
function titlesOf(file: string): ((title: string) => boolean)[] {
  const source = readFileSync(new URL(`../${file}`, import.meta.url), 'utf8')
  const tests = source.matchAll(
    /\b(?:it|test)(?:\.(?!skip|todo|fails)\w+)*(?:\([^()]*\))?\(\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|`((?:[^`\\]|\\.)*)`)/g,
  )
  return [...tests].map(([, single, double, template]) => {
    if (template === undefined) return (title) => title === (single ?? double)
    const pattern = new RegExp(
      `^${template
        .split(/\$\{[^}]*\}+/)
        .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
        .join('(.+)')}$`,
    )
    return (title) =>
      pattern
        .exec(title)
        ?.slice(1)
        .every((part) => source.includes(part)) ?? false
  })
}
