"""What goes wrong while a recording is rendered: each fault has its reason, and nothing half done is seen."""

import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import psycopg
import pytest

from b3lb.db.engine import transaction
from b3lb.db.renders import cancel_render, retry_render
from b3lb.db.task_runs import TaskState
from b3lb.release import RetryPolicy
from b3lb.storage.directory import DirectoryStorage, DirectoryWriter
from b3lb.storage.interface import StorageError, StorageFullError
from b3lb.storage.layout import manifest_key
from b3lb.storage.manifest import read_manifest
from b3lb.storage.s3 import S3Storage
from b3lb_jobs import enqueued
from b3lb_jobs.enqueued import attempt_end
from b3lb_jobs.errors import PermanentError, TransientError, outcome_of
from b3lb_jobs.exit_codes import ExitCode
from b3lb_jobs.interruptions import StoppedError
from b3lb_jobs.record import watch
from b3lb_jobs.record.failures import FailureCode, RecordError
from tests.integration.database_farm import Farm
from tests.integration.job_runs import wait_for
from tests.integration.rendering_stage import UNREACHABLE, Attempts, RenderingStage, attempts, program

pytestmark = pytest.mark.integration
pytest.importorskip("cairocffi")


@pytest.fixture
def stage(farm: Farm, short_recording: bytes, tmp_path: Path) -> RenderingStage:
    return RenderingStage(farm, tmp_path / "storage", short_recording)


@pytest.fixture
def run(stage: RenderingStage, database_url: str, tmp_path: Path) -> Iterator[Attempts]:
    with attempts(stage, database_url, tmp_path / "tmp") as made:
        yield made


def encoder(folder: Path, script: str) -> str:
    """Return the PATH by which FFmpeg is a script, but for the question which version it is."""
    return program(folder / "bin", "ffmpeg", f'[ "$1" = -version ] && exec {shutil.which("ffmpeg")} -version\n{script}')


def test_a_server_that_is_away_is_named_without_its_secrets(stage: RenderingStage, run: Attempts) -> None:
    stage.plan()
    with pytest.raises(TransientError, match="StorageUnavailable"):
        run(storage=S3Storage(UNREACHABLE))
    ((_, state, reason, message),) = stage.records()
    assert (state, reason) == ("PENDING", "StorageUnavailable")
    assert "of-tests" not in message
    assert "?" not in message


def test_a_broken_archive_fails_for_good_and_says_why(
    stage: RenderingStage, run: Attempts, short_recording: bytes
) -> None:
    stage.plan()
    stage.put_archive(short_recording[: len(short_recording) // 2])
    with pytest.raises(PermanentError, match="ArchiveCorrupt") as caught:
        run()
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    ((_, state, reason, message),) = stage.records()
    assert (state, reason) == ("FAILED", "ArchiveCorrupt")
    assert "cut short" in message or "tar" in message
    assert stage.record_set_row()[:2] == ("FAILED", "ArchiveCorrupt")
    assert stage.farm.rows("SELECT count(*) FROM callbacks") == [(0,)]


def test_the_manifest_tells_of_a_profile_that_failed(
    stage: RenderingStage, run: Attempts, short_recording: bytes
) -> None:
    stage.plan()
    stage.plan("other")
    stage.put_archive(short_recording[: len(short_recording) // 2])
    with pytest.raises(PermanentError, match="ArchiveCorrupt"):
        run()
    found = read_manifest(stage.storage, manifest_key("default", stage.record_set)).unrendered
    assert [(entry.profile, entry.state, entry.reason) for entry in found] == [
        ("other", "PENDING", None),
        ("small", "FAILED", "ArchiveCorrupt"),
    ]


def test_an_archive_that_is_another_one_than_was_uploaded_is_refused(stage: RenderingStage, run: Attempts) -> None:
    stage.plan()
    stage.farm.run("UPDATE record_sets SET archive_sha256 = repeat('0', 64)")
    with pytest.raises(PermanentError, match="checksum"):
        run()
    assert stage.stored() == {"manifest.json"}


class Away(DirectoryStorage):
    """A storage that does not answer."""

    def open(self, key: str, **_more: Any) -> BinaryIO:
        raise StorageError(f"S3: no answer for {key}")


class Full(DirectoryStorage):
    """A storage that takes nothing but manifests."""

    def create(self, key: str, **_more: Any) -> DirectoryWriter:
        if "/videos/" in key:
            raise StorageFullError("storage directory: No space left on device")
        return super().create(key)


@pytest.mark.parametrize(
    ("storage", "reason"), [(Away, "StorageUnavailable"), (Full, "DiskFull")], ids=["away", "full"]
)
def test_what_may_pass_is_tried_again_until_the_last_attempt(
    storage: type[DirectoryStorage], reason: str, stage: RenderingStage, run: Attempts
) -> None:
    stage.plan()
    with pytest.raises(TransientError, match=reason):
        run(storage=storage(stage.root))
    assert [row[1:3] for row in stage.records()] == [("PENDING", reason)]
    assert stage.record_set_row() == ("RENDERING", None, None)
    with pytest.raises(PermanentError, match=reason) as caught:
        run(storage=storage(stage.root), number=2, last=True)
    assert caught.value.exit_code == ExitCode.INTERNAL
    assert [row[1:3] for row in stage.records()] == [("FAILED", reason)]
    assert stage.stored() <= {"manifest.json"}
    assert not list((stage.root / ".unfinished").iterdir())


def test_an_attempt_that_a_lost_pod_ended_is_tried_again(stage: RenderingStage, run: Attempts) -> None:
    """The video would else wait for a run that has ended well."""

    class Ended(DirectoryStorage):
        def create(self, key: str, **_more: Any) -> DirectoryWriter:
            with transaction(stage.engine, timeout_seconds=10) as connection:
                retry_render(connection, run_id=stage.runs["small"], reason="DiskFull", message="full")
            return super().create(key)

    stage.plan()
    with pytest.raises(TransientError, match="another pod"):
        run(storage=Ended(stage.root))
    assert (stage.stored(), stage.records()[0][1]) == (set(), "PENDING")


def test_a_cancelled_video_ends_ffmpeg_and_the_run_well(
    stage: RenderingStage, run: Attempts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PAUSE_SECONDS", 0.1)
    monkeypatch.setenv("PATH", encoder(tmp_path, f"touch {tmp_path}/begun; exec sleep 60"))
    run_id = stage.plan()

    def cancel() -> None:
        wait_for((tmp_path / "begun").exists, seconds=30)
        with transaction(stage.engine, timeout_seconds=10) as connection:
            cancel_render(connection, run_id)

    thread = threading.Thread(target=cancel)
    thread.start()
    began = time.monotonic()
    assert run()["rendered"] is False
    thread.join()
    assert time.monotonic() - began < 30
    assert [row[1:3] for row in stage.records()] == [("CANCELLED", "Cancelled")]
    assert stage.record_set_row()[:2] == ("FAILED", "Cancelled")


@pytest.mark.parametrize("last", [False, True])
def test_too_little_memory_is_raised_once_and_then_a_failure(
    stage: RenderingStage, run: Attempts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, last: bool
) -> None:
    """The kernel ends FFmpeg with signal 9; also where the queue allows no other attempt."""
    monkeypatch.setenv("PATH", encoder(tmp_path, "kill -9 $$"))
    stage.plan()
    with pytest.raises(TransientError, match="OutOfMemory") as first:
        run(last=last)
    assert (first.value.exit_code, first.value.countdown) == (ExitCode.OUT_OF_MEMORY, 0.0)
    policy = RetryPolicy(max_retries=0 if last else 3)
    _, end = attempt_end(outcome_of(first.value), policy, attempt=1)
    assert (end.state, end.retry_seconds) == (TaskState.RETRY, 0.0)
    assert [row[1:3] for row in stage.records()] == [("PENDING", "OutOfMemory")]
    assert stage.video()["memory_steps"] == 1
    with pytest.raises(PermanentError, match="OutOfMemory") as second:
        run(number=2)
    assert second.value.exit_code == ExitCode.OUT_OF_MEMORY
    assert [row[1:3] for row in stage.records()] == [("FAILED", "OutOfMemory")]


def test_more_memory_is_given_also_when_the_answer_to_that_is_lost(
    stage: RenderingStage, run: Attempts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", encoder(tmp_path, "kill -9 $$"))
    monkeypatch.setattr(enqueued, "_PAUSE_SECONDS", 0.1)
    stage.plan()
    with run.database.transaction():
        """The engine is made when it is needed first."""
    lost: list[bool] = []
    dialect = run.database.engine.dialect
    commit = dialect.do_commit

    def commit_and_lose_the_answer(connection: Any) -> None:
        commit(connection)
        if not lost and stage.video()["memory_steps"] == 1:
            lost.append(True)
            raise psycopg.OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(dialect, "do_commit", commit_and_lose_the_answer)
    with pytest.raises(TransientError, match="OutOfMemory"):
        run()
    assert lost
    assert [row[1:3] for row in stage.records()] == [("PENDING", "OutOfMemory")]
    assert stage.video()["memory_steps"] == 1


def test_too_little_memory_before_the_rendering_is_raised_once_as_well(
    stage: RenderingStage, run: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where PyPy's heap is full when the storage's library is loaded."""

    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("b3lb_jobs.record.render_record.begin_render", full)
    stage.plan()
    with pytest.raises(TransientError, match="OutOfMemory: out of memory") as first:
        run()
    assert (first.value.exit_code, first.value.countdown) == (ExitCode.OUT_OF_MEMORY, 0.0)
    assert stage.video()["memory_steps"] == 1
    assert [row[1] for row in stage.records()] == ["PENDING"]
    with pytest.raises(PermanentError, match="OutOfMemory: out of memory") as second:
        run(number=2)
    assert second.value.exit_code == ExitCode.OUT_OF_MEMORY
    assert [row[1:3] for row in stage.records()] == [("FAILED", "OutOfMemory")]


def test_an_encoder_that_fails_is_tried_once_more_and_its_last_words_are_kept(
    stage: RenderingStage, run: Attempts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = 'for file; do last=$file; done; echo "broken $last token=geheim" >&2; exit 1'
    monkeypatch.setenv("PATH", encoder(tmp_path, script))
    stage.plan()
    with pytest.raises(TransientError, match="EncoderFailed"):
        run()
    with pytest.raises(PermanentError, match="EncoderFailed"):
        run(number=2)
    ((_, state, reason, message),) = stage.records()
    assert (state, reason) == ("FAILED", "EncoderFailed")
    assert "broken file:video.mp4" in message
    assert str(tmp_path) not in message
    assert "geheim" not in message


def test_a_disk_without_room_is_told_apart_from_an_encoder_that_fails(
    stage: RenderingStage, run: Attempts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FFmpeg itself writes to a device that is always full."""
    real = shutil.which("ffmpeg")
    script = f"exec {real} -v error -f lavfi -i color=size=16x16:duration=1 -y -f rawvideo file:/dev/full"
    monkeypatch.setenv("PATH", encoder(tmp_path, script))
    stage.plan()
    with pytest.raises(TransientError, match="DiskFull"):
        run()
    assert [row[1:3] for row in stage.records()] == [("PENDING", "DiskFull")]


def test_a_fault_of_the_program_fails_the_video_too(
    stage: RenderingStage, run: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_arguments: Any) -> None:
        raise RuntimeError("token=geheim")

    monkeypatch.setattr("b3lb_jobs.record.production.make_plan", fault)
    stage.plan()
    with pytest.raises(RuntimeError):
        run()
    ((_, state, reason, message),) = stage.records()
    assert (state, reason, message) == ("FAILED", "InternalError", "RuntimeError: token=[redacted]")


def test_a_stop_in_the_middle_of_the_upload_leaves_nothing_that_is_seen(stage: RenderingStage, run: Attempts) -> None:
    class StoppedWriter(DirectoryWriter):
        def write(self, data: bytes) -> None:
            super().write(data[:100])
            raise StoppedError(signal.SIGTERM)

    class Stopped(DirectoryStorage):
        def create(self, key: str, **_more: Any) -> DirectoryWriter:
            kind = StoppedWriter if key.endswith(".mp4") else DirectoryWriter
            return kind(self._root, key=key, temporary=self._root / ".unfinished" / uuid4().hex)

    stage.plan()
    with pytest.raises(StoppedError):
        run(storage=Stopped(stage.root))
    assert [row[1] for row in stage.records()] == ["RENDERING"]
    assert not list((stage.root / ".unfinished").iterdir())
    assert {Path(name).suffix for name in stage.stored()} == {".png"}
    assert run(number=2)["rendered"] is True
    assert {Path(name).suffix for name in stage.stored()} == {".png", ".mp4", ".json"}
    assert len(stage.stored()) == 3


def test_a_pod_without_a_storage_says_so_in_the_videos_row(
    stage: RenderingStage, run: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "storage", None)
    stage.plan()
    with pytest.raises(PermanentError, match="no storage is configured") as caught:
        run()
    assert caught.value.exit_code == ExitCode.CONFIGURATION
    ((_, state, reason, message),) = stage.records()
    assert (state, reason) == ("FAILED", "StorageNotConfigured")
    assert "B3LB_S3_BUCKET" in message


def test_a_video_that_is_not_as_planned_is_not_published(
    stage: RenderingStage, run: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_arguments: Any) -> float:
        raise RecordError(FailureCode.VERIFY_FAILED, "9 frames instead of 10")

    monkeypatch.setattr("b3lb_jobs.record.production.verify", fault)
    stage.plan()
    with pytest.raises(TransientError, match="VerifyFailed: 9 frames"):
        run()
    assert stage.stored() == set()
