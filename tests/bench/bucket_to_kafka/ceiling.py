"""The ceiling: all pages fetched one after the other, and nothing read of them but where the next begins."""

from __future__ import annotations

import http.client
import re
from urllib.parse import quote, urlencode, urlsplit

from tests.bench.task import ListTask, perform
from tests.services.sigv4 import Credentials, signed

TOKEN = re.compile(rb"<NextContinuationToken>([^<]+)<")


def work(task: ListTask) -> dict[str, int]:
    """Fetch the pages; keys are counted by what stands around them."""
    host = urlsplit(task.store.url).netloc
    server, who = http.client.HTTPConnection(host), Credentials(task.store.key, task.store.secret)
    asked, rows = {"list-type": "2", "prefix": task.prefix}, 0
    while True:
        target = f"/{task.bucket}?{urlencode(asked, quote_via=quote, safe='')}"
        server.request("GET", target, headers=signed("GET", target, {"host": host}, who))
        page = server.getresponse().read()
        rows += page.count(b"<Contents>")
        more = TOKEN.search(page)
        if not more:
            return {"rows": rows}
        asked["continuation-token"] = more[1].decode()


if __name__ == "__main__":
    perform(ListTask, work)
