"""The task render-record: from an archive in the storage to a video that people can see, or a reason why not."""

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from b3lb.db.engine import transaction
from b3lb.db.record_deletion import delete_record_sets, mark_requested
from b3lb.db.renders import RenderedFile, begin_render, finish_render
from b3lb.storage.directory import DirectoryStorage, DirectoryWriter
from b3lb.storage.interface import StoredObject
from b3lb.storage.layout import archive_key, manifest_key, record_set_prefix
from b3lb.storage.manifest import read_manifest
from b3lb.storage.s3 import S3Storage
from b3lb_jobs.database import Database
from b3lb_jobs.errors import PermanentError
from b3lb_jobs.record.publish import Publication
from dev.recordings.options import Webcams
from tests.integration.database_farm import Farm
from tests.integration.job_runs import job
from tests.integration.recording_archives import recording_archive
from tests.integration.rendering_stage import (
    UNREACHABLE,
    Attempts,
    RenderingStage,
    attempts,
)

pytestmark = pytest.mark.integration
pytest.importorskip("cairocffi")


@pytest.fixture
def stage(farm: Farm, short_recording: bytes, tmp_path: Path) -> RenderingStage:
    return RenderingStage(farm, tmp_path / "storage", short_recording)


@pytest.fixture
def run(stage: RenderingStage, database_url: str, tmp_path: Path) -> Iterator[Attempts]:
    with attempts(stage, database_url, tmp_path / "tmp") as made:
        yield made


@pytest.fixture
def bucket(moto_endpoint: str) -> S3Storage:
    made = S3Storage(replace(UNREACHABLE, endpoint=moto_endpoint))
    made._client.create_bucket(Bucket="recordings")
    return made


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


def test_a_recording_of_sound_only_becomes_a_webm(stage: RenderingStage, run: Attempts, tmp_path: Path) -> None:
    stage.put_archive(recording_archive(tmp_path / "recording", seconds=1, webcams=Webcams.NONE))
    stage.plan(container="webm")
    assert run()["rendered"] is True
    video = stage.video()
    assert video["content_type"] == "video/webm"
    assert probed(stage.root / video["file_key"])["codecs"] == ["vp9", "opus"]
    assert "NoWebcams" in [warning["code"] for warning in video["warnings"]]


def test_a_recording_in_a_bucket_becomes_a_video_in_the_bucket(
    stage: RenderingStage, run: Attempts, short_recording: bytes, bucket: S3Storage
) -> None:
    stage.plan()
    with bucket.create(archive_key("default", stage.record_set)) as writer:
        writer.write(short_recording)
        writer.publish()
    assert run(storage=bucket)["rendered"] is True
    video = stage.video()
    stored = bucket.stat(video["file_key"])
    assert stored is not None
    assert stored.size == video["file_bytes"]
    assert len(list(bucket.list(f"recordsets/default/{stage.record_set}/"))) == 4
    assert read_manifest(bucket, manifest_key("default", stage.record_set)).videos[0].key == video["file_key"]


def test_one_profiles_failure_leaves_the_other_ones_video(stage: RenderingStage, run: Attempts) -> None:
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


def test_a_second_attempt_of_a_rendered_video_changes_nothing_and_does_what_was_left(
    stage: RenderingStage, run: Attempts
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


def test_an_obsolete_run_renders_nothing(stage: RenderingStage, run: Attempts) -> None:
    stage.plan()
    stage.farm.run("UPDATE records SET run_id = :other", other=uuid4())
    assert run() == {"profile": "small", "rendered": False}
    assert [row[1] for row in stage.records()] == ["PENDING"]


def test_a_video_that_another_run_took_over_meanwhile_is_withdrawn(stage: RenderingStage, run: Attempts) -> None:
    class TakenOver(DirectoryStorage):
        def create(self, key: str, **_more: Any) -> DirectoryWriter:
            stage.farm.run("UPDATE records SET run_id = :other", other=uuid4())
            return super().create(key)

    stage.plan()
    assert run(storage=TakenOver(stage.root))["rendered"] is False
    assert stage.stored() == set()
    assert [row[1] for row in stage.records()] == ["RENDERING"]


def publish(stage: RenderingStage, profile: str) -> None:
    """Let a video be RENDERED."""
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
        begin_render(connection, run_id=stage.runs[profile], attempt=1, record_set=stage.record_set, profile=profile)
        assert finish_render(connection, run_id=stage.runs[profile], file=file)


def test_videos_that_are_published_side_by_side_are_all_in_the_manifest(
    stage: RenderingStage, database_url: str
) -> None:
    """While the first one's manifest is written, the second video is published and writes its own, earlier."""
    stage.plan("a")
    stage.plan("b")
    database = Database(database_url, application_name="test", monotonic=time.monotonic)

    class Slow(DirectoryStorage):
        passed = False

        def create(self, key: str, **_more: Any) -> "SlowWriter":
            return SlowWriter(self._root, key=key, temporary=self._root / "x")

    class SlowWriter(DirectoryWriter):
        def publish(self) -> StoredObject:
            if not Slow.passed:
                Slow.passed = True
                publish(stage, "b")
                Publication(database, stage.storage, stage.runs["b"], stage.record_set, "b").write_manifest()
            return super().publish()

    publish(stage, "a")
    Publication(database, Slow(stage.root), stage.runs["a"], stage.record_set, "a").write_manifest()
    manifest = read_manifest(stage.storage, manifest_key("default", stage.record_set))
    assert [entry.profile for entry in manifest.videos] == ["a", "b"]
    database.close()


def test_a_recording_that_is_deleted_while_its_manifest_is_written_leaves_none(
    stage: RenderingStage, database_url: str
) -> None:
    stage.plan("a")
    database = Database(database_url, application_name="test", monotonic=time.monotonic)

    class Deleting(DirectoryStorage):
        def create(self, key: str, **more: Any) -> DirectoryWriter:
            with transaction(stage.engine, timeout_seconds=10) as connection:
                mark_requested(connection, "default", stage.record_set)
                delete_record_sets(connection, [stage.record_set], [], "default")
            self.delete_prefix(record_set_prefix("default", stage.record_set))
            return super().create(key, **more)

    publish(stage, "a")
    Publication(database, Deleting(stage.root), stage.runs["a"], stage.record_set, "a").write_manifest()
    assert stage.stored() == set()
    database.close()
