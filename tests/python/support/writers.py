"""Sessions that change `employees` all at once, and what they remember of it: the order of each row's commits."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from itertools import count
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.services.postgres import Postgres
    from typing_extensions import Self

KEYS = range(1, 61)
LONGEST_STATEMENT_PAUSE = 0.004
ROLLED_BACK = 0.05
APPLICATION = "a writer of the tests"
# What each session does, and how often.
KINDS = {"update": 60, "insert": 22, "delete": 9, "rekey": 9}
# Counts the changes of a key under the lock of its row, so that the numbers are in the order of the commits.
JOURNAL = "CREATE TABLE IF NOT EXISTS journal (key INT PRIMARY KEY, changes INT NOT NULL)"
NEXT = """
INSERT INTO journal VALUES (%s, 1) ON CONFLICT (key) DO UPDATE SET changes = journal.changes + 1 RETURNING changes
"""
# What a session does: the key, which change of the key it is, the action and the salary, which no two changes share.
Made = tuple[int, int, str, int | None]


class Writers:
    """Threads that write while a `with` lasts, each in a session of its own.

    Args:
        source: The server.
        database: Its database; the tables are there.
        dice: What decides what is written.
        threads: How many.
        truncates: Whether TRUNCATE is among the changes.
        survives: Whether a lost session is opened again; then what was being committed is not known.

    Attributes:
        made: The changes that were committed.
        rolled_back: The salaries of those that were not.
    """

    def __init__(
        self,
        source: Postgres,
        database: str,
        dice: random.Random,
        *,
        threads: int = 8,
        truncates: bool = False,
        survives: bool = False,
    ) -> None:
        self.made: list[Made] = []
        self.rolled_back: set[int] = set()
        self._source, self._database = source, database
        self._truncates, self._survives = truncates, survives
        self._salaries = count(1)
        self._end = threading.Event()
        self._failures: list[Exception] = []
        with self._connect() as connection:
            connection.execute(JOURNAL)
        seeds = [dice.randrange(2**32) for _ in range(threads)]
        self._threads = [threading.Thread(target=self._run, args=(random.Random(seed),), daemon=True) for seed in seeds]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(60)
        if kind is None:
            assert not self._failures, self._failures
            assert self.made, "Nothing was written: the test sees nothing"

    def by_key(self) -> dict[int, list[tuple[str, int | None]]]:
        """Action and salary of each key's committed changes in the order of their commits."""
        found: dict[int, list[tuple[int, str, int | None]]] = defaultdict(list)
        for key, number, action, salary in self.made:
            found[key].append((number, action, salary))
        for key, changes in found.items():
            changes.sort()
            assert [number for number, *_ in changes] == [*range(1, len(changes) + 1)], f"The journal of {key} has gaps"
        return {key: [(action, salary) for _, action, salary in changes] for key, changes in found.items()}

    def _connect(self) -> Any:
        settings = "-c deadlock_timeout=100ms"
        return self._source.connect(self._database, autocommit=True, application_name=APPLICATION, options=settings)

    def _run(self, dice: random.Random) -> None:
        while not self._end.is_set():
            try:
                with self._connect() as connection:
                    while not self._end.is_set():
                        self._transaction(connection, dice)
            except psycopg.OperationalError as error:
                if not self._survives:
                    self._failures.append(error)
                    return
                time.sleep(0.05)
            except Exception as error:  # noqa: BLE001 - told at the end of the `with`
                self._failures.append(error)
                return

    def _transaction(self, connection: Any, dice: random.Random) -> None:
        if self._truncates and dice.random() < 0.005:
            connection.execute("TRUNCATE employees")
            return
        is_undone = dice.random() < ROLLED_BACK
        made: list[Made] = []
        try:
            with connection.transaction(force_rollback=is_undone):
                for _ in range(dice.randint(1, 3)):
                    self._change(connection, dice, made)
                    time.sleep(dice.uniform(0, LONGEST_STATEMENT_PAUSE))
        except (psycopg.errors.DeadlockDetected, psycopg.errors.UniqueViolation):
            is_undone = True
        if is_undone:
            # A row that was deleted has the salary that a change before gave it, which may stand.
            self.rolled_back |= {salary for _, _, action, salary in made if salary and action != "DELETE"}
        else:
            self.made += made

    def _change(self, connection: Any, dice: random.Random, made: list[Made]) -> None:
        """One change of a random row, if there is something to change."""
        [kind] = dice.choices([*KINDS], [*KINDS.values()])
        key, salary = dice.choice(KEYS), next(self._salaries)

        def note(key: int, action: str, salary: int | None) -> None:
            made.append((key, connection.execute(NEXT, [key]).fetchone()[0], action, salary))

        if kind == "insert":
            row = (key, f"first {salary}", f"last {salary}", "2001-02-03", None, salary)
            put = "INSERT INTO employees VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
            if connection.execute(put, row).rowcount:
                note(key, "INSERT", salary)
        elif kind == "update":
            if connection.execute("UPDATE employees SET salary = %s WHERE emp_id = %s", [salary, key]).rowcount:
                note(key, "UPDATE", salary)
        elif kind == "delete":
            for (before,) in connection.execute("DELETE FROM employees WHERE emp_id = %s RETURNING salary", [key]):
                note(key, "DELETE", before)
        else:
            new = dice.choice(KEYS)
            held = connection.execute("SELECT salary FROM employees WHERE emp_id = %s FOR UPDATE", [key]).fetchone()
            if held and new != key:
                update = "UPDATE employees SET emp_id = %s, salary = %s WHERE emp_id = %s"
                connection.execute(update, [new, salary, key])
                note(key, "DELETE", held[0])
                note(new, "UPDATE", salary)


class Poller:
    """The original's way to see changes, `action_id > last`, while a `with` lasts: the control of the experiment."""

    def __init__(self, source: Postgres, database: str) -> None:
        self.seen: list[int] = []
        self._connection = source.connect(database, autocommit=True)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(60)
        self._connection.close()

    def missed(self, numbers: Sequence[int]) -> set[int]:
        """Which of these it has not seen, though it has seen later ones."""
        return {number for number in numbers if number <= max(self.seen, default=0)} - {*self.seen}

    def _run(self) -> None:
        last = 0
        while not self._end.wait(0.005):
            asked = "SELECT action_id FROM emp_cdc WHERE action_id > %s ORDER BY action_id"
            found = [number for (number,) in self._connection.execute(asked, [last])]
            self.seen += found
            last = max(found, default=last)
