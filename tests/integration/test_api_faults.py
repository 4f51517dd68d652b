"""Faults around the front end: whatever dies or fills up, no archive that was answered is lost, none is half there."""

import contextlib
import dataclasses
import hashlib
import os
import resource
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from uuid import uuid4

import psycopg
import pytest

from b3lb.db.tables import record_sets
from b3lb.storage.directory import DirectoryStorage
from b3lb.storage.interface import CHUNK_BYTES, Storage
from b3lb.storage.s3 import Bucket, S3Storage
from dev.postgres import Postgres
from dev.processes import free_ports, wait_until
from dev.s3 import S3Server
from tests.integration.api_process import ApiProcess, in_bucket, in_directory
from tests.integration.database_farm import Farm
from tests.integration.playback_stage import figures
from tests.integration.upload_server import (
    BOUNDARY,
    NONCE,
    Answer,
    Server,
    form,
    metadata_xml,
    part,
    rows,
    serving,
    settings_for,
    upload_form,
)

pytestmark = pytest.mark.integration

FUTURE = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def taking(farm: Farm) -> Farm:
    """A farm whose cluster has an upload secret."""
    farm.fill(1, [farm.cluster(secret=NONCE)])
    return farm


@pytest.fixture
def storage(tmp_path: Path) -> DirectoryStorage:
    (tmp_path / "storage").mkdir()
    return DirectoryStorage(tmp_path / "storage")


class Upload:
    """An upload on a bare connection that is sent piece by piece; the metadata come last."""

    def __init__(self, server: Server, archive: bytes, record_id: str) -> None:
        self._body = upload_form(archive, metadata_xml(record_id))
        self._sent = 0
        self._opened = socket.create_connection((server.host, server.port), timeout=120)
        head = (
            f"POST /b3lb/b/record/upload?nonce={NONCE} HTTP/1.1\r\nHost: b3lb\r\nContent-Length: {len(self._body)}\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
        )
        self._opened.sendall(head.encode())

    def send(self, count: int) -> None:
        """Send so many bytes more."""
        self._opened.sendall(self._body[self._sent : self._sent + count])
        self._sent += count

    def finish(self) -> int:
        """Send the rest; return the answer's status, 0 if there is none."""
        with self._opened:
            try:
                self.send(len(self._body))
                answer = self._opened.recv(1000)
            except ConnectionError:
                return 0
        return int(answer.split()[1]) if answer else 0

    def answer(self) -> bytes:
        """Return the answer as it came, without sending more."""
        with self._opened:
            return self._opened.recv(1000)

    def drip(self) -> int:
        """Send single bytes, each well within the time for a pause, until the server has enough; return its status."""
        self._opened.settimeout(0.2)
        with self._opened:
            for _ in range(100):
                self.send(1)
                with contextlib.suppress(TimeoutError):
                    return int(self._opened.recv(1000).split()[1])
        return 0


def whole(farm: Farm, storage: Storage, archives: dict[str, bytes]) -> set[str]:
    """Return the recordings in the database, after making sure that the storage has each of them and no half one."""
    known = {row["record_id"]: row for row in rows(farm, record_sets)}
    for record_id, row in known.items():
        with storage.open(row["archive_key"]) as file:
            assert file.read() == archives[record_id]
        assert row["archive_sha256"] == hashlib.sha256(archives[record_id]).hexdigest()
    lengths = {len(archive) for archive in archives.values()}
    assert {found.size for found in storage.list() if found.key.endswith("/archive.tar")} <= lengths
    return set(known)


@pytest.mark.timeout(300)
def test_an_upload_goes_on_when_s3_comes_back(
    s3_server: S3Server, taking: Farm, database_url: str, tmp_path: Path
) -> None:
    """B3LB_TEST_S3_AWAY_SECONDS asks for another time than the 4 of every run."""
    away = float(os.environ.get("B3LB_TEST_S3_AWAY_SECONDS", "4"))
    bucket = s3_server.bucket(f"b3lb-{uuid4().hex}")
    storage = S3Storage(dataclasses.replace(bucket, attempts=Bucket(name="any").attempts))
    archive = os.urandom(20 << 20)
    with serving(settings_for(taking, database_url, tmp_path), storage) as server:
        upload = Upload(server, archive, "away")
        upload.send(12 << 20)
        assert wait_until(lambda: list(storage.unfinished(before=FUTURE)) != [], timeout=10)
        s3_server.process.kill()
        with ThreadPoolExecutor(1) as thread:
            finishing = thread.submit(upload.finish)
            time.sleep(away)
            s3_server.__enter__()
            status = finishing.result()
        if away <= 10:
            assert status == 200
        if status != 200:
            assert status == 503
            assert server.send(upload_form(archive, metadata_xml("away"))).status == 200
        assert whole(taking, storage, {"away": archive}) == {"away"}


def test_an_upload_is_given_back_when_s3_stays_away(
    s3_server: S3Server, taking: Farm, database_url: str, tmp_path: Path
) -> None:
    storage = s3_server.storage(f"b3lb-{uuid4().hex}")
    archive = os.urandom(8 << 20)
    with serving(settings_for(taking, database_url, tmp_path), storage) as server:
        upload = Upload(server, archive, "away")
        upload.send(6 << 20)
        assert wait_until(lambda: list(storage.unfinished(before=FUTURE)) != [], timeout=10)
        s3_server.process.kill()
        assert upload.finish() == 503
        s3_server.__enter__()
        assert whole(taking, storage, {"away": archive}) == set()
        assert server.send(upload_form(archive, metadata_xml("away"))).body["status"] == "stored"
        assert whole(taking, storage, {"away": archive}) == {"away"}


def test_an_upload_whose_end_the_database_does_not_see_leaves_nothing_and_comes_again(
    postgres_server: Postgres, taking: Farm, database_url: str, storage: DirectoryStorage, tmp_path: Path
) -> None:
    name = database_url.rsplit("/", 1)[-1].split("?", maxsplit=1)[0]
    archive = os.urandom(2 << 20)
    with (
        serving(settings_for(taking, database_url, tmp_path / "storage"), storage) as server,
        psycopg.connect(postgres_server.database_url("postgres"), autocommit=True) as administrator,
    ):
        upload = Upload(server, archive, "away")
        upload.send(1 << 20)
        assert wait_until(lambda: list(storage.unfinished(before=FUTURE)) != [], timeout=10)
        administrator.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND application_name = %s",
            [name, "b3lb-api"],
        )
        try:
            assert upload.finish() == 503
        finally:
            administrator.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        assert whole(taking, storage, {"away": archive}) == set()
        assert [found.key for found in storage.list()] == ["installation.json"]
        assert list(storage.unfinished(before=FUTURE)) == []
        assert server.send(upload_form(archive, metadata_xml("away"))).body["status"] == "stored"


def test_a_killed_front_end_loses_nothing_that_it_answered(
    taking: Farm, database_url: str, storage: DirectoryStorage, tmp_path: Path
) -> None:
    archives = {f"recording-{number}": os.urandom(number << 19) for number in range(1, 9)}
    environment = {**in_directory(tmp_path / "storage"), "B3LB_UPLOADS_AT_ONCE": "8"}

    killed = Event()

    def push(record_id: str) -> tuple[str, int]:
        try:
            upload = Upload(api.server, archives[record_id], record_id)
        except ConnectionError:
            return record_id, 0
        try:
            for sent in range(0, len(archives[record_id]), 1 << 18):
                upload.send(1 << 18)
                # The greatest one is in the middle of it when the kill comes, however late that is.
                time.sleep(0.02) if sent < 3 << 20 else killed.wait(30)
        except ConnectionError:
            pass
        return record_id, upload.finish()

    with ApiProcess(taking, database_url, tmp_path / "log", environment) as api, ThreadPoolExecutor(8) as threads:
        pushing = [threads.submit(push, record_id) for record_id in archives]
        assert wait_until(lambda: len(rows(taking, record_sets)) >= 3, timeout=20, interval=0.01)
        api.process.kill()
        killed.set()
        answered = {record_id for record_id, status in (one.result() for one in pushing) if status == 200}
        kept = whole(taking, storage, archives)
        assert answered <= kept < set(archives)
        api.start()
        assert {status for _, status in threads.map(push, archives)} == {200}
        assert whole(taking, storage, archives) == set(archives)
        assert NONCE.encode() not in api.log.read_bytes()


def test_a_front_end_that_has_to_end_says_so_and_leaves_nothing(
    taking: Farm, database_url: str, storage: DirectoryStorage, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(settings_for(taking, database_url, tmp_path / "storage", shutdown_seconds=0), storage) as server:
        upload = Upload(server, bytes(1 << 20), "ending")
        upload.send(1 << 19)
        assert wait_until(lambda: list(storage.unfinished(before=FUTURE)) != [], timeout=10)
    answer = upload.answer()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"Stopping"' in answer
    assert list(storage.unfinished(before=FUTURE)) == []
    assert rows(taking, record_sets) == []
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_full_volume_is_told_and_takes_uploads_again_when_there_is_room(
    taking: Farm, database_url: str, storage: DirectoryStorage, tmp_path: Path
) -> None:
    """The limit of a process for files stands for the volume: the kernel refuses to write, too."""
    archive = os.urandom(6 << 20)
    with serving(settings_for(taking, database_url, tmp_path / "storage"), storage) as server:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, before[1]))
        try:
            refused = server.send(upload_form(archive, metadata_xml("full")))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert (refused.status, refused.body["error"]) == (507, "StorageFull")
        assert list(storage.unfinished(before=FUTURE)) == []
        assert server.send(upload_form(archive, metadata_xml("full"))).status == 200
        assert whole(taking, storage, {"full": archive}) == {"full"}


def test_many_uploads_at_once_are_bounded_and_all_get_their_turn(
    taking: Farm, database_url: str, storage: DirectoryStorage, tmp_path: Path
) -> None:
    (metrics_port,) = free_ports(1)
    archives = {f"recording-{number}": os.urandom(1 << 20) for number in range(32)}
    settings = settings_for(
        taking, database_url, tmp_path / "storage", uploads_at_once=4, upload_idle_seconds=1, metrics_port=metrics_port
    )

    def push(record_id: str) -> list[Answer]:
        answers: list[Answer] = []
        while not answers or answers[-1].status == 503:
            time.sleep(0.05 * len(answers))
            answers.append(server.send(upload_form(archives[record_id], metadata_xml(record_id))))
        return answers

    with serving(settings, storage) as server, ThreadPoolExecutor(32) as threads:
        loris = threads.submit(Upload(server, b"x" * 10_000, "loris").drip)
        answers = [answer for found in threads.map(push, archives) for answer in found]
        assert loris.result() == 408
        measured = figures(metrics_port)
    refused = [answer for answer in answers if answer.status != 200]
    assert {answer.body["error"] for answer in refused} == {"Busy"}
    assert {answer.headers["retry-after"] for answer in refused} == {"30"}
    assert whole(taking, storage, archives) == set(archives)
    assert measured['b3lb_api_uploads_total{outcome="Stored"}'] == 32
    assert measured['b3lb_api_uploads_total{outcome="Busy"}'] == len(refused)
    assert measured['b3lb_api_uploads_total{outcome="Idle"}'] == 1
    assert measured["b3lb_api_upload_seconds_count"] == 32
    assert measured["b3lb_api_uploads_in_flight"] == 0


@pytest.mark.parametrize("kind", ["directory", "s3"])
def test_memory_does_not_grow_with_the_archive(
    request: pytest.FixtureRequest, taking: Farm, database_url: str, tmp_path: Path, kind: str
) -> None:
    """At most 64 MiB more than before; B3LB_TEST_UPLOAD_MIB asks for another size than the 128 MiB of every run."""
    size = int(os.environ.get("B3LB_TEST_UPLOAD_MIB", "128")) << 20
    if kind == "directory":
        (tmp_path / "storage").mkdir()
        environment = in_directory(tmp_path / "storage")
    else:
        environment = in_bucket(request.getfixturevalue("s3_server").bucket(f"b3lb-{uuid4().hex}"))
    with ApiProcess(taking, database_url, tmp_path / "log", environment) as api:
        assert api.server.send(upload_form(b"archive", metadata_xml("small"))).status == 200
        before = api.memory
        begins = time.monotonic()
        peak = send_zeros(api, size)
        print(f"{kind}: {size >> 20} MiB in {time.monotonic() - begins:.1f} s, {(peak - before) >> 20} MiB of growth")
        assert peak - before < 64 << 20
        (row,) = (row for row in rows(taking, record_sets) if row["record_id"] != "small")
        assert row["archive_bytes"] == size
        assert NONCE.encode() not in api.log.read_bytes()


def send_zeros(api: ApiProcess, size: int) -> int:
    """Upload an archive of zeros; return the most memory that the process had meanwhile."""
    head = part("meta", metadata_xml()) + part("file", b"")[:-2]
    tail = b"\r\n" + form()
    peak = 0

    def body() -> Iterator[bytes]:
        nonlocal peak
        yield head
        for _ in range(0, size, CHUNK_BYTES):
            yield bytes(CHUNK_BYTES)
            peak = max(peak, api.memory)
        yield tail

    assert api.server.send(body(), headers={"Content-Length": str(len(head) + size + len(tail))}).status == 200
    return max(peak, api.memory)
