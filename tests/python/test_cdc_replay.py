"""Dead letters of changes sent again once the cause is mended: the table is as if nothing had been wrong."""

from __future__ import annotations

import pytest
from tests.python.support import topics
from tests.python.support.applies import Apply, assert_same
from tests.python.support.events import Event, Sent, inserted, sent, truncated, updated
from tests.python.support.replicas import Replica
from tests.python.test_cdc_bad_input_database import CAUSES, spoilt

HEADERS = {"trace": "é-1"}


@pytest.fixture(params=["original", "raw"])
def apply(request, kafka, target_postgres, tmp_path) -> Apply:
    """A topic of two partitions and empty tables."""
    settings = {"dlq_format": request.param, "max_rejected_share": 1}
    found = Apply(kafka, target_postgres, tmp_path, partitions=2, settings=settings)
    found.init()
    return found


def history(name: str) -> list[list[Sent]]:
    """Guilty changes with good ones of the same row before and after, alone, and before all rows are deleted.

    They come in several parts, so that none is overtaken before the database sees it.
    """
    cause = CAUSES[name]

    def bad(event: Event) -> Sent:
        message = spoilt(event, cause).message()
        return Sent(message.key, message.value, HEADERS, message.partition)

    return [
        [*sent(inserted(1, 1)), bad(inserted(2, 9))],
        [
            *(truncated(3).message().on(0), truncated(3).message().on(1)),
            *sent(inserted(4, 2, city="kept")),
            bad(updated(5, 2)),
            *sent(inserted(6, 3, city="older")),
            bad(updated(7, 3)),
        ],
        [*sent(updated(8, 3, city="newest")), bad(inserted(9, 4)), *sent(inserted(10, 5))],
    ]


@pytest.mark.parametrize("name", CAUSES)
def test_a_replay_after_the_cause_is_mended_heals_the_table(apply, name) -> None:
    cause = CAUSES[name]
    apply.query(cause.made)
    for part in history(name):
        apply.send(*part)
        apply.run()
    apply.query("DELETE FROM employees WHERE emp_id = -9")
    first = apply.messages()
    before = Replica(refuses=cause.refuses).apply(first)
    apply.assert_exact(before)
    letters = apply.letters()
    assert len(letters) == 4
    apply.query(cause.mended)
    report = apply.replay()
    assert (report.chosen, report.replayed, report.to) == (4, 4, {apply.topic: 4})
    again = [message for message in apply.messages() if message.headers.get("pipeline_core.replays")]
    by_place = {(message.partition, message.offset): message for message in first}
    assert sorted((message.key, message.value) for message in again) == sorted(
        (by_place[letter.place].key, by_place[letter.place].value) for letter in letters
    )
    for message in again:
        assert message.headers == {**HEADERS, "pipeline_core.replays": "1"}
    applied = apply.run()
    assert (applied.rows_read, applied.rows_rejected) == (4, 0)
    assert applied.details["stale"] == 2, "A newer row, and one that was deleted with all others"
    healed = Replica().apply(first)
    assert_same("rows", apply.rows(), apply.canonical(healed.rows.values()))
    assert {key[0] for key in healed.rows} == {"2", "3", "4", "5"}
    assert healed.rows["3",]["city"] == "newest"
    assert {row["action_id"] for row in apply.dump()["ledger"]} == set(range(1, 11))
    assert len(apply.letters()) == 4
    second = apply.replay()
    assert (second.replayed, sum(second.skipped.values())) == (0, 4)


def test_unknown_fields_are_mended_by_a_setting(apply) -> None:
    bad = [message.edited(lambda document: document.update(note=1)) for message in sent(inserted(1, 1), inserted(2, 2))]
    apply.send(*bad, *sent(inserted(3, 3)))
    apply.run()
    apply.assert_exact()
    assert len(apply.letters()) == 2
    apply.replay()
    report = apply.run(unknown_fields="ignore")
    assert (report.rows_read, report.rows_rejected) == (2, 0)
    assert {key[0] for key in apply.rows()} == {"1", "2", "3"}


def test_what_is_not_mended_is_a_dead_letter_again_and_not_sent_for_ever(apply) -> None:
    apply.send(Sent(b"1", b"bad"), *sent(inserted(1, 1)))
    for times in range(1, 4):
        apply.run()
        letters = apply.letters()
        assert len(letters) == times
        assert [letter.headers.get("pipeline_core.replays") for letter in letters] == [None, "1", "2", "3"][:times]
        assert {letter.value for letter in letters} == {b"bad"}
        assert apply.replay(max_replays=2).replayed == (times <= 2)
    assert len(apply.messages()) == 4


def test_a_dry_run_says_which_would_succeed_and_changes_nothing(apply) -> None:
    """Of two causes one is mended; so the others fail still."""
    mended, other = CAUSES["a CHECK"], CAUSES["a number that its column has no room for"]
    apply.query(mended.made)
    apply.query(other.made)
    apply.send(
        *sent(*(spoilt(inserted(row, row), mended) for row in range(1, 6))),
        *sent(*(spoilt(inserted(row, row), other) for row in range(6, 9))),
        Sent(b"1", b"bad"),
        *sent(inserted(50, 50)),
    )
    apply.run()
    assert len(apply.letters()) == 9
    apply.query(mended.mended)
    before = (apply.dump(), apply.ends(), apply.positions(), apply.letters())
    assert len(before[0]["table"]) == 1
    for _ in range(2):
        report = apply.replay(dry_run=True)
        assert report.dry_run
        assert (report.chosen, report.replayed) == (9, 0)
        assert (report.would_succeed, report.would_fail) == (5, 4)
        assert len(report.failures) == 4
        reasons = [failure.reason for failure in report.failures]
        assert sum("22003" in reason for reason in reasons) == 3
    assert (apply.dump(), apply.ends(), apply.positions(), apply.letters()) == before
    assert topics.messages(apply.kafka, f"{apply.letters_topic}_replayed") == []
    only = apply.replay(dry_run=True, reason="23514")
    assert (only.chosen, only.would_succeed, only.would_fail) == (5, 5, 0)
    sent_again = apply.replay(reason="23514")
    assert sent_again.replayed == 5
    apply.run()
    assert {int(key[0]) for key in apply.rows()} == {1, 2, 3, 4, 5, 50}
