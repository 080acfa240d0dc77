"""The process that runs a model of the user's, spoken to as the engine does."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
from tests.python.support.children import wait_until

import pipeline_core
from pipeline_core import document_process, parser_setup

SCRIPT = Path(pipeline_core.__file__).with_name("document_process.py")
SECONDS = 60
LENGTH = 8
READY, MESSAGE, LEFT_OUT, REFUSED, CANNOT_LOAD = b"k", b"m", b"l", b"r", b"e"
NO_ANSWER = (None, b"")
UTC = timezone.utc

MODEL = """
from pydantic import BaseModel, Field

class Model(BaseModel):
    uid: str = Field(alias="_id")
    name: str = "名"

    @classmethod
    def from_document(cls, document):
        return cls(**document)
"""


class Child:
    """The program; what it prints is read all the while."""

    def __init__(self, folder, name, *, memory=None, parent=None):
        self.process = subprocess.Popen(
            [sys.executable, SCRIPT], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.printed = b""
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        path = [str(folder), *(place for place in sys.path if place)]
        setup = {"class": name, "path": path, "memory": memory, "parent": parent or os.getpid()}
        self.say(json.dumps(setup).encode())

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

    def say(self, frame):
        with contextlib.suppress(OSError):
            self.process.stdin.write(len(frame).to_bytes(LENGTH, "little") + frame)
            self.process.stdin.flush()

    def hear(self):
        head = self.process.stdout.read(1 + LENGTH)
        if not head:
            return NO_ANSWER
        return head[:1], self.process.stdout.read(int.from_bytes(head[1:], "little"))

    def convert(self, *documents):
        texts = [document if isinstance(document, str) else json.dumps(document) for document in documents]
        frames = [len(text.encode()).to_bytes(LENGTH, "little") + text.encode() for text in texts]
        self.say(b"".join(frames))
        return [self.hear() for _ in texts]


@pytest.fixture
def child(tmp_path):
    """Start the program with a module `mine`; its class is called Model."""
    with contextlib.ExitStack() as children:

        def start(module, name="mine:Model", **settings):
            (tmp_path / "mine.py").write_text(textwrap.dedent(module))
            return children.enter_context(Child(tmp_path, name, **settings))

        yield start


def started(child, body, **settings):
    """A child whose method has this body, and is ready."""
    lines = textwrap.indent(textwrap.dedent(body).strip("\n"), "        ")
    module = f"import os, sys\n\nclass Model:\n    @staticmethod\n    def from_document(document):\n{lines}\n"
    running = child(module, **settings)
    assert running.hear() == (READY, b"")
    return running


def test_a_pydantic_model_makes_a_message_of_a_document(child):
    running = child(MODEL)
    assert running.hear() == (READY, b"")
    (answer,) = running.convert({"_id": {"$oid": "0123456789abcdef01234567"}})
    assert answer == (MESSAGE, '{"uid":"0123456789abcdef01234567","name":"名"}'.encode())


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ("{'a': 1, 'ü': '名', 'b': [1.5, None]}", MESSAGE, '{"a":1,"ü":"名","b":[1.5,null]}'),
        ("{'a': float('nan'), 'b': Decimal('1.10'), 'c': datetime(2026, 1, 1)}", MESSAGE, None),
        ("'{\"a\":1}'", MESSAGE, '{"a":1}'),
        ("b'{}'", MESSAGE, "{}"),
        ("None", LEFT_OUT, ""),
        ("7", REFUSED, "TypeError: from_document gave int, not a model, a dictionary, JSON text or None"),
        ("{'a': '\\ud800'}", REFUSED, None),
    ],
)
def test_what_a_model_gives_becomes_json(child, given, kind, message):
    running = started(child, f"from datetime import datetime\nfrom decimal import Decimal\nreturn {given}")
    (answer,) = running.convert({})
    assert answer[0] == kind, answer
    assert message is None or answer[1].decode() == message
    if b"1.10" in answer[1]:
        assert json.loads(answer[1]) == {"a": None, "b": "1.10", "c": "2026-01-01T00:00:00"}


def test_what_it_raises_is_the_document_s_and_the_others_go_on(child):
    running = started(child, "return {'half': 1 / document['n']}")
    answers = running.convert({"n": 1}, {"n": 0}, {}, {"n": 2})
    assert answers == [
        (MESSAGE, b'{"half":1.0}'),
        (REFUSED, b"ZeroDivisionError: division by zero"),
        (REFUSED, b"KeyError: 'n'"),
        (MESSAGE, b'{"half":0.5}'),
    ]


def test_even_an_exit_is_an_exception_and_an_empty_one_has_a_name(child):
    running = started(child, "if document: raise SystemExit\nraise KeyboardInterrupt")
    assert running.convert({"a": 1}, {}) == [(REFUSED, b"SystemExit"), (REFUSED, b"KeyboardInterrupt")]


def test_what_it_prints_goes_to_stderr_and_never_into_the_protocol(child):
    running = started(
        child,
        """
        print("one", flush=True)
        os.write(1, b"two")
        sys.__stdout__.write("three")
        os.close(1)
        return {}
        """,
    )
    assert running.convert({}) + running.convert({}) == [(MESSAGE, b"{}")] * 2
    wait_until(lambda: b"two" in running.printed and b"one" in running.printed, "the prints")


@pytest.mark.parametrize(
    ("death", "code"),
    [
        ("os._exit(7)", 7),
        ("os.kill(os.getpid(), 9)", -9),
        ("import ctypes; ctypes.string_at(0)", -signal.SIGSEGV),
    ],
)
def test_a_process_that_dies_has_answered_what_came_before(child, death, code):
    running = started(child, f"if document: {death}\nreturn {{}}")
    assert running.convert({}, {}, {"a": 1}, {}) == [(MESSAGE, b"{}"), (MESSAGE, b"{}"), NO_ANSWER, NO_ANSWER]
    assert running.process.wait(SECONDS) == code


def test_a_process_short_of_memory_says_so_and_ends(child):
    running = started(child, "return {'n': len(bytearray(document['n']))}", memory=2**30)
    answers = running.convert({"n": 5}, {"n": 2**31}, {"n": 5})
    assert answers == [(MESSAGE, b'{"n":5}'), (REFUSED, b"MemoryError"), NO_ANSWER]
    assert running.process.wait(SECONDS) == 1


def test_a_fork_that_comes_back_answers_nothing(child):
    running = started(child, "os.fork()\nreturn {}")
    assert running.convert({}, {}) == [(MESSAGE, b"{}")] * 2
    assert running.convert({}) == [(MESSAGE, b"{}")]


@pytest.mark.parametrize(
    ("module", "name", "reason"),
    [
        ("", "mine:Model", "AttributeError"),
        ("", "other_name:Model", "ModuleNotFoundError"),
        ("1 / 0", "mine:Model", "ZeroDivisionError"),
        ("class Model: pass", "mine:Model", "TypeError: mine:Model has no method from_document"),
        (
            "class Model:\n    def from_document(self, document): ...",
            "mine:Model",
            "TypeError: mine:Model.from_document must be a class method or static, and take one document",
        ),
        (
            "class Model:\n    @staticmethod\n    async def from_document(document): ...",
            "mine:Model",
            "TypeError: mine:Model.from_document is asynchronous",
        ),
    ],
)
def test_a_class_that_cannot_be_used_is_said_at_once(child, module, name, reason):
    running = child(module, name)
    kind, trace = running.hear()
    assert kind == CANNOT_LOAD
    assert reason in trace.decode().splitlines()[-1]
    assert running.process.wait(SECONDS) == 1


def test_a_class_may_stand_in_another_and_modules_are_found_where_the_engine_s_python_finds_them(child, tmp_path):
    module = "import neighbour\nclass Outer:\n    class Inner:\n        from_document = staticmethod(neighbour.give)"
    (tmp_path / "neighbour.py").write_text("def give(document): return document")
    running = child(module, "mine:Outer.Inner")
    assert running.hear() == (READY, b"")
    assert running.convert({"a": 1}) == [(MESSAGE, b'{"a":1}')]


def test_it_dies_with_its_parent_and_not_for_another(child):
    running = child("class Model: pass", parent=1)
    assert running.hear() == NO_ANSWER
    assert running.process.wait(SECONDS) == 1


def test_a_process_that_is_told_no_more_ends(child):
    running = started(child, "return {}")
    running.process.stdin.close()
    assert running.process.wait(SECONDS) == 0


def test_ten_thousand_documents_of_a_batch_are_answered_in_order(child):
    running = started(child, "return {'n': document['n']}")
    count = 10_000
    documents = [json.dumps({"n": {"$numberInt": str(number)}}).encode() for number in range(count)]
    running.say(b"".join(len(document).to_bytes(LENGTH, "little") + document for document in documents))
    assert [json.loads(running.hear()[1])["n"] for _ in documents] == list(range(count))


OID = "0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("extended", "value"),
    [
        ('{"$oid":"0123456789abcdef01234567"}', OID),
        ('{"$numberInt":"-5"}', -5),
        ('{"$numberLong":"9223372036854775807"}', 2**63 - 1),
        ("7", 7),
        ('{"$numberDouble":"1.5"}', 1.5),
        ('{"$numberDouble":"-Infinity"}', float("-inf")),
        ('{"$numberDecimal":"1.10"}', Decimal("1.10")),
        ('{"$numberDecimal":"Infinity"}', Decimal("Infinity")),
        ('{"$date":{"$numberLong":"1769900160123"}}', datetime(2026, 1, 31, 22, 56, 0, 123_000, UTC)),
        ('{"$date":{"$numberLong":"-1"}}', datetime(1970, 1, 1, tzinfo=UTC) - timedelta(milliseconds=1)),
        ('{"$date":"2026-01-31T22:56:00.123Z"}', datetime(2026, 1, 31, 22, 56, 0, 123_000, UTC)),
        ('{"$date":{"$numberLong":"9223372036854775807"}}', {"$date": {"$numberLong": "9223372036854775807"}}),
        ('{"$binary":{"base64":"AAEC/w==","subType":"00"}}', b"\0\1\2\xff"),
        ('{"$timestamp":{"t":1769900160,"i":3}}', datetime(2026, 1, 31, 22, 56, tzinfo=UTC)),
        (
            '{"$regularExpression":{"pattern":"a","options":"i"}}',
            {"$regularExpression": {"pattern": "a", "options": "i"}},
        ),
        ('{"$minKey":1}', {"$minKey": 1}),
        (
            f'{{"$dbPointer":{{"$ref":"a.b","$id":{{"$oid":"{OID}"}}}}}}',
            {"$dbPointer": {"$ref": "a.b", "$id": {"$oid": OID}}},
        ),
        ('{"$oid":7}', {"$oid": 7}),
        ('{"$oid":"short"}', {"$oid": "short"}),
        ('{"$date":"yesterday"}', {"$date": "yesterday"}),
        ('{"$numberInt":"x"}', {"$numberInt": "x"}),
        ('{"$numberInt":"1","b":2}', {"$numberInt": "1", "b": 2}),
        ("{}", {}),
        ("null", None),
    ],
)
def test_extended_json_becomes_python_s_values(extended, value):
    found = document_process.read(f'{{"a":{extended},"b":[{extended}]}}')
    assert found == {"a": value, "b": [value]}
    assert type(found["a"]) is type(value)


def test_a_deep_document_is_read():
    depth = 500
    found = document_process.read('{"a":' * depth + "1" + "}" * depth)
    for _ in range(depth):
        found = found["a"]
    assert found == 1


def test_the_engine_is_told_where_the_program_and_the_modules_are(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    setup = parser_setup.of_class("mine:Model")
    assert setup["command"] == [sys.executable, str(SCRIPT)]
    assert setup["class"] == "mine:Model"
    assert setup["path"][0] == str(tmp_path)
