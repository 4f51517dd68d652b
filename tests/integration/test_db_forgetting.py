"""Forgetting rows that nothing needs any more."""

import pytest
import sqlalchemy as sa

from b3lb.db.engine import count_statements
from b3lb.db.forgetting import expired_rows, forget_rows
from b3lb.retention import HistoryPolicy, RowPolicy
from tests.integration.database_farm import Farm
from tests.integration.database_meetings import Meetings

pytestmark = pytest.mark.integration

POLICY = RowPolicy()
RECORD_SET = """
    INSERT INTO record_sets (namespace, record_id, meeting_id, secret_id, tenant_slug, sub_id, ended_at, install_id)
    SELECT 'default', 'r-1', 'UNI-001-r', id, 'UNI', 1, now(), gen_random_uuid() FROM secrets WHERE name = 'uni-001'
"""


def forget(farm: Farm) -> dict[str, int]:
    """Return what went."""
    with farm.engine.begin() as connection:
        gone = forget_rows(connection, farm.namespace, POLICY, HistoryPolicy())
    return {table: number for table, number in gone.items() if number}


def names(farm: Farm, table: str) -> list[str]:
    return [name for (name,) in farm.rows(f"SELECT name FROM {table} ORDER BY name")]  # noqa: S608 - names of this test


def delete_all(farm: Farm, *, days: int, tables: tuple[str, ...] = ("secrets", "tenants", "nodes", "clusters")) -> None:
    for table in tables:
        farm.run(f"UPDATE {table} SET deleted_at = now() - make_interval(days => {days})")  # noqa: S608 - of this test


def test_a_farm_at_work_loses_nothing(farm: Farm) -> None:
    Meetings(farm)
    assert forget(farm) == {}


def test_deleted_objects_are_kept_for_thirty_days_and_go_together(farm: Farm) -> None:
    Meetings(farm)
    delete_all(farm, days=29)
    assert forget(farm) == {}
    delete_all(farm, days=31)
    with farm.engine.begin() as connection:
        assert expired_rows(connection, farm.namespace, POLICY)["secrets"] == 3
    assert forget(farm) == {"secrets": 3, "tenants": 1, "nodes": 2, "clusters": 1}
    assert forget(farm) == {}


def test_another_farms_rows_are_not_touched(farm: Farm) -> None:
    Meetings(farm)
    delete_all(farm, days=31)
    with farm.engine.begin() as connection:
        assert not any(forget_rows(connection, "elsewhere", POLICY, HistoryPolicy()).values())


def test_a_secret_whose_recordings_are_kept_stays(farm: Farm) -> None:
    Meetings(farm)
    farm.run(RECORD_SET)
    delete_all(farm, days=400)
    forget(farm)
    assert names(farm, "secrets") == ["uni-001"]
    assert names(farm, "tenants") == ["uni"]
    farm.run("DELETE FROM record_sets")
    assert forget(farm) == {"secrets": 1, "tenants": 1}


def test_the_counters_of_a_deleted_secret_stay_as_long_as_its_tenant_which_sums_them_up(farm: Farm) -> None:
    secrets = Meetings(farm).secrets
    farm.run("INSERT INTO counters (secret_id, meetings) VALUES (:id, 7)", id=secrets["uni-001"])
    delete_all(farm, days=1000, tables=("secrets",))
    assert forget(farm) == {"secrets": 2}
    assert names(farm, "secrets") == ["uni-001"]
    delete_all(farm, days=31, tables=("tenants",))
    assert forget(farm) == {"secrets": 1, "tenants": 1}


def test_a_tenant_that_was_accounted_for_is_kept_for_thirteen_months(farm: Farm) -> None:
    secrets = Meetings(farm).secrets
    farm.run("INSERT INTO counters (secret_id, meetings) VALUES (:id, 7)", id=secrets["uni-001"])
    farm.run("INSERT INTO accounting (tenant_id, month, started_at) SELECT id, '2026-01-01', now() FROM tenants")
    delete_all(farm, days=399)
    forget(farm)
    assert (names(farm, "tenants"), names(farm, "secrets")) == (["uni"], ["uni-001"])
    delete_all(farm, days=401, tables=("secrets", "tenants"))
    assert forget(farm) == {"secrets": 1, "tenants": 1}


def test_ended_meetings_go_and_open_ones_stay_with_their_node(farm: Farm) -> None:
    stage = Meetings(farm)
    stage.write(stage.meeting("m-1"), stage.meeting("m-2"))
    ended = (
        "UPDATE meetings SET state = 'ended', ended_at = now() - make_interval(days => :days) WHERE internal_id = 'm-1'"
    )
    farm.run(ended, days=29)
    assert forget(farm) == {}
    farm.run(ended, days=31)
    delete_all(farm, days=31)
    assert forget(farm)["meetings"] == 1
    assert farm.rows("SELECT internal_id FROM meetings") == [("m-2",)]
    assert names(farm, "nodes") == ["bbb-1"]
    assert names(farm, "secrets") == ["uni-001"]


def test_callbacks_that_are_over_runs_without_an_end_and_old_audit_lines_go(farm: Farm) -> None:
    secrets = Meetings(farm).secrets
    for days, state in ((31, "DELIVERED"), (29, "FAILED"), (None, "PENDING")):
        farm.run(
            "INSERT INTO callbacks (namespace, kind, record_id, meeting_id, secret_id, url, state, created_at,"
            " finished_at) VALUES ('default', 'recording-ready', 'r', 'm', :id, :state, :state,"
            " now() - interval '90 days', now() - make_interval(days => :days))",
            id=secrets["uni-001"],
            state=state,
            days=days,
        )
    for days in (31, 29):
        farm.run(
            "INSERT INTO task_runs (id, namespace, queue, task, pod, state, created_at) VALUES"
            " (gen_random_uuid(), 'default', 'core', 't', 'p', 'STARTED', now() - make_interval(days => :days))",
            days=days,
        )
    for days in (401, 399):
        farm.run(
            "INSERT INTO audit (namespace, at, action, kind, subject, actor, reason) VALUES"
            " ('default', now() - make_interval(days => :days), 'delete', 'object', 'k', 'a', 'r')",
            days=days,
        )
    assert forget(farm) == {"callbacks": 1, "task_runs": 1, "audit": 1}
    assert farm.rows("SELECT state FROM callbacks ORDER BY state") == [("FAILED",), ("PENDING",)]


def test_the_number_of_statements_does_not_grow(farm: Farm, engine: sa.Engine) -> None:
    Meetings(farm)
    delete_all(farm, days=31)
    with count_statements(engine) as counter:
        forget(farm)
    assert counter.count < 30
