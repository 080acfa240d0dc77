"""Where the migrations are run: from one database of a MariaDB into another, every run checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from . import lap
from .contestants import CONTESTANTS, MYSQL_TO_MYSQL, Contestant, Part
from .database import Database, database
from .lap import Lap, LapError
from .race import Race
from .task import MigrateTask

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .broker import Broker
    from .items import Items

WARMER = next(one for one in CONTESTANTS[MYSQL_TO_MYSQL] if one.part is Part.MODERN)


@dataclass(frozen=True)
class ItemCourse:
    """A folder for migrations; the database is started for them, and the Kafka only looks on."""

    broker: Broker
    folder: Path

    def race(self, items: Items, rounds: int, names: Sequence[str] | None = None) -> Race:
        """Let all contestants migrate the items, or those that are named."""
        race = Race(MYSQL_TO_MYSQL, items)
        with database() as server, server.source(items.rows) as whole, server.source(items.slow_rows) as part:
            sources = {items.rows: whole, items.slow_rows: part}
            # The first lap is slower than those after it: the server's files grow.
            self.migrate(WARMER, items, server, sources)
            race.run(rounds, names, lambda contestant: self.migrate(contestant, items, server, sources))
        return race

    def migrate(self, contestant: Contestant, items: Items, server: Database, sources: dict[int, str]) -> Lap:
        """Let a contestant migrate the items into empty tables, from the source that has as many as it is given."""
        count = items.slow_rows if contestant.is_slow else items.rows
        with server.target() as name:
            task = MigrateTask(server.mariadb.url, sources[count], name)
            before, server_before = self.broker.cpu_seconds(), server.cpu_seconds()
            taken = lap.run(f"tests.bench.{MYSQL_TO_MYSQL}.{contestant.module}", task, self.folder)
            after, server_after = self.broker.cpu_seconds(), server.cpu_seconds()
            found, expected = server.migrated(name), items.slow_state if contestant.is_slow else items.state
            if found != expected:
                message = f"{contestant.name} gave {found}, not {expected}"
                raise LapError(message)
        broker = None if before is None or after is None else after - before
        return replace(taken, broker_cpu_seconds=broker, store_cpu_seconds=server_after - server_before)
