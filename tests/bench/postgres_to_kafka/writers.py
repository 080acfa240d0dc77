"""Writers who change a table side by side, and tell when each change was committed: a program, for it must not wait."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.bench.cdc_to_postgres.events import connect
from tests.bench.changes import OWN_ROWS, Load
from tests.bench.task import ChangeTask, perform

INSERT = "INSERT INTO employees (first_name, last_name, dob, city, salary) VALUES ('Ann', 'Lee', '1999-01-02', %s, 1)"
UPDATE = "UPDATE employees SET city = %s, salary = salary + 1 WHERE emp_id = %s"


def before(load: Load) -> list[str]:
    """The statement that makes the rows which writers find there."""
    count = load.writers * OWN_ROWS
    columns = "first_name, last_name, salary"
    return [f"INSERT INTO employees ({columns}) SELECT 'Noor', 'Smith', n FROM generate_series(1, {count}) n"]


def work(task: ChangeTask) -> dict[str, Any]:
    """Let all writers do what is theirs; by the city of each change, the time before its COMMIT."""
    load = Load(task.transactions, task.writers)
    with ThreadPoolExecutor(load.writers) as pool:
        done = [pool.submit(write, task.url, load, writer) for writer in range(load.writers)]
        return {"committed": {city: at for one in done for city, at in one.result().items()}}


def write(url: str, load: Load, writer: int) -> dict[str, float]:
    """Do what one writer does; two never touch the same row."""
    committed: dict[str, float] = {}
    with connect(url) as connection:
        for number, transaction in enumerate(load.plan(writer)):
            for is_insert, city, pause in transaction.changes:
                if is_insert:
                    connection.execute(INSERT, (city,))
                else:
                    connection.execute(UPDATE, (city, 1 + writer * OWN_ROWS + number % OWN_ROWS))
                time.sleep(pause)
            if not transaction.is_committed:
                connection.rollback()
                continue
            # The clock of all processes of a machine.
            at = time.monotonic()
            connection.commit()
            committed |= {city: at for _, city, _ in transaction.changes}
    return committed


if __name__ == "__main__":
    perform(ChangeTask, work)
