"""What the metrics read of a real database: constant statements, counters that only grow, nothing that was deleted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from b3lb.db import tables, task_runs
from b3lb.db.configuration import apply_queues
from b3lb.db.engine import count_statements, transaction
from b3lb.db.farm_metrics import FarmMetrics, read_farm_metrics
from b3lb.db.leases import Lease
from b3lb.db.rows import QueueRow
from b3lb.db.task_attempts import AttemptEnd, begin_attempt, end_attempt
from b3lb.db.task_queue import revoke
from b3lb.db.task_runs import TaskState
from b3lb.db.ticks import Tick, finish_tick, heartbeat
from tests.integration.database_farm import Farm
from tests.integration.enqueued_runs import let_go, put

pytestmark = pytest.mark.integration

NAMESPACE = "default"
AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LEASE = Lease(name="test", holder="test", token=1)
CORE = QueueRow("core", "uid-core", 1, ("check-nodes",))


def look(engine: sa.Engine) -> FarmMetrics:
    with transaction(engine, timeout_seconds=10) as connection:
        return read_farm_metrics(connection, [NAMESPACE])


def declare(engine: sa.Engine, *queues: QueueRow) -> None:
    with transaction(engine, timeout_seconds=10) as connection:
        apply_queues(connection, NAMESPACE, queues, complete=True)


def begin(engine: sa.Engine, run_id: UUID | None = None, queue: str = "core") -> UUID:
    chosen = run_id or uuid4()
    with transaction(engine, timeout_seconds=10) as connection:
        task_runs.start(
            connection, chosen, namespace=NAMESPACE, queue=queue, task="check-nodes", pod="pod", arguments={}
        )
    return chosen


def end(engine: sa.Engine, run_id: UUID, state: TaskState) -> None:
    with transaction(engine, timeout_seconds=10) as connection:
        task_runs.finish(connection, run_id, state=state)


def totals(engine: sa.Engine) -> dict[str, int]:
    return {total.state: total.runs for total in look(engine).totals}


def test_runs_are_counted_by_each_state_they_come_into_and_once_only(engine: sa.Engine) -> None:
    declare(engine, CORE)
    first, second = begin(engine), begin(engine)
    begin(engine, first)
    end(engine, first, TaskState.SUCCESS)
    end(engine, first, TaskState.FAILURE)
    end(engine, second, TaskState.RETRY)
    assert totals(engine) == {"STARTED": 2, "SUCCESS": 1, "RETRY": 1}


def test_counts_survive_the_rows_they_counted(engine: sa.Engine) -> None:
    declare(engine, CORE)
    end(engine, begin(engine), TaskState.SUCCESS)
    with engine.begin() as connection:
        connection.execute(sa.delete(tables.task_runs))
    assert totals(engine) == {"STARTED": 1, "SUCCESS": 1}
    begin(engine)
    assert totals(engine)["STARTED"] == 2


def test_enqueued_runs_wait_until_a_pod_begins_them_and_are_at_work_until_they_end(engine: sa.Engine) -> None:
    declare(engine, CORE)
    begin(engine)
    ids = [put(engine, NAMESPACE, queue="core", task="check-nodes") for _ in range(3)]
    later = put(engine, NAMESPACE, queue="core", task="check-nodes", not_before=datetime.now(UTC) + timedelta(hours=1))
    assert look(engine).enqueued[NAMESPACE, "core"].waiting == 4
    for run_id in ids:
        let_go(engine, NAMESPACE, run_id, queue="core")
    assert look(engine).enqueued[NAMESPACE, "core"].waiting == 4, "their pods do not run yet"
    with transaction(engine, timeout_seconds=10) as connection:
        for run_id in ids:
            begin_attempt(connection, run_id, attempt=1, pod="pod-1")
        end_attempt(connection, ids[0], attempt=1, end=AttemptEnd(state=TaskState.SUCCESS))
        end_attempt(connection, ids[1], attempt=1, end=AttemptEnd(state=TaskState.RETRY, retry_seconds=60))
        assert revoke(connection, NAMESPACE, later, why="of the test")
    found = look(engine).enqueued[NAMESPACE, "core"]
    assert (found.waiting, found.active) == (1, 1)
    assert found.oldest_at is not None
    assert found.oldest_at > datetime.now(UTC).timestamp() + 30, "a run that is tried again waits from then on"
    assert totals(engine) == {"PENDING": 4, "STARTED": 4, "SUCCESS": 1, "RETRY": 1, "REVOKED": 1}


def test_ticks_and_polls_add_up_in_the_heartbeat(engine: sa.Engine) -> None:
    declare(engine, CORE)
    for seconds, polls in ((0.2, (0.004, 0.3)), (7.0, ()), (0.2, (0.004,))):
        tick = Tick(NAMESPACE, "check-nodes", AT, AT, seconds, polls=polls)
        with transaction(engine, timeout_seconds=10) as connection:
            connection.execute(
                sa.text("INSERT INTO leases VALUES ('test', 'test', 1, 'infinity') ON CONFLICT DO NOTHING")
            )
            finish_tick(connection, LEASE, tick, give_back=False)
    found = look(engine)
    (ticks,) = found.ticks
    assert (sum(ticks.counts), ticks.counts[2], ticks.counts[7]) == (3, 2, 1)
    assert ticks.seconds == pytest.approx(7.4)
    (polls_seen,) = found.polls
    assert (polls_seen.counts[0], sum(polls_seen.counts)) == (2, 3)
    assert polls_seen.seconds == pytest.approx(0.308)


def test_a_heartbeat_of_a_program_that_counts_nothing_keeps_the_counts(engine: sa.Engine) -> None:
    declare(engine, CORE)
    for runtimes in ((1.0,), ()):
        with transaction(engine, timeout_seconds=10) as connection:
            heartbeat(
                connection,
                NAMESPACE,
                "check-nodes",
                tick_at=AT,
                started_at=AT,
                lease=LEASE,
                summary={},
                runtimes=runtimes,
            )
    assert sum(look(engine).ticks[0].counts) == 1


def test_deleted_objects_leave_nothing_behind(farm: Farm) -> None:
    engine = farm.engine
    declare(engine, CORE, QueueRow("other", "uid-other", 1, ("update-secrets-lists",)))
    begin(engine)
    begin(engine, queue="other")
    farm.fill(3)
    assert len(look(engine).nodes) == 3
    assert {total.queue for total in look(engine).totals} == {"core", "other"}
    declare(engine, CORE)
    assert {total.queue for total in look(engine).totals} == {"core"}
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE nodes SET deleted_at = now()")
        connection.exec_driver_sql("UPDATE clusters SET deleted_at = now()")
    found = look(engine)
    assert (found.nodes, list(found.clusters)) == ({}, [])


@pytest.mark.parametrize("number", [1, 60])
def test_the_statements_do_not_grow_with_the_farm(farm: Farm, number: int) -> None:
    farm.fill(number)
    declare(farm.engine, CORE)
    with count_statements(farm.engine) as counter:
        look(farm.engine)
    # The first one sets limits.
    assert counter.count == 7


def test_other_namespaces_are_not_looked_at(farm: Farm) -> None:
    farm.fill(2)
    with transaction(farm.engine, timeout_seconds=10) as connection:
        found = read_farm_metrics(connection, ["elsewhere"])
    assert (found.nodes, list(found.clusters), list(found.totals)) == ({}, [], [])
