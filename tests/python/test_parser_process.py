from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import cloudpickle
import pytest

import pipeline_core
from pipeline_core import obs_worker, parser_setup
from pipeline_core.exceptions import SettingsError

SCRIPT = Path(pipeline_core.__file__).with_name("parser_process.py")
SECONDS = 60
MIB = 2**20


class Child:
    """The program, spoken to as the engine does; what it prints is read all the while."""

    def __init__(self, folder, setup, *, memory=None, output=None, parent=None):
        self.process = subprocess.Popen(
            [sys.executable, SCRIPT],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.printed = b""
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        self.say({"parser": setup, "memory": memory, "output": output, "parent": parent or os.getpid()})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.kill()
        self.process.wait(SECONDS)
        self.reader.join(SECONDS)
        self.process.stdout.close()
        self.process.stderr.close()

    def _read(self):
        while part := os.read(self.process.stderr.fileno(), 65_536):
            self.printed += part

    def say(self, document):
        self.process.stdin.write(json.dumps(document).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def parse(self, source, target):
        self.say({"input": str(source), "output": str(target)})
        return self.hear()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "input").write_bytes(b"some text")
    return tmp_path


@pytest.fixture
def child(folder):
    """Start the program with a parser whose body is given; `factory()` returns it."""
    with contextlib.ExitStack() as stack:

        def start(body, **limits):
            source = f"def parse(input_path, output_path):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"
            (folder / "mine.py").write_text(f"{source}\ndef factory():\n    return parse\n")
            setup = {"factory": "mine:factory", "pickled": None, "path": [str(folder), *sys.path]}
            started = stack.enter_context(Child(folder, setup, **limits))
            assert started.hear() == {"ready": True}
            return started

        yield start


def setup_of(folder, *, factory=None, pickled=None):
    return {"factory": factory, "pickled": pickled, "path": [str(folder), *sys.path]}


def test_a_parser_gets_paths_and_its_file_is_the_result(folder, child):
    started = child("output_path.write_bytes(input_path.read_bytes().upper())")
    assert started.parse(folder / "input", folder / "output") == {"ok": True}
    assert (folder / "output").read_bytes() == b"SOME TEXT"


def test_it_starts_quickly_and_without_the_package(folder):
    (folder / "mine.py").write_text("import sys\nassert 'pipeline_core' not in sys.modules\nfactory = lambda: len\n")
    began = time.monotonic()
    with Child(folder, setup_of(folder, factory="mine:factory")) as started:
        assert started.hear() == {"ready": True}
    assert time.monotonic() - began < 5


def test_an_object_with_parse_is_a_parser(folder):
    (folder / "mine.py").write_text(
        "class Parser:\n"
        "    def parse(self, input_path, output_path):\n"
        "        return {'size': input_path.stat().st_size}\n"
    )
    with Child(folder, setup_of(folder, factory="mine:Parser")) as started:
        assert started.hear() == {"ready": True}
        assert started.parse(folder / "input", folder / "output") == {"ok": True}
    assert json.loads((folder / "output").read_text()) == {"size": 9}


def test_a_pickled_closure_is_a_parser(folder):
    factor = 3
    pickled = base64.b64encode(cloudpickle.dumps(lambda source, _: {"n": len(source.read_bytes()) * factor})).decode()
    with Child(folder, setup_of(folder, pickled=pickled)) as started:
        assert started.hear() == {"ready": True}
        assert started.parse(folder / "input", folder / "output") == {"ok": True}
    assert json.loads((folder / "output").read_text()) == {"n": 27}


def test_a_dictionary_may_hold_times_paths_and_any_letters(folder, child):
    body = """
        import datetime
        return {"é": datetime.date(2026, 1, 31), "path": input_path, "half": "\\udc80"}
    """
    assert child(body).parse(folder / "input", folder / "output") == {"ok": True}
    text = (folder / "output").read_text()
    assert json.loads(text.replace("\\udc80", ""))["é"] == "2026-01-31"


def test_a_dictionary_of_numbers_that_json_lacks_is_still_json(folder, child):
    started = child("return {'a': [float('nan'), {'b': float('-inf')}, 1.5], 'é': 'NaN'}")
    assert started.parse(folder / "input", folder / "output") == {"ok": True}
    assert (folder / "output").read_text() == '{"a": [null, {"b": null}, 1.5], "é": "NaN"}'


def test_a_dictionary_that_holds_itself_is_an_error(folder, child):
    answer = child("x = {}; x['x'] = x; return x").parse(folder / "input", folder / "output")
    assert answer["error"] == "ValueError: Circular reference detected"


def test_a_dictionary_is_left_alone_where_the_parser_wrote_a_file(folder, child):
    assert child("output_path.write_text('mine'); return {'a': 1}").parse(folder / "input", folder / "out")
    assert (folder / "out").read_text() == "mine"


@pytest.mark.parametrize("result", ["None", "3", "['a']"])
def test_no_result_is_an_error(folder, child, result):
    answer = child(f"return {result}").parse(folder / "input", folder / "output")
    assert "The parser has written no result and returned" in answer["error"]
    assert answer["restart"] is False


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("raise ValueError('of mine')", "ValueError: of mine"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import sys; sys.exit('bye')", "SystemExit: bye"),
        ("def loop(): loop()\nloop()", "RecursionError: maximum recursion depth exceeded"),
        (
            "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd",
            "Odd: (its text cannot be shown)",
        ),
        ("raise ValueError('half \\udc80')", "ValueError: half \\udc80"),
        ("return {'a': {1, 2}.nothing}", "AttributeError: 'set' object has no attribute 'nothing'"),
    ],
)
def test_whatever_is_raised_is_told_and_the_next_file_is_parsed(folder, child, body, error):
    started = child(f"if input_path.name == 'input':\n{textwrap.indent(body, '    ')}\nreturn {{}}")
    answer = started.parse(folder / "input", folder / "output")
    assert answer["error"].startswith(error)
    assert "parser_process.py" not in answer["traceback"]
    assert answer["restart"] is False
    assert started.parse(folder / "other", folder / "other.json") == {"ok": True}


def test_a_long_error_is_cut_in_the_middle(folder, child):
    answer = child("raise ValueError('a' * 1_000_000 + 'end')").parse(folder / "input", folder / "output")
    assert len(json.dumps(answer)) < 40_000
    assert answer["error"].endswith("end")


def test_too_much_memory_is_an_error_after_which_it_wants_to_be_replaced(folder, child):
    started = child("x = bytearray(10**9)\nreturn {}", memory=200 * MIB)
    answer = started.parse(folder / "input", folder / "output")
    assert (answer["error"].startswith("MemoryError"), answer["restart"]) == (True, True)


def test_memory_that_goes_bit_by_bit_is_an_error_too(folder, child):
    started = child("x = []\nwhile True: x.append('%d' % len(x) * 10)", memory=200 * MIB)
    assert started.parse(folder / "input", folder / "output")["restart"] is True


def test_a_lack_of_memory_is_seen_behind_another_error(folder, child):
    body = "try: bytearray(10**9)\nexcept MemoryError as short: raise ValueError('no') from short"
    answer = child(body, memory=200 * MIB).parse(folder / "input", folder / "output")
    assert (answer["error"], answer["restart"]) == ("ValueError: no", True)


def test_too_large_a_result_is_an_error(folder, child):
    started = child("output_path.write_bytes(bytes(2**21))", output=MIB)
    assert "File too large" in started.parse(folder / "input", folder / "output")["error"]


@pytest.mark.parametrize(
    ("body", "code"),
    [("import os; os.kill(os.getpid(), 11)", -signal.SIGSEGV), ("import os; os._exit(7)", 7)],
)
def test_a_crash_ends_it_without_an_answer(folder, child, body, code):
    started = child(body)
    assert started.parse(folder / "input", folder / "output") is None
    assert started.process.wait(SECONDS) == code


def test_a_crash_says_where(folder, child):
    started = child("import ctypes; ctypes.string_at(0)")
    assert started.parse(folder / "input", folder / "output") is None
    started.process.wait(SECONDS)
    started.reader.join(SECONDS)
    assert b"Segmentation fault" in started.printed
    assert b"mine.py" in started.printed


@pytest.mark.parametrize(
    "body",
    [
        "print('hello')",
        "print('{\"ok\": false}')",
        "import os; os.write(1, bytes(range(256)) * 100)",
        "import os; os.write(2, b'\\xff' * 3_000_000)",
        "import subprocess; subprocess.run(['sh', '-c', 'echo hello; cat'], check=True)",
        "import os; os.close(1); os.close(2); os.close(0)",
        "import sys; sys.stdout.close(); sys.stderr.close()",
        "import sys; sys.stdout = None; sys.stderr = 5",
        "import os; os.chdir('/')",
        "input_path.parent.joinpath('here').mkdir(); import os; os.chdir('here'); os.rmdir(os.getcwd())",
        "import os\nif os.fork() == 0: raise ValueError",
        "import os\nif os.fork() == 0: return {}",
        "import os, time\nif os.fork() == 0: time.sleep(3)",
        "import multiprocessing\nwith multiprocessing.get_context('fork').Pool(2) as p: p.map(abs, [1, 2])",
        "import sys; sys.path.clear(); sys.argv = None",
        "import signal; signal.raise_signal(signal.SIGINT); signal.raise_signal(signal.SIGTERM)",
        "import warnings; warnings.warn('x')",
    ],
)
def test_what_a_parser_does_to_its_process_does_not_reach_the_engine(folder, child, body):
    started = child(f"{body}\nreturn {{'from': input_path.name}}")
    for number in range(2):
        (folder / f"in{number}").touch()
        answer = started.parse(folder / f"in{number}", f"out{number}")
        assert answer == {"ok": True}, (number, answer, started.printed[-2000:])
        assert json.loads((folder / f"out{number}").read_text()) == {"from": f"in{number}"}
        if "here" in body:
            body = ""
            break
    started.process.stdin.close()
    assert started.process.wait(SECONDS) == 0
    assert started.hear() is None


def test_prints_go_to_stderr(folder, child):
    started = child("print('hello'); import sys; sys.stdout.write('no end of line'); return {}")
    started.parse(folder / "input", folder / "output")
    started.process.stdin.close()
    started.process.wait(SECONDS)
    started.reader.join(SECONDS)
    assert started.printed == b"hello\nno end of line"


@pytest.mark.parametrize(
    ("factory", "source", "error"),
    [
        ("no_such_module:f", "", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("mine:missing", "", "AttributeError: module 'mine' has no attribute 'missing'"),
        ("mine:factory", "factory = lambda: 3", "TypeError: The parser is a int, which neither can be called"),
        ("mine:factory", "def factory(): raise OSError('no licence')", "OSError: no licence"),
        ("mine:factory", "raise SystemExit('stop')", "SystemExit: stop"),
        ("mine:factory", "this = = wrong", "SyntaxError: invalid syntax"),
    ],
)
def test_a_parser_that_cannot_be_loaded_is_told_at_once(folder, factory, source, error):
    (folder / "mine.py").write_text(source)
    with Child(folder, setup_of(folder, factory=factory)) as started:
        answer = started.hear()
        assert answer["error"].startswith(error)
        assert "Traceback" in answer["traceback"]
        assert started.process.wait(SECONDS) == 1


def test_modules_of_the_package_do_not_hide_the_user_s(folder):
    (folder / "units.py").write_text("factory = lambda: lambda source, target: {'mine': True}\n")
    with Child(folder, setup_of(folder, factory="units:factory")) as started:
        assert started.hear() == {"ready": True}
        assert started.parse(folder / "input", folder / "output") == {"ok": True}


def test_lines_may_come_in_parts(folder, child):
    started = child("return {}")
    line = json.dumps({"input": str(folder / "input"), "output": str(folder / "output")}).encode() + b"\n"
    for part in (line[:5], line[5:-1], line[-1:] + line[:3]):
        started.process.stdin.write(part)
        started.process.stdin.flush()
        time.sleep(0.05)
    assert started.hear() == {"ok": True}
    started.process.stdin.close()
    assert started.process.wait(SECONDS) == 0


def test_threads_of_a_parser_do_not_keep_it(folder, child):
    started = child("import threading, time; threading.Thread(target=time.sleep, args=(600,)).start(); return {}")
    assert started.parse(folder / "input", folder / "output") == {"ok": True}
    started.process.stdin.close()
    assert started.process.wait(20) == -signal.SIGALRM


def test_another_parent_is_not_served(folder):
    with Child(folder, setup_of(folder, factory="builtins:dict"), parent=1) as started:
        assert started.hear() is None
        assert started.process.wait(SECONDS) == 1


def test_it_dies_with_its_parent_in_the_middle_of_a_parse(folder):
    (folder / "mine.py").write_text(
        "import os, time\ndef factory(): return parse\ndef parse(source, target):\n"
        "    target.write_text(str(os.getpid()))\n    time.sleep(600)\n"
    )
    program = f"""
import json, os, subprocess, sys, time
child = subprocess.Popen([sys.executable, {str(SCRIPT)!r}], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
setup = {{"factory": "mine:factory", "pickled": None, "path": [{str(folder)!r}, *sys.path]}}
limits = {{"memory": None, "output": None, "parent": os.getpid()}}
lines = [{{"parser": setup, **limits}}, {{"input": "input", "output": "pid"}}]
child.stdin.write("".join(json.dumps(line) + "\\n" for line in lines).encode())
child.stdin.flush()
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=folder)
    try:
        deadline = time.monotonic() + SECONDS
        while not (folder / "pid").exists() or not (folder / "pid").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child = Path("/proc", (folder / "pid").read_text())
        assert child.exists()
    finally:
        parent.kill()
        parent.wait(SECONDS)
    while child.exists() and "\nState:\tZ" not in (child / "status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_parser_that_cannot_be_sent_is_a_wrong_setting():
    lock = threading.Lock()
    with pytest.raises(SettingsError, match="cannot be sent to another process: TypeError") as caught:
        obs_worker.run(parser=lambda _source, _target: lock)
    assert "module:factory" in caught.value.hint


@pytest.mark.parametrize(
    ("parser", "message"),
    [(5, "is a int, which neither can be called nor has a method 'parse'"), (Path, "is the class Path")],
)
def test_what_is_no_parser_is_a_wrong_setting(parser, message):
    with pytest.raises(SettingsError) as caught:
        obs_worker.run(parser=parser)
    assert message in caught.value.message


def test_the_engine_is_told_how_to_start_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    document = json.loads(obs_worker.Config(parser="mine:factory").document())
    assert document["parser_command"] == [sys.executable, str(SCRIPT)]
    assert document["parser_setup"]["factory"] == "mine:factory"
    assert document["parser_setup"]["path"][0] == str(tmp_path)
    document = json.loads(obs_worker.Config(parser="csv").document())
    assert (document["parser_command"], document["parser_setup"]["factory"]) == ([], None)


def test_a_parser_is_called_by_its_name_in_reports():
    assert parser_setup.title(obs_worker.run) == "pipeline_core.obs_worker:run"
    assert parser_setup.title(Child.__new__(Child)).endswith(":Child")
