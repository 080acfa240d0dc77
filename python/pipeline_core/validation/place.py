"""The Parquet files of a place, read with obstore through the same settings as the engine."""

import json
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from obstore import exceptions, store

from pipeline_core.config import StoreSettings
from pipeline_core.exceptions import AccessDeniedError, NotFoundError, SettingsError, UnavailableError

# Files that are fetched while one is looked at.
_AHEAD = 4
_GONE = ("NoSuchBucket", "404 Not Found")
_SECONDS = "{:g}s"


@dataclass(frozen=True)
class Found:
    """A file below a place: its path there, and its bytes in number."""

    path: str
    size: int


class Place:
    """A folder or bucket.

    Args:
        url: A folder, a file, or a `gs://`, `s3://`, `obs://` or `file://` URL of one.
        settings: How to reach stores.

    Raises:
        SettingsError: The URL is none of these, or a setting that it needs is missing.
        NotFoundError: There is no such folder.
    """

    def __init__(self, url: str, settings: StoreSettings) -> None:
        folder, slash, name = url.rstrip("/").rpartition("/")
        self._file = name if name.endswith(".parquet") else ""
        self.url = (folder or slash or ".") if self._file else url
        self._store: Any = _opened(self.url, settings)

    def files(self, prefix: str) -> list[Found]:
        """The Parquet files whose path begins so, sorted; none that is hidden.

        Raises:
            NotFoundError: There is no such bucket.
            AccessDeniedError: The store refused the credentials or the permission.
            UnavailableError: The store could not be reached.
        """
        folder, _, _ = prefix.rpartition("/")
        with _explained(f"Cannot list {self.url}"):
            pages: Any = self._store.list(prefix=folder or None)
            found = [Found(item["path"], item["size"]) for page in pages for item in page]
        wanted = (file for file in found if file.path.startswith(prefix) and _is_data(file.path))
        return sorted((file for file in wanted if self._file in {"", file.path}), key=lambda file: file.path)

    def read(self, files: Iterable[Found]) -> Iterator[tuple[Found, bytes]]:
        """Each file with its bytes, a few of them fetched ahead.

        Raises:
            UnavailableError: The store could not be reached; or as `files`.
        """
        with ThreadPoolExecutor(_AHEAD) as threads:
            ahead: deque[tuple[Found, Future[bytes]]] = deque()
            for file in files:
                ahead.append((file, threads.submit(self._bytes, file)))
                if len(ahead) == _AHEAD:
                    first, content = ahead.popleft()
                    yield first, content.result()
            for file, content in ahead:
                yield file, content.result()

    def _bytes(self, file: Found) -> bytes:
        with _explained(f"Cannot read {file.path} in {self.url}"):
            return bytes(self._store.get(file.path).bytes())


def _is_data(path: str) -> bool:
    return path.endswith(".parquet") and not any(part.startswith((".", "_")) for part in path.split("/"))


def _opened(url: str, settings: StoreSettings) -> Any:  # noqa: ANN401 - one of several classes
    parts = urlsplit(url)
    match parts.scheme:
        case "s3" | "s3a":
            opened, options = _s3(parts.netloc, settings), settings.s3_endpoint
        case "obs":
            opened, options = _obs(parts.netloc, settings), settings.obs_endpoint
        case "gs" | "gcs":
            opened, options = _gcs(settings), settings.gcs_endpoint
        case scheme if len(scheme) > 1 and scheme != "file":
            message = f"Unknown scheme {scheme}:// in {url!r}"
            raise SettingsError(message, "Use gs://, s3://, obs://, file:// or a path.")
        case scheme:
            return _local(Path(unquote(parts.path) if scheme == "file" else url))
    if not parts.netloc:
        message = f"No bucket in {url!r}"
        raise SettingsError(message, "Write it as scheme://bucket/folder.")
    is_plain = settings.allow_http or (options or "").startswith("http://")
    client: Any = {"allow_http": is_plain, "timeout": _SECONDS.format(settings.timeout_seconds)}
    kind = store.GCSStore if parts.scheme in {"gs", "gcs"} else store.S3Store
    folder = unquote(parts.path).strip("/")
    with _explained(f"Cannot open {url}"):
        return kind(parts.netloc, prefix=folder or None, client_options=client, **opened)


def _local(folder: Path) -> Any:  # noqa: ANN401 - as the other stores
    if not folder.is_dir():
        message = f"There is no folder {folder}"
        raise NotFoundError(message, "Name the folder that kafka_to_parquet was given as `to`, or one below it.")
    return store.LocalStore(folder.resolve())


def _s3(_: str, settings: StoreSettings) -> dict[str, Any]:
    secret, token = settings.s3_secret_access_key, settings.s3_session_token
    options: dict[str, Any] = {
        "endpoint": settings.s3_endpoint,
        "region": settings.s3_region or "us-east-1",
        "virtual_hosted_style_request": settings.s3_virtual_hosted,
        "session_token": token.get_secret_value() if token else None,
    }
    if settings.s3_access_key_id and secret:
        options |= {"access_key_id": settings.s3_access_key_id, "secret_access_key": secret.get_secret_value()}
    return {name: value for name, value in options.items() if value is not None}


def _obs(bucket: str, settings: StoreSettings) -> dict[str, Any]:
    secret = settings.obs_secret_access_key
    if not (settings.obs_endpoint and settings.obs_access_key_id and secret):
        message = "obs:// needs OBS_ENDPOINT, OBS_ACCESS_KEY_ID and OBS_SECRET_ACCESS_KEY"
        raise SettingsError(message, "Set it in the environment, in .env or in the settings file.")
    endpoint = settings.obs_endpoint if "://" in settings.obs_endpoint else f"https://{settings.obs_endpoint}"
    if settings.obs_virtual_hosted:
        endpoint = endpoint.replace("://", f"://{bucket}.", 1)
    return {
        "endpoint": endpoint,
        "region": settings.obs_region or "cn-north-4",
        "access_key_id": settings.obs_access_key_id,
        "secret_access_key": secret.get_secret_value(),
        "virtual_hosted_style_request": settings.obs_virtual_hosted,
    }


def _gcs(settings: StoreSettings) -> dict[str, Any]:
    if settings.gcs_endpoint:
        # A local server asks for no token; without this key the client asks the metadata server for one.
        nobody = {"client_email": "", "private_key": "", "private_key_id": ""}
        key = {"gcs_base_url": settings.gcs_endpoint.rstrip("/"), "disable_oauth": True, **nobody}
        return {"service_account_key": json.dumps(key)}
    return {"application_credentials": settings.gcs_credentials_path} if settings.gcs_credentials_path else {}


@contextmanager
def _explained(what: str) -> Generator[None]:
    """Turn what obstore raises into our errors."""
    try:
        yield
    except (exceptions.BaseError, FileNotFoundError) as error:
        first = str(error).strip().partition("\n")[0]
        message = f"{what}: {first}"
        if isinstance(error, FileNotFoundError) or any(word in str(error) for word in _GONE):
            raise NotFoundError(message, "Look at the name of the bucket and the folder.") from None
        if isinstance(error, (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError)):
            raise AccessDeniedError(message, "Look at the credentials of the store.") from None
        raise UnavailableError(message, "Look at the endpoint, and try again.") from None
