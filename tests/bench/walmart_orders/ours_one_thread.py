"""pipeline_core with few enough orders at a time that a second thread is not worth its start."""

from __future__ import annotations

from functools import partial

from tests.bench.task import ParseTask, perform
from tests.bench.walmart_orders import ours

work = partial(ours.work, size=500)

if __name__ == "__main__":
    perform(ParseTask, work)
