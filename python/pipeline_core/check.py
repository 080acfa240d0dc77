"""Whether everything that a pipeline needs can be reached, without moving anything."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic import TypeAdapter

from pipeline_core import _core, engine
from pipeline_core.settings import PipelineSettings


@dataclass(frozen=True)
class Check:
    """One thing that was tried.

    Attributes:
        name: What it is, such as `broker`, `topic`, `bucket`, `api` or `database`.
        ok: Whether it works.
        detail: What was found.
        hint: What to do about it, or None.
    """

    name: str
    ok: bool
    detail: str = ""
    hint: str | None = None


_CHECKS = TypeAdapter(list[Check])


def check(config: PipelineSettings, *, stop: _core.Stop | None = None) -> list[Check]:
    """Try the broker, the topic, and the place, API or database of a pipeline, in this order; nothing is moved.

    Args:
        config: The pipeline's settings, such as `csv_to_kafka.Config(…)`.
        stop: Set it from another thread to end early.

    Raises:
        PipelineError: The checks themselves could not be made. What was tried and does not work is a `Check`.
    """
    native = partial(_core.check, config.pipeline)
    return _CHECKS.validate_json(engine.run(native, config.document(), stop=stop))


def as_data(checks: list[Check]) -> list[dict[str, Any]]:
    """Plain data for JSON."""
    return _CHECKS.dump_python(checks, mode="json")
