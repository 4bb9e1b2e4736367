"""The kernel under the real jupyter_client: jupyter_kernel_test's suite, and a manager's start, restart and shutdown.

Run by conformance.test.ts with JUPYTER_PATH set to a folder with the kernelspec; prints one JSON line a test.
"""
import json
import os
import signal
import sys
import time
import unittest

import jupyter_kernel_test
from jupyter_client.manager import KernelManager, start_new_kernel
from jupyter_client.session import Session

KERNEL = "fpdt"


class Conformance(jupyter_kernel_test.KernelTests):
    kernel_name = KERNEL
    language_name = "typescript"
    file_extension = ".ts"
    code_hello_world = "console.log('hello, world')"
    code_stderr = "console.error('oops')"
    completion_samples = [
        {"text": "Math.sqr", "matches": {"sqrt"}},
        {"text": "JSON.str", "matches": {"stringify"}},
        {"text": "const s = 'abc'; s.toUpper", "matches": {"toUpperCase"}},
    ]
    complete_code_samples = ["1", "const x: number = 1", "function f() {\n  return 1\n}", "await 1", "`a\nb`"]
    incomplete_code_samples = ["function f() {", "[1, 2,", "`abc", "if (x)", "1 +", "/* a"]
    invalid_code_samples = ["const = 1", "a b c", "f(]", '"abc']
    code_generate_error = "throw new Error('wrong')"
    code_execute_result = [
        {"code": "1 + 2 + 3", "result": "6"},
        {"code": "[1, 2, 3].map((n) => n * 2)", "result": "[ 2, 4, 6 ]"},
        {"code": "'text'", "result": "'text'"},
    ]
    code_display_data = [
        {"code": "display({ 'text/html': '<b>bold</b>' })", "mime": "text/html"},
        {"code": "display({ 'image/svg+xml': '<svg/>' })", "mime": "image/svg+xml"},
    ]
    code_history_pattern = "1 + ?*"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "JSON.stringify"
    code_page_something = "JSON.stringify?"
    code_clear_output = "display.clear()"


class Welcome(jupyter_kernel_test.IopubWelcomeTests):
    kernel_name = KERNEL
    support_iopub_welcome = True


class Manager(unittest.TestCase):
    """What a server does with a kernel."""

    def setUp(self):
        self.km, self.kc = start_new_kernel(kernel_name=KERNEL)
        self.addCleanup(self.end)

    def end(self):
        self.kc.stop_channels()
        if self.km.has_kernel:
            self.km.shutdown_kernel(now=True)

    def evaluate(self, code, timeout=15):
        """The reply, and text/plain of the result."""
        results = []

        def collect(message):
            if message["msg_type"] == "execute_result":
                results.append(message["content"]["data"]["text/plain"])

        reply = self.kc.execute_interactive(code, timeout=timeout, output_hook=collect, store_history=False)
        return reply["content"], results[0] if results else None

    def test_shutdown_ends_all_processes(self):
        _, executor = self.evaluate("process.pid")
        supervisor = self.km.provisioner.process.pid
        self.km.shutdown_kernel()
        for pid in (supervisor, int(executor)):
            with self.assertRaises(ProcessLookupError):
                os.kill(pid, 0)

    def test_restart_forgets_and_answers(self):
        self.evaluate("let before = 1")
        self.km.restart_kernel()
        self.kc.wait_for_ready(timeout=20)
        self.assertEqual(self.evaluate("typeof before")[1], "'undefined'")

    def test_interrupt_of_a_manager(self):
        self.evaluate("let kept = 7")
        request = self.kc.execute("console.log('go'); while (true) {}")
        while self.kc.get_iopub_msg(timeout=15)["content"].get("text") != "go\n":
            pass
        self.km.interrupt_kernel()
        reply = self.kc.get_shell_msg(timeout=15)
        self.assertEqual(reply["parent_header"]["msg_id"], request)
        self.assertEqual(reply["content"]["ename"], "KeyboardInterrupt")
        self.assertEqual(self.evaluate("kept")[1], "7")

    def test_input_and_password(self):
        asked = []

        def answer(message):
            asked.append((message["content"]["prompt"], message["content"]["password"]))
            self.kc.input(f"answer {len(asked)}")

        results = []
        self.kc.execute_interactive(
            "[prompt('Name?'), prompt.password()]",
            timeout=15,
            allow_stdin=True,
            stdin_hook=answer,
            output_hook=lambda message: results.append(message["content"].get("data", {}).get("text/plain")),
        )
        self.assertEqual(asked, [("Name? ", False), ("Password ", True)])
        self.assertIn("[ 'answer 1', 'answer 2' ]", results)

    def test_wrong_key_is_ignored(self):
        right = self.kc.session
        self.kc.shell_channel.session = Session(key=b"wrong")
        self.kc.shell_channel.send(self.kc.shell_channel.session.msg("execute_request", {"code": "globalThis.forged = 1"}))
        self.kc.shell_channel.session = right
        self.assertEqual(self.evaluate("typeof forged")[1], "'undefined'")

    def test_death_of_the_supervisor_leaves_nothing(self):
        _, executor = self.evaluate("process.pid")
        self.kc.execute("while (true) {}")
        time.sleep(0.3)
        os.kill(self.km.provisioner.process.pid, signal.SIGKILL)
        deadline = time.time() + 10
        while time.time() < deadline:
            try:
                with open(f"/proc/{executor}/status") as status:
                    if "State:\tZ" in status.read():
                        return
            except FileNotFoundError:
                return
            time.sleep(0.05)
        self.fail(f"the executor {executor} outlived its supervisor")


class Encrypted(unittest.TestCase):
    """A manager that asks for CurveZMQ gets it on every channel, over both transports."""

    def test_over_tcp(self):
        self.check("tcp")

    def test_over_ipc(self):
        self.check("ipc")

    def check(self, transport):
        km = KernelManager(kernel_name=KERNEL, transport=transport, transport_encryption="required")
        km.start_kernel()
        self.addCleanup(km.shutdown_kernel, now=True)
        kc = km.client()
        self.assertIsNotNone(kc.curve_publickey)
        kc.start_channels()
        self.addCleanup(kc.stop_channels)
        kc.wait_for_ready(timeout=20)
        outputs = []
        reply = kc.execute_interactive("console.log('secret'); 6 * 7", timeout=15, output_hook=outputs.append)
        self.assertEqual(reply["content"]["status"], "ok")
        self.assertEqual([o["content"].get("text") or o["content"]["data"]["text/plain"] for o in outputs if o["msg_type"] in ("stream", "execute_result")], ["secret\n", "42"])
        kc.control_channel.send(kc.session.msg("kernel_info_request"))
        self.assertEqual(kc.get_control_msg(timeout=15)["content"]["status"], "ok")
        deadline = time.time() + 5
        while not kc.hb_channel.is_beating() and time.time() < deadline:
            time.sleep(0.1)
        self.assertTrue(kc.hb_channel.is_beating())


class Report(unittest.TestResult):
    """One line a test or failed subtest, as it ends."""

    def line(self, test, status, detail=""):
        print(json.dumps({"test": test.id().removeprefix("__main__."), "status": status, "detail": str(detail)}), flush=True)

    def addSuccess(self, test):
        self.line(test, "passed")

    def addSkip(self, test, reason):
        self.line(test, "skipped", reason)

    def addFailure(self, test, err):
        self.line(test, "failed", self._exc_info_to_string(err, test))

    addError = addFailure

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.line(subtest, "failed", self._exc_info_to_string(err, test))


if __name__ == "__main__":
    unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"]).run(Report())
