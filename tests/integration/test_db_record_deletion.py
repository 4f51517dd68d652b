"""Deleting record sets in the database, step by step."""

import pytest
import sqlalchemy as sa

from b3lb.db.engine import count_statements
from b3lb.db.record_deletion import (
    RECORD_SET,
    Deletion,
    DeletionReason,
    DeletionRefusedError,
    RecordSetNotFoundError,
    delete_record_sets,
    load_deleting,
    load_past_hold,
    mark_past_hold,
    mark_requested,
)
from b3lb.recordings.hold import DeletionRefusal, is_past_hold
from tests.integration.database_farm import Farm
from tests.integration.recordings_stage import Recordings

pytestmark = pytest.mark.integration


def past_hold(engine: sa.Engine) -> list[str]:
    with engine.connect() as connection:
        now = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        found = load_past_hold(connection, "default")
    assert all(is_past_hold(item.held, now) for item in found), "the database's choice is the pure function's"
    return [item.record_id for item in found]


@pytest.mark.parametrize(
    ("tenant_days", "secret_days", "expected"),
    [(14, 0, ["r-20"]), (0, 7, ["r-20", "r-10"]), (14, 7, ["r-20", "r-10"]), (7, 14, ["r-20", "r-10"]), (0, 0, [])],
)
def test_the_smaller_hold_time_decides_and_none_keeps_for_ever(
    farm: Farm, tenant_days: int, secret_days: int, expected: list[str]
) -> None:
    stage = Recordings(farm, tenant_days=tenant_days, secret_days=secret_days)
    for age in (10, 20, 5):
        stage.add(f"r-{age}", age=age)
    assert past_hold(farm.engine) == expected


def test_only_what_is_settled_and_not_held_by_law_is_past_its_hold(farm: Farm) -> None:
    stage = Recordings(farm)
    for state in ("UPLOADED", "RENDERING", "RENDERED", "FAILED", "DELETING"):
        stage.add(state, age=20, state=state)
    stage.add("held", age=20, legal_hold=True)
    stage.add("elsewhere", age=20, namespace="other")
    assert sorted(past_hold(farm.engine)) == ["FAILED", "RENDERED"]


def test_a_recording_without_a_secret_has_its_tenants_hold_time(farm: Farm) -> None:
    stage = Recordings(farm, tenant_days=14, secret_days=1)
    stage.add("old", age=20, of=None)
    stage.add("young", age=10, of=None)
    assert past_hold(farm.engine) == ["old"]


def test_what_came_under_a_legal_hold_or_is_rendered_again_meanwhile_is_not_marked(farm: Farm) -> None:
    stage = Recordings(farm)
    ids = [stage.add(name, age=20) for name in ("goes", "held", "again")]
    farm.run("UPDATE record_sets SET legal_hold = true WHERE record_id = 'held'")
    farm.run("UPDATE record_sets SET state = 'RENDERING' WHERE record_id = 'again'")
    with farm.engine.begin() as connection:
        assert mark_past_hold(connection, ids) == 1
    assert stage.states() == {"goes": "DELETING", "held": "RENDERED", "again": "RENDERING"}


def test_rows_go_with_their_videos_and_an_audit_line_and_their_callbacks_are_over(farm: Farm) -> None:
    stage = Recordings(farm)
    gone = stage.add("gone", age=20)
    stage.add("kept", age=1)
    for record_id in ("gone", "kept"):
        farm.run(
            "INSERT INTO callbacks (namespace, kind, record_id, meeting_id, secret_id, url)"
            " VALUES ('default', 'recording-ready', :record_id, 'm', :secret, 'https://example.com/')",
            record_id=record_id,
            secret=stage.secrets["uni-001"],
        )
    deletion = Deletion(
        subject="gone",
        kind=RECORD_SET,
        reason="PastHold",
        actor="delete-recordings",
        tenant_slug="UNI",
        objects=3,
        size=9,
    )
    with farm.engine.begin() as connection:
        mark_past_hold(connection, [gone])
        (doomed,) = load_deleting(connection, "default")
        assert (doomed.id, doomed.record_id, doomed.reason) == (gone, "gone", DeletionReason.PAST_HOLD)
    for expected in (1, 0):
        with farm.engine.begin() as connection:
            assert delete_record_sets(connection, [gone], [deletion], "default") == expected
    assert stage.states() == {"kept": "RENDERED"}
    assert farm.rows("SELECT count(*) FROM records") == [(1,)]
    audited = "SELECT namespace, action, kind, subject, tenant_slug, actor, reason, objects, bytes FROM audit"
    assert farm.rows(audited) == [
        ("default", "delete", "record-set", "gone", "UNI", "delete-recordings", "PastHold", 3, 9)
    ]
    callbacks = farm.rows("SELECT record_id, state, reason FROM callbacks ORDER BY record_id")
    assert callbacks == [("gone", "FAILED", "Deleted"), ("kept", "PENDING", None)]


def test_what_is_not_deleting_is_never_deleted_nor_audited(farm: Farm) -> None:
    stage = Recordings(farm)
    kept = stage.add("kept", age=20)
    line = Deletion(subject="kept", kind=RECORD_SET, reason="PastHold", actor="a")
    with farm.engine.begin() as connection:
        assert delete_record_sets(connection, [kept], [line], "default") == 0
    assert stage.states() == {"kept": "RENDERED"}
    assert farm.rows("SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM audit)") == [(1, 0)]


def test_who_asks_deletes_at_once_but_not_what_is_held_by_law_or_being_rendered(farm: Farm) -> None:
    stage = Recordings(farm, tenant_days=0)
    states = ("UPLOADED", "RENDERING", "RENDERED", "FAILED")
    ids = {state: stage.add(state, state=state) for state in states} | {"held": stage.add("held", legal_hold=True)}
    refused: dict[str, DeletionRefusal] = {}
    for record_id, record_set in ids.items():
        with farm.engine.begin() as connection:
            try:
                for _ in range(2):
                    mark_requested(connection, "default", record_set)
            except DeletionRefusedError as error:
                refused[record_id] = error.refusal
    assert refused == {"RENDERING": DeletionRefusal.RENDERING, "held": DeletionRefusal.LEGAL_HOLD}
    assert [state for _, state in sorted(stage.states().items())] == [
        *("DELETING", "DELETING", "RENDERING", "DELETING", "RENDERED"),
    ]
    with pytest.raises(RecordSetNotFoundError), farm.engine.begin() as connection:
        mark_requested(connection, "elsewhere", ids["RENDERED"])


def test_the_number_of_statements_does_not_grow(farm: Farm, engine: sa.Engine) -> None:
    stage = Recordings(farm)
    ids = [stage.add(f"r-{number}", age=20) for number in range(5)]
    lines = [Deletion(subject=f"r-{n}", kind=RECORD_SET, reason="PastHold", actor="a") for n in range(5)]
    with count_statements(engine) as counter, engine.begin() as connection:
        load_past_hold(connection, "default")
        mark_past_hold(connection, ids)
        assert delete_record_sets(connection, ids, lines, "default") == 5
    assert counter.count == 7
