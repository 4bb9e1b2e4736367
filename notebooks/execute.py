"""Executes a notebook in its own kernel, headless, and prints what its cells print, as they print it.

    python execute.py NOTEBOOK EXECUTED

Streams appear at once; results and displays (their text/plain) when their cell is done, because a display may change
until then. The executed notebook is written in any case; a cell that fails ends the run with exit code 1.
"""

import re
import shutil
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

CELL_TIMEOUT_S = 900
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class PrintingClient(NotebookClient):
    """Prints streams as they arrive, and what is shown while a step takes long (in place, on a terminal)."""

    def process_message(self, msg, cell, cell_index):
        content = msg["content"]
        progress = str((content.get("transient") or {}).get("display_id", "")).endswith("/progress")
        if progress and sys.stdout.isatty():
            line = " ".join("".join(content["data"].get("text/plain", "")).split())
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{line[:width]}", end="", flush=True)
        return super().process_message(msg, cell, cell_index)

    def output(self, outs, msg, display_id, cell_index):
        if msg["msg_type"] == "stream":
            print(msg["content"]["text"], end="", flush=True)
        return super().output(outs, msg, display_id, cell_index)


def text_of(output) -> str:
    """The text/plain of a result or display; empty for a stream, which was printed, and for an error, which raises."""
    text = output.get("data", {}).get("text/plain", "")
    return "".join(text).rstrip()


def print_outputs(cell, **_) -> None:
    if sys.stdout.isatty():
        print("\r\x1b[K", end="")
    for text in filter(None, map(text_of, cell.outputs)):
        print(text, flush=True)


def print_headings(cell, **_) -> None:
    """Gives the output of the cells that follow its title."""
    if cell.cell_type == "markdown":
        for line in cell.source.splitlines():
            if line.startswith("#"):
                print(f"\n{line.lstrip('# ')}\n", flush=True)


def main(source: Path, target: Path) -> int:
    notebook = nbformat.read(source, as_version=4)
    client = PrintingClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        startup_timeout=60,
        resources={"metadata": {"path": str(source.parent)}},
        on_cell_start=print_headings,
        on_cell_executed=print_outputs,
    )
    started = time.monotonic()
    failure = None
    try:
        client.execute()
    except CellExecutionError as error:
        failure = str(error)
    except Exception as error:  # whatever happened, what there is is written and said
        failure = f"{type(error).__name__}: {error}"
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)
    if failure:
        print(failure if sys.stderr.isatty() else COLOURS.sub("", failure), file=sys.stderr)
    cells = sum(cell.cell_type == "code" and cell.execution_count is not None for cell in notebook.cells)
    print(f"\n{target}: {cells} cells in {time.monotonic() - started:.0f} s{', the last one failed' if failure else ''}")
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
