"""Rows of Parquet files as frames of polars."""

import io
from collections.abc import Iterable, Sequence
from urllib.parse import unquote

import polars as pl

from pipeline_core.validation.place import Found

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def of(path: str, content: bytes, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """A file's rows, with the columns that its folders name.

    Args:
        path: Where it stands.
        content: Its bytes.
        columns: Those that are wanted, if the file has them; all without it.

    Raises:
        PolarsError: It is not a whole Parquet file.
    """
    levels = [part.partition("=") for part in path.split("/")[:-1] if "=" in part]
    values = {unquote(name): None if text == _NO_VALUE else unquote(text) for name, _, text in levels}
    own = pl.read_parquet_schema(io.BytesIO(content)).keys()
    wanted = None if columns is None else [name for name in columns if name in own]
    frame = pl.read_parquet(io.BytesIO(content), columns=wanted, hive_partitioning=False)
    folders = [pl.lit(text, pl.String).alias(name) for name, text in values.items() if name not in own]
    return frame.with_columns(one for one in folders if columns is None or one.meta.output_name() in columns)


def joined(files: Iterable[tuple[Found, bytes]], columns: Sequence[str] | None) -> pl.DataFrame:
    """The rows of all files; what one does not have is null in its rows."""
    frames = [of(file.path, content, columns) for file, content in files]
    frame = pl.concat(frames, how="diagonal_relaxed")
    return frame if columns is None else frame.select(columns)
