"""Poison among changes: each is a dead letter with the path that failed, or a row by a stated rule; none stops it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from tests.python.support.applies import Apply
from tests.python.support.change_values import RefusedError
from tests.python.support.changes import read
from tests.python.support.events import Sent, deleted, inserted, updated
from tests.python.support.letters import FIELDS, Letter
from tests.python.support.shapes import EMPLOYEES

if TYPE_CHECKING:
    from collections.abc import Callable

# A row of each poison's own; its neighbours are other rows.
FIRST = 10_000
NUMBER = 500_000


@dataclass(frozen=True)
class Refused:
    """A dead letter whose reason names this path; `$` stands for any."""

    path: str = "$"


@dataclass(frozen=True)
class Applied:
    """It is applied by this rule, and its row has these values; None where it deletes."""

    rule: str
    values: dict[str, str | None] | None = None


def applied(rule: str, **values: str | None) -> Applied:
    return Applied(rule, values)


Wanted = Refused | Applied
Field = dict[str, Any]


def base(row: int) -> Sent:
    """A plain change of this row."""
    values = {"first_name": "Ann", "last_name": "Lee", "dob": "1999-01-02", "city": "Perth", "salary": "70000"}
    return updated(NUMBER + row, row, **values).message()


def fields(**changed: object) -> Callable[[int], Sent]:
    """The change with fields of these values."""
    return lambda row: base(row).edited(lambda document: document.update(changed))


def without(name: str) -> Callable[[int], Sent]:
    """The change without a field."""
    return lambda row: base(row).edited(lambda document: document.pop(name))


def replaced(old: str, new: str | bytes) -> Callable[[int], Sent]:
    """The change with some of its bytes replaced."""

    def make(row: int) -> Sent:
        value = base(row).value or b""
        assert old.encode() in value
        return Sent(base(row).key, value.replace(old.encode(), new if isinstance(new, bytes) else new.encode(), 1))

    return make


def value(text: bytes | None, *, key: bytes | None = b"1") -> Callable[[int], Sent]:
    """A message of these bytes."""
    return lambda _: Sent(key, text)


def delete(edit: Callable[[Field], object]) -> Callable[[int], Sent]:
    """A change that deletes its row, with something changed in it."""
    return lambda row: deleted(NUMBER + row, row).message().edited(edit)


def envelope(edit: Callable[[Field], object]) -> Callable[[int], Sent]:
    """A change in Debezium's form, with something changed in it."""
    return lambda row: updated(1, row, city="Perth").debezium(lsn=NUMBER + row).edited(edit)


NO_JSON: dict[str, tuple[Callable[[int], Sent], Wanted]] = {
    "no JSON": (value(b"hello"), Refused()),
    "nothing": (value(b""), Refused()),
    "blanks": (value(b" \n\t "), Refused()),
    "cut off in the middle": (lambda row: Sent(b"1", (base(row).value or b"")[:60]), Refused()),
    "more after its end": (lambda row: Sent(b"1", (base(row).value or b"") + b"}"), Refused()),
    "a string": (value(b'"INSERT"'), Refused()),
    "a number": (value(b"17"), Refused()),
    "null": (value(b"null"), Refused()),
    "an array": (lambda row: Sent(b"1", b"[" + (base(row).value or b"") + b"]"), Refused()),
    "no UTF-8": (replaced('"Perth"', b'"P\xe9rth"'), Refused()),
    "UTF-16": (lambda row: Sent(b"1", (base(row).value or b"").decode().encode("utf-16")), Refused()),
    "half a letter": (replaced('"Perth"', '"\\ud83d"'), Refused()),
    "a line break in a string": (replaced('"Perth"', '"P\nerth"'), Refused()),
    "NaN": (replaced("70000", "NaN"), Refused()),
    "single quotes": (value(b"{'action_id': 1}"), Refused()),
    "100,000 brackets": (value(b'{"x":' + b"[" * 100_000), Refused()),
    "neither key nor value": (value(None, key=None), Refused()),
    "a key that is no number, and no value": (value(None, key=b"Ann"), Refused()),
    "a key that is no UTF-8, and no value": (value(None, key=b"\xff"), Refused()),
    "an empty object": (value(b"{}"), Refused()),
    "bytes of Avro": (value(b"\x00\x00\x00\x00\x01\x0e\x06Ann"), Refused()),
}
FIELDS_OF_IT: dict[str, tuple[Callable[[int], Sent], Wanted]] = {
    **{
        f"no {name}": (without(name), Refused(f"$.{name}"))
        for name in ("action_id", "emp_id", "emp_FN", "emp_LN", "emp_dob", "emp_city", "emp_salary", "action")
    },
    "a field that nobody knows": (fields(emp_email="a@b"), Refused("$.emp_email")),
    "an unknown field that is null": (fields(surprise=None), Refused("$.surprise")),
    "a name in other letters": (
        lambda row: base(row).edited(lambda document: document.update(EMP_CITY=document.pop("emp_city"))),
        Refused(),
    ),
    "an unknown action": (fields(action="UPSERT"), Refused("$.action")),
    "an action of mixed letters": (fields(action="Insert"), Refused("$.action")),
    "an action with a blank": (fields(action="INSERT "), Refused("$.action")),
    "an action that is null": (fields(action=None), Refused("$.action")),
    "an action that is a number": (fields(action=1), Refused("$.action")),
    "a number of the change that is null": (fields(action_id=None), Refused("$.action_id")),
    "a number of the change that is a word": (fields(action_id="seven"), Refused("$.action_id")),
    "a number of the change that is a fraction": (fields(action_id=7.5), Refused("$.action_id")),
    "a number of the change beyond 64 bits": (fields(action_id=2**63), Refused("$.action_id")),
    "a key that is null": (fields(emp_id=None), Refused("$.emp_id")),
    "a key that is a word": (fields(emp_id="Ann"), Refused("$.emp_id")),
    "a key that is a fraction": (replaced('"emp_id": ', '"emp_id": 1.5, "emp_id": 1.'), Refused()),
    "a key that is a float": (fields(emp_id=3.0), Refused("$.emp_id")),
    "a key that is true": (fields(emp_id=True), Refused("$.emp_id")),
    "a key beyond 32 bits": (fields(emp_id=2**31), Refused("$.emp_id")),
    "a salary that is a word": (fields(emp_salary="much"), Refused("$.emp_salary")),
    "a salary that is empty": (fields(emp_salary=""), Refused("$.emp_salary")),
    "a salary with cents": (fields(emp_salary=70000.5), Refused("$.emp_salary")),
    "a salary of an exponent": (replaced("70000", "7e4"), Refused("$.emp_salary")),
    "a salary that is false": (fields(emp_salary=False), Refused("$.emp_salary")),
    "a salary beyond 32 bits": (fields(emp_salary=-(2**31) - 1), Refused("$.emp_salary")),
    "a salary that is an object": (fields(emp_salary={"amount": 1}), Refused("$.emp_salary")),
    "a first name that is null": (fields(emp_FN=None), Refused("$.emp_FN")),
    "a last name that is null": (fields(emp_LN=None), Refused("$.emp_LN")),
    "a name that is a number": (fields(emp_FN=7), Refused("$.emp_FN")),
    "a name that is an array": (fields(emp_LN=["Lee"]), Refused("$.emp_LN")),
    "a city that is true": (fields(emp_city=True), Refused("$.emp_city")),
    "a name that is too long": (fields(emp_FN="x" * 101), Refused("$.emp_FN")),
    "a city that is too long": (fields(emp_city="é" * 101), Refused("$.emp_city")),
    "a city with a zero byte": (fields(emp_city="a\0b"), Refused("$.emp_city")),
    "a day that is none": (fields(emp_dob="2023-02-29"), Refused("$.emp_dob")),
    "a month that is none": (fields(emp_dob="2023-13-01"), Refused("$.emp_dob")),
    "the year 0": (fields(emp_dob="0000-01-01"), Refused("$.emp_dob")),
    "a date in another form": (fields(emp_dob="01/02/1999"), Refused("$.emp_dob")),
    "a date without zeros": (fields(emp_dob="1999-1-2"), Refused("$.emp_dob")),
    "a date with a time": (fields(emp_dob="1999-01-02T00:00:00"), Refused("$.emp_dob")),
    "a date that is a word": (fields(emp_dob="yesterday"), Refused("$.emp_dob")),
    "an empty date": (fields(emp_dob=""), Refused("$.emp_dob")),
    "a date that is a fraction": (fields(emp_dob=1.5), Refused("$.emp_dob")),
    "a date beyond PostgreSQL's": (fields(emp_dob=2**40), Refused("$.emp_dob")),
    "a deleted row without a key": (delete(lambda document: document.pop("emp_id")), Refused("$.emp_id")),
    "a deleted row whose key is null": (delete(lambda document: document.update(emp_id=None)), Refused("$.emp_id")),
    "Debezium's word for what it left out": (
        envelope(lambda document: document["after"].update(city="__debezium_unavailable_value")),
        Refused("city"),
    ),
    "an envelope of an unknown operation": (envelope(lambda document: document.update(op="x")), Refused("op")),
    "an envelope without a row": (envelope(lambda document: document.update(after=None)), Refused("after")),
    "an envelope whose row lacks its name": (
        envelope(lambda document: document["after"].pop("first_name")),
        Refused("first_name"),
    ),
}
RULES: dict[str, tuple[Callable[[int], Sent], Wanted]] = {
    "a field twice": (
        replaced('"emp_city": "Perth"', '"emp_city": "first", "emp_city": "last"'),
        applied("the last of equal fields wins", city="last"),
    ),
    "numbers as text": (fields(emp_salary="-5"), applied("text of a whole number is one", salary="-5")),
    "the text None for a date": (fields(emp_dob="None"), applied("the original sends it for NULL", dob=None)),
    "the text None for a city": (fields(emp_city="None"), applied("it is a text like any other", city="None")),
    "a date that is null": (fields(emp_dob=None), applied("NULL stays NULL", dob=None)),
    "days since 1970": (fields(emp_dob=10_593), applied("an integer counts days", dob="1999-01-02")),
    "days before 1970": (fields(emp_dob=-1), applied("an integer counts days", dob="1969-12-31")),
    "a date without end": (fields(emp_dob="infinity"), applied("PostgreSQL knows it", dob="infinity")),
    "100 letters of several bytes": (fields(emp_city="é" * 100), applied("letters count", city="é" * 100)),
    "small letters": (fields(action="update"), applied("the action may be in small letters", city="Perth")),
    "a blank name": (fields(emp_FN=""), applied("an empty text is one", first_name="")),
    "another order of fields": (
        lambda row: Sent(
            base(row).key, json.dumps(dict(reversed(json.loads(base(row).value or b"{}").items()))).encode()
        ),
        applied("the order of fields is of no account", city="Perth"),
    ),
    "no key of the message": (
        lambda row: Sent(None, base(row).value),
        applied("the key is in the value", city="Perth"),
    ),
    "a deleted row with wrong fields": (
        delete(lambda document: document.update(emp_FN=None, emp_dob="x", emp_salary=[])),
        Applied("only the key counts"),
    ),
    "a deleted row with nothing but a key": (
        delete(lambda document: [document.pop(name) for name in ("emp_FN", "emp_LN", "emp_dob", "emp_city")]),
        Applied("only the key counts"),
    ),
}
ALL = NO_JSON | FIELDS_OF_IT | RULES
ROWS = {name: FIRST + at for at, name in enumerate(ALL)}
MESSAGES = {name: make(ROWS[name]) for name, (make, _) in ALL.items()}


def test_there_are_enough_of_them() -> None:
    assert len({(message.key, message.value) for message in MESSAGES.values()}) == len(ALL) >= 80
    kinds = Counter(type(wanted) for _, wanted in ALL.values())
    assert min(kinds.values()) >= 15, kinds


@pytest.mark.parametrize("name", ALL)
def test_the_rules_say_so_too(name) -> None:
    wanted, message = ALL[name][1], MESSAGES[name]
    if isinstance(wanted, Applied):
        change = read(EMPLOYEES, message.key, message.value, message.headers)
        assert change.key == (str(ROWS[name]),)
        assert (change.kind == "delete") == (wanted.values is None)
        assert change.values.items() >= (wanted.values or {}).items()
        return
    with pytest.raises(RefusedError) as refused:
        read(EMPLOYEES, message.key, message.value, message.headers)
    assert wanted.path in refused.value.path


@dataclass(frozen=True)
class Poisoned:
    """A topic with all of them, a good change before and after each, and the number of messages before each."""

    apply: Apply
    form: str


@pytest.fixture(scope="module", params=["original", "raw"])
def poisoned(request, kafka, target_postgres, tmp_path_factory) -> Poisoned:
    """All of them on one topic, a change of a row and its neighbour before each, applied in one run."""
    apply = Apply(kafka, target_postgres, tmp_path_factory.mktemp("poison"), settings={"dlq_format": request.param})
    apply.init()
    sent: list[Sent] = []
    for at, name in enumerate(ALL):
        sent += [inserted(2 * at + 1, ROWS[name], city="before").message(), MESSAGES[name]]
        sent += [inserted(2 * at + 2, at).message()]
    apply.send(*sent)
    refused = sum(isinstance(wanted, Refused) for _, wanted in ALL.values())
    report = apply.run(max_rejected_share=1, batch_size=40)
    assert (report.status, report.rows_read) == ("complete", 3 * len(ALL))
    assert (report.rows_rejected, report.details["dead_letters"]) == (refused, refused)
    return Poisoned(apply, request.param)


def test_all_that_is_good_around_poison_is_applied(poisoned) -> None:
    poisoned.apply.assert_exact(poisoned.apply.replica())
    rows = poisoned.apply.rows()
    for name, (_, wanted) in ALL.items():
        row = rows.get((str(ROWS[name]),))
        if isinstance(wanted, Refused):
            assert row is not None, name
            assert row["city"] == "before", name
        elif wanted.values is None:
            assert row is None, wanted.rule
        else:
            assert row is not None, wanted.rule
            assert row.items() >= wanted.values.items(), wanted.rule


def test_each_poison_is_one_dead_letter_with_its_bytes_its_origin_and_the_path(poisoned) -> None:
    wanted = [
        (at, name, outcome) for at, (name, (_, outcome)) in enumerate(ALL.items()) if isinstance(outcome, Refused)
    ]
    letters = poisoned.apply.letters()
    assert [letter.place for letter in letters] == [(0, 3 * at + 1) for at, _, _ in wanted]
    sent = {message.offset: message for message in poisoned.apply.messages()}
    forms = Counter(letter.form for letter in letters)
    for letter, (_, name, outcome) in zip(letters, wanted, strict=True):
        message = MESSAGES[name]
        assert letter.topic == poisoned.apply.topic, name
        assert (letter.key, letter.value) == (message.key, message.value), name
        assert outcome.path in letter.reason, (name, letter.reason)
        assert len(letter.reason) > len(outcome.path) + 5, name
        expected = "raw" if poisoned.form == "raw" or not is_text(message) else "original"
        assert letter.form == expected, name
        assert letter.time == (sent[letter.offset].time if expected == "original" else None), name
    assert forms["raw"] >= 3
    assert (forms["original"] > 50) == (poisoned.form == "original")


def is_text(message: Sent) -> bool:
    try:
        return (message.key or b"").decode() + (message.value or b"").decode() is not None
    except UnicodeDecodeError:
        return False


def test_poison_of_any_kind_is_not_refused_twice(poisoned) -> None:
    before = poisoned.apply.letters()
    assert poisoned.apply.run().rows_read == 0
    assert poisoned.apply.letters() == before


@pytest.fixture
def apply(kafka, target_postgres, tmp_path) -> Apply:
    """A topic of one partition and empty tables."""
    found = Apply(kafka, target_postgres, tmp_path)
    found.init()
    return found


def test_a_dead_letter_has_the_original_s_seven_fields_and_the_message_s_own_headers(apply) -> None:
    bad = Sent(b"7", '{"action": "né"}'.encode(), {"trace": "abc", "pipeline_core.replays": "1"})
    apply.send(inserted(1, 1).message(), bad)
    apply.run(max_rejected_share=1)
    [letter] = apply.letters()
    assert letter.headers == bad.headers
    [sent] = [message for message in apply.messages() if message.offset == 1]
    [raw] = apply.raw_letters()
    told = json.loads(raw.value or b"")
    assert list(told) == FIELDS
    assert told == {
        "original_topic": apply.topic,
        "original_partition": 0,
        "original_offset": 1,
        "original_key": "7",
        "original_value": '{"action": "né"}',
        "error_reason": letter.reason,
        "timestamp": sent.time,
    }
    assert raw.key == b"7"
    assert isinstance(letter, Letter)


def test_dead_letters_go_to_the_topic_s_own_without_a_setting(apply) -> None:
    apply.send(Sent(b"1", b"bad"))
    apply.run(dead_letter_topic=None, max_rejected_share=1)
    apply.letters_topic = f"{apply.topic}_dlq"
    assert [letter.value for letter in apply.letters()] == [b"bad"]
