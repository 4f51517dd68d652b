"""What the metrics say of recordings on a real database: one statement, counters that outlive what they counted."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from b3lb.db.engine import count_statements
from b3lb.db.record_deletion import Deletion, write_audit
from b3lb.db.record_metrics import read_record_metrics
from b3lb.db.renders import begin_render, fail_render
from b3lb.db.task_queue import enqueue
from b3lb.metrics.recordings import (
    Backlog,
    DeletionTotal,
    RecordingMetrics,
    RecordSets,
    RenderTotal,
    StoredBytes,
    recording_families,
)
from tests.integration.database_farm import Farm
from tests.integration.recordings_stage import Recordings

pytestmark = pytest.mark.integration


def look(farm: Farm, *namespaces: str) -> RecordingMetrics:
    with farm.engine.connect() as connection:
        return read_record_metrics(connection, namespaces or ("default",))


def profiles(farm: Farm) -> None:
    farm.run("UPDATE records SET profile = 'standard'")
    with farm.engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO record_profiles (namespace, name, uid, generation, is_default, spec)"
                " VALUES ('default', 'standard', 'u', 1, true, '{}')"
            )
        )


def end(farm: Farm, state: str, **values: Any) -> None:
    farm.run("UPDATE records SET state = 'RENDERING', started_at = now() - interval '30 seconds'")
    farm.run(
        "UPDATE records SET state = :state, finished_at = started_at + interval '30 seconds', reason = :reason,"
        " duration_milliseconds = 60000",
        state=state,
        reason=values.get("reason"),
    )


def test_an_empty_farm_has_a_series_of_each_state(farm: Farm) -> None:
    families = {family.name: family for family in recording_families(["default"], look(farm))}
    states = {sample.labels["state"]: sample.value for sample in families["b3lb_record_sets"].samples}
    assert states == dict.fromkeys(("UPLOADED", "RENDERING", "RENDERED", "FAILED", "DELETING"), 0)
    assert [sample.value for sample in families["b3lb_record_oldest_seconds"].samples] == [0]


def test_states_backlog_and_bytes_are_those_of_the_namespace_and_of_tenants_that_there_are(farm: Farm) -> None:
    recordings = Recordings(farm)
    recordings.add("r-1")
    waiting = recordings.add("r-2", state="UPLOADED")
    paused = recordings.add("r-3", state="UPLOADED")
    stranger = recordings.add("r-4", of=None)
    recordings.add("r-5", namespace="elsewhere")
    farm.run("DELETE FROM records WHERE record_set_id = ANY(:ids)", ids=[waiting, paused])
    farm.run("UPDATE record_sets SET paused = true WHERE id = :id", id=paused)
    farm.run("UPDATE record_sets SET tenant_slug = 'NOBODY' WHERE id = :id", id=stranger)
    found = look(farm)
    assert set(found.sets) == {RecordSets("default", "RENDERED", 2), RecordSets("default", "UPLOADED", 2)}
    ((backlog,),) = (found.backlogs,)
    assert (backlog.namespace, backlog.videos) == ("default", 1)
    assert found.now - (backlog.oldest_at or 0) < 60
    assert set(found.stored) == {
        StoredBytes("default", "UNI", "archive", 3000),
        StoredBytes("default", "UNI", "video", 500),
        StoredBytes("default", "", "archive", 1000),
        StoredBytes("default", "", "video", 500),
    }
    assert {item.namespace for item in look(farm, "default", "elsewhere").sets} == {"default", "elsewhere"}


def test_the_bytes_of_videos_follow_what_becomes_of_them(farm: Farm) -> None:
    record_set = Recordings(farm).add("r-1")
    farm.run("UPDATE records SET file_bytes = 700")
    add = "INSERT INTO records (record_set_id, profile, state) VALUES (:id, 'other', 'PENDING')"
    farm.run(add, id=record_set)
    assert farm.rows("SELECT video_bytes FROM record_sets") == [(700,)]
    farm.run("UPDATE records SET file_bytes = 40 WHERE profile = 'other'")
    assert farm.rows("SELECT video_bytes FROM record_sets") == [(740,)]
    farm.run("UPDATE records SET state = 'PENDING', file_bytes = NULL WHERE profile = 'standard'")
    assert farm.rows("SELECT video_bytes FROM record_sets") == [(40,)]
    farm.run("DELETE FROM records")
    assert farm.rows("SELECT video_bytes FROM record_sets") == [(0,)]


def test_a_backlog_without_anything_that_waits_has_no_age(farm: Farm) -> None:
    Recordings(farm).add("r-1")
    assert look(farm).backlogs == [Backlog("default", 0, None)]


def test_renderings_count_by_how_they_ended_and_outlive_their_rows(farm: Farm) -> None:
    Recordings(farm).add("r-1")
    profiles(farm)
    assert look(farm).renders == [], "what a test or a rebuild puts in was not rendered"
    end(farm, "FAILED", reason="OutOfMemory")
    end(farm, "FAILED", reason="OutOfMemory")
    end(farm, "RENDERED")
    farm.run("DELETE FROM records")
    farm.run("DELETE FROM record_sets")
    assert set(look(farm).renders) == {
        RenderTotal("default", "standard", "FAILED", "OutOfMemory", 2, 0, 0),
        RenderTotal("default", "standard", "RENDERED", "", 1, 30_000, 60_000),
    }
    farm.run("UPDATE record_profiles SET deleted_at = now()")
    assert look(farm).renders == []


def test_what_the_renderings_themselves_write_is_counted(farm: Farm) -> None:
    record_set, run_id = Recordings(farm).add("r-1", state="UPLOADED"), uuid4()
    profiles(farm)
    farm.run(
        "UPDATE records SET state = 'PENDING', finished_at = NULL, run_id = :run, file_key = NULL, nonce = NULL",
        run=run_id,
    )
    with farm.engine.begin() as connection:
        enqueue(connection, namespace="default", queue="record", task="render-record", run_id=run_id)
        assert begin_render(connection, run_id=run_id, attempt=1, record_set=record_set, profile="standard")
        assert fail_render(connection, run_id=run_id, reason="OutOfMemory", message="twice")
    assert look(farm).renders == [RenderTotal("default", "standard", "FAILED", "OutOfMemory", 1, 0, 0)]


def test_a_record_set_without_a_profile_counts_as_a_failure_of_none(farm: Farm) -> None:
    found = Recordings(farm).add("r-1", state="UPLOADED")
    farm.run("DELETE FROM records")
    for state in ("FAILED", "UPLOADED", "FAILED"):
        farm.run("UPDATE record_sets SET state = :state WHERE id = :id", state=state, id=found)
    assert look(farm).renders == [RenderTotal("default", "", "FAILED", "NoProfile", 2, 0, 0)]


def test_deletions_count_by_reason_and_outlive_the_audit(farm: Farm) -> None:
    lines = [Deletion(subject=f"r-{n}", kind="record-set", reason="PastHold", actor="test", size=10) for n in range(3)]
    with farm.engine.begin() as connection:
        write_audit(connection, "default", lines)
    farm.run("DELETE FROM audit")
    assert look(farm).deletions == [DeletionTotal("default", "record-set", "PastHold", 3, 30)]


def test_it_is_one_statement(farm: Farm) -> None:
    recordings = Recordings(farm)
    for number in range(20):
        recordings.add(f"r-{number}")
    with farm.engine.connect() as connection, count_statements(farm.engine) as counter:
        read_record_metrics(connection, ["default"])
    assert counter.count == 1
