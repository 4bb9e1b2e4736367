"""Measures the kernels it is told of, as JSON in a file: `{"folder": ..., "specs": {name: spec}, "only": [...]}`. Prints one JSON line a cell of the table."""
import json
import sys

from behaviour import orphans, probes
from client import report
from timings import TIMINGS

PARTS = {part.__name__: part for part in [*TIMINGS, probes, orphans]}


def main():
    with open(sys.argv[1]) as file:
        told = json.load(file)
    for name, part in PARTS.items():
        if not told.get("only") or name in told["only"]:
            part(told["specs"], told["folder"])
    report("end")


main()
