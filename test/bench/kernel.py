"""Times of kernels under jupyter_client: from start to kernel_info_reply, a small cell, a cell that prints. Prints one JSON object."""
import json
import statistics
import time

from jupyter_client.manager import KernelManager

ROUNDS = 3
CELLS = 100
KERNELS = {
    "fpdt": "for (let i = 0; i < 1000; i++) console.log(i)",
    "python3": "for i in range(1000): print(i)",
}


def run(client, code):
    """Seconds from sending a cell to its `idle` on IOPub, all outputs before it."""
    begin = time.perf_counter()
    sent = client.execute(code)
    while True:
        message = client.get_iopub_msg(timeout=30)
        if message["parent_header"].get("msg_id") == sent and message["content"].get("execution_state") == "idle":
            elapsed = time.perf_counter() - begin
            client.get_shell_msg(timeout=30)
            return elapsed


def life(name, lines):
    manager = KernelManager(kernel_name=name)
    begin = time.perf_counter()
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        start = time.perf_counter() - begin
        for _ in range(10):
            run(client, "1 + 1")
        return start, [run(client, "1 + 1") for _ in range(CELLS)], run(client, lines)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def main():
    lives = {name: [] for name in KERNELS}
    for _ in range(ROUNDS):
        for name, lines in KERNELS.items():
            lives[name].append(life(name, lines))
    rows = {}
    for name, rounds in lives.items():
        starts, cells, lines = zip(*rounds)
        best = min(cells, key=statistics.median)
        rows[name] = {"start": min(starts), "p50": statistics.median(best), "p95": sorted(best)[int(0.95 * CELLS)], "lines": min(lines)}
    print(json.dumps(rows))


main()
