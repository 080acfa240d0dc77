"""AWS Signature Version 4 for requests that a proxy has changed on the way (the body is not signed)."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

REGION = "us-east-1"
UNSIGNED = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True)
class Credentials:
    """An access key and its secret."""

    key: str
    secret: str = field(repr=False)


def signed(method: str, target: str, headers: Mapping[str, str], who: Credentials) -> dict[str, str]:
    """`headers` (lower-case names, with `host`) and a signature over them and `target`, the path with its query.

    What the headers say about the body's hash (`x-amz-content-sha256`) is kept; else the body goes unsigned.
    """
    now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    kept = {name: value for name, value in headers.items() if name != "authorization"}
    kept = {"x-amz-content-sha256": UNSIGNED, **kept, "x-amz-date": now}
    names = sorted(name for name in kept if name == "host" or name.startswith("x-amz-"))
    url = urlsplit(target)
    query = sorted(
        (quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in parse_qsl(url.query, keep_blank_values=True)
    )
    canonical = "\n".join(
        [
            method,
            quote(unquote(url.path), safe="/-_.~"),
            "&".join(f"{k}={v}" for k, v in query),
            *(f"{name}:{' '.join(kept[name].split())}" for name in names),
            "",
            ";".join(names),
            kept["x-amz-content-sha256"],
        ]
    )
    scope = f"{now[:8]}/{REGION}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{who.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    credential = f"Credential={who.key}/{scope}"
    kept["authorization"] = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={';'.join(names)}, Signature={signature}"
    return kept
