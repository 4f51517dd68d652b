"""The task render-record: from an archive in the storage to a video that people can see, or a reason why not."""

import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import pytest

from b3lb.crypto import KeyRing
from b3lb.db.engine import transaction
from b3lb.db.renders import RenderedFile, begin_render, cancel_render, finish_render, retry_render
from b3lb.storage.directory import DirectoryStorage, DirectoryWriter
from b3lb.storage.interface import Storage, StorageError, StorageFullError, StoredObject
from b3lb.storage.layout import manifest_key
from b3lb.storage.manifest import read_manifest
from b3lb_jobs.database import Database
from b3lb_jobs.errors import PermanentError, TransientError
from b3lb_jobs.exit_codes import ExitCode
from b3lb_jobs.interruptions import StoppedError
from b3lb_jobs.on_demand import RunContext
from b3lb_jobs.record import watch
from b3lb_jobs.record.failures import FailureCode, RecordError
from b3lb_jobs.record.publish import Publication
from b3lb_jobs.record.render_record import RenderRecordArguments, render_record
from dev.recordings.options import Webcams
from tests.integration.database_farm import Farm
from tests.integration.job_runs import job, wait_for
from tests.integration.rendering_stage import RenderingStage, program, recording_archive

pytestmark = pytest.mark.integration
pytest.importorskip("cairocffi")

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return recording_archive(tmp_path_factory.mktemp("recording"))


@pytest.fixture
def stage(farm: Farm, archive: bytes, tmp_path: Path) -> RenderingStage:
    return RenderingStage(farm, tmp_path / "storage", archive)


@pytest.fixture
def run(stage: RenderingStage, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Return a function that does an attempt inside of the test; its temporary files are below ``tmp``."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    database = Database(database_url, application_name="test", monotonic=time.monotonic)

    def attempt(profile: str = "small", *, storage: Storage | None = None, number: int = 1, last: bool = False) -> Any:
        context = RunContext(
            run_id=stage.runs[profile],
            namespace="default",
            queue="record",
            attempt=number,
            keys=KeyRing.generate(),
            database=database,
            seconds_left=lambda: 60.0,
            last_attempt=last,
        )
        arguments = RenderRecordArguments.model_validate(stage.arguments(profile))
        try:
            return render_record(context, arguments, open_storage=lambda: storage or stage.storage)
        finally:
            assert list((tmp_path / "tmp").iterdir()) == [], "temporary files are left"

    yield attempt
    database.close()


def encoder(folder: Path, script: str) -> str:
    """Return the PATH by which FFmpeg is a script, but for the question which version it is."""
    return program(folder / "bin", "ffmpeg", f'[ "$1" = -version ] && exec {shutil.which("ffmpeg")} -version\n{script}')


def probed(video: Path) -> dict[str, Any]:
    entries = "stream=codec_name,width,height,nb_read_frames:format=duration"
    command = ["ffprobe", "-v", "error", "-count_frames", "-of", "json", "-show_entries", entries, str(video)]
    document = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return {"codecs": [s["codec_name"] for s in document["streams"]], **document["streams"][0], **document["format"]}


def test_a_pod_renders_a_recording_and_everybody_can_see_it(
    stage: RenderingStage, database_url: str, tmp_path: Path
) -> None:
    run_id = stage.plan()
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = stage.environment(stage.release()) | {"TMPDIR": str(temporary)}
    done = job(database_url, "--run", str(run_id), **environment)
    assert done.returncode == 0, done.stderr
    assert list(temporary.iterdir()) == []
    assert stage.record_set_row() == ("RENDERED", None, None)

    video = stage.video()
    assert (video["state"], video["progress_percent"], video["attempts"]) == ("RENDERED", 100.0, 1)
    assert (video["content_type"], video["width"], video["height"]) == ("video/mp4", 320, 240)
    assert abs(video["duration_milliseconds"] - 2000) <= 500
    assert len(video["nonce"]) >= 32
    found = probed(stage.root / video["file_key"])
    assert (found["codecs"], found["width"], found["nb_read_frames"]) == (["h264", "aac"], 320, "10")
    assert (stage.root / video["poster_key"]).read_bytes().startswith(b"\x89PNG")

    manifest = read_manifest(stage.storage, manifest_key("default", stage.record_set))
    assert [(entry.profile, entry.key, entry.nonce) for entry in manifest.videos] == [
        ("small", video["file_key"], video["nonce"])
    ]
    assert (manifest.record_id, manifest.archive is not None) == ("r-1", True)
    assert stage.farm.rows("SELECT state, attempts, reason FROM callbacks") == [("PENDING", 1, "ForbiddenAddress")]
    ((result, percent),) = stage.farm.rows("SELECT result, progress_percent FROM task_runs")
    assert (result["rendered"], result["frames"]) == (True, 10)
    assert "Py" in result["interpreter"]
    assert percent is not None


def test_a_recording_of_sound_only_becomes_a_webm(stage: RenderingStage, run: Run, tmp_path: Path) -> None:
    stage.put_archive(recording_archive(tmp_path / "recording", seconds=1, webcams=Webcams.NONE))
    stage.plan(container="webm")
    assert run()["rendered"] is True
    video = stage.video()
    assert video["content_type"] == "video/webm"
    assert probed(stage.root / video["file_key"])["codecs"] == ["vp9", "opus"]
    assert "NoWebcams" in [warning["code"] for warning in video["warnings"]]


def test_a_broken_archive_fails_for_good_and_says_why(stage: RenderingStage, run: Run, archive: bytes) -> None:
    stage.plan()
    stage.put_archive(archive[: len(archive) // 2])
    with pytest.raises(PermanentError, match="ArchiveCorrupt") as caught:
        run()
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    ((_, state, reason, message),) = stage.records()
    assert (state, reason) == ("FAILED", "ArchiveCorrupt")
    assert "cut short" in message or "tar" in message
    assert stage.record_set_row()[:2] == ("FAILED", "ArchiveCorrupt")
    assert stage.farm.rows("SELECT count(*) FROM callbacks") == [(0,)]


def test_an_archive_that_is_another_one_than_was_uploaded_is_refused(stage: RenderingStage, run: Run) -> None:
    stage.plan()
    stage.farm.run("UPDATE record_sets SET archive_sha256 = repeat('0', 64)")
    with pytest.raises(PermanentError, match="checksum"):
        run()
    assert stage.stored() == set()


def test_one_profiles_failure_leaves_the_other_ones_video(stage: RenderingStage, run: Run) -> None:
    stage.plan("bad", width=7)
    stage.plan("good")
    with pytest.raises(PermanentError, match="ProfileInvalid"):
        run("bad")
    assert stage.record_set_row()[0] == "RENDERING"
    assert run("good")["rendered"] is True
    assert [row[:3] for row in stage.records()] == [("bad", "FAILED", "ProfileInvalid"), ("good", "RENDERED", None)]
    state, reason, message = stage.record_set_row()
    assert (state, reason) == ("FAILED", "ProfileInvalid")
    assert message.startswith("bad: ")
    manifest = read_manifest(stage.storage, manifest_key("default", stage.record_set))
    assert [entry.profile for entry in manifest.videos] == ["good"]


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
    storage: type[DirectoryStorage], reason: str, stage: RenderingStage, run: Run
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
    assert stage.stored() == set()
    assert not list((stage.root / ".unfinished").iterdir())


def test_a_second_attempt_of_a_rendered_video_changes_nothing_and_does_what_was_left(
    stage: RenderingStage, run: Run
) -> None:
    stage.plan()
    with stage.storage.create(f"recordsets/default/{stage.record_set}/videos/{stage.video()['id']}/lost.mp4") as writer:
        writer.publish()
    first = run()
    before = stage.video()
    names = {before["file_key"].split("/", 3)[3], before["poster_key"].split("/", 3)[3], "manifest.json"}
    assert stage.stored() == names, "the object of an attempt that was lost is deleted"
    stage.storage.delete(manifest_key("default", stage.record_set))
    again = run(number=2)
    assert (first["rendered"], again["rendered"], "frames" in again) == (True, True, False)
    assert stage.video() == before
    assert stage.stored() == names
    assert stage.farm.rows("SELECT count(*) FROM callbacks") == [(1,)]


def test_an_obsolete_run_renders_nothing(stage: RenderingStage, run: Run) -> None:
    stage.plan()
    stage.farm.run("UPDATE records SET run_id = :other", other=uuid4())
    assert run() == {"profile": "small", "rendered": False}
    assert [row[1] for row in stage.records()] == ["PENDING"]


def test_a_video_that_another_run_took_over_meanwhile_is_withdrawn(stage: RenderingStage, run: Run) -> None:
    class TakenOver(DirectoryStorage):
        def create(self, key: str, **_more: Any) -> DirectoryWriter:
            stage.farm.run("UPDATE records SET run_id = :other", other=uuid4())
            return super().create(key)

    stage.plan()
    assert run(storage=TakenOver(stage.root))["rendered"] is False
    assert stage.stored() == set()
    assert [row[1] for row in stage.records()] == ["RENDERING"]


def test_an_attempt_that_a_lost_pod_ended_is_tried_again(stage: RenderingStage, run: Run) -> None:
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
    stage: RenderingStage, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


def test_too_little_memory_is_raised_once_and_then_a_failure(
    stage: RenderingStage, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel ends FFmpeg with signal 9."""
    monkeypatch.setenv("PATH", encoder(tmp_path, "kill -9 $$"))
    stage.plan()
    with pytest.raises(TransientError, match="OutOfMemory") as first:
        run()
    assert (first.value.exit_code, first.value.countdown) == (ExitCode.OUT_OF_MEMORY, 0.0)
    assert [row[1:3] for row in stage.records()] == [("PENDING", "OutOfMemory")]
    assert stage.video()["memory_steps"] == 1
    with pytest.raises(PermanentError, match="OutOfMemory") as second:
        run(number=2)
    assert second.value.exit_code == ExitCode.OUT_OF_MEMORY
    assert [row[1:3] for row in stage.records()] == [("FAILED", "OutOfMemory")]


def test_an_encoder_that_fails_is_tried_once_more_and_its_last_words_are_kept(
    stage: RenderingStage, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    stage: RenderingStage, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    stage: RenderingStage, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_arguments: Any) -> None:
        raise RuntimeError("token=geheim")

    monkeypatch.setattr("b3lb_jobs.record.production.make_plan", fault)
    stage.plan()
    with pytest.raises(RuntimeError):
        run()
    ((_, state, reason, message),) = stage.records()
    assert (state, reason, message) == ("FAILED", "InternalError", "RuntimeError: token=[redacted]")


def test_a_stop_in_the_middle_of_the_upload_leaves_nothing_that_is_seen(stage: RenderingStage, run: Run) -> None:
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


def test_videos_that_are_published_side_by_side_are_all_in_the_manifest(
    stage: RenderingStage, database_url: str
) -> None:
    """While the first one's manifest is written, the second video is published and writes its own, earlier."""
    stage.plan("a")
    stage.plan("b")
    database = Database(database_url, application_name="test", monotonic=time.monotonic)

    def publish(profile: str) -> None:
        file = RenderedFile(
            key=f"recordsets/default/x/{profile}.mp4",
            poster_key=None,
            size=1,
            sha256="0" * 64,
            content_type="video/mp4",
            nonce=f"nonce-{profile}",
            duration_milliseconds=1,
            width=2,
            height=2,
        )
        with transaction(stage.engine, timeout_seconds=10) as connection:
            begin_render(
                connection, run_id=stage.runs[profile], attempt=1, record_set=stage.record_set, profile=profile
            )
            assert finish_render(connection, run_id=stage.runs[profile], file=file)

    class Slow(DirectoryStorage):
        passed = False

        def create(self, key: str, **_more: Any) -> "SlowWriter":
            return SlowWriter(self._root, key=key, temporary=self._root / "x")

    class SlowWriter(DirectoryWriter):
        def publish(self) -> StoredObject:
            if not Slow.passed:
                Slow.passed = True
                publish("b")
                Publication(database, stage.storage, stage.runs["b"], stage.record_set, "b").write_manifest()
            return super().publish()

    publish("a")
    Publication(database, Slow(stage.root), stage.runs["a"], stage.record_set, "a").write_manifest()
    manifest = read_manifest(stage.storage, manifest_key("default", stage.record_set))
    assert [entry.profile for entry in manifest.videos] == ["a", "b"]
    database.close()


def test_a_pod_without_a_storage_says_so_in_the_videos_row(
    stage: RenderingStage, run: Run, monkeypatch: pytest.MonkeyPatch
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
    stage: RenderingStage, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_arguments: Any) -> float:
        raise RecordError(FailureCode.VERIFY_FAILED, "9 frames instead of 10")

    monkeypatch.setattr("b3lb_jobs.record.production.verify", fault)
    stage.plan()
    with pytest.raises(TransientError, match="VerifyFailed: 9 frames"):
        run()
    assert stage.stored() == set()
