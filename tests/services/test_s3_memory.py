"""The server of the benchmark does what clients see of S3."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from tests.services.s3 import S3

PART_BYTES = 5 * 1024 * 1024
KEYS = [f"{folder}/{number:04}" for folder in ("a", "b/c", "b/d") for number in range(1_100)] + ["b.txt", "x <&> é\n+%"]


@pytest.fixture
def full(s3_memory: S3) -> str:
    """A bucket with some pages of keys."""
    bucket = s3_memory.new_bucket()
    client = s3_memory.client()
    for key in KEYS:
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    return bucket


def test_all_pages_of_a_listing_are_sorted_and_whole(s3_memory, full):
    assert s3_memory.keys(full) == sorted(KEYS)
    assert s3_memory.keys(full, "b/c/") == [key for key in KEYS if key.startswith("b/c/")]
    assert s3_memory.read(full, KEYS[-1]).decode() == KEYS[-1]


def test_a_listing_stops_at_a_delimiter_and_begins_after_a_key(s3_memory, full):
    client = s3_memory.client()
    found, asked = [], {"Bucket": full, "Delimiter": "/", "MaxKeys": 1}
    while True:
        page = client.list_objects_v2(**asked)
        found += [one["Prefix"] for one in page.get("CommonPrefixes", [])]
        found += [one["Key"] for one in page.get("Contents", [])]
        if not page["IsTruncated"]:
            break
        asked["ContinuationToken"] = page["NextContinuationToken"]
    assert found == ["a/", "b.txt", "b/", KEYS[-1]]
    [prefixes] = [page["CommonPrefixes"] for page in [client.list_objects_v2(Bucket=full, Prefix="b/", Delimiter="/")]]
    assert [one["Prefix"] for one in prefixes] == ["b/c/", "b/d/"]
    after = client.list_objects_v2(Bucket=full, StartAfter="b/d/1097")
    assert [one["Key"] for one in after["Contents"]] == ["b/d/1098", "b/d/1099", KEYS[-1]]


def test_a_listing_knows_size_and_etag(s3_memory):
    bucket, client = s3_memory.new_bucket(), s3_memory.client()
    put = client.put_object(Bucket=bucket, Key="a", Body=b"12345", Metadata={"source": "x"}, ContentType="text/csv")
    [listed] = client.list_objects_v2(Bucket=bucket)["Contents"]
    head = client.head_object(Bucket=bucket, Key="a")
    assert put["ETag"] == listed["ETag"] == head["ETag"]
    assert listed["Size"] == head["ContentLength"] == 5
    assert (head["Metadata"], head["ContentType"]) == ({"source": "x"}, "text/csv")
    assert client.put_object(Bucket=bucket, Key="a", Body=b"12346")["ETag"] != put["ETag"]


def test_parts_and_conditions(s3_memory):
    bucket, client = s3_memory.new_bucket(), s3_memory.client()
    etag = client.put_object(Bucket=bucket, Key="a", Body=b"0123456789")["ETag"]
    for asked, expected in (("bytes=2-4", b"234"), ("bytes=7-", b"789"), ("bytes=-2", b"89")):
        assert client.get_object(Bucket=bucket, Key="a", Range=asked)["Body"].read() == expected
    assert client.get_object(Bucket=bucket, Key="a", IfMatch=etag)["Body"].read() == b"0123456789"
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.get_object(Bucket=bucket, Key="a", IfMatch='"other"')
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Bucket=bucket, Key="a", Body=b"", IfNoneMatch="*")
    with pytest.raises(ClientError, match="InvalidRange"):
        client.get_object(Bucket=bucket, Key="a", Range="bytes=10-")


def test_what_is_deleted_is_gone(s3_memory):
    bucket, client = s3_memory.new_bucket(), s3_memory.client()
    for key in "abcd":
        client.put_object(Bucket=bucket, Key=key, Body=bytes(100_000))
    client.delete_object(Bucket=bucket, Key="a")
    client.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "b"}, {"Key": "c"}]})
    assert s3_memory.keys(bucket) == ["d"]
    with pytest.raises(client.exceptions.NoSuchKey):
        client.get_object(Bucket=bucket, Key="a")
    client.delete_bucket(Bucket=bucket)
    with pytest.raises(client.exceptions.NoSuchBucket):
        s3_memory.keys(bucket)


def test_memory_that_is_used_again_holds_what_was_written_last(s3_memory):
    bucket, client = s3_memory.new_bucket(), s3_memory.client()
    for number in range(20):
        client.put_object(Bucket=bucket, Key="a", Body=bytes([number]) * 100_000)
        client.put_object(Bucket=bucket, Key=f"kept/{number}", Body=bytes([number]) * 100_000)
    assert s3_memory.read(bucket, "a") == bytes([19]) * 100_000
    assert all(s3_memory.read(bucket, f"kept/{n}") == bytes([n]) * 100_000 for n in range(20))


def test_an_upload_in_parts_shows_only_when_complete(s3_memory):
    bucket, client = s3_memory.new_bucket(), s3_memory.client()
    where = {"Bucket": bucket, "Key": "big"}
    where["UploadId"] = client.create_multipart_upload(**where, Metadata={"source": "x"})["UploadId"]
    bodies = [b"a" * PART_BYTES, b"b"]
    tags = [client.upload_part(**where, PartNumber=n, Body=body)["ETag"] for n, body in enumerate(bodies, 1)]
    assert s3_memory.keys(bucket) == []
    parts = [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1)]
    client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    assert s3_memory.read(bucket, "big") == b"".join(bodies)
    assert client.head_object(Bucket=bucket, Key="big")["Metadata"] == {"source": "x"}
    where["UploadId"] = client.create_multipart_upload(Bucket=bucket, Key="none")["UploadId"]
    client.abort_multipart_upload(**where | {"Key": "none"})
    assert s3_memory.keys(bucket) == ["big"]


def test_what_it_cannot_do_is_refused(s3_memory):
    bucket, client = s3_memory.new_bucket(), s3_memory.client()
    client.put_object(Bucket=bucket, Key="a", Body=b"1")
    with pytest.raises(ClientError, match="NotImplemented"):
        client.get_object_tagging(Bucket=bucket, Key="a")
    with pytest.raises(ClientError, match="NotImplemented"):
        client.copy_object(Bucket=bucket, Key="b", CopySource=f"{bucket}/a")
    chunked = Request(f"{s3_memory.url}/{bucket}/b", b"1", {"content-encoding": "aws-chunked"}, method="PUT")
    with pytest.raises(HTTPError, match="501"):
        urlopen(chunked)
    assert s3_memory.keys(bucket) == ["a"]
