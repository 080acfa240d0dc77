"""`python -m tests.bench all`, or one of the pipelines: run the benchmark and print its table."""
# ruff: noqa: T201 - a command line speaks to its user

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from . import api, changes, documents, files, items, orders, shapes
from .broker import Broker, broker
from .change_course import ChangeCourse
from .clients import CONSUMER, PRODUCER
from .contestants import (
    BUCKET_TO_KAFKA,
    CDC_TO_POSTGRES,
    CONTESTANTS,
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
)
from .document_course import DocumentCourse
from .fetch_course import FetchCourse
from .file_course import FileCourse
from .goals import verdicts
from .item_course import ItemCourse
from .lap import LapError
from .machine import machine, versions
from .order_course import OrderCourse
from .race import PARTITIONS, Course, Race
from .table import markdown, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Named = TypeVar("Named", shapes.Shape, files.Files, files.Keys, changes.Shape, documents.Shape)


def main() -> int:
    """Do what the arguments say; the exit code."""
    chosen = _arguments()
    commands = list(CONTESTANTS) if chosen.command == "all" else [chosen.command]
    folder = Path(tempfile.mkdtemp(prefix="pipeline_core-bench-"))
    races: list[Race] = []
    try:
        with broker() as there:
            races += _row_races(there, folder, commands, chosen)
            races += _file_races(there, folder, commands, chosen)
            races += _order_races(there, folder, commands, chosen)
            races += _change_races(there, folder, commands, chosen)
            races += _document_races(there, folder, commands, chosen)
            races += _item_races(there, folder, commands, chosen)
    except LapError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for command in commands:
        of_command = [race for race in races if race.command == command]
        if not of_command:
            continue
        if chosen.markdown:
            print(f"### {command}\n\n{markdown(of_command)}\n")
        else:
            show(command, of_command)
    if chosen.json:
        chosen.json.write_text(json.dumps(document(races), indent=2) + "\n", encoding="utf-8")
    return 0


def _row_races(there: Broker, folder: Path, commands: Sequence[str], chosen: argparse.Namespace) -> list[Race]:
    course, races = Course(there, folder), list[Race]()
    of_rows = [command for command in commands if command in (CSV_TO_KAFKA, KAFKA_TO_PARQUET)]
    for shape in _wanted(shapes.SHAPES, chosen) if of_rows else ():
        data = shapes.write(shape, chosen.rows or shape.default_rows, folder)
        races += [course.race(command, data, chosen.rounds, chosen.only) for command in of_rows]
    return races


def _file_races(there: Broker, folder: Path, commands: Sequence[str], chosen: argparse.Namespace) -> list[Race]:
    course, races = FileCourse(there, folder), list[Race]()
    if OBS_WORKER in commands:
        some = [one.cut(chosen.files) for one in _wanted(files.FILES, chosen)]
        races += [course.work_race(one, chosen.rounds, chosen.only) for one in some]
    if BUCKET_TO_KAFKA in commands:
        buckets = [one.cut(chosen.files) for one in _wanted(files.KEYS, chosen)]
        races += [course.list_race(one, chosen.rounds, chosen.only) for one in buckets]
    return races


def _order_races(there: Broker, folder: Path, commands: Sequence[str], chosen: argparse.Namespace) -> list[Race]:
    course, races = OrderCourse(there, folder), list[Race]()
    if chosen.shape not in (orders.NAME, "all"):
        return races
    if WALMART_TO_KAFKA in commands:
        held = api.held(chosen.rows or api.COUNT)
        races.append(FetchCourse(there, folder).race(held, chosen.rounds, chosen.only))
    if WALMART_ORDERS in commands:
        data = orders.write(chosen.rows or orders.PARSED, folder)
        races.append(course.parse_race(data, chosen.rounds, chosen.only))
    if WALMART_TO_MYSQL in commands:
        data = orders.write(chosen.rows or orders.LOADED, folder)
        races.append(course.load_race(data, chosen.rounds, chosen.only))
    if FLINK_WALMART in commands:
        data = orders.write(chosen.rows or orders.FLOWING, folder)
        races.append(course.flink_race(data, chosen.rounds, chosen.only))
    return races


def _change_races(there: Broker, folder: Path, commands: Sequence[str], chosen: argparse.Namespace) -> list[Race]:
    course, races = ChangeCourse(there, folder), list[Race]()
    if CDC_TO_POSTGRES in commands:
        for shape in _wanted(changes.SHAPES, chosen):
            events = changes.write(shape, chosen.rows or changes.APPLIED, folder)
            races.append(course.apply_race(events, chosen.rounds, chosen.only))
    if POSTGRES_TO_KAFKA in commands and chosen.shape in (changes.BACKLOG, "all"):
        backlog = changes.Backlog(chosen.rows or changes.CAPTURED)
        races.append(course.backlog_race(backlog, chosen.rounds, chosen.only))
    if POSTGRES_TO_KAFKA in commands and chosen.shape in (changes.DELAY, "all"):
        load = changes.Load(chosen.transactions)
        races.append(course.delay_race(load, chosen.rounds, chosen.only))
    return races


def _document_races(there: Broker, folder: Path, commands: Sequence[str], chosen: argparse.Namespace) -> list[Race]:
    course, races = DocumentCourse(there, folder), list[Race]()
    written: dict[int, documents.Documents] = {}
    for shape in _wanted(documents.SHAPES, chosen) if MONGO_TO_KAFKA in commands else ():
        count = chosen.rows or shape.default_rows
        written[count] = replace(written.get(count) or documents.write(shape, count, folder), shape=shape)
        races.append(course.race(written[count], chosen.rounds, chosen.only))
    return races


def _item_races(there: Broker, folder: Path, commands: Sequence[str], chosen: argparse.Namespace) -> list[Race]:
    if MYSQL_TO_MYSQL not in commands or chosen.shape not in (items.NAME, "all"):
        return []
    data = items.items(chosen.rows or items.MIGRATED)
    return [ItemCourse(there, folder).race(data, chosen.rounds, chosen.only)]


def _wanted(all_of_them: Iterable[Named], chosen: argparse.Namespace) -> list[Named]:
    return [one for one in all_of_them if chosen.shape in (one.name, "all")]


def document(races: Sequence[Race]) -> dict[str, Any]:
    """Everything that was measured."""
    return {
        "machine": machine(),
        "versions": versions(),
        "settings": {"partitions": PARTITIONS, "producer": PRODUCER, "consumer": CONSUMER},
        "races": [
            {
                "command": race.command,
                "shape": race.data.name,
                "rows": race.data.rows,
                "bytes": race.data.bytes,
                "laps": {one.name: [asdict(lap) for lap in laps] for one, laps in race.laps.items()},
                "goals": [asdict(verdict) for verdict in verdicts(race)],
            }
            for race in races
        ],
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("command", choices=[*CONTESTANTS, "all"])
    rows = "rows of either shape, orders, changes, documents and items; without it 500,000 wide, 2,000,000 narrow, of"
    rows += " orders 20,000 to fetch, 40,000 to parse, 120,000 to load and 40,000 for Flink, of changes 600,000 to"
    rows += " apply and 300,000 to capture, of documents 200,000, or 20,000 from SecantusDB, of items 20,000"
    parser.add_argument("--rows", type=_count, help=rows)
    parser.add_argument("--files", type=_count, help="files and keys at most, for the races over object stores")
    transactions = f"of each of the writers while changes are captured ({changes.TRANSACTIONS:,})"
    parser.add_argument("--transactions", type=_count, default=changes.TRANSACTIONS, help=transactions)
    parser.add_argument("--rounds", type=_count, default=5, help="runs of each contestant (5)")
    shaped = (*shapes.SHAPES, *files.FILES, *files.KEYS, *changes.SHAPES, *documents.SHAPES)
    names = [*(one.name for one in shaped), orders.NAME, changes.BACKLOG, changes.DELAY, items.NAME]
    parser.add_argument("--shape", choices=[*names, "all"], default="all")
    parser.add_argument("--only", type=lambda text: text.split(","), help="contestants by name, with commas")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement to FILE")
    parser.add_argument("--markdown", action="store_true", help="print the table of the README")
    return parser.parse_args()


def _count(text: str) -> int:
    count = int(text.replace(",", "").replace("_", ""))
    if count < 1:
        message = "must be 1 or more"
        raise argparse.ArgumentTypeError(message)
    return count


if __name__ == "__main__":
    sys.exit(main())
