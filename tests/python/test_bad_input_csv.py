"""CSV files that are wrong somewhere: a bad row costs itself, with its reason and origin; the run goes on."""

from __future__ import annotations

import csv
import gzip
import io
import json
from dataclasses import dataclass, field

import pytest
from tests.python.support import topics
from tests.python.support.children import seeded

from pipeline_core import csv_to_kafka
from pipeline_core.exceptions import DataLossError, NotFoundError, PipelineError, RejectedError, SettingsError


@dataclass(frozen=True)
class Case:
    """A file, the rows that go through, and the rows that do not: line, reason, bytes."""

    body: bytes
    rows: list[dict[str, object]]
    refused: list[tuple[int, str, bytes]] = field(default_factory=list[tuple[int, str, bytes]])
    settings: dict[str, object] = field(default_factory=dict[str, object])


def ab(*rows: tuple[str, str]) -> list[dict[str, object]]:
    return [{"a": a, "b": b} for a, b in rows]


BIG = b"x" * 10_000_000
CASES = {
    "too few and too many cells": Case(
        b"a,b\n1,2\n3\n4,5,6\n7,8\n",
        ab(("1", "2"), ("7", "8")),
        [(3, "The row has 1 cells, the header 2", b"3"), (4, "The row has 3 cells, the header 2", b"4,5,6")],
    ),
    "ragged rows that are kept": Case(
        b"a,b\n3\n4,5,6,7\n",
        [{"a": "3", "b": None}, {"a": "4", "b": "5", "null": ["6", "7"]}],
        settings={"ragged": "keep"},
    ),
    "a quote that is never closed": Case(
        b'a,b\n1,2\n3,"x\n4,5\n6,7\n', ab(("1", "2"), ("4", "5"), ("6", "7")), [(3, "A quote", b'3,"x')]
    ),
    "a quote that is closed lines later": Case(
        b'a,b\n1,"x\n4,5\n6",7\n8,9\n', ab(("4", "5"), ('6"', "7"), ("8", "9")), [(2, "A quote", b'1,"x')]
    ),
    "quotes inside of cells": Case(b'a,b\n1,x"y\n2,"x""y"\n3,"x"y\n', ab(("1", 'x"y'), ("2", 'x"y'), ("3", "xy"))),
    "a bad row after cells of several lines": Case(
        b'a,b\n1,"x\ny\nz"\r\n2\n3,4\n', ab(("1", "x\ny\nz"), ("3", "4")), [(5, "The row has 1 cells", b"2")]
    ),
    "NUL bytes": Case(b"a,b\n1,\x002\n3,4\n\x00\n", ab(("3", "4")), [(2, "NUL", b"1,\x002"), (4, "1 cells", b"\x00")]),
    "nothing but a header": Case(b"a,b\n", []),
    "a header without an end": Case(b"a,b", []),
    "an empty file": Case(b"", []),
    "blank lines only": Case(b"\n\r\n\n", []),
    "blank lines between rows": Case(b"a,b\n\n1,2\n\r\n\n3,4\n\n", ab(("1", "2"), ("3", "4"))),
    "other line ends": Case(b"a,b\r\n1,2\r\n3,4", ab(("1", "2"), ("3", "4"))),
    "old line ends": Case(b"a,b\r1,2\r3,4\r", ab(("1", "2"), ("3", "4"))),
    "two columns of one name, renamed": Case(
        b"a,a,a\n1,2,3\n", [{"a": "1", "a_2": "2", "a_3": "3"}], settings={"duplicate_headers": "rename"}
    ),
    "columns without a name": Case(b"a,\n1,2\n", [{"a": "1", "": "2"}]),
    "a field of 10 MB": Case(b"a,b\n1," + BIG + b"\n3,4\n", ab(("3", "4")), [(2, "larger than", b"1," + BIG)]),
    "a quoted field of 10 MB": Case(
        b'a,b\n1,"' + BIG + b'"\n3,4\n', ab(("3", "4")), [(2, "larger than", b'1,"' + BIG + b'"')]
    ),
    "bytes that are not of the encoding": Case(
        b"a,b\n1,\xe1\n2,\xc3\xa1\n3,\xff\n",
        ab(("2", "á")),
        [(2, "not valid utf-8", b"1,\xe1"), (4, "not valid utf-8", b"3,\xff")],
        {"encoding": "utf-8"},
    ),
    "values that are not of the column's type": Case(
        b"a,b\n1,2\nx,4\n5,6\n",
        [{"a": 1, "b": 2}, {"a": 5, "b": 6}],
        [(3, '"x" does not fit', b"x,4")],
        {"typed": True, "column_types": {"a": "int64"}},
    ),
}


@pytest.mark.parametrize("is_transactional", [False, True], ids=["plain", "exactly_once"])
@pytest.mark.parametrize("name", CASES)
def test_a_bad_row_goes_to_the_dead_letters_and_the_run_goes_on(kafka, topic, tmp_path, name, is_transactional) -> None:
    case = CASES[name]
    path = tmp_path / "orders.csv"
    path.write_bytes(case.body)
    settings = {"exactly_once": is_transactional, "max_rejected_share": 1, **case.settings}
    report = csv_to_kafka.run(files=path, topic=topic, bootstrap_servers=kafka.bootstrap, **settings)
    sent = [json.loads(message.value or b"") for message in topics.messages(kafka, topic)]
    assert sent == case.rows
    letters = topics.dead_letters(kafka, topic)
    assert (report.status, report.rows_read) == ("complete", len(case.rows) + len(case.refused))
    assert (report.rows_written, report.rows_rejected) == (len(case.rows), len(case.refused))
    assert len(letters) == len(case.refused)
    for letter, (line, reason, raw) in zip(letters, case.refused, strict=True):
        assert reason in letter.headers["__connect.errors.exception.message"]
        assert letter.headers["pipeline_core.file"] == str(path)
        assert letter.headers["pipeline_core.line"] == str(line)
        if len(raw) < 1_000_000:
            assert letter.value == raw
        else:
            assert letter.value == raw[:900_000]
            assert letter.headers["pipeline_core.cut_from_bytes"] == str(len(raw))


@pytest.mark.parametrize("is_transactional", [False, True], ids=["plain", "exactly_once"])
def test_a_row_that_only_the_topic_finds_too_large_costs_itself(kafka, tmp_path, is_transactional) -> None:
    topic = kafka.new_topic(max_message_bytes="50000")
    path = tmp_path / "orders.csv"
    rows = [f"{number},{number}" for number in range(1000)]
    path.write_text("\n".join(["a,b", *rows[:500], "x," + "y" * 60_000, *rows[500:]]))
    settings = {"exactly_once": is_transactional, "compression": "none", "bootstrap_servers": kafka.bootstrap}
    report = csv_to_kafka.run(files=path, topic=topic, **settings)
    assert (report.rows_written, report.rows_rejected) == (1000, 1)
    sent = [json.loads(message.value or b"")["a"] for message in topics.messages(kafka, topic)]
    assert sorted(sent, key=int) == [str(number) for number in range(1000)]
    [letter] = topics.dead_letters(kafka, topic)
    assert letter.headers["pipeline_core.line"] == "502"
    assert "larger than" in letter.headers["__connect.errors.exception.message"]


def test_rows_as_wild_as_csv_allows_are_read_as_python_reads_them(kafka, topic, tmp_path) -> None:
    dice = seeded("wild rows")
    pieces = ["", "x", '"', '""', ",", "\n", "\r\n", "\t", "á", "😀", "\\", "'", " ", "null", "{", "\x7f", "\u2028"]
    rows = [["".join(dice.choices(pieces, k=dice.randrange(6))) for _ in range(4)] for _ in range(20_000)]
    path = tmp_path / "orders.csv"
    with path.open("w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text, lineterminator=dice.choice(["\n", "\r\n"]))
        writer.writerows([["a", "b", "c", "d"], *rows])
    with path.open(encoding="utf-8", newline="") as text:
        expected = list(csv.DictReader(text))
    csv_to_kafka.run(files=path, topic=topic, encoding="utf-8", bootstrap_servers=kafka.bootstrap)
    assert [json.loads(message.value or b"") for message in topics.messages(kafka, topic)] == expected


def test_garbage_between_rows_is_all_accounted_for(kafka, topic, tmp_path) -> None:
    """Whatever stands between them, each row arrives: by itself, or in a cell that two quotes around it make."""
    dice = seeded("garbage")
    body = io.BytesIO(b"a,b\n")
    body.seek(0, io.SEEK_END)
    for number in range(3000):
        body.write(b"row-%d,ok\n" % number)
        if dice.random() < 0.3:
            body.write(dice.randbytes(dice.randrange(1, 80)).replace(b"\n", b" ") + b"\n")
    path = tmp_path / "orders.csv"
    path.write_bytes(body.getvalue())
    settings = {"encoding": "utf-8", "max_rejected_share": 1, "bootstrap_servers": kafka.bootstrap}
    report = csv_to_kafka.run(files=path, topic=topic, **settings)
    sent = [json.loads(message.value or b"") for message in topics.messages(kafka, topic)]
    letters = topics.dead_letters(kafka, topic)
    assert (report.rows_written, report.rows_rejected) == (len(sent), len(letters))
    everything = "\n".join([*(f"{row['a']},{row['b']}" for row in sent), *(str(letter.value) for letter in letters)])
    assert not [number for number in range(3000) if f"row-{number},ok" not in everything]
    # A quote that begins a cell takes in all lines up to the next one: some four times twenty lines in such a file.
    assert len({row["a"] for row in sent} & {f"row-{number}" for number in range(3000)}) > 2400
    assert len(letters) > 500


@pytest.mark.parametrize(
    ("name", "body", "settings", "error", "said"),
    [
        ("a.csv", b"a,b,a\n1,2,3\n", {}, SettingsError, "twice"),
        ("a.csv", b'a,"b\n1,2\n', {}, SettingsError, "quote"),
        ("a.csv", "a,b\n1,2\n".encode("utf-16"), {}, SettingsError, "UTF-16"),
        ("a.csv", b"a,\xe1\n1,2\n", {"encoding": "utf-8"}, SettingsError, "header"),
        ("a.csv", b"a,b\n1,2\n", {"encoding": "klingon"}, SettingsError, "klingon"),
        ("a.csv", b"a,b\n1,2\n", {"typed": True, "column_types": {"c": "int64"}}, SettingsError, "'c'|\"c\""),
        ("b.csv", None, {}, NotFoundError, "b.csv"),
        ("*.tsv", None, {}, NotFoundError, "matches"),
        (".", None, {}, SettingsError, "folder|directory"),
        (
            "a.csv.gz",
            gzip.compress(b"a,b\n" + b"1,2\n" * 300_000, mtime=0)[:-500],
            {},
            DataLossError,
            "damaged or cut off",
        ),
        ("a.csv.gz", b"a,b\n1,2\n", {}, DataLossError, "damaged"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_clear_error(
    kafka, topic, tmp_path, name, body, settings, error, said
) -> None:
    path = tmp_path / name
    if body is not None:
        path.write_bytes(body)
    with pytest.raises(PipelineError, match=said) as failed:
        csv_to_kafka.run(files=path, topic=topic, bootstrap_servers=kafka.bootstrap, **settings)
    assert (type(failed.value), bool(failed.value.hint)) == (error, True), failed.value


def test_more_bad_rows_than_allowed_end_the_run_and_are_all_in_the_dead_letters(kafka, topic, tmp_path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("a,b\n" + "1,2\n3\n" * 300)
    with pytest.raises(RejectedError, match="more than max_rejected_share") as failed:
        csv_to_kafka.run(files=path, topic=topic, bootstrap_servers=kafka.bootstrap)
    assert failed.value.hint
    assert len(topics.dead_letters(kafka, topic)) >= 100
