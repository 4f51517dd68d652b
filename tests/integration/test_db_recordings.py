"""Recordings as they are asked for: the newest first, chosen by tenant, state and ID, in few statements."""

from __future__ import annotations

from typing import Any

import pytest

from b3lb.db.callbacks import NewCallback, enqueue_callback
from b3lb.db.engine import count_statements
from b3lb.db.legal_hold import latest_audit, set_legal_hold
from b3lb.db.recordings import MOST_WARNINGS, Recording, find_recordings
from tests.integration.database_farm import Farm
from tests.integration.recordings_stage import Recordings

pytestmark = pytest.mark.integration


def find(farm: Farm, *namespaces: str, **wanted: Any) -> list[Recording]:
    with farm.engine.connect() as connection:
        return find_recordings(connection, namespaces or ["default"], **wanted)


def names(found: list[Recording]) -> list[str]:
    return [item.record_set.record_id for item in found]


def test_they_come_newest_first_and_are_chosen_by_tenant_state_and_id(farm: Farm) -> None:
    stage = Recordings(farm, tenant_days=14, secret_days=7)
    for number in range(3):
        stage.add(f"r-{number}", state="FAILED" if number == 1 else "RENDERED")
        farm.run(
            "UPDATE record_sets SET uploaded_at = now() + :n * interval '1 minute' WHERE record_id = :r",
            n=number,
            r=f"r-{number}",
        )
    stage.add("r-9", namespace="elsewhere")
    assert names(find(farm)) == ["r-2", "r-1", "r-0"]
    assert names(find(farm, most=2)) == ["r-2", "r-1"]
    assert names(find(farm, state="FAILED")) == ["r-1"]
    assert names(find(farm, tenant="UNI", record_id="r-0")) == ["r-0"]
    assert find(farm, tenant="FH") == []
    assert set(names(find(farm, "default", "elsewhere"))) == {"r-0", "r-1", "r-2", "r-9"}
    (found,) = find(farm, record_id="r-0")
    assert (found.record_set.tenant_days, found.record_set.secret_days) == (14, 7)
    assert [video.profile for video in found.videos] == ["standard"]


def test_warnings_are_counted_in_a_list_and_told_of_one(farm: Farm) -> None:
    Recordings(farm).add("r-1")
    farm.run(
        "UPDATE records SET warnings = (SELECT jsonb_agg(jsonb_build_object('code', 'X')) FROM generate_series(1, 150))"
    )
    (listed,), (whole,) = find(farm), find(farm, details=True)
    assert (listed.videos[0].warning_count, list(listed.videos[0].warnings)) == (150, [])
    assert (whole.videos[0].warning_count, len(whole.videos[0].warnings)) == (150, MOST_WARNINGS)


def test_callbacks_stand_with_their_recording(farm: Farm) -> None:
    stage = Recordings(farm)
    stage.add("r-1")
    stage.add("r-2")
    with farm.engine.begin() as connection:
        enqueue_callback(connection, "default", NewCallback("r-1", "m", stage.secrets["uni-001"], "https://lms/x"))
    found = {item.record_set.record_id: item.callbacks for item in find(farm)}
    assert [item.url for item in found["r-1"]] == ["https://lms/x"]
    assert found["r-2"] == []


def test_however_many_there_are_it_is_three_statements(farm: Farm) -> None:
    stage = Recordings(farm)
    for number in range(30):
        stage.add(f"r-{number}")
    with farm.engine.connect() as connection, count_statements(farm.engine) as counter:
        find_recordings(connection, ["default"], most=100)
    assert counter.count == 3


def test_the_audit_is_read_newest_first_and_chosen_by_subject_and_action(farm: Farm) -> None:
    stage = Recordings(farm)
    for name in ("r-1", "r-2"):
        stage.add(name)
        with farm.engine.begin() as connection:
            set_legal_hold(connection, "default", name, held=True, reason="court", actor="alice")
    with farm.engine.connect() as connection:
        assert [line.subject for line in latest_audit(connection, ["default"])] == ["r-2", "r-1"]
        assert [line.subject for line in latest_audit(connection, ["default"], subject="r-1")] == ["r-1"]
        assert latest_audit(connection, ["default"], action="delete") == []
        assert latest_audit(connection, ["elsewhere"]) == []
