"""The results as a table, for a terminal or for the README."""

from __future__ import annotations

import os
from statistics import median
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from .changes import DELAY
from .contestants import (
    CDC_TO_POSTGRES,
    FLINK_WALMART,
    MONGO_TO_KAFKA,
    MYSQL_TO_MYSQL,
    POSTGRES_TO_KAFKA,
    WALMART_ORDERS,
    WALMART_TO_MYSQL,
    Contestant,
    Part,
)
from .goals import verdict_on, verdict_on_memory
from .machine import machine, versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .race import Race

MB = 1_000_000
WORK_ALONE = (
    *(WALMART_ORDERS, WALMART_TO_MYSQL, CDC_TO_POSTGRES, POSTGRES_TO_KAFKA, MONGO_TO_KAFKA, MYSQL_TO_MYSQL),
    FLINK_WALMART,
)
"""Where the process does more than is measured, or writers work beside it: its CPU seconds are those of the work."""
SERVERS = {
    WALMART_TO_MYSQL: "MariaDB",
    CDC_TO_POSTGRES: "PostgreSQL",
    POSTGRES_TO_KAFKA: "PostgreSQL",
    MONGO_TO_KAFKA: "MongoDB",
    MYSQL_TO_MYSQL: "MariaDB",
    FLINK_WALMART: "MariaDB",
}
"""Whose CPU seconds have a column."""
DELAYS = ("delay p50 ms", "p99 ms", "missed")
"""Columns of what was captured while others wrote."""
WIDTH = 160
"""Where the output is no terminal."""
SMALL = 10
"""From here on, MB/s need no decimals."""
LEFT = 2
"""Columns of text; the others are numbers."""


def header(races: Sequence[Race]) -> tuple[str, ...]:
    """The names of the columns."""
    command = races[0].command
    server = [f"{SERVERS[command]} CPU s"] if command in SERVERS else []
    delays = DELAYS if command == POSTGRES_TO_KAFKA else ()
    measured = (f"{races[0].data.unit}/s", "MB/s", "seconds", "whole process", "CPU s", *server, "peak MB", *delays)
    return ("shape", "contestant", *measured, "ours is", "goal")


def rows(races: Sequence[Race]) -> list[list[str]]:
    """One row for each contestant on each shape."""
    return [_row(race, contestant) for race in races for contestant in race.laps]


def markdown(races: Sequence[Race]) -> str:
    """The table for the README, and what it was taken on."""
    names = header(races)
    lines = [names, ["---"] * LEFT + ["---:"] * (len(names) - LEFT), *rows(races)]
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", _basis(races)])


def show(title: str, races: Sequence[Race]) -> None:
    """Print the table to the terminal."""
    table = Table(title=title)
    for at, name in enumerate(header(races)):
        table.add_column(name, justify="left" if at < LEFT else "right", overflow="fold")
    for race in races:
        for contestant in race.laps:
            ours = "bold" if contestant.part is Part.OURS else None
            table.add_row(*(cell.replace("**", "") for cell in _row(race, contestant)), style=ours)
        table.add_section()
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    console.print(table)
    console.print(_basis(races), style="dim")


def _row(race: Race, one: Contestant) -> list[str]:
    seconds = race.seconds(one)
    ratio, goal = _against(race, one)
    cpu = "work_cpu_seconds" if race.command in WORK_ALONE else "cpu_seconds"
    server = [f"{race.median(one, 'store_cpu_seconds'):.2f}"] if race.command in SERVERS else []
    return [
        race.data.name,
        one.label,
        f"{race.rate(one):,.0f}",
        _megabytes(race, one),
        f"{seconds:.2f}",
        f"{race.median(one, 'process_seconds'):.2f}",
        f"{race.median(one, cpu):.2f}",
        *server,
        f"{race.median(one, 'peak_bytes') / MB:,.0f}",
        *_delays(race, one),
        ratio,
        goal,
    ]


def _megabytes(race: Race, one: Contestant) -> str:
    rate = race.rate(one) * race.data.bytes / race.data.rows / MB
    return "" if not rate else f"{rate:,.1f}" if rate < SMALL else f"{rate:,.0f}"


def _delays(race: Race, one: Contestant) -> list[str]:
    """How long changes took, and how many never came; nothing where nobody wrote meanwhile."""
    if race.command != POSTGRES_TO_KAFKA:
        return []
    if race.data.name != DELAY:
        return [""] * len(DELAYS)
    p50, p99, missed = (median(lap.said[name] for lap in race.laps[one]) for name in ("p50_ms", "p99_ms", "missed"))
    return [f"{p50:,.0f}", f"{p99:,.0f}", f"{missed:,.0f} ({missed / race.data.rows:.0%})"]


def _against(race: Race, one: Contestant) -> tuple[str, str]:
    """How much faster the first line of ours is than this one, and the goal; for ours, the goal of memory.

    Nothing where all go as fast as the writers write.
    """
    if race.data.name == DELAY:
        return "", ""
    if one.part is Part.OURS:
        memory = verdict_on_memory(race, one)
        return "", f"< {memory.goal / MB:.0f} MB {_mark(is_met=memory.is_met)}" if memory else ""
    ours = next((other for other in race.laps if other.part is Part.OURS), None)
    if ours is None:
        return "", ""
    verdict = verdict_on(race, ours, one)
    goal = f"≥ {verdict.goal:g}x {_mark(is_met=verdict.is_met)}" if verdict else ""
    return f"{race.times_faster(ours, one):.2f}x", goal


def _mark(*, is_met: bool) -> str:
    return "✓" if is_met else "missed"


def _basis(races: Sequence[Race]) -> str:
    rounds = max((len(laps) for race in races for laps in race.laps.values()), default=0)
    shapes = dict.fromkeys(_size(race) for race in races)
    facts = [f"Medians of {rounds} rounds", *shapes, *(f"{name}: {text}" for name, text in machine().items())]
    facts += [f"{name} {number}" for name, number in versions().items()]
    facts += _disturbance(races)
    return "; ".join(facts) + "."


def _disturbance(races: Sequence[Race]) -> list[str]:
    """How much of the machine other programs took; nothing where the broker may be one of them."""
    laps = [lap for race in races for laps in race.laps.values() for lap in laps]
    known = [(lap, lap.broker_cpu_seconds) for lap in laps if lap.broker_cpu_seconds is not None]
    if not known:
        return []
    foreign = sum(
        max(0.0, lap.machine_cpu_seconds - lap.cpu_seconds - lap.store_cpu_seconds - broker) for lap, broker in known
    )
    share = foreign / sum(lap.process_seconds for lap, _ in known) / (os.cpu_count() or 1)
    return [f"other programs took {share:.0%} of the CPUs"]


def _size(race: Race) -> str:
    data = race.data
    each = f" of {data.bytes / data.rows:,.0f} B" if data.bytes else ""
    less = f", {data.slow_rows:,} for the slow" if data.slow_rows < data.rows else ""
    return f"{data.name}: {data.rows:,} {data.unit}{each}{less}"
