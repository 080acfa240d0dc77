"""How far `mongo_to_kafka` has come: what its cursor file holds."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline_core.report import Document, brief, counted


@dataclass(frozen=True, repr=False)
class CursorReport(Document):
    """The position that the next run goes on from.

    Attributes:
        file: The cursor file.
        mode: `cursor` or `stream`.
        field: The field that documents are read by; None in mode stream.
        position: The position as extended JSON; None at the beginning.
        window: Documents that are remembered inside the lag window.
        token: The resume token of the change stream; None without one.
        last_change: When the last change was made that has been sent.
        snapshot: How far a snapshot, or a full run, has come; None when there is none.
        original_format: Whether the file is as the original writes it; the next run writes it typed.
    """

    file: str
    mode: str
    field: str | None = None
    position: Any = None
    window: int = 0
    token: str | None = None
    last_change: datetime | None = None
    snapshot: Any = None
    original_format: bool = False

    def heading(self) -> str:
        """`cursor after 6560cf7e1f2b3c4d5e6f7081`."""
        if self.mode == "stream":
            return "stream after its token" if self.token else "stream at the beginning"
        return f"cursor after {_text(self.position)}" if self.position is not None else "cursor at the beginning"

    def lines(self) -> Iterator[tuple[str, str]]:
        """The file first."""
        yield "file", f"{self.file}{' (as the original writes it)' if self.original_format else ''}"
        if self.field:
            yield "field", self.field
        if self.window:
            yield "window", f"{counted(self.window, 'document')} remembered"
        if self.token:
            yield "token", self.token
        if self.last_change is not None:
            yield "last change", self.last_change.isoformat(sep=" ", timespec="seconds")
        if self.snapshot not in (None, "", {}):
            yield "snapshot", brief(self.snapshot)


def _text(position: Any) -> str:  # noqa: ANN401 - extended JSON
    """An id or a time without its wrapping."""
    match position:
        case {"$oid": str(text)} | {"$date": str(text)} if len(position) == 1:
            return text
        case _:
            return brief(position)
