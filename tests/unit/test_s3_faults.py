"""The S3 storage goes on over answers that fail and connections that break, for a while."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import botocore.exceptions
import pytest
from botocore.awsrequest import AWSResponse

from b3lb.storage.interface import ObjectNotFoundError, StorageError, StorageFullError
from b3lb.storage.s3 import Bucket, S3Storage, faults
from b3lb.storage.s3_reader import ATTEMPTS, S3Reader

DATA = bytes(range(256)) * 16


class Body:
    """A body that breaks after so many bytes."""

    def __init__(self, data: bytes, breaks_after: int) -> None:
        self._file = io.BytesIO(data)
        self._left = breaks_after
        self.closed = False

    def read(self, size: int) -> bytes:
        if self._left <= 0:
            raise botocore.exceptions.ReadTimeoutError(endpoint_url="https://s3.example")
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        self.closed = True


class Client:
    """As much of an S3 client as reading takes; each body breaks after the next of ``breaks`` bytes."""

    def __init__(self, *breaks: int) -> None:
        self._breaks = iter(breaks)
        self.requests: list[dict[str, Any]] = []
        self.bodies: list[Body] = []

    def get_object(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        first, _, last = request.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        data = DATA[int(first) : int(last) + 1 if last else None]
        self.bodies.append(Body(data, next(self._breaks, len(DATA) + 1)))
        return {"ETag": '"1"', "Body": self.bodies[-1]}


def reader(client: Client, pauses: list[float], **more: Any) -> S3Reader:
    given: dict[str, Any] = {"start": 0, "length": None, **more}
    return S3Reader(client, bucket="b", key="k", faults=faults, pause=pauses.append, **given)


def test_a_connection_that_breaks_is_made_anew_where_it_broke() -> None:
    client, pauses = Client(1000, 0, 500), list[float]()
    with io.BufferedReader(reader(client, pauses)) as file:
        assert file.read() == DATA
    assert [request.get("Range") for request in client.requests] == [None, "bytes=1000-", "bytes=1000-", "bytes=1500-"]
    assert {request.get("IfMatch") for request in client.requests[1:]} == {'"1"'}
    assert pauses == [1, 2, 1]
    assert all(body.closed for body in client.bodies)


def test_a_range_stays_a_range_over_a_broken_connection() -> None:
    client = Client(10)
    with io.BufferedReader(reader(client, [], start=100, length=50)) as file:
        assert file.read() == DATA[100:150]
    assert [request["Range"] for request in client.requests] == ["bytes=100-149", "bytes=110-149"]


def test_a_server_that_breaks_every_connection_is_given_up() -> None:
    client, pauses = Client(*[0] * 100), list[float]()
    file = reader(client, pauses)
    with pytest.raises(StorageError, match="k broke off: ReadTimeoutError"):
        file.read(10)
    assert len(client.requests) == ATTEMPTS
    assert sum(pauses) == 31


@pytest.fixture
def storage() -> S3Storage:
    return S3Storage(
        Bucket(
            name="bucket",
            endpoint="http://127.0.0.1:9",
            region="us-east-1",
            access_key_id="key",
            secret_access_key="a-secret-of-tests",
            part_bytes=5 << 20,
            attempts=3,
        )
    )


@contextlib.contextmanager
def answers(storage: S3Storage, monkeypatch: pytest.MonkeyPatch, *statuses: int, code: str = "") -> Iterator[list[str]]:
    """Have the server answer with these states, one after the other, then 200; yields the requests."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _seconds: None)
    pending = list(statuses)
    seen: list[str] = []

    def answer(request: Any, **_more: Any) -> AWSResponse:
        status = pending.pop(0) if pending else 200
        seen.append(f"{request.method} {status}")
        body = b"" if status == 200 else f"<Error><Code>{code or 'SlowDown'}</Code></Error>".encode()
        raw = io.BytesIO(body)
        raw.stream = lambda **_: iter([body])  # type: ignore[attr-defined] # as urllib3 has it
        return AWSResponse(
            request.url, status, {"content-length": "4", "last-modified": "Mon, 23 Nov 2026 17:00:00 GMT"}, raw
        )

    storage._client.meta.events.register("before-send.s3", answer)
    yield seen
    storage._client.meta.events.unregister("before-send.s3", answer)


def test_a_request_that_fails_is_sent_again(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    with answers(storage, monkeypatch, 503, 500) as seen, storage.create("a") as writer:
        writer.write(b"four")
        assert writer.publish().size == 4
    assert seen == ["PUT 503", "PUT 500", "PUT 200", "HEAD 200"]


def test_a_server_that_keeps_failing_is_given_up_with_its_code(
    storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answers(storage, monkeypatch, *[503] * 9) as seen, storage.create("a") as writer:
        writer.write(b"four")
        with pytest.raises(StorageError, match=r"^S3: PutObject: SlowDown$"):
            writer.publish()
    assert seen == ["PUT 503"] * 3


def test_an_object_that_came_out_shorter_is_a_fault(storage: S3Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    with answers(storage, monkeypatch), storage.create("a") as writer:
        writer.write(b"more than four")
        with pytest.raises(StorageError, match="has 4 bytes instead of 14"):
            writer.publish()


@pytest.mark.parametrize(
    ("code", "kind"), [("QuotaExceeded", StorageFullError), ("NoSuchKey", ObjectNotFoundError), ("Other", StorageError)]
)
def test_what_the_server_says_decides_about_the_kind_of_fault(
    storage: S3Storage, monkeypatch: pytest.MonkeyPatch, code: str, kind: type[StorageError]
) -> None:
    with answers(storage, monkeypatch, 400, code=code), pytest.raises(StorageError) as caught:
        storage.open("a")
    assert type(caught.value) is kind
    assert "secret" not in str(caught.value)


def test_a_server_that_is_away_is_a_fault_without_addresses(
    storage: S3Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _seconds: None)
    with pytest.raises(StorageError, match=r"^S3: EndpointConnectionError$"):
        storage.open("a")
