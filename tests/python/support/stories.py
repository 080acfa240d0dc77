"""Something that happens to a database while its changes are captured."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from pipeline_core import Stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.python.support.captures import Capture

    from pipeline_core.report import Report


def told(capture: Capture, story: Callable[[], object], *, is_stopped: bool = True, **changed: Any) -> Report:
    """What a run reports while which this happened; the story's end ends it unless it ends by itself."""
    stop = Stop()

    def act() -> None:
        try:
            story()
        finally:
            if is_stopped:
                stop.set()

    with ThreadPoolExecutor(1) as pool:
        acting = pool.submit(act)
        report = capture.run(stop=stop, **{"until": "stopped", **changed})
        acting.result()
    return report
