"""The queue housekeeping: from a recording that is past its hold to the line in the audit."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from b3lb.crypto import KeyRing
from b3lb.db.engine import transaction
from b3lb.storage.directory import DirectoryStorage
from b3lb.storage.installation import claim
from b3lb.storage.interface import Deleted, StorageError
from b3lb.storage.layout import archive_key, manifest_key, video_prefix
from b3lb_jobs.database import Database
from b3lb_jobs.errors import PermanentError, TransientError
from b3lb_jobs.housekeeping.delete_recording import DeleteRecordingArguments, delete_recording
from b3lb_jobs.housekeeping.finish_deletions import FinishDeletions
from b3lb_jobs.housekeeping.sweep_storage import SweepStorage
from b3lb_jobs.interface import Findings, Task, TaskContext
from b3lb_jobs.on_demand import RunContext
from tests.integration.database_farm import Farm
from tests.integration.job_runs import job
from tests.integration.recordings_stage import Recordings

pytestmark = pytest.mark.integration

OLD = datetime.now(UTC) - timedelta(days=3)
AUDIT = "SELECT kind, subject, actor, reason, objects, bytes FROM audit ORDER BY id"


class Stage(Recordings):
    """Record sets with objects in a directory."""

    def __init__(self, farm: Farm, root: Path) -> None:
        super().__init__(farm)
        self.root = root
        self.storage = DirectoryStorage(root)
        ((install_id,),) = farm.rows("SELECT id FROM installation")
        claim(self.storage, UUID(str(install_id)))

    def add(self, record_id: str, **more: Any) -> UUID:
        found = super().add(record_id, **more)
        self.put(found)
        return found

    def put(self, record_set: UUID, *, written: datetime = OLD) -> None:
        for key, size in ((archive_key("default", record_set), 1000), (manifest_key("default", record_set), 10)):
            with self.storage.create(key) as writer:
                writer.write(b"x" * size)
                writer.publish()
            os.utime(self.root / key, (written.timestamp(), written.timestamp()))

    def stored(self) -> set[str]:
        """Return the names of the record sets that the storage holds."""
        return {item.key.split("/")[2] for item in self.storage.list("recordsets/")}


class Broken(DirectoryStorage):
    """A storage that fails while ``away``."""

    away = True

    def delete_prefix(self, prefix: str) -> Deleted:
        if self.away:
            raise StorageError("S3: no answer")
        return super().delete_prefix(prefix)


@pytest.fixture
def stage(farm: Farm, tmp_path: Path) -> Stage:
    return Stage(farm, tmp_path)


def context(*, dry_run: bool = False) -> TaskContext:
    return TaskContext("default", KeyRing.generate(), tick_seconds=15, max_in_flight=100, dry_run=dry_run)


async def work(stage: Stage, task: Task[Any]) -> Findings:
    """Let a task work and write, as a tick does."""
    async with task:
        with transaction(stage.farm.engine, timeout_seconds=10) as connection:
            loaded = task.load(connection, datetime.now(UTC))
        findings = await task.work(loaded, at=datetime.now(UTC), seconds=20)
        with transaction(stage.farm.engine, timeout_seconds=10) as connection:
            if findings.write is not None:
                findings.write(connection)
    return findings


def test_a_run_of_the_queue_deletes_what_is_past_its_hold_and_a_dry_run_only_shows_it(
    stage: Stage, database_url: str
) -> None:
    old, young = stage.add("old", age=20), stage.add("young", age=10)
    stage.add("waiting", age=90, state="UPLOADED")
    settings = {"B3LB_STORAGE_DIRECTORY": str(stage.root)}

    shown = job(database_url, "housekeeping", "--dry-run", **settings)
    assert shown.returncode == 0, shown.stderr
    changes = [line["change"] for line in map(json.loads, shown.stdout.splitlines()) if "change" in line]
    assert [change["object"] for change in changes] == ["recording/old"]
    assert stage.states() == {"old": "RENDERED", "young": "RENDERED", "waiting": "UPLOADED"}

    done = job(database_url, "housekeeping", **settings)
    assert done.returncode == 0, done.stderr
    assert stage.states() == {"young": "RENDERED", "waiting": "UPLOADED"}
    assert str(old) not in stage.stored()
    assert str(young) in stage.stored()
    assert stage.farm.rows(AUDIT) == [("record-set", "old", "finish-deletions", "PastHold", 2, 1010)]
    runs = stage.farm.rows("SELECT task, state FROM task_runs ORDER BY task")
    assert runs == [
        (task, "SUCCESS") for task in ("finish-deletions", "forget-rows", "housekeeping-recordings", "sweep-storage")
    ]
    again = job(database_url, "housekeeping", **settings)
    assert (again.returncode, len(stage.farm.rows(AUDIT))) == (0, 1)


def test_a_farm_without_recordings_needs_no_storage(farm: Farm, database_url: str) -> None:
    Recordings(farm)
    done = job(database_url, "housekeeping")
    assert done.returncode == 0, done.stderr


async def test_a_record_set_stays_marked_until_the_storage_let_its_objects_go(stage: Stage) -> None:
    stage.add("r-1", state="DELETING")
    broken = Broken(stage.root)
    with pytest.raises(TransientError, match="S3: no answer"):
        await work(stage, FinishDeletions(context(), storage=broken))
    assert stage.states() == {"r-1": "DELETING"}
    broken.away = False
    findings = await work(stage, FinishDeletions(context(), storage=broken))
    assert findings.summary == {"deleted": 1, "failed": 0, "left": 0, "objects": 2, "bytes": 1010}
    assert (stage.states(), stage.stored()) == ({}, set())


async def test_objects_that_are_gone_already_are_no_fault(stage: Stage) -> None:
    gone = stage.add("r-1", state="DELETING")
    stage.storage.delete_prefix(f"recordsets/default/{gone}/")
    await work(stage, FinishDeletions(context(), storage=stage.storage))
    assert stage.states() == {}


async def test_what_is_to_be_deleted_without_a_storage_is_a_fault_of_the_settings(stage: Stage) -> None:
    stage.add("r-1", state="DELETING")
    with pytest.raises(PermanentError, match="B3LB_STORAGE_DIRECTORY"):
        await work(stage, FinishDeletions(context()))


async def test_abandoned_uploads_and_orphans_are_swept_and_audited(stage: Stage) -> None:
    kept = {str(stage.add(f"r-{number}")) for number in range(40)}
    orphan, young = uuid4(), uuid4()
    stage.put(orphan)
    stage.put(young, written=datetime.now(UTC))
    stage.storage.create("recordsets/x")._file.close()
    (upload,) = (stage.root / ".unfinished").iterdir()
    os.utime(upload, (OLD.timestamp(), OLD.timestamp()))

    shown = await work(stage, SweepStorage(context(dry_run=True), storage=stage.storage))
    assert [str(change["object"]) for change in shown.changes] == [f"upload/{upload.name}", f"record-set/{orphan}"]
    assert stage.stored() == {*kept, str(orphan), str(young)}

    findings = await work(stage, SweepStorage(context(), storage=stage.storage))
    assert findings.summary == {
        "stored": 42,
        "abandoned": 1,
        "left_over": 0,
        "orphans": 1,
        "refused": "",
        "swept": 2,
        "failed": 0,
        "bytes": 1010,
    }
    assert stage.stored() == {*kept, str(young)}
    assert not upload.exists()
    assert stage.farm.rows(AUDIT) == [
        ("upload", upload.name, "sweep-storage", "Abandoned", 0, 0),
        ("record-set", str(orphan), "sweep-storage", "Orphan", 2, 1010),
    ]


async def test_what_attempts_left_of_a_record_set_is_swept_when_nobody_works_on_it_any_more(stage: Stage) -> None:
    settled, working = stage.add("settled"), stage.add("working", state="RENDERING")
    anew = stage.add("anew")
    stage.farm.run("INSERT INTO records (record_set_id, profile, state) VALUES (:id, 'other', 'PENDING')", id=anew)
    places = {
        name: video_prefix("default", found, UUID(int=1))
        for name, found in {"settled": settled, "working": working, "anew": anew}.items()
    }
    keys = [f"{place}{name}" for place in places.values() for name in ("lost.mp4", "public.mp4")]
    for key in keys:
        with stage.storage.create(key) as writer:
            writer.write(b"video")
            writer.publish()
        os.utime(stage.root / key, (OLD.timestamp(), OLD.timestamp()))
    stage.farm.run(
        "UPDATE records SET file_key = :key WHERE record_set_id = :id AND state = 'RENDERED'",
        key=f"{places['settled']}public.mp4",
        id=settled,
    )
    findings = await work(stage, SweepStorage(context(), storage=stage.storage))
    assert (findings.summary["left_over"], findings.summary["swept"]) == (1, 1)
    gone = f"{places['settled']}lost.mp4"
    assert [key for key in keys if stage.storage.stat(key) is None] == [gone]
    assert stage.farm.rows(AUDIT) == [("video", gone, "sweep-storage", "Abandoned", 1, 5)]


async def test_a_storage_of_another_installation_is_not_swept(stage: Stage) -> None:
    for number in range(40):
        stage.add(f"r-{number}")
    stage.put(uuid4())
    stage.farm.run("UPDATE installation SET id = gen_random_uuid()")
    before = stage.stored()
    findings = await work(stage, SweepStorage(context(), storage=stage.storage))
    assert (findings.summary["refused"], findings.summary["swept"]) == ("OtherInstall", 0)
    assert [event.warning for event in findings.events] == [True]
    assert stage.stored() == before


async def test_a_database_that_lost_its_rows_does_not_empty_the_storage(stage: Stage) -> None:
    for _ in range(5):
        stage.put(uuid4())
    findings = await work(stage, SweepStorage(context(), storage=stage.storage))
    assert (findings.summary["refused"], findings.summary["orphans"]) == ("TooMany", 5)
    assert len(stage.stored()) == 5


class TestDeleteRecording:
    @pytest.fixture
    def run(self, database_url: str) -> Any:
        database = Database(database_url, application_name="test", monotonic=lambda: 0.0)

        def delete(storage: DirectoryStorage | None, record_set: UUID, *, attempt: int = 1) -> Any:
            context = RunContext(
                run_id=uuid4(),
                namespace="default",
                queue="housekeeping",
                attempt=attempt,
                keys=KeyRing.generate(),
                database=database,
                seconds_left=lambda: 60.0,
            )
            arguments = DeleteRecordingArguments(record_set=record_set, record_id="r-1", actor="kubectl: alice")
            return delete_recording(context, arguments, open_storage=lambda: storage)

        yield delete
        database.close()

    def test_one_recording_goes_at_once_and_the_audit_says_who_wanted_it(self, stage: Stage, run: Any) -> None:
        record_set = stage.add("r-1", state="UPLOADED")
        stage.add("r-2")
        result = run(stage.storage, record_set)
        assert result == {"record_id": "r-1", "deleted": True, "objects": 2, "bytes": 1010}
        assert stage.states() == {"r-2": "RENDERED"}
        assert len(stage.stored()) == 1
        assert stage.farm.rows(AUDIT) == [("record-set", "r-1", "kubectl: alice", "Requested", 2, 1010)]

    def test_an_attempt_goes_on_where_the_one_before_stopped(self, stage: Stage, run: Any) -> None:
        record_set = stage.add("r-1")
        with pytest.raises(TransientError):
            run(Broken(stage.root), record_set)
        assert stage.states() == {"r-1": "DELETING"}
        assert run(stage.storage, record_set, attempt=2)["deleted"] is True
        assert run(stage.storage, record_set, attempt=3) == {"record_id": "r-1", "deleted": False}

    def test_what_was_pushed_again_after_an_attempt_had_deleted_it_stays(self, stage: Stage, run: Any) -> None:
        record_set = stage.add("r-1")
        run(stage.storage, record_set)
        fresh = stage.add("r-1", state="UPLOADED")
        assert run(stage.storage, record_set, attempt=2) == {"record_id": "r-1", "deleted": False}
        assert stage.states() == {"r-1": "UPLOADED"}
        assert stage.stored() == {str(fresh)}

    def test_what_must_not_go_stays_and_the_reason_is_given(self, stage: Stage, run: Any) -> None:
        doomed = {
            "LegalHold": stage.add("held", legal_hold=True),
            "Rendering": stage.add("busy", state="RENDERING"),
            "there is no record set": uuid4(),
        }
        for reason, record_set in doomed.items():
            with pytest.raises(PermanentError, match=reason):
                run(stage.storage, record_set)
        assert len(stage.stored()) == 2

    def test_without_a_storage_nothing_is_marked(self, stage: Stage, run: Any) -> None:
        record_set = stage.add("r-1")
        with pytest.raises(PermanentError, match="no storage is configured"):
            run(None, record_set)
        assert stage.states() == {"r-1": "RENDERED"}
