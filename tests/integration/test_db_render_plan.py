"""The plan of renders on real PostgreSQL: each video has one run, and ends whatever becomes of that."""

from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from b3lb.db.engine import transaction
from b3lb.db.record_deletion import delete_record_sets, mark_requested
from b3lb.db.recordings_in_work import read_recordings
from b3lb.db.render_plan import forget_all_objects, forget_objects
from b3lb.db.task_attempts import AttemptEnd, end_attempt
from b3lb.db.task_queue import revoke
from b3lb.db.task_runs import TaskState
from b3lb.release import HELD_UNTIL
from tests.integration.database_farm import Farm
from tests.integration.render_plan_stage import NAMESPACE, Stage

pytestmark = pytest.mark.integration


@pytest.fixture
def stage(farm: Farm) -> Stage:
    return Stage(farm)


def versions(farm: Farm) -> list[Any]:
    """Return the rows' versions: any write changes them."""
    return [
        farm.rows(f"SELECT id, xmin::text::bigint FROM {table} ORDER BY id")  # noqa: S608 - tables of ours
        for table in ("record_sets", "records", "task_runs")
    ]


def test_an_upload_becomes_a_video_and_a_run_and_a_repeated_plan_writes_nothing(stage: Stage) -> None:
    record_set = stage.upload()
    (video,) = stage.plan()["r-1"].videos
    (run,) = stage.runs()
    assert (video.profile, video.state, video.run_id, video.renders) == ("hd", "PENDING", run.id, 1)
    assert (run.queue, run.task, run.tenant, run.not_before) == ("record", "render-record", "UNI", None)
    arguments = stage.farm.rows("SELECT arguments FROM task_runs")
    assert arguments == [({"record_set": str(record_set), "profile": "hd"},)]
    before = versions(stage.farm)
    stage.plan()
    assert versions(stage.farm) == before


def test_the_secrets_references_decide_and_one_that_is_missing_fails_at_once(stage: Stage) -> None:
    stage.profiles("hd", "sd")
    stage.farm.run("UPDATE secrets SET record_profile_names = '{sd,gone}'")
    stage.upload()
    stage.upload("r-2", of=None)
    stage.plan()
    assert stage.states() == ("UPLOADED", {"gone": "FAILED", "sd": "PENDING"})
    assert stage.states("r-2") == ("UPLOADED", {"hd": "PENDING"})
    assert len(stage.runs()) == 2


def test_without_a_profile_it_fails_and_heals_when_there_is_one(stage: Stage) -> None:
    stage.profiles()
    stage.upload()
    stage.plan()
    assert stage.farm.rows("SELECT state, reason FROM record_sets") == [("FAILED", "NoProfile")]
    before = versions(stage.farm)
    stage.plan()
    assert versions(stage.farm) == before
    stage.profiles("hd")
    stage.plan()
    assert stage.states() == ("UPLOADED", {"hd": "PENDING"})
    assert len(stage.runs()) == 1


def test_a_reference_that_is_missing_alone_fails_the_recording_and_heals_with_its_profile(stage: Stage) -> None:
    stage.farm.run("UPDATE secrets SET record_profile_names = '{later}'")
    stage.upload()
    (message,) = (recording.message for recording in stage.plan().values())
    assert message is not None
    assert "later" in message
    assert stage.states() == ("FAILED", {"later": "FAILED"})
    stage.profiles("hd", "later")
    stage.plan()
    assert stage.states() == ("UPLOADED", {"later": "PENDING"})


def test_without_a_queue_the_video_waits_and_its_run_moves_with_the_task(stage: Stage) -> None:
    stage.queue = None
    stage.upload()
    stage.plan()
    assert (stage.states(), stage.runs()) == (("UPLOADED", {"hd": "PENDING"}), [])
    for queue in ("record", "night"):
        stage.queue = queue
        stage.plan()
        assert [run.queue for run in stage.runs()] == [queue]


@pytest.mark.parametrize(
    ("state", "error", "expected"),
    [
        (TaskState.FAILURE, "the pod is gone without a word", ("FAILED", "FAILED", "WorkerLost")),
        (TaskState.FAILURE, "the hard time limit of 60 s is over", ("FAILED", "FAILED", "Timeout")),
        (TaskState.FAILURE, "OOMKilled: the pod used more memory", ("FAILED", "FAILED", "OutOfMemory")),
        (TaskState.FAILURE, "out of memory", ("FAILED", "FAILED", "OutOfMemory")),
        (TaskState.REVOKED, "revoked by hand", ("FAILED", "CANCELLED", "Cancelled")),
        (TaskState.SUCCESS, "", ("FAILED", "FAILED", "WorkerLost")),
    ],
)
def test_a_run_that_ends_without_the_pods_word_ends_its_video(
    stage: Stage, state: TaskState, error: str, expected: tuple[str, str, str]
) -> None:
    record_set = stage.upload()
    stage.plan()
    run = stage.release()
    assert stage.begin(record_set, run)
    stage.end(run, state, error)
    stage.plan()
    rows = stage.farm.rows(
        "SELECT s.state, r.state, s.reason FROM record_sets s JOIN records r ON record_set_id = s.id"
    )
    assert rows == [expected]


def test_a_run_that_is_to_be_tried_again_is_left_alone(stage: Stage) -> None:
    record_set = stage.upload()
    stage.plan()
    run = stage.release()
    stage.begin(record_set, run)
    with transaction(stage.farm.engine, timeout_seconds=10) as connection:
        end_attempt(connection, run, attempt=1, end=AttemptEnd(state=TaskState.RETRY, retry_seconds=60))
    before = versions(stage.farm)
    stage.plan()
    assert versions(stage.farm) == before


def test_a_run_whose_row_is_gone_is_replaced(stage: Stage) -> None:
    stage.upload()
    stage.plan()
    (first,) = stage.runs()
    stage.farm.run("DELETE FROM task_runs")
    (video,) = stage.plan()["r-1"].videos
    (second,) = stage.runs()
    assert (video.run_id, video.renders) == (second.id, 2)
    assert second.id != first.id


def test_a_retry_renders_what_failed_once_more_and_keeps_what_is_there(stage: Stage) -> None:
    stage.profiles("hd", "sd")
    stage.farm.run("UPDATE secrets SET record_profile_names = '{hd,sd}'")
    record_set = stage.upload()
    stage.plan()
    stage.farm.run(
        "UPDATE records SET state = 'RENDERED', finished_at = now(), nonce = 'n', file_key = 'k', file_bytes = 1, "
        "file_sha256 = repeat('a', 64) WHERE profile = 'sd'"
    )
    for run in stage.runs():
        stage.farm.run("UPDATE task_runs SET state = 'FAILURE', finished_at = now() WHERE id = :id", id=run.id)
    stage.plan()
    assert stage.states() == ("FAILED", {"hd": "FAILED", "sd": "RENDERED"})
    stage.wish()
    assert stage.states()[0] == "FAILED"
    recording = stage.wish(retry=1)["r-1"]
    assert stage.states() == ("UPLOADED", {"hd": "PENDING", "sd": "RENDERED"})
    assert (recording.retry, recording.object_uid) == (1, "uid-r-1")
    (run,) = stage.runs()
    run = stage.release()
    assert stage.begin(record_set, run)
    before = versions(stage.farm)
    stage.plan()
    assert versions(stage.farm) == before


def test_a_pause_holds_what_waits_and_letting_go_frees_it(stage: Stage) -> None:
    stage.upload()
    stage.plan()
    stage.wish(paused=True)
    assert [run.not_before for run in stage.runs()] == [HELD_UNTIL]
    before = versions(stage.farm)
    stage.plan()
    assert versions(stage.farm) == before
    stage.wish(paused=False)
    assert [run.not_before for run in stage.runs()] == [None]


def test_a_pause_ends_what_is_at_work_and_the_next_run_waits_for_the_end_of_its_job(stage: Stage) -> None:
    record_set = stage.upload()
    stage.plan()
    first = stage.release()
    assert stage.begin(record_set, first)
    stage.wish(paused=True)
    assert stage.states()[1] == {"hd": "PENDING"}
    runs = {run.id: run for run in stage.runs()}
    assert runs.pop(first).state is TaskState.REVOKED
    (second,) = runs.values()
    assert second.not_before == HELD_UNTIL
    assert not stage.begin(record_set, first)
    stage.wish(paused=False)
    assert {run.not_before for run in stage.runs() if run.id != first} == {HELD_UNTIL}
    stage.farm.run("UPDATE task_runs SET in_flight = false WHERE id = :id", id=first)
    stage.plan()
    assert [run.not_before for run in stage.runs()] == [None]
    assert stage.begin(record_set, stage.release())


def test_a_priority_goes_to_the_runs_that_wait(stage: Stage) -> None:
    stage.upload()
    stage.plan()
    stage.wish(priority=9)
    assert [run.priority for run in stage.runs()] == [9]
    stage.wish()
    assert [run.priority for run in stage.runs()] == [None]


@pytest.mark.parametrize("at_work", [False, True])
def test_a_cancellation_revokes_the_run_and_stays_until_a_retry(stage: Stage, at_work: bool) -> None:
    record_set = stage.upload()
    stage.plan()
    if at_work:
        stage.begin(record_set, stage.release())
    stage.wish(cancel=True)
    assert stage.states() == ("FAILED", {"hd": "CANCELLED"})
    assert [run for run in stage.runs() if run.state is not TaskState.REVOKED] == []
    before = versions(stage.farm)
    stage.plan()
    assert versions(stage.farm) == before
    stage.wish(cancel=False)
    assert stage.states()[0] == "FAILED"
    stage.wish(retry=1)
    assert stage.states() == ("UPLOADED", {"hd": "PENDING"})


def test_a_cancellation_before_there_is_a_profile_holds(stage: Stage) -> None:
    stage.profiles()
    stage.upload()
    stage.wish(cancel=True)
    assert stage.farm.rows("SELECT state, reason FROM record_sets") == [("FAILED", "Cancelled")]
    stage.profiles("hd")
    stage.plan()
    assert stage.states() == ("FAILED", {})


def test_a_deleted_object_cancels_and_is_remembered(stage: Stage) -> None:
    stage.upload()
    stage.wish()
    stage.wishes.clear()
    stage.deleted = ("uid-r-1",)
    assert stage.plan() == {}
    assert stage.states() == ("FAILED", {"hd": "CANCELLED"})
    stage.deleted = ()
    assert stage.plan() == {}
    recording = stage.wish(retry=5)["r-1"]
    assert (recording.is_shown, recording.dismissed, recording.retry) == (True, False, 5)


def test_objects_that_went_with_their_definition_cancel_nothing(stage: Stage) -> None:
    stage.upload()
    stage.wish()
    with transaction(stage.farm.engine, timeout_seconds=10) as connection:
        forget_all_objects(connection, NAMESPACE)
    stage.wishes.clear()
    stage.deleted = ("uid-r-1",)
    assert stage.plan()["r-1"].object_uid is None
    assert stage.states() == ("UPLOADED", {"hd": "PENDING"})


def test_what_is_rendered_is_looked_at_until_its_object_is_forgotten(stage: Stage) -> None:
    done = stage.upload(state="RENDERED")
    assert stage.plan() == {}
    recording = stage.wish(priority=3)
    assert recording["r-1"].object_uid is None
    stage.farm.run("UPDATE record_sets SET object_uid = 'uid-r-1'")
    stage.wishes.clear()
    assert stage.plan()["r-1"].id == done
    with transaction(stage.farm.engine, timeout_seconds=10) as connection:
        forget_objects(connection, [done])
    assert stage.plan() == {}
    stage.farm.run("UPDATE record_sets SET legal_hold = true")
    assert stage.plan()["r-1"].is_shown


def test_what_is_being_deleted_is_left_alone(stage: Stage) -> None:
    stage.upload(state="DELETING")
    stage.farm.run("UPDATE record_sets SET object_uid = 'uid-r-1'")
    stage.wish(retry=1)
    assert stage.states() == ("DELETING", {})
    assert stage.runs() == []


@pytest.mark.parametrize("paused", [False, True])
def test_the_run_of_a_recording_that_is_deleted_waits_no_more(stage: Stage, paused: bool) -> None:
    record_set = stage.upload()
    stage.wish(paused=paused)
    assert len(stage.runs()) == 1
    with transaction(stage.farm.engine, timeout_seconds=10) as connection:
        mark_requested(connection, NAMESPACE, record_set)
        assert delete_record_sets(connection, [record_set], [], NAMESPACE) == 1
    assert stage.runs() == []
    assert stage.farm.rows("SELECT state, error FROM task_runs") == [("REVOKED", "its recording was deleted")]


def test_a_revoked_run_cancels_its_video(stage: Stage) -> None:
    stage.upload()
    stage.plan()
    (run,) = stage.runs()
    with transaction(stage.farm.engine, timeout_seconds=10) as connection:
        revoke(connection, NAMESPACE, run.id, why="by hand")
    stage.plan()
    assert stage.states() == ("FAILED", {"hd": "CANCELLED"})


def test_a_thousand_recordings_take_as_many_statements_as_one(stage: Stage) -> None:
    counts = []
    for number in (1, 1000):
        stage.farm.run(
            "INSERT INTO record_sets (namespace, record_id, meeting_id, tenant_slug, sub_id, ended_at, install_id) "
            "SELECT 'default', gen_random_uuid()::text, '', 'T' || mod(i, 7), 1, now(), gen_random_uuid() "
            "FROM generate_series(1, :number) i",
            number=number,
        )
        counts.append(statements(stage))
    assert counts[0] == counts[1]
    assert stage.farm.rows("SELECT count(*), count(DISTINCT tenant) FROM task_runs WHERE not_before IS NULL") == [
        (1001, 7)
    ]


def statements(stage: Stage) -> int:
    """Plan and return how many statements that took."""
    seen: list[str] = []

    def note(*arguments: Any) -> None:
        seen.append(arguments[2])

    sa.event.listen(stage.farm.engine, "before_cursor_execute", note)
    try:
        stage.plan()
    finally:
        sa.event.remove(stage.farm.engine, "before_cursor_execute", note)
    return len(seen)


def test_reading_finds_recordings_by_their_objects_names(stage: Stage) -> None:
    done = stage.upload("Not a Name", state="RENDERED")
    names = [f"recording-{done}", f"recording-{uuid4()}", "nobody"]
    with transaction(stage.farm.engine, timeout_seconds=10) as connection:
        (recording,) = read_recordings(connection, NAMESPACE, names).recordings
    assert (recording.id, recording.name) == (done, names[0])
