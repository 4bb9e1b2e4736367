"""Rows that are words, and the interrupts: does the kernel do what a notebook needs, and what happens instead?"""
import os
import statistics
import subprocess
import sys
import time

from client import Kernel, is_alive, kill, report, text_of, tree
from samples import SAMPLES
from timings import ms, row

PATIENCE_S = 5
INTERRUPTS = 4
ORPHAN_S = 6
#: Some kernels send outputs after the cell's end.
LATE_S = 0.5
#: tslab refuses every cell for 200 ms after one that failed.
ABORTING_S = 0.3
COMM_BYTES = 8 * 2**20


def shows(kernel, code, wanted):
    """Whether a cell shows the wanted text, be it after its idle."""
    cell = kernel.execute(code, PATIENCE_S)
    return wanted in cell.text or kernel.until(lambda m: wanted in text_of(m), LATE_S) is not None


def interrupted(code_of):
    """A probe that interrupts a cell several times and looks whether the variables are still there."""

    def probe(kernel, say):
        code = say.get(code_of)
        if code is None:
            return "–", None, None
        kernel.execute(say["keep"])
        seconds = []
        for _ in range(INTERRUPTS):
            kernel.messages.clear()
            cell = kernel.submit(code)
            # Some kernels hold back what a running cell prints; it has had its time to start then.
            kernel.until(lambda m: "go" in text_of(m), 0.5)
            time.sleep(0.1)
            kernel.poll(0)
            if any(m.parent == cell[0] and m.channel == "shell" for m in kernel.messages):
                return "the cell does not run", None, False
            begin = time.perf_counter()
            kernel.interrupt()
            answer = kernel.wait(cell, PATIENCE_S + time.perf_counter() - cell[1])
            if answer.reply is None:
                return f"no reply in {PATIENCE_S} s" if kernel.is_alive else "the kernel dies", None, False
            seconds.append(cell[1] + answer.reply_s - begin)
            time.sleep(ABORTING_S)
        median = statistics.median(seconds)
        kept = shows(kernel, say["kept"], "7")
        return f"{ms(median)}, state {'kept' if kept else 'lost'}", median, kept

    return probe


def native(kernel, say):
    if "native" in say:
        kernel.execute(say["native"], 30)
        return interrupted("native_run")(kernel, say)
    return "–", None, None


def dies(code_of):
    def probe(kernel, say):
        answer = kernel.execute(say[code_of], PATIENCE_S)
        told = answer.reply is not None and (answer.reply.get("status") != "ok" or "exit" in answer.text)
        time.sleep(ABORTING_S)
        works = kernel.is_alive and shows(kernel, say["add"], "2")
        words = "cell told" if told else "cell ends as if nothing were" if answer.ok else "cell never ends"
        return f"{words}; {'next cell works' if works else 'kernel dead' if not kernel.is_alive else 'next cell does not'}", None, told and works

    return probe


def late(kernel, say):
    cell = kernel.submit(say["late"])
    kernel.wait(cell, PATIENCE_S)
    second = kernel.submit(say["pause"])
    kernel.wait(second, PATIENCE_S)
    kernel.poll(0.2)
    found = next((m for m in kernel.messages if "late" in text_of(m)), None)
    where = "lost" if found is None else "the cell that started it" if found.parent == cell[0] else "another cell"
    return where, None, where == "the cell that started it"


def outside(kernel, say):
    shown = shows(kernel, say["child"], "from outside")
    kernel.log.seek(0)
    where = "in the cell" if shown else "on the server's terminal" if b"from outside" in kernel.log.read() else "lost"
    return where, None, shown


def failing(samples_of):
    """Runs each sample and names those that fail."""

    def probe(kernel, say):
        samples = say[samples_of]
        failed = []
        for name, *before, last, wanted in samples:
            for cell in before:
                kernel.execute(cell, PATIENCE_S)
            if not shows(kernel, last, wanted):
                failed.append(name)
                time.sleep(ABORTING_S)
        return f"fails: {', '.join(failed)}" if failed else f"{len(samples)} of {len(samples)}", None, not failed

    return probe


def history(kernel, say):
    kernel.execute(say["keep"])
    answer = kernel.request("history_request", {"hist_access_type": "tail", "n": 3, "output": False, "raw": True}, 2)
    if answer.reply is None:
        return "no reply", None, False
    found = any(say["keep"] in str(entry) for entry in answer.reply.get("history", []))
    return "yes" if found else "empty", None, found


def stdin(kernel, say):
    kernel.messages.clear()
    cell = kernel.submit(say["ask"], allow_stdin=True)
    asked = kernel.until(lambda m: m.type == "input_request", 2)
    if asked is not None:
        kernel.send("stdin", "input_reply", {"value": "Ada"})
    answer = kernel.wait(cell, PATIENCE_S)
    works = "Ada" in answer.text or kernel.until(lambda m: "Ada" in text_of(m), LATE_S) is not None
    return "yes" if works else "never asks" if asked is None else "asks, loses the answer", None, works


def expressions(kernel, say):
    reply = kernel.execute("1 + 1", expressions={"sum": "20 + 22"}).reply or {}
    works = "42" in str(reply.get("user_expressions", {}).get("sum", {}))
    return "yes" if works else "ignored", None, works


def silent(kernel, say):
    answer = kernel.execute(say["print"], silent=True)
    shown = [m.type for m in answer.messages if m.type not in ("status", "execute_result")]
    return "yes" if not shown else f"sends {', '.join(sorted(set(shown)))}", None, not shown


def stops(kernel, say):
    kernel.messages.clear()
    cells = [kernel.submit(say["pause"] + "\n" + say["throw"]), kernel.submit(say["print"])]
    answers = [kernel.wait(cell, PATIENCE_S) for cell in cells]
    ran = "printed" in answers[1].text or kernel.until(lambda m: "printed" in text_of(m), LATE_S) is not None
    return "runs them" if ran else "not run" if answers[1].reply is not None else "no reply", None, not ran and answers[1].reply is not None


def error_line(kernel, say):
    answer = kernel.execute(say["error_line"], PATIENCE_S)
    text = "\n".join([*(answer.reply or {}).get("traceback", []), answer.text])
    failed = (answer.reply or {}).get("status") == "error"
    at = say["error_at"] in text
    return "yes" if at else "no line of the cell" if failed else "cell ends as if nothing were", None, at


def comm(kernel, say):
    if "comm" not in say:
        kernel.request("comm_info_request", {}, 2)
        return "no targets in cells", None, False
    kernel.execute(say["comm"])
    kernel.messages.clear()
    kernel.wait(kernel.send("shell", "comm_open", {"comm_id": "bench", "target_name": "echo", "data": {}}), PATIENCE_S, reply=False)
    if any(m.type == "comm_close" for m in kernel.messages):
        return "refused", None, False
    payload = os.urandom(COMM_BYTES)
    seconds = []
    for _ in range(3):
        kernel.messages.clear()
        _, begin = kernel.send("shell", "comm_msg", {"comm_id": "bench", "data": {"n": 1}}, [payload])
        echo = kernel.until(lambda m: m.type == "comm_msg", PATIENCE_S)
        if echo is None:
            return "no answer", None, False
        if [bytes(buffer) for buffer in echo.buffers] != [payload]:
            return "buffer lost", None, False
        seconds.append(echo.at - begin)
    return ms(statistics.median(seconds)), statistics.median(seconds), True


def subshell(kernel, say):
    if "kernel subshells" not in kernel.info.get("supported_features", []):
        return "no", None, False
    created = kernel.request("create_subshell_request", {}, 2, "control").reply or {}
    cell = kernel.submit(say["pause"])
    time.sleep(0.1)
    other = kernel.send("shell", "execute_request", {"code": say["add"], "silent": False}, header={"subshell_id": created.get("subshell_id")})
    answer = kernel.wait(other, PATIENCE_S)
    first = kernel.wait(cell, PATIENCE_S)
    works = answer.reply is not None and first.reply is not None and answer.sent + answer.reply_s < first.sent + first.reply_s
    return "yes" if works else "waits for the cell", None, works


def welcome(kernel, say):
    found = kernel.until(lambda m: m.type == "iopub_welcome", 0.5)
    return "yes" if found else "no", None, found is not None


PROBES = {
    "interrupt-loop": interrupted("loop"),
    "interrupt-await": interrupted("pending"),
    "interrupt-native": native,
    "late": late,
    "outside": outside,
    "redeclare": failing("redeclare"),
    "imports": failing("imports"),
    "error-line": error_line,
    "history": history,
    "stdin": stdin,
    "expressions": expressions,
    "silent": silent,
    "stops": stops,
    "comm": comm,
    "subshell": subshell,
    "exit": dies("exit"),
    "abort": dies("abort"),
}


def probes(specs, folder):
    """Each probe finds a kernel that answers; one that was hurt by the last probe is replaced."""
    for name, spec in specs.items():
        say = SAMPLES[spec["language"]]
        kernel = None
        for probe, run in PROBES.items():
            report("progress", text=f"{probe} of {name}")
            if kernel is None:
                kernel = Kernel(spec, folder)
                kernel.ready()
                if probe == next(iter(PROBES)):
                    text, value, good = welcome(kernel, say)
                    row("welcome", name, text, value, good)
                kernel.execute(say["add"])
            kernel.messages.clear()
            text, value, good = run(kernel, say)
            row(probe, name, text, value, good)
            if good is False:
                time.sleep(ABORTING_S)
            if not kernel.is_alive or (good is False and not kernel.execute(say["add"], 2).ok):
                kernel.close()
                kernel = None
        if kernel is not None:
            kernel.close()


SERVER = "import subprocess, sys, time; p = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True); print(p.pid, flush=True); time.sleep(600)"


def under_server(argv, folder, env, log):
    """The kernel as the child of a process that can be killed: (that process, the kernel's id)."""
    code = SERVER.replace("sys.argv[1:], ", "sys.argv[1:], env={**os.environ, 'JPY_PARENT_PID': str(os.getpid())}, ").replace("import subprocess", "import os, subprocess")
    server = subprocess.Popen([sys.executable, "-c", code, *argv], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True)
    return server, int(server.stdout.readline())


def orphans(specs, folder):
    for name, spec in specs.items():
        report("progress", text=f"death of the server of {name}")
        say = SAMPLES[spec["language"]]
        left = {}
        for whose in ("server", "kernel"):
            kernel = Kernel(spec, folder, under_server)
            kernel.ready()
            kernel.execute(say["add"])
            if whose == "kernel":
                kernel.submit(say["loop"])
                time.sleep(0.3)
            everyone = tree(kernel.pid)
            begin = time.perf_counter()
            kill(kernel.process.pid if whose == "server" else kernel.pid)
            while any(map(is_alive, everyone)) and time.perf_counter() - begin < ORPHAN_S:
                time.sleep(0.02)
            left[whose] = sum(map(is_alive, everyone))
            seconds = time.perf_counter() - begin
            words = f"{left[whose]} left after {ORPHAN_S} s" if left[whose] else f"all gone in {ms(seconds)}"
            row(f"orphan-{whose}", name, words, good=left[whose] == 0)
            for pid in everyone:
                kill(pid)
            kernel.close()
