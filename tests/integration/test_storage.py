"""Both storages keep the same promises: whole objects or none, and nothing outside of their place."""

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import urllib3

from b3lb.storage import installation
from b3lb.storage.directory import DirectoryStorage
from b3lb.storage.installation import InstallationMismatchError
from b3lb.storage.interface import (
    Deleted,
    InvalidKeyError,
    ObjectNotFoundError,
    Storage,
    StorageError,
    StorageFullError,
)
from b3lb.storage.layout import archive_key, manifest_key, record_set_of, record_set_prefix
from b3lb.storage.manifest import ArchiveEntry, Manifest, ManifestError, list_manifests, read_manifest, write_manifest
from b3lb.storage.s3 import Bucket, S3Storage
from dev.s3 import S3Server

pytestmark = pytest.mark.integration

PART = 5 << 20
FUTURE = datetime.now(UTC) + timedelta(days=1)
RECORD_SET = UUID(int=1)
INSTALL_ID = UUID(int=7)


@pytest.fixture
def s3_storage(moto_endpoint: str) -> S3Storage:
    bucket = Bucket(
        name=f"b3lb-{uuid4().hex}",
        endpoint=moto_endpoint,
        region="us-east-1",
        access_key_id="key",
        secret_access_key="a-secret-of-tests",
        part_bytes=PART,
        attempts=3,
    )
    storage = S3Storage(bucket)
    storage._client.create_bucket(Bucket=bucket.name)
    return storage


@pytest.fixture
def real_s3_storage(s3_server: S3Server) -> S3Storage:
    return s3_server.storage(f"b3lb-{uuid4().hex}")


@pytest.fixture
def directory_storage(tmp_path: Path) -> DirectoryStorage:
    return DirectoryStorage(tmp_path)


@pytest.fixture(params=["directory_storage", "s3_storage", "real_s3_storage"])
def storage(request: pytest.FixtureRequest) -> Storage:
    found: Storage = request.getfixturevalue(request.param)
    return found


def put(storage: Storage, key: str, data: bytes = b"x") -> None:
    with storage.create(key) as writer:
        writer.write(data)
        writer.publish()


def keys(storage: Storage, prefix: str = "") -> list[str]:
    return [found.key for found in storage.list(prefix)]


@pytest.mark.parametrize("size", [0, 1, PART, 2 * PART + 17])
def test_an_object_comes_back_as_it_was_written(storage: Storage, size: int) -> None:
    data = os.urandom(size)
    with storage.create("a/b.bin", content_type="video/mp4") as writer:
        for start in range(0, size, 1 << 20):
            writer.write(data[start : start + (1 << 20)])
        assert storage.stat("a/b.bin") is None
        assert keys(storage) == []
        published = writer.publish()
        assert (writer.size, writer.sha256) == (size, hashlib.sha256(data).hexdigest())
    assert (published.key, published.size) == ("a/b.bin", size)
    assert abs(published.modified_at - datetime.now(UTC)) < timedelta(minutes=1)
    with storage.open("a/b.bin") as file:
        assert file.read() == data
    assert list(storage.unfinished(before=FUTURE)) == []


def test_a_range_of_an_object_is_read_alone(storage: Storage) -> None:
    put(storage, "digits", b"0123456789")
    for start, length, expected in [(0, 3, b"012"), (7, None, b"789"), (8, 100, b"89"), (3, 0, b"")]:
        with storage.open("digits", start=start, length=length) as file:
            assert file.read() == expected


def test_what_is_not_published_leaves_nothing(storage: Storage) -> None:
    with storage.create("a/b") as writer:
        writer.write(bytes(PART + 1))
    assert keys(storage) == []
    assert list(storage.unfinished(before=FUTURE)) == []


def test_a_writer_that_died_is_found_by_its_age_and_dropped(storage: Storage) -> None:
    writer = storage.create("a/b")
    writer.write(bytes(PART + 1))
    # The simulated S3 server has all uploads begin in 2010.
    assert list(storage.unfinished(before=datetime(2009, 1, 1, tzinfo=UTC))) == []
    (found,) = storage.unfinished(before=FUTURE)
    storage.drop(found)
    storage.drop(found)
    assert list(storage.unfinished(before=FUTURE)) == []
    writer.discard()


def test_publishing_replaces_an_older_object_at_once(storage: Storage) -> None:
    put(storage, "a", b"old")
    with storage.create("a") as writer:
        writer.write(b"new")
        with storage.open("a") as file:
            assert file.read() == b"old"
        writer.publish()
    with storage.open("a") as file:
        assert file.read() == b"new"


def test_objects_are_listed_and_deleted_below_a_prefix_only(storage: Storage) -> None:
    for key in ("a/1", "a/b/2", "ab/3", "c"):
        put(storage, key, b"xy")
    assert sorted(keys(storage)) == ["a/1", "a/b/2", "ab/3", "c"]
    assert sorted(keys(storage, "a/")) == ["a/1", "a/b/2"]
    assert storage.delete_prefix("a/") == Deleted(2, 4)
    assert storage.delete_prefix("a/") == Deleted()
    assert storage.delete("c") == Deleted(1, 2)
    assert storage.delete("c") == Deleted()
    assert keys(storage) == ["ab/3"]


def test_an_object_that_is_not_there_is_said_to_be_missing(storage: Storage) -> None:
    assert storage.stat("a") is None
    with pytest.raises(ObjectNotFoundError, match="no object a"):
        storage.open("a")


@pytest.mark.parametrize("key", ["", "/a", "a/", "../a", "a/../b", "a//b", ".unfinished/x", "-a", "a b", "a\n", "ä"])
def test_a_key_that_could_leave_its_place_is_refused(storage: Storage, key: str) -> None:
    with pytest.raises(InvalidKeyError):
        storage.create(key)
    with pytest.raises(InvalidKeyError):
        storage.open(key)
    with pytest.raises(InvalidKeyError):
        storage.delete(key)


@pytest.mark.parametrize("prefix", ["a", "/", "../"])
def test_a_prefix_that_could_take_too_much_is_refused(storage: Storage, prefix: str) -> None:
    put(storage, "abc")
    with pytest.raises(InvalidKeyError):
        storage.delete_prefix(prefix)
    assert keys(storage) == ["abc"]


def test_a_manifest_comes_back_and_a_broken_one_says_where(storage: Storage) -> None:
    manifest = Manifest(
        install_id=INSTALL_ID,
        namespace="default",
        record_set_id=RECORD_SET,
        record_id="abc-1",
        meeting_id="UNI-001-m",
        uploaded_at=FUTURE,
        ended_at=FUTURE,
        archive=ArchiveEntry(key=archive_key("default", RECORD_SET), size=3, sha256="0" * 64),
    )
    write_manifest(storage, manifest)
    assert read_manifest(storage, manifest_key("default", RECORD_SET)) == manifest
    put(storage, manifest_key("default", UUID(int=2)), b'{"version": 99}')
    put(storage, manifest_key("default", UUID(int=3)), b"x" * (2 << 20))
    put(storage, archive_key("default", RECORD_SET))
    listed = list(list_manifests(storage, "default"))
    assert [item[0] for item in listed if isinstance(item, tuple)] == [manifest]
    newer, large = sorted(str(item) for item in listed if isinstance(item, ManifestError))
    assert "manifest.json: version: " in newer
    assert large.endswith("manifest.json: more than 1048576 bytes")


def test_an_empty_storage_is_claimed_once_and_another_installation_is_refused(storage: Storage) -> None:
    installation.claim(storage, INSTALL_ID)
    installation.claim(storage, INSTALL_ID)
    assert installation.read_install_id(storage) == INSTALL_ID
    with pytest.raises(InstallationMismatchError, match="belongs to installation"):
        installation.claim(storage, UUID(int=8))


def test_a_storage_with_objects_and_no_id_is_not_claimed(storage: Storage) -> None:
    put(storage, "a")
    with pytest.raises(InstallationMismatchError, match="no installation's ID"):
        installation.claim(storage, INSTALL_ID)


def test_what_a_file_system_keeps_for_itself_is_no_object(tmp_path: Path) -> None:
    """A new volume has ``lost+found``, which root alone may look into."""
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "lost+found" / "file").touch()
    storage = DirectoryStorage(tmp_path)
    installation.claim(storage, INSTALL_ID)
    assert [found.key for found in storage.list()] == ["installation.json"]


def test_a_volume_that_fails_while_it_is_read_is_the_storages_fault() -> None:
    with DirectoryStorage(Path("/proc/self")).open("mem") as file, pytest.raises(StorageError, match="Input/output"):
        file.read(1)


def test_an_object_tells_its_record_set() -> None:
    assert record_set_of(archive_key("default", RECORD_SET)) == ("default", RECORD_SET)
    assert record_set_of(f"{record_set_prefix('n', RECORD_SET)}a/b.mp4") == ("n", RECORD_SET)
    for key in ("installation.json", "recordsets/default/x/archive.tar", f"recordsets/{RECORD_SET}", "recordsets/"):
        assert record_set_of(key) is None


def test_a_bucket_gives_urls_that_serve_an_object_for_a_while(s3_storage: S3Storage) -> None:
    put(s3_storage, "a.mp4", b"video")
    url = s3_storage.presign("a.mp4", seconds=60, file_name="lecture.mp4")
    assert url is not None
    answer = urllib3.request("GET", url, timeout=5)
    assert answer.data == b"video"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="lecture.mp4"'


def test_a_directory_gives_no_urls_and_serves_no_links(directory_storage: DirectoryStorage, tmp_path: Path) -> None:
    put(directory_storage, "a/b")
    (tmp_path / "a" / "link").symlink_to("/etc/passwd")
    assert directory_storage.presign("a/b", seconds=60) is None
    assert keys(directory_storage) == ["a/b"]


def test_a_full_volume_is_said_to_be_full_and_leaves_nothing(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path)
    with storage.create("a") as writer:
        writer._file.close()
        # A device that is always full, in place of the file.
        writer._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115 - the writer closes it
        with pytest.raises(StorageFullError, match="No space left on device"):
            writer.write(b"x")
    assert keys(storage) == []
    assert list(storage.unfinished(before=FUTURE)) == []


def test_a_directory_that_went_away_is_the_storages_fault_and_its_path_stays_secret(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path / "gone")
    with pytest.raises(StorageError) as caught:
        storage.create("a")
    assert str(tmp_path) not in str(caught.value)


def test_no_credential_is_shown(moto_endpoint: str, s3_storage: S3Storage) -> None:
    assert "a-secret-of-tests" not in repr(s3_storage)
    wrong = S3Storage(
        Bucket(
            name="no-such-bucket",
            endpoint=moto_endpoint,
            region="us-east-1",
            access_key_id="key",
            secret_access_key="a-secret-of-tests",
            attempts=1,
        )
    )
    with pytest.raises(StorageError) as caught:
        put(wrong, "a")
    assert "a-secret-of-tests" not in str(caught.value)
    assert "NoSuchBucket" in str(caught.value)


def test_what_another_program_aborted_is_gone_for_the_writer_too(s3_storage: S3Storage) -> None:
    with s3_storage.create("a") as writer:
        writer.write(bytes(2 * PART))
        (found,) = s3_storage.unfinished(before=FUTURE)
        s3_storage.drop(found)
        with pytest.raises(StorageError):
            writer.publish()
    assert keys(s3_storage) == []
