"""A GCS look-alike on an S3 server of ours (see gcs_front.py for what it is not), reached over the XML API."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen
from xml.etree import ElementTree as ET

from .process import Endpoint
from .s3 import S3, start_front

CALL_SECONDS = 60


@dataclass(frozen=True)
class Gcs(Endpoint):
    """A GCS server that tests talk to, ours or the environment's."""

    url: str

    @property
    def service_account_key(self) -> str:
        """What object_store wants as `google_service_account_key` to use this server without logging in."""
        nobody = {"client_email": "", "private_key": "", "private_key_id": ""}
        return json.dumps({"gcs_base_url": self.url, "disable_oauth": True, **nobody})

    def new_bucket(self) -> str:
        """Create a bucket with a name nobody had before; its name."""
        name = f"b-{uuid.uuid4().hex[:12]}"
        self._call("POST", "/storage/v1/b?project=test", json.dumps({"name": name}).encode())
        return name

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """The names of a bucket's objects, sorted."""
        names: list[str] = []
        query = {"list-type": "2", "prefix": prefix}
        while True:
            page = ET.fromstring(self._call("GET", f"/{bucket}?{urlencode(query)}"))
            names += [key.text or "" for key in page.iterfind("{*}Contents/{*}Key")]
            token = page.findtext("{*}NextContinuationToken")
            if not token:
                return sorted(names)
            query["continuation-token"] = token

    def read(self, bucket: str, key: str) -> bytes:
        """The bytes of an object."""
        return self._call("GET", f"/{bucket}/{quote(key)}")

    def _call(self, method: str, target: str, body: bytes | None = None) -> bytes:
        request = Request(self.url + target, body, {"Content-Type": "application/json"}, method=method)
        with urlopen(request, timeout=CALL_SECONDS) as reply:
            return reply.read()


def start_gcs(store: S3) -> Gcs:
    """Start a look-alike that keeps its objects in `store`; `server.close()` ends it."""
    server, url = start_front("gcs_front", store)
    return Gcs(url, _server=server)
