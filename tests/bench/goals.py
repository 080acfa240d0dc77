"""What was asked for, and whether it was reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import changes, documents, files, items, orders
from .contestants import (
    BUCKET_TO_KAFKA,
    CDC_TO_POSTGRES,
    CSV_TO_KAFKA,
    FLINK_WALMART,
    KAFKA_TO_PARQUET,
    MONGO_TO_KAFKA,
    MYSQL_TO_MYSQL,
    OBS_WORKER,
    POSTGRES_TO_KAFKA,
    WALMART_ORDERS,
    WALMART_TO_KAFKA,
    WALMART_TO_MYSQL,
    Contestant,
    Part,
)

if TYPE_CHECKING:
    from .race import Race

PEAK_BYTES = {KAFKA_TO_PARQUET: 150_000_000}
"""At the most."""

TIMES_FASTER = {
    (CSV_TO_KAFKA, "wide"): {Part.CEILING: 0.8, Part.ORIGINAL: 4.0, Part.MODERN: 2.0},
    (CSV_TO_KAFKA, "narrow"): {Part.CEILING: 0.8, Part.ORIGINAL: 8.0, Part.MODERN: 3.0},
    (KAFKA_TO_PARQUET, "wide"): {Part.CEILING: 0.3, Part.ORIGINAL: 6.0, Part.MODERN: 2.0},
    (KAFKA_TO_PARQUET, "narrow"): {Part.CEILING: 0.5, Part.ORIGINAL: 6.0, Part.MODERN: 2.0},
    (OBS_WORKER, files.SMALL.name): {Part.CEILING: 0.8, Part.PLAIN: 5.0, Part.MODERN: 1.3},
    (OBS_WORKER, files.LARGE.name): {Part.CEILING: 0.8, Part.PLAIN: 5.0, Part.MODERN: 1.3},
    (OBS_WORKER, files.COMPUTED.name): {Part.ONE_PROCESS: 1.7},
    (BUCKET_TO_KAFKA, files.MEMORY.name): {Part.PLAIN: 2.0},
    (BUCKET_TO_KAFKA, files.DISK.name): {Part.CEILING: 1.0, Part.PLAIN: 2.0},
    (WALMART_TO_KAFKA, orders.NAME): {},
    (WALMART_ORDERS, orders.NAME): {Part.ORIGINAL: 15.0, Part.MODERN: 5.0},
    (WALMART_TO_MYSQL, orders.NAME): {Part.CEILING: 0.5, Part.ORIGINAL: 10.0, Part.MODERN: 2.0},
    (CDC_TO_POSTGRES, changes.UNIQUE.name): {Part.CEILING: 0.4, Part.ORIGINAL: 150.0, Part.MODERN: 2.0},
    (CDC_TO_POSTGRES, changes.TEN.name): {Part.CEILING: 0.4, Part.ORIGINAL: 150.0, Part.MODERN: 2.0},
    (POSTGRES_TO_KAFKA, changes.BACKLOG): {},
    (POSTGRES_TO_KAFKA, changes.DELAY): {},
    (MONGO_TO_KAFKA, documents.REPLAY.name): {Part.CEILING: 0.7, Part.ORIGINAL: 4.0, Part.MODERN: 2.0},
    (MONGO_TO_KAFKA, documents.LZ4.name): {Part.CEILING: 0.7, Part.ORIGINAL: 4.0, Part.MODERN: 2.0},
    (MONGO_TO_KAFKA, documents.SECANTUS.name): {Part.CEILING: 0.7},
    (MYSQL_TO_MYSQL, items.NAME): {},
    (FLINK_WALMART, orders.NAME): {},
}
"""Our rows a second by those of the other, at the least.

A listing is to be no slower than a server that reads folders, as servers do. The one that has all pages in memory
writes them faster than they can be read: what the client costs is seen there, against the other clients.
"""


@dataclass(frozen=True)
class Verdict:
    """A number, what it should be, and whether it is."""

    what: str
    found: float
    goal: float
    is_met: bool


def verdict_on(race: Race, ours: Contestant, other: Contestant) -> Verdict | None:
    """Whether `ours` is as much faster than `other` as it should; nothing where no goal is set for it."""
    goal = TIMES_FASTER[race.command, race.data.name].get(other.part)
    if goal is None or race.fastest(other.part) is not other:
        return None
    found = race.times_faster(ours, other)
    return Verdict(f"{ours.name} / {other.name}", found, goal, is_met=found >= goal)


def verdict_on_memory(race: Race, ours: Contestant) -> Verdict | None:
    """Whether `ours` needs as little memory as it should; nothing where no goal is set."""
    goal = PEAK_BYTES.get(race.command)
    if goal is None:
        return None
    found = race.median(ours, "peak_bytes")
    return Verdict(f"{ours.name} memory", found, goal, is_met=found < goal)


def verdicts(race: Race) -> list[Verdict]:
    """All goals, for each line of ours."""
    ours = [one for one in race.laps if one.part is Part.OURS]
    found = [verdict_on(race, our, other) for our in ours for other in race.laps]
    found += [verdict_on_memory(race, our) for our in ours]
    return [verdict for verdict in found if verdict]
