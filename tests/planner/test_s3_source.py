"""`s3://`, against a real HTTP server that speaks the protocol."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from planner.errors import SourceChanged, SourceError, SourceUnavailable
from planner.recipients import Source, open_source
from planner.recipients.s3 import S3Store
from schemas.request import Recipients
from streams.settings import PlannerSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

BUCKET = "clients"
ROWS = 50_000
CSV = ("email,first_name\n" + "".join(f"p{i}@example.com,P{i}\n" for i in range(ROWS))).encode()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> S3Client:
    for name, value in (("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"),
                        ("AWS_DEFAULT_REGION", "us-east-1")):  # fmt: skip
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket=BUCKET)
    return client


def source(endpoint: str, key: str, bucket: str = BUCKET) -> Source:
    return open_source(Recipients(uri=f"s3://{bucket}/{key}"), settings=PlannerSettings(s3_endpoint=endpoint))


def test_an_object_is_streamed(endpoint: str, s3: S3Client) -> None:
    s3.put_object(Bucket=BUCKET, Key="dir/a b%20.csv", Body=CSV)
    found = source(endpoint, "dir/a b%20.csv")
    assert found.fingerprint().size == len(CSV)
    assert sum(1 for _ in found.rows(found.fingerprint())) == ROWS


def test_compressed_and_parquet_objects_are_read(endpoint: str, s3: S3Client) -> None:
    s3.put_object(Bucket=BUCKET, Key="c.csv.gz", Body=gzip.compress(CSV))
    assert sum(1 for _ in source(endpoint, "c.csv.gz").rows()) == ROWS
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"email": ["a@example.com", "b@example.com"]}), sink)
    s3.put_object(Bucket=BUCKET, Key="c.parquet", Body=sink.getvalue().to_pybytes())
    assert sum(1 for _ in source(endpoint, "c.parquet").rows()) == 2


def test_what_is_not_there_is_named(endpoint: str, s3: S3Client) -> None:
    with pytest.raises(SourceError, match="no such object"):
        source(endpoint, "gone.csv").fingerprint()
    with pytest.raises(SourceError, match="no such"):
        source(endpoint, "c.csv", bucket="no-such-bucket").fingerprint()


def test_an_object_that_is_replaced_while_it_is_planned_is_noticed(endpoint: str, s3: S3Client) -> None:
    s3.put_object(Bucket=BUCKET, Key="changing.csv", Body=CSV)
    found = source(endpoint, "changing.csv")
    accepted = found.fingerprint()
    rows = found.rows(accepted)
    next(rows)
    s3.put_object(Bucket=BUCKET, Key="changing.csv", Body=CSV + b"eva@example.com,Eva\n")
    with pytest.raises(SourceChanged, match="has changed while it was planned"):
        list(rows)
    with pytest.raises(SourceChanged, match="has changed since it was accepted"):
        next(source(endpoint, "changing.csv").rows(accepted))


class BreaksOff:
    """A body whose connection breaks after some bytes, as a network does it."""

    def __init__(self, body: Any, after: int) -> None:
        self._body = body
        self._left = after

    def read(self, size: int) -> bytes:
        if self._left <= 0:
            raise ConnectionResetError("connection reset by peer")
        data: bytes = self._body.read(min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        self._body.close()


class Unsteady(S3Store):
    """A store each of whose connections breaks after some bytes."""

    after = 400_000

    def get(self, tag: str, start: int) -> Any:
        return BreaksOff(super().get(tag, start), self.after)


def test_a_connection_that_breaks_is_taken_up_where_it_broke(endpoint: str, s3: S3Client) -> None:
    s3.put_object(Bucket=BUCKET, Key="long.csv", Body=CSV)
    with Unsteady(f"s3://{BUCKET}/long.csv", endpoint).open() as stream:
        assert stream.read() == CSV


def test_an_object_replaced_before_a_connection_is_taken_up_again_is_noticed(endpoint: str, s3: S3Client) -> None:
    s3.put_object(Bucket=BUCKET, Key="long.csv", Body=CSV)
    with Unsteady(f"s3://{BUCKET}/long.csv", endpoint).open() as stream:
        stream.read(10)
        s3.put_object(Bucket=BUCKET, Key="long.csv", Body=CSV.upper())
        with pytest.raises(SourceChanged, match="changed while it was planned"):
            stream.read()


def test_a_store_that_gives_nothing_is_unavailable(endpoint: str, s3: S3Client) -> None:
    s3.put_object(Bucket=BUCKET, Key="long.csv", Body=CSV)
    dead = Unsteady(f"s3://{BUCKET}/long.csv", endpoint)
    dead.after = 0
    with dead.open() as stream, pytest.raises(SourceUnavailable, match="broke off at byte 0"):
        stream.read()


def test_a_store_that_does_not_answer_is_unavailable(s3: S3Client) -> None:
    with pytest.raises(SourceUnavailable, match="does not answer"):
        source("http://127.0.0.1:1", "c.csv").fingerprint()


def test_missing_credentials_are_named(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    empty = tmp_path_factory.mktemp("aws") / "none"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(empty))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with pytest.raises(SourceError, match="AWS_ACCESS_KEY_ID"):
        source(endpoint, "c.csv").fingerprint()
