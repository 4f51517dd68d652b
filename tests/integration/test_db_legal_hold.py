"""Legal holds, and the audit that tells of them."""

from datetime import timedelta

import pytest

from b3lb.db.legal_hold import (
    AlreadyDeletingError,
    AuditCount,
    audit_position,
    count_audit,
    read_audit,
    set_legal_hold,
)
from b3lb.db.record_deletion import RecordSetNotFoundError, load_past_hold
from tests.integration.database_farm import Farm
from tests.integration.recordings_stage import Recordings

pytestmark = pytest.mark.integration


def hold(farm: Farm, record_id: str, *, held: bool = True, reason: str = "court order 7") -> bool:
    with farm.engine.begin() as connection:
        return set_legal_hold(connection, "default", record_id, held=held, reason=reason, actor="alice")


def past_hold(farm: Farm) -> list[str]:
    with farm.engine.connect() as connection:
        return [item.record_id for item in load_past_hold(connection, "default")]


def test_a_hold_keeps_what_is_past_its_time_until_it_is_released_and_both_are_audited(farm: Farm) -> None:
    Recordings(farm).add("r-1", age=20)
    assert past_hold(farm) == ["r-1"]
    assert (hold(farm, "r-1"), hold(farm, "r-1")) == (True, False)
    assert past_hold(farm) == []
    assert hold(farm, "r-1", held=False, reason="case closed")
    assert past_hold(farm) == ["r-1"]
    with farm.engine.connect() as connection:
        first, second = read_audit(connection, "default")
        assert read_audit(connection, "default", after=first.id) == [second]
        assert read_audit(connection, "elsewhere") == []
        counts = count_audit(connection, "default")
    assert (first.action, first.kind, first.subject, first.tenant_slug, first.actor, first.reason) == (
        *("hold", "record-set", "r-1", "UNI"),
        *("alice", "court order 7"),
    )
    assert (second.action, second.reason) == ("release", "case closed")
    assert counts == [
        AuditCount("hold", "record-set", "court order 7", 1, 0),
        AuditCount("release", "record-set", "case closed", 1, 0),
    ]


def test_what_is_being_deleted_cannot_be_held_any_more(farm: Farm) -> None:
    Recordings(farm).add("r-1", state="DELETING")
    with pytest.raises(AlreadyDeletingError):
        hold(farm, "r-1")
    assert hold(farm, "r-1", held=False) is False


def test_what_is_not_there_cannot_be_held(farm: Farm) -> None:
    with pytest.raises(RecordSetNotFoundError):
        hold(farm, "nobody")


def test_who_begins_anew_begins_with_the_lines_of_the_last_hour(farm: Farm) -> None:
    stage = Recordings(farm)

    def position() -> int:
        with farm.engine.connect() as connection:
            return audit_position(connection, "default", age=timedelta(hours=1))

    assert position() == 0
    for name in ("r-1", "r-2"):
        stage.add(name)
        hold(farm, name)
    ((first, second),) = farm.rows("SELECT min(id), max(id) FROM audit")
    assert position() == first - 1
    farm.run("UPDATE audit SET at = now() - interval '2 hours' WHERE id = :id", id=first)
    assert position() == second - 1
    farm.run("UPDATE audit SET at = now() - interval '2 hours'")
    assert position() == second
