"""A random history of `employees`: statements of many rows, through the real triggers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

# Away from those of `Writers`.
KEYS = range(1001, 7001)
ROWS = (1, 1, 2, 5, 20, 60, 150)
ROLLED_BACK = 0.05
FIRST = ("Łukasz", "山田", "Zoë 😀", "O'Neil", 'Quo"te', "Tab\tbed", "Li\nne", "\\N", "", "NULL", "x" * 100, "ü" * 100)
CITIES = (None, "None", "", "Perth", "São Paulo", "\\", "{a,b}", "a\x01b", "null", "\u2028", "Testburg")
DAYS = (None, "1999-01-02", "2024-02-29", "0001-01-01", "9999-12-31", "0044-03-15 BC", "infinity", "-infinity")
SALARIES = (None, 0, -1, 70_000, 2**31 - 1, -(2**31))
ROW = "unnest(%s::int[], %s::text[], %s::text[], %s::text[], %s::text[], %s::int[]) AS row (id, a, b, c, d, e)"
INSERT = f"INSERT INTO employees SELECT id, a, b, c::date, d, e FROM {ROW} ON CONFLICT DO NOTHING"
UPDATE = (
    "UPDATE employees SET first_name = a, last_name = b, dob = c::date, city = d, salary = e"
    f" FROM {ROW} WHERE emp_id = id"
)
DELETE = "DELETE FROM employees WHERE emp_id = ANY(%s)"
REKEY = """
UPDATE employees SET emp_id = new FROM unnest(%s::int[], %s::int[]) AS keys (old, new)
WHERE emp_id = old AND NOT EXISTS (SELECT FROM employees WHERE emp_id = new)
"""


class History:
    """What happens to the rows of one range of keys, by one session.

    Args:
        connection: A connection that commits by itself.
        dice: What decides what happens.

    Attributes:
        changes: How many were committed; a changed key is two.
    """

    def __init__(self, connection: Any, dice: random.Random) -> None:
        self.changes = 0
        self._connection, self._dice = connection, dice

    def grow(self, changes: int, truncates: int = 0) -> None:
        """Make at least so many changes more, and somewhere between them these TRUNCATEs."""
        begun = self.changes
        due = sorted(begun + self._dice.randrange(changes * 3 // 4) for _ in range(truncates))
        while self.changes < begun + changes:
            if due and self.changes >= due[0]:
                self._transaction([self._truncate])
                del due[0]
            self._transaction([self._change] * self._dice.randint(1, 6))

    def _transaction(self, steps: list[Callable[[], int]]) -> None:
        is_undone = len(steps) > 1 and self._dice.random() < ROLLED_BACK
        with self._connection.transaction(force_rollback=is_undone):
            made = sum(step() for step in steps)
        self.changes += 0 if is_undone else made

    def _truncate(self) -> int:
        self._connection.execute("TRUNCATE employees")
        return 1

    def _change(self) -> int:
        dice = self._dice
        keys = dice.sample(KEYS, dice.choice(ROWS))
        [kind] = dice.choices(("insert", "update", "delete", "rekey"), (30, 45, 12, 13))
        if kind == "delete":
            return self._connection.execute(DELETE, [keys]).rowcount
        if kind == "rekey":
            return 2 * self._connection.execute(REKEY, [keys, dice.sample(KEYS, len(keys))]).rowcount
        columns = zip(*(person(dice, key) for key in keys), strict=True)
        return self._connection.execute(INSERT if kind == "insert" else UPDATE, [*map(list, columns)]).rowcount


def person(dice: random.Random, key: int) -> tuple[int, str, str, str | None, str | None, int | None]:
    """A row of `employees` that is hard to carry."""
    return (key, dice.choice(FIRST), f"L{dice.random()}", dice.choice(DAYS), dice.choice(CITIES), dice.choice(SALARIES))
