"""The rows of a rendering: who may write them, and what the videos' ends make of their record set."""

from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from b3lb.db.render_attempts import note_progress, read_rendered
from b3lb.db.renders import (
    RenderedFile,
    begin_render,
    cancel_render,
    fail_render,
    finish_render,
    retry_render,
    settle_record_set,
    step_memory,
)
from b3lb.db.task_queue import enqueue
from tests.integration.database_farm import Farm
from tests.integration.recordings_stage import Recordings

pytestmark = pytest.mark.integration

FILE = RenderedFile(
    key="recordsets/default/x/videos/1.mp4",
    poster_key=None,
    size=7,
    sha256="a" * 64,
    content_type="video/mp4",
    nonce="nonce-1",
    duration_milliseconds=4000,
    width=640,
    height=360,
)
RECORD_SET = "SELECT state, reason, message FROM record_sets WHERE id = :id"
RECORDS = "SELECT profile, state, reason FROM records WHERE record_set_id = :id ORDER BY profile"


class Stage:
    """A record set that is UPLOADED with a PENDING video for each profile."""

    def __init__(self, farm: Farm, connection: sa.Connection, *profiles: str) -> None:
        self.farm, self.connection = farm, connection
        self.id = Recordings(farm).add("r-1", state="UPLOADED")
        farm.run("DELETE FROM records")
        farm.run('UPDATE record_sets SET metadata = \'{"bbb-recording-ready-url": "https://front.example/ready"}\'')
        self.runs: dict[str, UUID] = {}
        for profile in profiles:
            self.runs[profile] = run_id = enqueue(
                connection, namespace="default", queue="record", task="render-record", run_id=uuid4()
            )
            self.execute(
                "INSERT INTO records (record_set_id, profile, run_id) VALUES (:id, :profile, :run)",
                profile=profile,
                run=run_id,
            )
        self.execute(
            "INSERT INTO record_profiles (namespace, name, uid, generation, spec)"
            " VALUES ('default', 'a', 'u', 1, :spec)",
            spec='{"width": 640}',
        )

    def execute(self, statement: str, **parameters: Any) -> Any:
        return self.connection.execute(sa.text(statement), {"id": self.id, **parameters})

    def begin(self, profile: str, *, attempt: int = 0, run_id: UUID | None = None) -> Any:
        return begin_render(
            self.connection,
            run_id=run_id or self.runs[profile],
            attempt=attempt,
            record_set=self.id,
            profile=profile,
        )

    def finish(self, profile: str) -> bool:
        file = RenderedFile(**{**{name: getattr(FILE, name) for name in FILE.__slots__}, "nonce": f"nonce-{profile}"})
        return finish_render(
            self.connection, run_id=self.runs[profile], file=file, warnings=[{"code": "NoWebcams", "count": 1}]
        )

    def fail(self, profile: str, reason: str | None = "ArchiveCorrupt", message: str | None = "cut short") -> bool:
        return fail_render(self.connection, run_id=self.runs[profile], reason=reason, message=message)

    def record_set(self) -> tuple[Any, ...]:
        return tuple(self.execute(RECORD_SET).one())

    def records(self) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.execute(RECORDS)]

    def callbacks(self) -> int:
        return int(self.execute("SELECT count(*) FROM callbacks").scalar_one())


@pytest.fixture
def two(farm: Farm, connection: sa.Connection) -> Stage:
    return Stage(farm, connection, "a", "b")


def test_whoever_begins_gets_what_is_to_be_done_and_the_rows_say_so(two: Stage) -> None:
    work = two.begin("a")
    assert (work.record_id, work.profile, work.spec, work.archive_key, work.archive_bytes, work.last_reason) == (
        "r-1",
        "a",
        {"width": 640},
        "archive",
        1000,
        None,
    )
    assert two.record_set() == ("RENDERING", None, None)
    assert two.records() == [("a", "RENDERING", None), ("b", "PENDING", None)]
    assert two.begin("b").spec is None, "there is no such profile"


def test_another_run_begins_nothing_and_changes_nothing(two: Stage) -> None:
    stranger = uuid4()
    assert two.begin("a", run_id=stranger) is None
    assert two.begin("a") is not None
    assert not finish_render(two.connection, run_id=stranger, file=FILE)
    assert not fail_render(two.connection, run_id=stranger, reason="Timeout", message="late")
    assert not cancel_render(two.connection, stranger)
    assert not step_memory(two.connection, run_id=stranger, attempt=1)
    assert not retry_render(two.connection, run_id=stranger, reason="Timeout", message="late")
    assert not note_progress(two.connection, run_id=stranger, attempt=1, percent=5, message="")
    assert two.records() == [("a", "RENDERING", None), ("b", "PENDING", None)]


def test_an_attempt_that_is_over_begins_nothing(two: Stage) -> None:
    two.execute("UPDATE task_runs SET attempts = 2 WHERE id = :run", run=two.runs["a"])
    assert two.begin("a", attempt=1) is None
    assert two.begin("a", attempt=2) is not None
    two.execute("UPDATE task_runs SET state = 'REVOKED', finished_at = now() WHERE id = :run", run=two.runs["b"])
    assert two.begin("b") is None
    assert two.records() == [("a", "RENDERING", None), ("b", "PENDING", None)]


def test_a_record_set_that_is_deleted_is_not_rendered(two: Stage) -> None:
    two.execute("UPDATE record_sets SET state = 'DELETING', deleting_at = now()")
    assert two.begin("a") is None
    assert two.record_set()[0] == "DELETING"


def test_the_record_set_is_rendered_and_announced_when_the_last_video_is(two: Stage) -> None:
    two.begin("a")
    two.begin("b")
    assert two.finish("b")
    assert (two.record_set()[0], two.callbacks()) == ("RENDERING", 0)
    assert two.finish("a")
    assert (two.record_set(), two.callbacks()) == (("RENDERED", None, None), 1)
    files = read_rendered(two.connection, run_id=two.runs["a"], record_set=two.id, profile="a")
    assert files is not None
    assert files.key == FILE.key
    row = two.execute("SELECT file_bytes, nonce, progress_percent, warnings FROM records WHERE profile = 'a'").one()
    assert tuple(row) == (7, "nonce-a", 100.0, [{"code": "NoWebcams", "count": 1}])
    assert not two.finish("a"), "once is enough"
    assert two.begin("a") is None


def test_one_that_fails_makes_the_record_set_failed_and_keeps_the_good_video(two: Stage) -> None:
    two.begin("a")
    two.begin("b")
    two.finish("a")
    assert two.fail("b")
    assert two.record_set() == ("FAILED", "ArchiveCorrupt", "b: cut short")
    assert two.records() == [("a", "RENDERED", None), ("b", "FAILED", "ArchiveCorrupt")]
    assert two.callbacks() == 0
    assert not two.fail("a"), "what is rendered stays"


def test_what_is_cancelled_is_no_failure_but_alone_no_recording(two: Stage) -> None:
    two.begin("a")
    two.finish("a")
    assert cancel_render(two.connection, two.runs["b"])
    assert (two.record_set()[0], two.callbacks()) == ("RENDERED", 1)
    two.execute("UPDATE records SET state = 'PENDING', finished_at = NULL WHERE profile = 'a'")
    assert cancel_render(two.connection, two.runs["a"])
    assert two.record_set()[:2] == ("FAILED", "Cancelled")


def test_a_video_is_tried_again_and_knows_why(two: Stage) -> None:
    two.begin("a")
    assert retry_render(two.connection, run_id=two.runs["a"], reason="StorageUnavailable", message="token=abc away")
    assert two.records()[0] == ("a", "PENDING", "StorageUnavailable")
    assert two.execute("SELECT message FROM records WHERE profile = 'a'").scalar_one() == "token=[redacted] away"
    assert two.record_set()[0] == "RENDERING"
    assert two.begin("a").last_reason == "StorageUnavailable"
    assert two.execute("SELECT attempts FROM records WHERE profile = 'a'").scalar_one() == 2


def test_a_run_that_ends_without_a_word_keeps_the_reason_of_its_last_attempt(two: Stage) -> None:
    two.begin("a")
    retry_render(two.connection, run_id=two.runs["a"], reason="StorageUnavailable", message="away")
    assert two.fail("a", None, None)
    assert two.fail("b", None, None)
    assert two.records() == [("a", "FAILED", "StorageUnavailable"), ("b", "FAILED", "WorkerLost")]


def test_memory_is_raised_once(two: Stage) -> None:
    two.begin("a")
    run_id = two.runs["a"]
    assert step_memory(two.connection, run_id=run_id, attempt=1)
    assert step_memory(two.connection, run_id=run_id, attempt=1), "whoever did not hear the answer asks again"
    assert two.execute("SELECT memory_steps FROM records WHERE profile = 'a'").scalar_one() == 1
    assert not step_memory(two.connection, run_id=run_id, attempt=2)


def test_progress_never_goes_back_and_stops_with_the_attempt(two: Stage) -> None:
    two.begin("a")
    run_id = two.runs["a"]

    def note(percent: float) -> bool:
        return note_progress(two.connection, run_id=run_id, attempt=0, percent=percent, message="rendering")

    assert note(40)
    assert note(30)
    row = two.execute("SELECT progress_percent, progress_message FROM records WHERE profile = 'a'").one()
    assert tuple(row) == (40.0, "rendering")
    two.execute("UPDATE task_runs SET attempts = 1 WHERE id = :run", run=run_id)
    assert not note(50)
    two.execute("UPDATE task_runs SET attempts = 0 WHERE id = :run", run=run_id)
    cancel_render(two.connection, run_id)
    assert not note(50)


def test_a_video_is_found_by_its_run_without_reading_all_videos(two: Stage) -> None:
    two.execute("SET LOCAL enable_seqscan = off")
    plan = two.execute("EXPLAIN SELECT state FROM records WHERE run_id = :run", run=two.runs["a"]).scalars().all()
    assert "records_run_id_idx" in "\n".join(plan)


def test_a_record_set_without_videos_is_not_settled(two: Stage) -> None:
    two.execute("DELETE FROM records")
    assert settle_record_set(two.connection, two.id) is None
    assert two.record_set()[0] == "UPLOADED"


def test_of_two_that_end_at_once_the_second_settles(farm: Farm, engine: sa.Engine) -> None:
    """Each would else see the other one still rendering, and nobody would say that the record set is done."""
    with engine.begin() as connection:
        stage = Stage(farm, connection, "a", "b")
        stage.begin("a")
        stage.begin("b")
    with engine.connect() as first, engine.connect() as second:
        stage.connection = first
        stage.finish("a")
        second.execute(sa.text("SET lock_timeout = '200ms'"))
        stage.connection = second
        with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
            stage.finish("b")
        second.rollback()
        first.commit()
        stage.finish("b")
        second.commit()
        assert stage.record_set()[0] == "RENDERED"
