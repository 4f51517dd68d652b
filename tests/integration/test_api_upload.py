"""Uploads of recordings at the HTTP level: what is kept, what is refused, and what faults leave behind."""

import hashlib
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from b3lb.crypto import KeyRing
from b3lb.db.engine import create_engine
from b3lb.db.node_states import CHANNEL
from b3lb.db.tables import installation, record_sets
from b3lb.storage.directory import DirectoryStorage
from b3lb.storage.interface import StorageError, StorageFullError
from b3lb.storage.manifest import Manifest, list_manifests
from tests.integration.database_farm import Farm
from tests.integration.upload_server import (
    BOUNDARY,
    NONCE,
    RECORD_ID,
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

ARCHIVE = b"archive " * 40_000
FUTURE = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def taking(farm: Farm) -> Farm:
    """A farm whose cluster has an upload secret."""
    farm.fill(1, [farm.cluster(secret=NONCE)])
    farm.fill_tenants([farm.tenant()], [farm.api_secret()])
    return farm


@pytest.fixture
def storage(tmp_path: Path) -> DirectoryStorage:
    (tmp_path / "storage").mkdir()
    return DirectoryStorage(tmp_path / "storage")


@pytest.fixture
def start(
    taking: Farm, database_url: str, storage: DirectoryStorage, tmp_path: Path
) -> Iterator[Callable[..., Server]]:
    stack: list[Any] = []

    def begin(**more: Any) -> Server:
        context = serving(settings_for(taking, database_url, tmp_path / "storage", **more), storage)
        stack.append(context)
        return context.__enter__()

    yield begin
    for context in stack:
        context.__exit__(None, None, None)


@pytest.fixture
def server(start: Callable[..., Server]) -> Server:
    return start(upload_max_bytes=1 << 20)


class Refusing(NamedTuple):
    """A server whose tests leave nothing in database and storage."""

    server: Server
    farm: Farm
    storage: DirectoryStorage


@pytest.fixture(scope="module")
def refusing(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refusing]:
    directory = tmp_path_factory.mktemp("storage")
    engine = create_engine(module_database_url, application_name="b3lb-tests")
    farm = Farm(engine)
    farm.fill(1, [farm.cluster(secret=NONCE)])
    storage = DirectoryStorage(directory)
    settings = settings_for(farm, module_database_url, directory, upload_max_bytes=1 << 20)
    with serving(settings, storage) as server:
        yield Refusing(server, farm, storage)
    engine.dispose()


def stored(storage: DirectoryStorage) -> list[str]:
    return sorted(found.key.rsplit("/", 1)[-1] for found in storage.list())


def nothing_is_left(taking: Farm, storage: DirectoryStorage) -> bool:
    return (
        rows(taking, record_sets) == []
        and stored(storage) in ([], ["installation.json"])
        and list(storage.unfinished(before=FUTURE)) == []
    )


@pytest.mark.parametrize("meta_first", [True, False])
def test_an_upload_is_kept_with_all_that_its_metadata_say(
    server: Server, taking: Farm, storage: DirectoryStorage, *, meta_first: bool
) -> None:
    parts = [part("meta", metadata_xml()), part("file", ARCHIVE)]
    answer = server.send(form(*(parts if meta_first else parts[::-1])))
    assert (answer.status, answer.body["status"], answer.body["recordId"]) == (200, "stored", RECORD_ID)
    (row,) = rows(taking, record_sets)
    assert (row["state"], row["record_id"], row["meeting_id"]) == ("UPLOADED", RECORD_ID, "UNI-001-lecture")
    assert (row["tenant_slug"], row["sub_id"], row["cluster_name"]) == ("UNI", 1, "default")
    assert row["secret_id"] is not None
    assert (row["meeting_name"], row["participants"], row["duration_milliseconds"]) == ("Lecture & more", 3, 240_000)
    assert row["ended_at"] == datetime(2016, 5, 9, 15, 36, 20, 121_000, UTC)
    assert row["metadata"] == {"meetingname": "Lecture", "bbb-origin": "Moodle"}
    assert (row["archive_bytes"], row["archive_sha256"]) == (len(ARCHIVE), hashlib.sha256(ARCHIVE).hexdigest())
    assert row["install_id"] == rows(taking, installation)[0]["id"]
    with storage.open(row["archive_key"]) as file:
        assert file.read() == ARCHIVE
    ((manifest, _),) = [item for item in list_manifests(storage, taking.namespace) if isinstance(item, tuple)]
    assert isinstance(manifest, Manifest)
    assert (manifest.record_set_id, manifest.record_id, manifest.tenant_slug) == (row["id"], RECORD_ID, "UNI")
    assert manifest.archive is not None
    assert manifest.archive.sha256 == row["archive_sha256"]


@pytest.mark.parametrize("meta_first", [True, False])
def test_an_upload_that_comes_again_is_answered_and_not_kept_twice(
    server: Server, taking: Farm, storage: DirectoryStorage, *, meta_first: bool
) -> None:
    first = server.send(upload_form(ARCHIVE, metadata_xml()))
    parts = [part("meta", metadata_xml()), part("file", ARCHIVE * 2)]
    again = server.send(form(*(parts if meta_first else parts[::-1])))
    assert (again.status, again.body) == (200, {**first.body, "status": "present"})
    assert len(rows(taking, record_sets)) == 1
    assert stored(storage) == ["archive.tar", "installation.json", "manifest.json"]
    assert list(storage.unfinished(before=FUTURE)) == []


def test_an_upload_of_what_is_being_deleted_comes_again_and_is_a_new_one(
    server: Server, taking: Farm, storage: DirectoryStorage
) -> None:
    first = server.send(upload_form(ARCHIVE, metadata_xml()))
    taking.run("UPDATE record_sets SET state = 'DELETING', deleting_at = now()")
    refused = server.send(upload_form(ARCHIVE, metadata_xml()))
    assert (refused.status, refused.body["error"]) == (503, "Deleting")
    taking.run("DELETE FROM record_sets")
    again = server.send(upload_form(ARCHIVE, metadata_xml()))
    assert (again.status, again.body["status"]) == (200, "stored")
    assert again.body["recordSet"] != first.body["recordSet"]
    assert list(storage.unfinished(before=FUTURE)) == []


def test_the_operator_is_told_at_once_and_only_of_what_is_new(server: Server, taking: Farm, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as listening:
        listening.execute(f"LISTEN {CHANNEL}")
        assert server.send(upload_form(ARCHIVE, metadata_xml())).status == 200
        assert [told.payload for told in listening.notifies(timeout=5, stop_after=1)] == [taking.namespace]
        assert server.send(upload_form(ARCHIVE, metadata_xml())).body["status"] == "present"
        assert list(listening.notifies(timeout=0.1)) == []


@pytest.mark.parametrize(
    ("meeting_id", "slug", "sub_id"),
    [("UNI-002-lecture", "UNI", 2), ("XX-001-a", "XX", 1), ("lecture", None, None), ("uni-001-a", None, None)],
)
def test_a_recording_of_nobody_known_is_kept_and_belongs_to_its_prefix(
    server: Server, taking: Farm, meeting_id: str, slug: str | None, sub_id: int | None
) -> None:
    assert server.send(upload_form(ARCHIVE, metadata_xml(meeting_id=meeting_id))).status == 200
    (row,) = rows(taking, record_sets)
    assert (row["tenant_slug"], row["sub_id"], row["secret_id"]) == (slug, sub_id, None)


@pytest.mark.parametrize("nonce", [None, "", "wrong", NONCE.upper(), NONCE + "&nonce=" + NONCE, "x" * 5000])
def test_without_the_upload_secret_nothing_is_taken(refusing: Refusing, nonce: str | None) -> None:
    answer = refusing.server.send(upload_form(ARCHIVE, metadata_xml()), nonce=nonce)
    assert (answer.status, answer.body["error"]) == (403, "WrongNonce")
    assert nothing_is_left(refusing.farm, refusing.storage)


def test_each_cluster_has_its_upload_secret_and_a_deleted_ones_counts_no_more(
    taking: Farm, start: Callable[..., Server]
) -> None:
    taking.fill([], [taking.cluster("other", secret="of-another"), taking.cluster("third")])
    server = start()
    assert server.send(upload_form(ARCHIVE, metadata_xml()), nonce="of-another").status == 200
    assert rows(taking, record_sets)[0]["cluster_name"] == "other"
    assert server.send(upload_form(ARCHIVE, metadata_xml())).status == 403


def test_a_front_end_that_lacks_a_new_key_calls_no_nonce_wrong(taking: Farm, start: Callable[..., Server]) -> None:
    """A server that is told so gives up; this one is to come again, until the front end is restarted."""
    server = start(encryption_keys=KeyRing.generate("k0").export())
    answer = server.send(upload_form(ARCHIVE, metadata_xml()))
    assert (answer.status, answer.body["error"]) == (503, "Unavailable")
    assert "k0" not in answer.body["message"]
    assert "k1" not in answer.body["message"]
    taking.fill([], [taking.cluster("third")])
    assert server.send(upload_form(ARCHIVE, metadata_xml())).status == 403


@pytest.mark.parametrize(
    "metadata",
    [
        metadata_xml(breakout=True),
        metadata_xml(more='<breakout parentMeetingId="x" sequence="1"/>'),
        metadata_xml().replace(b"<meta>", b"<meta><isBreakout>true</isBreakout>"),
    ],
)
def test_recordings_of_breakout_rooms_are_refused(refusing: Refusing, metadata: bytes) -> None:
    answer = refusing.server.send(upload_form(ARCHIVE, metadata))
    assert (answer.status, answer.body["error"]) == (403, "Breakout")
    assert nothing_is_left(refusing.farm, refusing.storage)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"", 400, "BadForm"),
        (b"no form at all", 400, "BadForm"),
        (form(), 400, "BadForm"),
        (form(part("file", ARCHIVE)), 400, "BadForm"),
        (form(part("meta", metadata_xml())), 400, "BadForm"),
        (form(part("file", b"a"), part("file", b"b"), part("meta", metadata_xml())), 400, "BadForm"),
        (form(*[part("other", b"x")] * 17), 400, "BadForm"),
        (upload_form(ARCHIVE, metadata_xml())[:-10], 400, "BadForm"),
        (upload_form(ARCHIVE, b"x" * (2 << 20)), 400, "BadForm"),
        (upload_form(b"", metadata_xml()), 400, "EmptyArchive"),
        (upload_form(ARCHIVE, b"<recording>"), 400, "BadMetadata"),
        (upload_form(ARCHIVE, b"<!DOCTYPE a [<!ENTITY b 'c'>]><recording/>"), 400, "BadMetadata"),
        (upload_form(ARCHIVE, metadata_xml(record_id="../../etc/passwd")), 400, "BadMetadata"),
        (upload_form(ARCHIVE, metadata_xml(meeting_id="")), 400, "BadMetadata"),
        (upload_form(bytes((1 << 20) + 1), metadata_xml()), 413, "TooLarge"),
        (upload_form(bytes(8 << 20), metadata_xml()), 413, "TooLarge"),
        (form(part("other", bytes(8 << 20))), 413, "TooLarge"),
    ],
)
def test_bad_input_is_refused_with_its_reason_and_leaves_nothing(
    refusing: Refusing, body: bytes, status: int, reason: str
) -> None:
    answer = refusing.server.send(body)
    assert (answer.status, answer.body["error"]) == (status, reason)
    assert nothing_is_left(refusing.farm, refusing.storage)


def test_a_body_of_unknown_length_is_limited_all_the_same(
    server: Server, taking: Farm, storage: DirectoryStorage
) -> None:
    chunked = {"Transfer-Encoding": "chunked"}
    answer = server.send(upload_form(bytes(8 << 20), metadata_xml()), headers=chunked)
    assert (answer.status, answer.body["error"]) == (413, "TooLarge")
    assert nothing_is_left(taking, storage)
    assert server.send(upload_form(ARCHIVE, metadata_xml()), headers=chunked).status == 200


def open_upload(server: Server, length: int) -> socket.socket:
    """Begin an upload of so many bytes on a bare connection."""
    opened = socket.create_connection((server.host, server.port), timeout=20)
    head = (
        f"POST /b3lb/b/record/upload?nonce={NONCE} HTTP/1.1\r\nHost: b3lb\r\nContent-Length: {length}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
    )
    opened.sendall(head.encode())
    return opened


def test_an_upload_that_brings_nothing_is_ended(refusing: Refusing) -> None:
    with open_upload(refusing.server, 10_000) as opened:
        opened.sendall(upload_form(ARCHIVE, metadata_xml())[:5000])
        assert opened.recv(1000).startswith(b"HTTP/1.1 408 ")
    assert nothing_is_left(refusing.farm, refusing.storage)


def test_an_upload_that_breaks_off_leaves_nothing(refusing: Refusing) -> None:
    storage = refusing.storage
    with open_upload(refusing.server, 1 << 20) as opened:
        opened.sendall(upload_form(ARCHIVE, metadata_xml())[:200_000])
        until(lambda: list(storage.unfinished(before=FUTURE)) != [])
    until(lambda: list(storage.unfinished(before=FUTURE)) == [])
    assert nothing_is_left(refusing.farm, storage)


def test_more_uploads_at_once_than_allowed_are_told_to_come_again(start: Callable[..., Server]) -> None:
    server = start(uploads_at_once=1)
    with open_upload(server, 10_000):
        time.sleep(0.2)
        answer = server.send(upload_form(ARCHIVE, metadata_xml()))
    assert (answer.status, answer.body["error"], answer.headers["retry-after"]) == (503, "Busy", "30")


@pytest.mark.parametrize(
    ("method", "error", "status"),
    [
        ("create", StorageError("gone"), 503),
        ("create", StorageFullError("full"), 507),
        ("list", StorageError("x"), 503),
    ],
)
def test_a_storage_that_fails_is_told_and_the_next_attempt_works(
    server: Server,
    taking: Farm,
    storage: DirectoryStorage,
    monkeypatch: pytest.MonkeyPatch,
    *,
    method: str,
    error: StorageError,
    status: int,
) -> None:
    def fail(*_arguments: object, **_more: object) -> None:
        raise error

    monkeypatch.setattr(DirectoryStorage, method, fail)
    assert server.send(upload_form(ARCHIVE, metadata_xml())).status == status
    monkeypatch.undo()
    assert nothing_is_left(taking, storage)
    assert server.send(upload_form(ARCHIVE, metadata_xml())).status == 200


def test_an_archive_whose_row_could_not_be_written_stays_with_its_manifest(
    server: Server, taking: Farm, storage: DirectoryStorage
) -> None:
    """The database may have committed before it went away; only the sweep of orphans may judge."""
    with taking.engine.begin() as connection:
        connection.exec_driver_sql("LOCK TABLE record_sets IN SHARE MODE")
        answer = server.send(upload_form(ARCHIVE, metadata_xml()))
    assert (answer.status, answer.body["error"]) == (503, "Unavailable")
    assert stored(storage) == ["archive.tar", "installation.json", "manifest.json"]
    assert server.send(upload_form(ARCHIVE, metadata_xml())).body["status"] == "stored"


def test_it_is_ready_while_the_database_serves_its_version(server: Server, taking: Farm) -> None:
    assert server.get("/livez") == (200, "ok\n")
    assert server.get("/readyz") == (200, "ok\n")
    with taking.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE schema_version SET oldest_program = 999, version = 999")
    status, text = server.get("/readyz")
    assert (status, "too old" in text) == (503, True)


def test_a_strangers_storage_takes_nothing(start: Callable[..., Server], storage: DirectoryStorage) -> None:
    with storage.create("installation.json") as writer:
        writer.write(b'{"install_id": "00000000-0000-0000-0000-000000000001"}')
        writer.publish()
    server = start()
    assert "belongs to installation" in server.get("/readyz")[1]
    answer = server.send(upload_form(ARCHIVE, metadata_xml()))
    assert (answer.status, "belongs to installation" in answer.body["message"]) == (503, True)


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)
