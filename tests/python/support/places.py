"""Places that `kafka_to_parquet` writes to, read back without the product."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.services.gcs import Gcs
    from tests.services.s3 import S3


@dataclass(frozen=True)
class Place:
    """A folder: its URL, the settings that reach it, and what is in it."""

    url: str
    settings: dict[str, Any] = field(default_factory=dict[str, Any])

    def names(self) -> list[str]:
        """The names of the visible objects, sorted, relative to the URL."""
        root = Path(self.url)
        found = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
        return sorted(str(path) for path in found if not path.name.startswith("."))

    def read(self, name: str) -> bytes:
        """The bytes of an object."""
        return Path(self.url, name).read_bytes()


@dataclass(frozen=True)
class Bucket(Place):
    """A bucket of a store."""

    store: S3 | Gcs = field(kw_only=True)
    bucket: str = field(kw_only=True)

    def names(self) -> list[str]:
        """The keys of the bucket."""
        return self.store.keys(self.bucket)

    def read(self, name: str) -> bytes:
        """The bytes of an object."""
        return self.store.read(self.bucket, name)


def s3_settings(s3: S3, url: str | None = None) -> dict[str, Any]:
    """The settings that reach an S3 store, or the proxy before it at `url`."""
    return {
        "s3_endpoint": url or s3.url,
        "s3_region": s3.region,
        "s3_access_key_id": s3.key,
        "s3_secret_access_key": s3.secret,
    }


def s3_place(s3: S3, url: str | None = None) -> Bucket:
    """A fresh bucket, written through `s3://`, by the proxy at `url` if one is given."""
    bucket = s3.new_bucket()
    return Bucket(f"s3://{bucket}", s3_settings(s3, url), store=s3, bucket=bucket)


def obs_settings(s3: S3, url: str | None = None) -> dict[str, Any]:
    """The settings that reach an S3 store, or the proxy before it at `url`, as if it were OBS."""
    return {
        "obs_endpoint": url or s3.url,
        "obs_region": s3.region,
        "obs_access_key_id": s3.key,
        "obs_secret_access_key": s3.secret,
        "obs_virtual_hosted": False,
    }


def obs_place(s3: S3) -> Bucket:
    """A fresh bucket of the S3 store, written through `obs://`."""
    bucket = s3.new_bucket()
    return Bucket(f"obs://{bucket}", obs_settings(s3), store=s3, bucket=bucket)


def gcs_place(gcs: Gcs) -> Bucket:
    """A fresh bucket, written through `gs://`."""
    bucket = gcs.new_bucket()
    return Bucket(f"gs://{bucket}", {"gcs_endpoint": gcs.url}, store=gcs, bucket=bucket)
