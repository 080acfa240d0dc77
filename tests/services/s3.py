"""An S3 server (versitygw on a folder): fast, checks signatures, and keeps `If-None-Match: *` atomic.

Answers to path-style addresses, and to virtual-hosted ones under `VIRTUAL_DOMAIN` (which no DNS knows: give clients the
server itself as their HTTP proxy). Objects are files: `a` and `a/b` cannot both exist (409).
"""

from __future__ import annotations

import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .install import installed, run_tool
from .process import Endpoint, Server, free_ports, port_answers, temporary_folder
from .sigv4 import REGION

MODULE = "github.com/versity/versitygw/cmd/versitygw@v1.8.0"
KEY = "pipeline"
SECRET = "pipeline-secret"
VIRTUAL_DOMAIN = "s3.test"
REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class S3(Endpoint):
    """An S3 store that tests talk to, ours or the environment's."""

    url: str
    key: str
    secret: str = field(repr=False)
    region: str = REGION

    def client(self) -> Any:
        """A boto3 client of this store, without retries."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name=self.region,
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, max_pool_connections=32),
        )

    def new_bucket(self) -> str:
        """Create a bucket with a name nobody had before; its name."""
        name = f"b-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        return name

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """The keys of a bucket, sorted."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return sorted(item["Key"] for page in pages for item in page.get("Contents", []))

    def read(self, bucket: str, key: str) -> bytes:
        """The bytes of an object."""
        return self.client().get_object(Bucket=bucket, Key=key)["Body"].read()


def install_s3() -> Path:
    """The folder with the server's program."""
    return installed("versitygw", MODULE, _build)


def start_s3(key: str = KEY, secret: str = SECRET) -> S3:
    """Install what is missing and start an empty store that knows this account; `server.close()` ends it."""
    program = install_s3() / "versitygw"
    folder = temporary_folder("s3")
    (folder / "data").mkdir()
    [port] = free_ports(1)
    address = f"127.0.0.1:{port}"
    options = ["--port", address, "--region", REGION, "--virtual-domain", VIRTUAL_DOMAIN, "--keep-alive", "--quiet"]
    account = {"ROOT_ACCESS_KEY": key, "ROOT_SECRET_KEY": secret}
    command = [str(program), *options, "posix", str(folder / "data")]
    server = Server("s3", command, folder, port_answers(port), environment=account)
    server.start()
    return S3(f"http://{address}", key, secret, _server=server)


def start_s3_without_preconditions(store: S3) -> S3:
    """Start a front of `store` (same buckets) that ignores the conditions of writes."""
    server, url = start_front("no_preconditions", store)
    return S3(url, store.key, store.secret, _server=server)


def start_front(module: str, store: S3) -> tuple[Server, str]:
    """Start one of our modules as a server before `store`; it and its URL."""
    [port] = free_ports(1)
    upstream = urlsplit(store.url).netloc
    command = [sys.executable, "-m", f"tests.services.{module}", str(port), upstream, store.key, store.secret]
    folder = temporary_folder(module)
    server = Server(module, command, folder, port_answers(port), directory=REPOSITORY)
    server.start()
    return server, f"http://127.0.0.1:{port}"


def _build(folder: Path) -> None:
    go = {"GOBIN": str(folder), "CGO_ENABLED": "0"}
    run_tool("go", "install", "-trimpath", "-ldflags=-s -w", MODULE, environment=go, directory=folder)
