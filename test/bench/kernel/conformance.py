"""jupyter_kernel_test for one kernel: `conformance.py NAME` prints what passed. JUPYTER_PATH has the kernelspec, PYTHONPATH our own samples."""
import functools
import json
import sys
import unittest

import jupyter_kernel_test

# A kernel that has not answered within this will not; the suite itself waits 15 s, and here and there for ever.
TIMEOUT_S = 4


class Tests(jupyter_kernel_test.KernelTests):
    def execute_helper(self, code, timeout=TIMEOUT_S, **options):
        return super().execute_helper(code, timeout, **options)

    def get_non_kernel_info_reply(self, timeout=None):
        return super().get_non_kernel_info_reply(TIMEOUT_S)


class WelcomeTest(jupyter_kernel_test.IopubWelcomeTests):
    support_iopub_welcome = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.kc.get_iopub_msg = functools.partial(cls.kc.get_iopub_msg, timeout=TIMEOUT_S)


CODE = {
    "language_name": "typescript",
    "file_extension": ".ts",
    "code_hello_world": "console.log('hello, world')",
    "code_stderr": "console.error('oops')",
    "completion_samples": [{"text": "Math.sqr", "matches": {"sqrt"}}],
    "complete_code_samples": ["1", "function f() {\n  return 1\n}"],
    "incomplete_code_samples": ["function f() {", "[1, 2,"],
    "invalid_code_samples": ["const = 1", "f(]"],
    "code_generate_error": "throw new Error('wrong')",
    "code_execute_result": [{"code": "1 + 2 + 3", "result": "6"}],
    "code_history_pattern": "1 + ?*",
    "supported_history_operations": ("tail", "range", "search"),
    "code_inspect_sample": "JSON.stringify",
}

SAMPLES = {
    "deno": {
        **CODE,
        "code_display_data": [{"code": "await Deno.jupyter.display({ 'text/html': '<b>bold</b>' }, { raw: true })", "mime": "text/html"}],
        "code_clear_output": "await Deno.jupyter.broadcast('clear_output', { wait: false })",
    },
    "tslab": {
        **CODE,
        "code_display_data": [{"code": "import * as tslab from 'tslab'; tslab.display.html('<b>bold</b>')", "mime": "text/html"}],
        # tslab has nothing that clears an output.
        "code_clear_output": "console.clear()",
    },
    "python3": {
        "language_name": "python",
        "file_extension": ".py",
        "code_hello_world": "print('hello, world')",
        "code_stderr": "import sys; print('oops', file=sys.stderr)",
        "completion_samples": [{"text": "zi", "matches": {"zip"}}],
        "complete_code_samples": ["1", "def f(x):\n  return x*2\n\n"],
        "incomplete_code_samples": ["def f(x):", "[1, 2,"],
        "invalid_code_samples": ["import = 7q", "f(]"],
        "code_page_something": "zip?",
        "code_generate_error": "raise ValueError('wrong')",
        "code_execute_result": [{"code": "1 + 2 + 3", "result": "6"}],
        "code_display_data": [{"code": "from IPython.display import HTML, display; display(HTML('<b>bold</b>'))", "mime": "text/html"}],
        "code_history_pattern": "1 + ?*",
        # As ipykernel's own tests have it.
        "supported_history_operations": ("tail", "search"),
        "code_inspect_sample": "zip",
        "code_clear_output": "from IPython.display import clear_output; clear_output()",
    },
}


def ours():
    """The samples of the kernel's own conformance test."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("own_conformance", sys.argv[3])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {name: value for name, value in vars(module.Conformance).items() if not name.startswith("__")}


def main():
    name, language = sys.argv[1:3]
    samples = ours() if language == "fpdt" else SAMPLES[language]
    # A pager is opened by `?` in front ends; a language without it has no code that opens one.
    suite = unittest.TestSuite()
    loader = unittest.defaultTestLoader
    for base, extra in ((Tests, samples), (WelcomeTest, {})):
        suite.addTests(loader.loadTestsFromTestCase(type(base.__name__, (base,), {**extra, "kernel_name": name})))
    result = unittest.TestResult()
    suite.run(result)
    # A test that is skipped as a whole asks for what the kernel does not have.
    missing = [(test, why) for test, why in result.skipped if not hasattr(test, "test_case")]
    failed = {test_name(test) for test, _ in [*result.failures, *result.errors, *missing]}
    print(json.dumps({"ran": suite.countTestCases(), "passed": suite.countTestCases() - len(failed), "failed": sorted(failed)}))


def test_name(test):
    """`test_error` of a test and of its subtests."""
    return getattr(test, "test_case", test).id().rpartition(".")[2].removeprefix("test_")


main()
