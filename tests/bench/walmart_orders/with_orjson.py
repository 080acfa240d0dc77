"""orjson, then the rows of the original."""

from __future__ import annotations

from functools import partial

import orjson
from tests.bench.task import ParseTask, perform
from tests.bench.walmart_orders import original

work = partial(original.work, loads=orjson.loads)

if __name__ == "__main__":
    perform(ParseTask, work)
