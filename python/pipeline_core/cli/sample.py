"""`sample-data`: our own CSV to try things with."""

import errno
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline_core import sample_data
from pipeline_core.cli.output import JsonOption, Output, silenced
from pipeline_core.exceptions import AccessDeniedError, CapacityError
from pipeline_core.units import bytes_text

_EPILOG = """
[bold]Examples[/bold]

pipeline-core sample-data orders.csv

pipeline-core sample-data --rows 180519 --seed 7 big.csv

pipeline-core sample-data - | head
"""


def add_to(app: typer.Typer) -> None:
    """Put `sample-data` into the application."""
    app.command("sample-data", epilog=_EPILOG)(sample)


def sample(
    file: Annotated[str, typer.Argument(help="Where to write; - for stdout.", metavar="FILE")],
    rows: Annotated[int, typer.Option("--rows", min=0, metavar="N", help="How many rows.")] = sample_data.ROWS,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", help="Which of the possible data sets.")
    ] = sample_data.SEED,
    *,
    json: JsonOption = False,
) -> None:
    """Write an invented CSV to try things with: 53 columns as in the DataCo data, ISO-8859-1, the same for a seed."""
    output = Output(json=json)
    with output.exit_codes():
        if file == "-":
            with silenced():
                sample_data.write(sys.stdout.buffer, rows, seed)
                sys.stdout.buffer.flush()
            return
        path = Path(file)
        size = write(path, rows, seed)
        data = {"path": str(path), "rows": rows, "bytes": size, "encoding": sample_data.ENCODING, "seed": seed}
        output.result(f"{path}: {rows:,} rows, {bytes_text(size)}, {sample_data.ENCODING}", data)


def write(path: Path, rows: int, seed: int = sample_data.SEED) -> int:
    """`sample_data.write` to a path, with errors that say what to do."""
    try:
        return sample_data.write(path, rows, seed)
    except OSError as error:
        message = f"{path} could not be written: {error.strerror}"
        kind = CapacityError if error.errno in {errno.ENOSPC, errno.EDQUOT} else AccessDeniedError
        raise kind(message, "Choose another place, or make room there.") from None
