"""Types into a program in a terminal, as a person would: waits for what it shows, then types on.

    python terminal.py PROGRAM ARGUMENT...  <  [["keys", "pattern", "nudge"?], ...]

The pattern must come after the keys were typed, and after what the pattern before it matched. Prints one JSON line a step: what was seen, without
the terminal's escape sequences, and after how many milliseconds. The first pattern that does not come ends it with exit code 1; the pattern null
stands for the end of the program. The nudge is typed once, when the pattern has not come for NUDGE_S.
"""

import json
import os
import pty
import re
import select
import sys
import time

STEP_S = 15
NUDGE_S = 5
ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07]*\x07|[=>78])|\r")


def read(terminal, timeout_s):
    """What the program wrote meanwhile; None at its end."""
    if not select.select([terminal], [], [], timeout_s)[0]:
        return b""
    try:
        return os.read(terminal, 65536) or None
    except OSError:  # Linux says EIO where others say end of file
        return None


def main(steps, program):
    pid, terminal = pty.fork()
    if pid == 0:
        # No terminal emulator is here that would answer where the cursor is; prompt_toolkit waits a second for it after each line.
        os.execvpe(program[0], program, {**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"})
    written, seen_to, ended = b"", 0, False
    for keys, pattern, *nudges in steps:
        os.write(terminal, keys.encode())
        started = time.monotonic()
        while True:
            text = ESCAPES.sub("", written.decode(errors="ignore"))
            found = re.search(pattern, text[seen_to:], re.DOTALL) if pattern is not None else ended or None
            if found or ended or time.monotonic() > started + STEP_S:
                break
            if nudges and time.monotonic() > started + NUDGE_S:
                os.write(terminal, nudges.pop().encode())
            chunk = read(terminal, 0.2)
            ended = chunk is None
            written += chunk or b""
        end = len(text) if found in (None, True) else seen_to + found.end()
        print(json.dumps({"found": bool(found), "seen": text[seen_to:end], "ms": round(1000 * (time.monotonic() - started))}), flush=True)
        seen_to = end
        if not found:
            os.kill(pid, 15)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(json.load(sys.stdin), sys.argv[1:]))
