"""`python -m tests.bench csv_to_kafka|kafka_to_parquet|all`: run the benchmark and print its table."""
# ruff: noqa: T201 - a command line speaks to its user

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import shapes
from .broker import broker
from .clients import CONSUMER, PRODUCER
from .contestants import CONTESTANTS
from .goals import verdicts
from .lap import LapError
from .machine import machine, versions
from .race import PARTITIONS, Course, Race
from .table import markdown, show

if TYPE_CHECKING:
    from collections.abc import Sequence


def main() -> int:
    """Do what the arguments say; the exit code."""
    chosen = _arguments()
    commands = list(CONTESTANTS) if chosen.command == "all" else [chosen.command]
    wanted = [shape for shape in shapes.SHAPES if chosen.shape in (shape.name, "both")]
    folder = Path(tempfile.mkdtemp(prefix="pipeline_core-bench-"))
    races: list[Race] = []
    try:
        with broker() as there:
            course = Course(there, folder)
            for shape in wanted:
                data = shapes.write(shape, chosen.rows or shape.default_rows, folder)
                races += [course.race(command, data, chosen.rounds, chosen.only) for command in commands]
    except LapError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for command in commands:
        of_command = [race for race in races if race.command == command]
        if chosen.markdown:
            print(f"### {command}\n\n{markdown(of_command)}\n")
        else:
            show(command, of_command)
    if chosen.json:
        chosen.json.write_text(json.dumps(document(races), indent=2) + "\n", encoding="utf-8")
    return 0


def document(races: Sequence[Race]) -> dict[str, Any]:
    """Everything that was measured."""
    return {
        "machine": machine(),
        "versions": versions(),
        "settings": {"partitions": PARTITIONS, "producer": PRODUCER, "consumer": CONSUMER},
        "races": [
            {
                "command": race.command,
                "shape": race.data.shape.name,
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
    parser.add_argument("--rows", type=_count, help="rows of either shape; 500,000 wide, 2,000,000 narrow without it")
    parser.add_argument("--rounds", type=_count, default=5, help="runs of each contestant (5)")
    parser.add_argument("--shape", choices=["wide", "narrow", "both"], default="both")
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
