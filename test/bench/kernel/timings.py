"""Rows that are numbers. Kernels take turns, so that what else the machine does falls on all of them."""
import statistics
import time

from client import Kernel, is_idle, memory_bytes, report, text_of, tree
from samples import PRINT_LINES, SAMPLES

STARTS = 10
MEMORY_STARTS = 3
TURNS = 12
CELLS_A_TURN = 10
TYPING_GAP_S = 0.2
FIRST_COMPLETIONS = 3
FLOODS = 3
#: Completion is waited for so long; JupyterLab gives up after one second.
COMPLETION_S = 10
IDLE_S = 10


def ms(seconds, digits=None):
    value = seconds * 1e3
    return f"{value:.{(2 if value < 10 else 1 if value < 100 else 0) if digits is None else digits}f} ms"


def p95(values):
    return sorted(values)[int(0.95 * (len(values) - 1) + 0.5)]


def row(name, kernel, text, value=None, good=True):
    """`value`: what is compared, less is better; `good`: whether the kernel does what the row asks at all."""
    report("cell", row=name, kernel=kernel, text=text, value=value, good=good)


def spread(name, kernel, seconds):
    if not seconds:
        return row(name, kernel, f"no answer in {IDLE_S} s", good=False)
    median = statistics.median(seconds)
    row(name, kernel, f"{ms(median)} (p95 {ms(p95(seconds))})", median)


def starts(specs, folder):
    """To the first kernel_info_reply, to the reply of the first cell, and what an idle kernel weighs."""
    info, first, memory = ({name: [] for name in specs} for _ in range(3))
    for round in range(STARTS):
        report("progress", text=f"start {round + 1} of {STARTS}")
        for name, spec in specs.items():
            with Kernel(spec, folder) as kernel:
                info[name].append(kernel.ready())
                answer = kernel.execute(SAMPLES[spec["language"]]["add"], idle=False)
                if answer.reply is not None:
                    first[name].append(answer.sent + answer.reply_s - kernel.started)
                if round >= STARTS - MEMORY_STARTS:
                    time.sleep(1)
                    memory[name].append(memory_bytes([pid for pid in tree(kernel.pid) if not is_language_server(pid)]))
    for name in specs:
        spread("start-info", name, info[name])
        spread("start-cell", name, first[name])
        bytes = statistics.median(memory[name])
        row("memory", name, f"{bytes / 1e6:.0f} MB", bytes)


def round_trips(specs, folder):
    """All kernels live; each answers a few cells in turn."""
    kernels = {name: Kernel(spec, folder) for name, spec in specs.items()}
    replies, idles, infos = ({name: [] for name in specs} for _ in range(3))
    try:
        for kernel in kernels.values():
            kernel.ready()
            for _ in range(10):
                kernel.execute("1 + 1")
        for turn in range(TURNS):
            report("progress", text=f"round trips {turn + 1} of {TURNS}")
            for name, kernel in kernels.items():
                for _ in range(CELLS_A_TURN):
                    answer = kernel.execute("1 + 1", IDLE_S)
                    replies[name] += [] if answer.reply_s is None else [answer.reply_s]
                    idles[name] += [] if answer.idle_s is None else [answer.idle_s]
                for _ in range(CELLS_A_TURN):
                    infos[name].append(kernel.request("kernel_info_request", {}, IDLE_S).reply_s)
    finally:
        for kernel in kernels.values():
            kernel.close()
    for name in specs:
        spread("reply", name, replies[name])
        spread("idle", name, idles[name])
        spread("info", name, infos[name])


def completion(kernel, code, wanted=None):
    """Seconds to the reply, and whether what it offers has the wanted name."""
    answer = kernel.request("complete_request", {"code": code, "cursor_pos": len(code)}, COMPLETION_S, idle=False)
    if answer.reply is None:
        return None, False
    matches = [match.lstrip(".") for match in answer.reply.get("matches", [])]
    return answer.reply_s, any(match == wanted or match.endswith(f".{wanted}") for match in matches)


def completions(specs, folder):
    """The first of a fresh kernel; whether types are known; then one a keystroke."""
    first = {name: [] for name in specs}
    for round in range(FIRST_COMPLETIONS):
        for name, spec in specs.items():
            report("progress", text=f"completion of {name}")
            say = SAMPLES[spec["language"]]
            with Kernel(spec, folder) as kernel:
                kernel.ready()
                kernel.execute(say["text"])
                seconds, found = completion(kernel, *say["text_use"])
                # Some kernels load their types before they answer anything, others when they are asked: from the start it is the same wait.
                first[name].append((time.perf_counter() - kernel.started, seconds) if found else None)
                if round == 0:
                    typed(name, kernel, say)
                    typing(name, kernel, say)
    for name in specs:
        found = [times for times in first[name] if times is not None]
        if found:
            whole, last = (statistics.median(column) for column in zip(*found))
            row("completion-first", name, f"{ms(whole)}, {ms(last)} since asked", whole)
        else:
            row("completion-first", name, "does not offer the member", good=False)


def typed(name, kernel, say):
    kernel.execute(say["typed"])
    _, knows = completion(kernel, *say["typed_use"])
    kernel.execute(say["getter"])
    completion(kernel, say["getter_use"], "")
    reads = kernel.execute(say["reads"]).text.strip()
    runs = reads != "0"
    words = "types known" if knows else "no types of what was not run"
    row("completion-types", name, f"{words}; {'runs getters' if runs else 'runs nothing'}", good=knows and not runs)


def typing(name, kernel, say):
    kernel.execute(say["modules"])
    code, wanted = say["typing"]
    completion(kernel, code[: code.index(".") + 1])
    seconds = []
    begin = time.perf_counter()
    for length in range(2, len(code) + 1):
        time.sleep(max(0, begin + (length - 1) * TYPING_GAP_S - time.perf_counter()))
        took, found = completion(kernel, code[:length], wanted)
        if took is not None:
            seconds.append(took)
    if found:
        spread("completion-typing", name, seconds)
    else:
        row("completion-typing", name, f"{ms(statistics.median(seconds))} (p95 {ms(p95(seconds))}), without the member asked for" if seconds else "no reply", good=False)
    server = [pid for pid in tree(kernel.pid) if is_language_server(pid)]
    if server:
        row("memory-server", name, f"{memory_bytes(server) / 1e6:.0f} MB", good=True)


def is_language_server(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return b"--lsp" in file.read()
    except OSError:
        return False


def floods(specs, folder):
    """Many lines printed by one cell, several times in one kernel: all before its idle, in order?"""
    for name, spec in specs.items():
        report("progress", text=f"{PRINT_LINES} lines of {name}")
        with Kernel(spec, folder) as kernel:
            kernel.ready()
            found = [flood(kernel, SAMPLES[spec["language"]]["lines"]) for _ in range(FLOODS) if kernel.is_alive]
        failures = [words for words, _, _ in found if words is not None]
        median = statistics.median(seconds or IDLE_S for _, seconds, _ in found)
        if failures:
            row("lines", name, failures[0], good=False)
        else:
            row("lines", name, f"{ms(median)}, {found[-1][2]} messages", median)


def flood(kernel, code):
    """What went wrong, seconds to idle, messages."""
    answer = kernel.execute(code, IDLE_S)
    ended = next((i for i, message in enumerate(answer.messages) if is_idle(message)), None)
    before = printed(answer.messages[:ended])
    expected = [str(i) for i in range(PRINT_LINES)]
    if before == expected and ended is not None:
        return None, answer.idle_s, sum(message.type == "stream" for message in answer.messages)
    if ended is not None:
        while kernel.poll(1):
            pass
    lines = printed(kernel.messages)
    never = f"{PRINT_LINES - len(lines):,} of {PRINT_LINES:,} lines lost" if len(lines) < PRINT_LINES else None
    late = f"{len(lines) - len(before):,} of {PRINT_LINES:,} lines after idle" if len(lines) > len(before) else None
    order = "lines out of order" if len(lines) == PRINT_LINES and lines != expected else None
    return ", ".join(filter(None, [never, late, order, None if ended is not None else f"no idle in {IDLE_S} s"])), None, 0


def printed(messages):
    return "".join(text_of(message) for message in messages if message.type == "stream").split("\n")[:-1]


TIMINGS = [starts, round_trips, completions, floods]

