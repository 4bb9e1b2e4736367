"""A kernel process and a client of it: jupyter_client's connection file and Session over pyzmq sockets, every message with the time it came.

jupyter_client's own blocking client goes through an event loop for each message, which would add its time to every row; and libzmq tries to
connect only each 100 ms, which would round every start up: here every 5 ms.
"""
import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import zmq
from jupyter_client.connect import write_connection_file
from jupyter_client.session import Session

RECONNECT_MS = 5
CHANNELS = {"shell": zmq.DEALER, "control": zmq.DEALER, "stdin": zmq.DEALER, "iopub": zmq.SUB}


class Silent(Exception):
    """The kernel did not do in time what was waited for."""


@dataclass
class Message:
    at: float
    channel: str
    type: str
    parent: str
    content: dict
    buffers: list


@dataclass
class Answer:
    """What came for one request, with times in seconds since it was sent; None: not within the time."""

    sent: float
    messages: list = field(default_factory=list)
    reply: dict | None = None
    reply_s: float | None = None
    idle_s: float | None = None

    @property
    def ok(self):
        return self.reply is not None and self.reply.get("status") == "ok"

    @property
    def text(self):
        """Everything shown, as text: streams, results, displays, errors."""
        return "".join(text_of(message) for message in self.messages)


def text_of(message):
    content = message.content
    if message.type == "stream":
        return content.get("text", "")
    if message.type in ("execute_result", "display_data", "update_display_data"):
        return str(content.get("data", {}).get("text/plain", "")) + "\n"
    if message.type == "error":
        return "\n".join([str(content.get("ename")), str(content.get("evalue"))])
    return ""


class Kernel:
    """Started when made; `started` is the instant before its process was."""

    def __init__(self, spec, folder, parent=None):
        self.spec = spec
        self.state = mkdtemp(prefix="kernel-")
        path = os.path.join(self.state, "connection.json")
        _, info = write_connection_file(path, key=os.urandom(16).hex().encode())
        self.session = Session(key=info["key"].encode())
        argv = [part.replace("{connection_file}", path) for part in spec["argv"]]
        env = {**clean_environment(), **spec.get("env", {}), "JPY_PARENT_PID": str(os.getpid())}
        self.log = open(os.path.join(self.state, "log"), "w+b")
        self.started = time.perf_counter()
        if parent is None:
            self.process = subprocess.Popen(argv, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True)
            self.pid = self.process.pid
        else:
            self.process, self.pid = parent(argv, folder, env, self.log)
        self.context = zmq.Context()
        self.context.RECONNECT_IVL = RECONNECT_MS
        self.context.LINGER = 0
        self.poller = zmq.Poller()
        self.sockets = {}
        for channel, kind in CHANNELS.items():
            socket = self.context.socket(kind)
            socket.set_hwm(0)
            if kind == zmq.SUB:
                socket.subscribe(b"")
            else:
                socket.identity = self.session.bsession
            socket.connect(f"tcp://{info['ip']}:{info[channel + '_port']}")
            self.poller.register(socket, zmq.POLLIN)
            self.sockets[channel] = socket
        self.sockets_of = {socket: channel for channel, socket in self.sockets.items()}
        self.messages = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for pid in tree(self.pid):
            kill(pid)
        if self.process is not None:
            kill(self.process.pid)
            self.process.wait(10)
        for socket in self.sockets.values():
            socket.close()
        self.context.term()
        self.log.close()
        rmtree(self.state, ignore_errors=True)

    @property
    def is_alive(self):
        return is_alive(self.pid)

    def send(self, channel, type, content, buffers=None, header=None):
        """The id of the request and the instant before it was sent."""
        message = self.session.msg(type, content=content)
        message["header"].update(header or {})
        sent = time.perf_counter()
        self.session.send(self.sockets[channel], message, buffers=buffers)
        return message["header"]["msg_id"], sent

    def poll(self, timeout):
        """Takes what has come, or the first that comes within `timeout` seconds; whether anything did."""
        events = self.poller.poll(timeout * 1e3)
        at = time.perf_counter()
        raw = []
        for socket, _ in events:
            while True:
                try:
                    raw.append((self.sockets_of[socket], socket.recv_multipart(zmq.NOBLOCK)))
                except zmq.Again:
                    break
        for channel, frames in raw:
            try:
                _, parts = self.session.feed_identities(frames)
                message = self.session.deserialize(parts)
            except Exception as error:
                raise Silent(f"a message on {channel} is none: {error}") from error
            self.messages.append(
                Message(at, channel, message["msg_type"], message["parent_header"].get("msg_id", ""), message["content"], message["buffers"])
            )
        return len(raw) > 0

    def until(self, found, timeout):
        """The first message, also of those that came before, for which `found` holds; None when none came."""
        deadline = time.perf_counter() + timeout
        seen = 0
        while True:
            while seen < len(self.messages):
                message = self.messages[seen]
                seen += 1
                if found(message):
                    return message
            left = deadline - time.perf_counter()
            if left <= 0:
                return None
            self.poll(min(left, 0.2))

    def wait(self, request, timeout=10, reply=True, idle=True):
        """What came for a request that `send` sent, as soon as its reply and its idle did."""
        id, sent = request
        replied = self.until(lambda m: m.parent == id and m.channel in ("shell", "control"), timeout) if reply else None
        if idle:
            self.until(lambda m: m.parent == id and is_idle(m), max(0, sent + timeout - time.perf_counter()))
        return self.answer(request, replied)

    def answer(self, request, replied=None):
        id, sent = request
        ours = [m for m in self.messages if m.parent == id]
        idle = next((m for m in ours if is_idle(m)), None)
        return Answer(
            sent=sent,
            messages=[m for m in ours if m.channel == "iopub"],
            reply=replied and replied.content,
            reply_s=replied and replied.at - sent,
            idle_s=idle and idle.at - sent,
        )

    def request(self, type, content, timeout=10, channel="shell", idle=True):
        """Sends and waits. What came earlier is forgotten."""
        self.messages.clear()
        return self.wait(self.send(channel, type, content), timeout, idle=idle)

    def execute(self, code, timeout=10, idle=True, **options):
        return self.request("execute_request", execution(code, **options), timeout, idle=idle)

    def submit(self, code, **options):
        """Sends a cell and returns at once; `wait` takes what this returns."""
        return self.send("shell", "execute_request", execution(code, **options))

    def ready(self, timeout=60):
        """Until the first kernel_info_reply; seconds since the process was started."""
        replied = self.wait(self.send("shell", "kernel_info_request", {}), timeout, idle=False)
        if replied.reply is None:
            raise Silent(f"no kernel_info_reply in {timeout} s")
        self.info = replied.reply
        return replied.sent + replied.reply_s - self.started

    def interrupt(self):
        """As a server does: by message or by signal, as the kernelspec says."""
        if self.spec.get("interrupt_mode") == "message":
            self.send("control", "interrupt_request", {})
        else:
            os.killpg(self.pid, signal.SIGINT)


def clean_environment():
    """What a shell happens to export says nothing about a kernel: NODE_EXTRA_CA_CERTS alone costs every Node process 30 ms at its start."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "USER", "LANG", "TMPDIR") if name in os.environ}


def execution(code, silent=False, store_history=True, expressions=None, allow_stdin=False, stop_on_error=True):
    return {
        "code": code,
        "silent": silent,
        "store_history": store_history,
        "user_expressions": expressions or {},
        "allow_stdin": allow_stdin,
        "stop_on_error": stop_on_error,
    }


def is_idle(message):
    return message.type == "status" and message.content.get("execution_state") == "idle"


# Processes, by /proc.


def is_alive(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def tree(pid):
    """A process and all its living descendants."""
    children = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = [pid] if is_alive(pid) else []
    for child in children.get(pid, []):
        found += tree_of(child, children)
    return found


def tree_of(pid, children):
    return [pid, *(each for child in children.get(pid, []) for each in tree_of(child, children))]


def memory_bytes(pids):
    """Sum of the proportional set sizes of these processes, as though no others shared their files: how many other programs of the same
    Node run on the machine says nothing about a kernel."""
    private = 0
    files = {}
    for pid in pids:
        own = {}
        for mapping in mappings(pid):
            if mapping["inode"] == "0":
                private += mapping["Pss"]
            else:
                private += mapping["Anonymous"]
                key = (mapping["device"], mapping["inode"], mapping["offset"])
                own[key] = own.get(key, 0) + mapping["Rss"] - mapping["Anonymous"]
        for key, bytes in own.items():
            files[key] = max(files.get(key, 0), bytes)
    return private + sum(files.values())


def mappings(pid):
    mapping = None
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        name, _, rest = line.partition(":")
        if mapping is not None and name in ("Rss", "Pss", "Anonymous"):
            mapping[name] = int(rest.split()[0]) * 1024
        elif "-" in line.split(" ", 1)[0]:
            if mapping is not None:
                yield mapping
            _, _, offset, device, inode = line.split()[:5]
            mapping = {"offset": offset, "device": device, "inode": inode, "Rss": 0, "Pss": 0, "Anonymous": 0}
    if mapping is not None:
        yield mapping


def report(kind, **what):
    """One JSON line for the program that started us."""
    print(json.dumps({"kind": kind, **what}), flush=True)
