"""A lost index of recordings comes back from the manifests."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from b3lb.db.engine import transaction
from b3lb.db.manifests import manifest_of
from b3lb.db.rebuild import Rebuilt, adopt_install_id, newest_of_each, restore_record_set
from b3lb.db.record_sets import read_database_install_id
from b3lb.db.tables import record_sets, records
from b3lb.storage.directory import DirectoryStorage
from b3lb.storage.layout import archive_key
from b3lb.storage.manifest import ArchiveEntry, Manifest, UnrenderedEntry, VideoEntry, list_manifests, write_manifest
from tests.integration.database_farm import Farm

pytestmark = pytest.mark.integration

WHEN = datetime(2026, 11, 1, 12, tzinfo=UTC)
INSTALL_ID = UUID(int=7)


def video(profile: str, **changes: Any) -> VideoEntry:
    return VideoEntry(
        **{
            "profile": profile,
            "key": f"recordsets/default/x/{profile}.mp4",
            "size": 5,
            "sha256": "1" * 64,
            "nonce": f"nonce-of-{profile}",
            "content_type": "video/mp4",
            "finished_at": WHEN,
            **changes,
        }
    )


def manifest(number: int, **changes: Any) -> Manifest:
    return Manifest(
        **{
            "install_id": INSTALL_ID,
            "namespace": "default",
            "record_set_id": UUID(int=number),
            "record_id": f"recording-{number}",
            "meeting_id": "UNI-001-m",
            "tenant_slug": "UNI",
            "sub_id": 1,
            "uploaded_at": WHEN,
            "ended_at": WHEN - timedelta(hours=1),
            "metadata": {"a": "b"},
            "archive": ArchiveEntry(key=archive_key("default", UUID(int=number)), size=3, sha256="0" * 64),
            **changes,
        }
    )


def restore(farm: Farm, *manifests: Manifest) -> list[Rebuilt]:
    with transaction(farm.engine, timeout_seconds=5) as connection:
        return [restore_record_set(connection, item) for item in manifests]


def rows(farm: Farm, table: sa.Table) -> list[dict[str, Any]]:
    with transaction(farm.engine, timeout_seconds=5) as connection:
        return [dict(row) for row in connection.execute(sa.select(table)).mappings()]


def test_record_sets_and_videos_come_back_from_the_storage_as_they_were(farm: Farm, tmp_path: Path) -> None:
    farm.fill(1)
    (secret,) = farm.fill_tenants([farm.tenant()], [farm.api_secret()]).values()
    storage = DirectoryStorage(tmp_path)
    for item in (manifest(1), manifest(2, videos=(video("hd"), video("sd")), legal_hold=True)):
        write_manifest(storage, item)
    found = [item[0] for item in list_manifests(storage, "default") if isinstance(item, tuple)]
    assert restore(farm, *newest_of_each(found)) == [Rebuilt(record_set=True, videos=0), Rebuilt(True, 2)]
    first, second = sorted(rows(farm, record_sets), key=lambda row: row["record_id"])
    assert (first["state"], first["secret_id"], first["metadata"]) == ("UPLOADED", secret, {"a": "b"})
    assert (second["state"], second["rendered_at"], second["legal_hold"]) == ("RENDERED", WHEN, True)
    assert {row["nonce"] for row in rows(farm, records)} == {"nonce-of-hd", "nonce-of-sd"}


FAILED = UnrenderedEntry(
    profile="sd", state="FAILED", reason="OutOfMemory", message="more than 8 GiB", finished_at=WHEN - timedelta(hours=1)
)
CANCELLED = UnrenderedEntry(profile="sd", state="CANCELLED", reason="Cancelled", finished_at=WHEN)
PENDING = UnrenderedEntry(profile="sd", state="PENDING")


@pytest.mark.parametrize(
    ("entry", "videos", "state"),
    [
        (FAILED, ("hd",), ("FAILED", "OutOfMemory", "sd: more than 8 GiB")),
        (FAILED, (), ("FAILED", "OutOfMemory", "sd: more than 8 GiB")),
        (CANCELLED, ("hd",), ("RENDERED", None, None)),
        (CANCELLED, (), ("FAILED", "Cancelled", None)),
        (PENDING, ("hd",), ("UPLOADED", None, None)),
    ],
)
def test_what_became_of_all_profiles_decides_and_not_the_good_videos_alone(
    farm: Farm, entry: UnrenderedEntry, videos: tuple[str, ...], state: tuple[str | None, ...]
) -> None:
    original = manifest(1, videos=tuple(video(name) for name in videos), unrendered=(entry,))
    assert restore(farm, original) == [Rebuilt(record_set=True, videos=len(videos))]
    (row,) = rows(farm, record_sets)
    assert (row["state"], row["reason"], row["message"]) == state
    assert {row["profile"]: row["state"] for row in rows(farm, records)} == {
        **dict.fromkeys(videos, "RENDERED"),
        "sd": entry.state,
    }
    with transaction(farm.engine, timeout_seconds=10) as connection:
        assert manifest_of(connection, UUID(int=1)) == original


def test_rebuilding_twice_changes_nothing(farm: Farm) -> None:
    item = manifest(1, videos=(video("hd"),))
    restore(farm, item)
    before = rows(farm, record_sets), rows(farm, records)
    assert restore(farm, item) == [Rebuilt(record_set=False, videos=0)]
    assert (rows(farm, record_sets), rows(farm, records)) == before


def test_a_recording_that_is_there_under_another_id_stays(farm: Farm) -> None:
    restore(farm, manifest(1))
    other = manifest(2, record_id="recording-1", videos=(video("hd"),))
    assert restore(farm, other) == [Rebuilt(record_set=False, videos=0)]
    assert [row["id"] for row in rows(farm, record_sets)] == [UUID(int=1)]


def test_of_two_manifests_of_a_recording_the_one_with_videos_counts_then_the_newer() -> None:
    later = manifest(2, record_id="r", uploaded_at=WHEN + timedelta(days=1))
    rendered = manifest(3, record_id="r", videos=(video("hd"),))
    older = manifest(1, record_id="r")
    assert newest_of_each([older, later]) == [later]
    assert newest_of_each([later, rendered, older]) == [rendered]


def test_the_database_takes_over_the_storages_installation(farm: Farm) -> None:
    with transaction(farm.engine, timeout_seconds=5) as connection:
        adopt_install_id(connection, INSTALL_ID)
        assert read_database_install_id(connection) == INSTALL_ID


def test_the_manifest_of_restored_rows_is_the_one_that_they_came_from(farm: Farm) -> None:
    original = manifest(1, videos=(video("a", width=640, height=360), video("b", poster_key="recordsets/x/b.png")))
    restore(farm, original)
    with transaction(farm.engine, timeout_seconds=10) as connection:
        assert manifest_of(connection, UUID(int=1)) == original
        assert manifest_of(connection, UUID(int=2)) is None
    farm.run("UPDATE record_sets SET state = 'DELETING', deleting_at = now()")
    with transaction(farm.engine, timeout_seconds=10) as connection:
        assert manifest_of(connection, UUID(int=1)) is None
