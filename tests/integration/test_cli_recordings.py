"""``b3lb recordings`` on a database and a storage: what is read, held, linked, deleted and restored."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import pytest

from b3lb.crypto import KeyRing
from b3lb.db.configuration import apply_queues
from b3lb.db.engine import transaction
from b3lb.db.rows import QueueRow
from b3lb.recordings.links import LinkProblem, link_problem
from b3lb.storage.directory import DirectoryStorage
from b3lb.storage.installation import claim
from b3lb.storage.layout import archive_key, manifest_key
from b3lb.storage.manifest import ArchiveEntry, Manifest, VideoEntry, read_manifest, write_manifest
from b3lb_jobs.housekeeping.delete_recording import DeleteRecordingArguments
from tests.integration.database_farm import Farm
from tests.integration.recordings_stage import Recordings
from tests.unit.commands import b3lb

pytestmark = pytest.mark.integration

KEYS = "k1:" + "A" * 43 + "="
WHEN = datetime(2026, 11, 1, 12, tzinfo=UTC)
INSTALLATION = UUID(int=7)


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DirectoryStorage:
    monkeypatch.setenv("B3LB_STORAGE_DIRECTORY", str(tmp_path))
    return DirectoryStorage(tmp_path)


@pytest.fixture(autouse=True)
def environment(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("B3LB_STORAGE_DIRECTORY", raising=False)
    monkeypatch.setenv("B3LB_DATABASE_URL", database_url)
    monkeypatch.setenv("B3LB_NAMESPACE", "default")


def manifest(number: int, **changes: Any) -> Manifest:
    return Manifest(
        **{
            "install_id": INSTALLATION,
            "namespace": "default",
            "record_set_id": UUID(int=number),
            "record_id": f"r-{number}",
            "meeting_id": "UNI-001-m",
            "uploaded_at": WHEN,
            "ended_at": WHEN - timedelta(hours=1),
            "archive": ArchiveEntry(key=archive_key("default", UUID(int=number)), size=3, sha256="0" * 64),
            **changes,
        }
    )


def video(nonce: str) -> VideoEntry:
    return VideoEntry(
        profile="hd", key="k", size=5, sha256="1" * 64, nonce=nonce, content_type="video/mp4", finished_at=WHEN
    )


def document(*words: str) -> Any:
    code, out, err = b3lb("recordings", *words, "-o", "json")
    assert code == 0, err
    return json.loads(out)


def test_recordings_callbacks_and_the_audit_are_read(farm: Farm) -> None:
    Recordings(farm).add("r-1", age=1)
    (item,) = document("list", "--tenant", "uni", "--state", "rendered")["items"]
    assert (item["recordID"], item["videoBytes"], item["holdDays"]) == ("r-1", 500, 14)
    assert document("list", "--state", "FAILED")["items"] == []
    assert document("show", "r-1")["videos"][0]["profile"] == "standard"
    assert "nonce" not in json.dumps(document("show", "r-1"))
    assert document("callbacks")["items"] == document("audit")["items"] == []
    code, _, err = b3lb("recordings", "list", "--state", "DONE")
    assert (code, "UPLOADED, RENDERING" in err) == (2, True)
    assert b3lb("recordings", "show", "nothing")[0] == 1


def test_a_hold_is_noted_in_the_audit_and_in_the_manifest(farm: Farm, storage: DirectoryStorage) -> None:
    record_set = Recordings(farm).add("r-1")
    write_manifest(storage, manifest(1, record_set_id=record_set, record_id="r-1"))
    code, out, err = b3lb("recordings", "hold", "r-1", "--reason", "court order 7")
    assert (code, out, err) == (0, "recording r-1 is held\n", "")
    kept = read_manifest(storage, manifest_key("default", record_set))
    assert (kept.legal_hold, kept.legal_hold_reason) == (True, "court order 7")
    # Of a video that was published while the hold was noted the old manifest does not know.
    assert [entry.profile for entry in kept.videos] == ["standard"]
    assert "held already" in b3lb("recordings", "hold", "r-1", "--reason", "court order 7")[1]
    (line,) = document("audit")["items"]
    assert (line["action"], line["reason"], line["actor"].startswith("b3lb of ")) == ("hold", "court order 7", True)
    assert b3lb("recordings", "release", "r-1", "--reason", "closed")[0] == 0
    assert read_manifest(storage, manifest_key("default", record_set)).legal_hold is False


def test_a_hold_without_a_storage_says_what_is_missing(farm: Farm) -> None:
    Recordings(farm).add("r-1")
    code, out, err = b3lb("recordings", "hold", "r-1", "--reason", "x")
    assert (code, out, "no storage is configured" in err) == (0, "recording r-1 is held\n", True)
    assert b3lb("recordings", "hold", "nothing", "--reason", "x")[0] == 1


def test_links_lead_to_the_videos_and_end_when_they_are_to(farm: Farm, monkeypatch: pytest.MonkeyPatch) -> None:
    Recordings(farm).add("r-1")
    (link,) = document("link", "r-1", "--base-url", "https://bbb.example.org/")["items"]
    assert link["url"] == "https://bbb.example.org/b3lb/r/nonce-default-r-1"
    monkeypatch.delenv("B3LB_ENCRYPTION_KEYS", raising=False)
    assert b3lb("recordings", "link", "r-1", "--base-url", "https://x", "--expires", "1h")[0] == 78
    monkeypatch.setenv("B3LB_ENCRYPTION_KEYS", KEYS)
    monkeypatch.setenv("B3LB_RECORDINGS_URL", "https://bbb.example.org")
    (link,) = document("link", "r-1", "--expires", "1h")["items"]
    query, now = dict(parse_qsl(urlsplit(link["url"]).query)), datetime.now(UTC)
    assert link_problem("nonce-default-r-1", query, KeyRing.parse(KEYS), now) is None
    (link,) = document("link", "r-1", "--expires", "30d")["items"]
    assert datetime.fromisoformat(link["expiresAt"]) - now > timedelta(days=29)
    assert [b3lb("recordings", "link", "r-1", "--expires", text)[0] for text in ("367d", "0d", "d", "25h")] == [2] * 4
    monkeypatch.setenv("B3LB_PLAYBACK_SIGNED_LINKS", "true")
    code, _, err = b3lb("recordings", "link", "r-1")
    assert (code, "--expires" in err) == (2, True)
    monkeypatch.delenv("B3LB_PLAYBACK_SIGNED_LINKS")
    late = now + timedelta(hours=2)
    assert link_problem("nonce-default-r-1", query, KeyRing.parse(KEYS), late) is LinkProblem.EXPIRED
    monkeypatch.delenv("B3LB_RECORDINGS_URL")
    code, _, err = b3lb("recordings", "link", "r-1")
    assert (code, "--base-url" in err) == (78, True)


def test_deleting_is_a_run_of_the_queue_that_has_the_task(farm: Farm) -> None:
    record_set = Recordings(farm).add("r-1")
    queues = [QueueRow("housekeeping", "u1", 1, ("delete-recording",))]
    with transaction(farm.engine, timeout_seconds=10) as connection:
        apply_queues(connection, "default", queues, complete=True)
    run = document("delete", "r-1")
    assert (run["task"], run["queue"]) == ("delete-recording", "housekeeping")
    asked = DeleteRecordingArguments.model_validate(run["arguments"])
    assert (asked.record_set, asked.record_id) == (record_set, "r-1")


def test_a_lost_index_comes_back_and_the_database_becomes_that_of_the_storage(storage: DirectoryStorage) -> None:
    assert b3lb("recordings", "rebuild")[0] == 1, "a storage that nobody used"
    claim(storage, INSTALLATION)
    write_manifest(storage, manifest(1))
    write_manifest(storage, manifest(2, videos=(video("n2"),)))
    write_manifest(storage, manifest(3, namespace="elsewhere"))
    dry = document("rebuild", "--dry-run")
    assert (dry["manifests"], dry["recordSets"], dry["videos"], dry["dryRun"]) == (2, 2, 1, True)
    assert document("list")["items"] == []
    done = document("rebuild")
    assert (done["recordSets"], done["videos"], done["adoptedInstallation"]) == (2, 1, str(INSTALLATION))
    assert {item["recordID"]: item["state"] for item in document("list")["items"]} == {
        "r-1": "UPLOADED",
        "r-2": "RENDERED",
    }
    again = document("rebuild")
    assert (again["recordSets"], again["videos"], again["adoptedInstallation"]) == (0, 0, None)
    assert document("rebuild", "--dry-run")["recordSets"] == 0


def test_a_database_in_use_is_not_given_to_another_installation_by_mistake(
    farm: Farm, storage: DirectoryStorage
) -> None:
    Recordings(farm).add("r-1")
    claim(storage, INSTALLATION)
    write_manifest(storage, manifest(2))
    code, _, err = b3lb("recordings", "rebuild")
    assert (code, "--adopt" in err, str(INSTALLATION) in err) == (1, True, True)
    assert document("rebuild", "--adopt")["recordSets"] == 1


def test_a_manifest_that_is_none_is_told_and_the_others_come_back(farm: Farm, storage: DirectoryStorage) -> None:
    claim(storage, INSTALLATION)
    write_manifest(storage, manifest(1))
    with storage.create(manifest_key("default", UUID(int=9)), content_type="application/json") as writer:
        writer.write(b"{}")
        writer.publish()
    code, out, err = b3lb("recordings", "rebuild")
    assert (code, "1 record sets and 0 videos restored" in out, "1 manifest cannot be read" in err) == (1, True, True)
    assert "unreadable: recordsets/default/" in out
    assert farm.rows("SELECT count(*) FROM record_sets") == [(1,)]


def test_without_a_storage_there_is_nothing_to_restore_from() -> None:
    code, _, err = b3lb("recordings", "rebuild")
    assert (code, "B3LB_STORAGE_DIRECTORY" in err) == (78, True)
