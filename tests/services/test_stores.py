"""The S3 server, the GCS look-alike and the fault proxy of the tests do what the product's tests build on."""

from __future__ import annotations

import json
import time
from http.client import RemoteDisconnected
from threading import Barrier, Thread
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from tests.services.fault_proxy import FaultProxy
from tests.services.s3 import S3, VIRTUAL_DOMAIN, start_s3
from tests.services.sigv4 import Credentials, signed

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.services.gcs import Gcs

WRITERS = 16
ROUNDS = 20
PART_BYTES = 5 * 1024 * 1024
CREATE_ONLY = {"x-goog-if-generation-match": "0"}


def winners(create: Callable[[int], object]) -> list[int]:
    """Which of many writers at once were told that they created the object."""
    barrier = Barrier(WRITERS)
    won: list[int] = []

    def write(writer: int) -> None:
        barrier.wait()
        try:
            create(writer)
        except (ClientError, HTTPError):
            return
        won.append(writer)

    threads = [Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won


def gcs_call(gcs: Gcs, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    """An XML request shaped like object_store's."""
    request = Request(gcs.url + target, body or None, headers or {}, method=method)
    if method in ("PUT", "POST") and not body:
        request.add_header("content-length", "0")
    with urlopen(request) as reply:
        return reply.read()


def test_of_racing_creators_in_s3_exactly_one_wins(s3: S3, bucket: str) -> None:
    client = s3.client()
    for turn in range(ROUNDS):
        [won] = winners(
            lambda writer, key=f"turn/{turn}": client.put_object(
                Bucket=bucket, Key=key, Body=b"%d" % writer, IfNoneMatch="*"
            )
        )
        assert s3.read(bucket, f"turn/{turn}") == b"%d" % won


def test_s3_refuses_a_second_creation_and_a_wrong_secret(s3: S3, bucket: str) -> None:
    s3.client().put_object(Bucket=bucket, Key="a", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.client().put_object(Bucket=bucket, Key="a", Body=b"2", IfNoneMatch="*")
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        S3(s3.url, s3.key, "wrong").keys(bucket)
    assert s3.read(bucket, "a") == b"1"


def test_s3_shows_a_multipart_upload_only_when_complete(s3: S3, bucket: str) -> None:
    client = s3.client()
    where = {"Bucket": bucket, "Key": "big"}
    where["UploadId"] = client.create_multipart_upload(**where)["UploadId"]
    bodies = [b"a" * PART_BYTES, b"b"]
    tags = [client.upload_part(**where, PartNumber=n, Body=body)["ETag"] for n, body in enumerate(bodies, 1)]
    assert s3.keys(bucket) == []
    parts = [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1)]
    client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    assert s3.read(bucket, "big") == b"".join(bodies)


def test_a_killed_s3_still_has_its_objects() -> None:
    store = start_s3()
    with store.server:
        bucket = store.new_bucket()
        store.client().put_object(Bucket=bucket, Key="a", Body=b"1")
        store.server.kill()
        store.server.start()
        assert store.read(bucket, "a") == b"1"


def test_s3_answers_to_virtual_hosted_names(our_s3: S3) -> None:
    bucket = our_s3.new_bucket()
    host = {"host": f"{bucket}.{VIRTUAL_DOMAIN}", "content-length": "1"}
    headers = signed("PUT", "/a", host, Credentials(our_s3.key, our_s3.secret))
    urlopen(Request(f"{our_s3.url}/a", b"1", headers, method="PUT")).close()
    assert our_s3.keys(bucket) == ["a"]


def test_a_store_without_preconditions_says_yes_twice(s3_without_preconditions: S3) -> None:
    bucket = s3_without_preconditions.new_bucket()
    for body in (b"1", b"2"):
        s3_without_preconditions.client().put_object(Bucket=bucket, Key="a", Body=body, IfNoneMatch="*")
    assert s3_without_preconditions.read(bucket, "a") == b"2"


def test_of_racing_creators_in_gcs_exactly_one_wins(gcs: Gcs, gcs_bucket: str) -> None:
    for turn in range(ROUNDS):
        target = f"/{gcs_bucket}/turn%2F{turn}"
        [won] = winners(lambda writer, to=target: gcs_call(gcs, "PUT", to, b"%d" % writer, CREATE_ONLY))
        assert gcs.read(gcs_bucket, f"turn/{turn}") == b"%d" % won


def test_gcs_lists_copies_and_deletes(gcs: Gcs, gcs_bucket: str) -> None:
    gcs_call(gcs, "PUT", f"/{gcs_bucket}/dir%2Fk=v%2Fa%20b", b"1")
    copy = {"x-goog-copy-source": f"{gcs_bucket}/dir%2Fk=v%2Fa%20b", **CREATE_ONLY}
    gcs_call(gcs, "PUT", f"/{gcs_bucket}/copy", headers=copy)
    with pytest.raises(HTTPError, match="412"):
        gcs_call(gcs, "PUT", f"/{gcs_bucket}/copy", headers=copy)
    assert gcs.keys(gcs_bucket) == ["copy", "dir/k=v/a b"]
    assert gcs.keys(gcs_bucket, "dir/") == ["dir/k=v/a b"]
    gcs_call(gcs, "DELETE", f"/{gcs_bucket}/copy")
    assert gcs.keys(gcs_bucket) == ["dir/k=v/a b"]


def test_gcs_shows_a_multipart_upload_only_when_complete(gcs: Gcs, gcs_bucket: str) -> None:
    begun = gcs_call(gcs, "POST", f"/{gcs_bucket}/big?uploads").decode()
    upload = begun.split("<UploadId>")[1].split("</UploadId>")[0]
    body = b"a" * PART_BYTES
    part = Request(f"{gcs.url}/{gcs_bucket}/big?partNumber=1&uploadId={upload}", body, method="PUT")
    with urlopen(part) as reply:
        tag = reply.headers["etag"]
    assert gcs.keys(gcs_bucket) == []
    parts = f"<Part><PartNumber>1</PartNumber><ETag>{tag}</ETag></Part>"
    complete = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    gcs_call(gcs, "POST", f"/{gcs_bucket}/big?uploadId={upload}", complete)
    assert gcs.read(gcs_bucket, "big") == body


def test_gcs_refuses_a_condition_that_it_does_not_know(gcs: Gcs, gcs_bucket: str) -> None:
    with pytest.raises(HTTPError, match="501"):
        gcs_call(gcs, "PUT", f"/{gcs_bucket}/a", b"1", {"x-goog-if-generation-match": "5"})


def test_object_store_itself_works_with_the_gcs_look_alike(gcs: Gcs, gcs_bucket: str) -> None:
    obstore = pytest.importorskip("obstore")
    from obstore.store import GCSStore

    store = GCSStore(gcs_bucket, service_account_key=gcs.service_account_key, client_options={"allow_http": True})
    obstore.put(store, "a", b"1", mode="create")
    with pytest.raises(obstore.exceptions.AlreadyExistsError):
        obstore.put(store, "a", b"2", mode="create")
    obstore.put(store, "big", bytes(2 * PART_BYTES), use_multipart=True, chunk_size=PART_BYTES)
    assert [(item["path"], item["size"]) for item in obstore.list(store).collect()] == [
        ("a", 1),
        ("big", 2 * PART_BYTES),
    ]


def test_a_lost_reply_hides_a_write_that_happened(s3: S3, bucket: str) -> None:
    with FaultProxy(s3.url) as proxy:
        proxy.lose_reply(method="PUT", times=1)
        through = S3(proxy.url, s3.key, s3.secret)
        with pytest.raises(ConnectionClosedError):
            through.client().put_object(Bucket=bucket, Key="a", Body=b"1")
        assert through.read(bucket, "a") == b"1"
        assert [seen.fault for seen in proxy.seen] == ["lose_reply", None]


def test_a_lost_request_never_reached_the_store(s3: S3, bucket: str) -> None:
    with FaultProxy(s3.url) as proxy:
        proxy.lose_request(path="/a$", times=1)
        with pytest.raises(ConnectionClosedError):
            S3(proxy.url, s3.key, s3.secret).client().put_object(Bucket=bucket, Key="a", Body=b"1")
    assert s3.keys(bucket) == []


def test_a_slow_store_answers_late(s3: S3, bucket: str) -> None:
    with FaultProxy(s3.url) as proxy:
        proxy.delay(0.3, method="GET")
        begun = time.monotonic()
        assert S3(proxy.url, s3.key, s3.secret).keys(bucket) == []
        assert time.monotonic() - begun >= 0.3


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (409, "ConditionalRequestConflict")])
def test_one_request_in_three_gets_the_scripted_answer(s3: S3, bucket: str, status: int, code: str) -> None:
    with FaultProxy(s3.url) as proxy:
        fault = proxy.answer(status, method="PUT", every=3)
        client = S3(proxy.url, s3.key, s3.secret).client()
        for turn in range(1, 7):
            if turn % 3:
                client.put_object(Bucket=bucket, Key=f"{turn}", Body=b"")
            else:
                with pytest.raises(ClientError, match=code):
                    client.put_object(Bucket=bucket, Key=f"{turn}", Body=b"")
    assert fault.happened == 2
    assert s3.keys(bucket) == ["1", "2", "4", "5"]


def test_stripped_preconditions_overwrite(s3: S3, bucket: str) -> None:
    with FaultProxy(s3.url, Credentials(s3.key, s3.secret)) as proxy:
        client = S3(proxy.url, s3.key, s3.secret).client()
        client.put_object(Bucket=bucket, Key="a", Body=b"1", IfNoneMatch="*")
        proxy.strip_preconditions(times=1)
        client.put_object(Bucket=bucket, Key="a", Body=b"2", IfNoneMatch="*")
        with pytest.raises(ClientError, match="PreconditionFailed"):
            client.put_object(Bucket=bucket, Key="a", Body=b"3", IfNoneMatch="*")
    assert s3.read(bucket, "a") == b"2"


def test_a_large_body_passes_the_proxy_whole(s3: S3, bucket: str) -> None:
    body = json.dumps(list(range(5_000_000))).encode()
    with FaultProxy(s3.url) as proxy:
        through = S3(proxy.url, s3.key, s3.secret)
        through.client().put_object(Bucket=bucket, Key="a", Body=body)
        assert through.read(bucket, "a") == body


def test_a_store_that_is_down_shows_as_a_closed_connection(bucket: str, s3: S3) -> None:
    with FaultProxy("http://127.0.0.1:1") as proxy, pytest.raises((RemoteDisconnected, ConnectionClosedError)):
        S3(proxy.url, s3.key, s3.secret).keys(bucket)
