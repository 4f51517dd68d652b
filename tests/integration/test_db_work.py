"""The work of queues at a glance, by three statements, from the rows that jobs and operator write."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from b3lb.db.engine import database_clock
from b3lb.db.run_history import find_run, latest_runs
from b3lb.db.tables import task_runs
from b3lb.db.work import LARGEST_SHOWN, MOST_OPEN, TaskEnds, read_work

pytestmark = pytest.mark.integration

FARMS = ["farm"]


@pytest.fixture
def now(connection: sa.Connection) -> datetime:
    return database_clock(connection)


def add(connection: sa.Connection, **values: Any) -> None:
    """Add a run, one of a schedule that has begun unless said otherwise."""
    fields = {"namespace": "farm", "queue": "core", "task": "check-nodes", "pod": "pod-1-abcde", "state": "STARTED"}
    connection.execute(sa.insert(task_runs).values({"id": uuid4(), **fields, **values}))


def test_without_runs_there_is_nothing(connection: sa.Connection) -> None:
    work = read_work(connection, FARMS)
    assert (work.at_work, work.waiting, work.ends, work.hours, work.recent) == ([], [], [], [], [])


def test_the_last_day_is_counted_by_hour_and_as_a_whole(connection: sa.Connection, now: datetime) -> None:
    for seconds, minutes, state in (
        (1, 10, "SUCCESS"),
        (3, 20, "FAILURE"),
        (2, 180, "SUCCESS"),
        (9, 25 * 60, "SUCCESS"),
    ):
        ended = now - timedelta(minutes=minutes)
        began = ended - timedelta(seconds=seconds)
        add(connection, state=state, created_at=began, started_at=began, finished_at=ended)
    add(connection, state="REVOKED", created_at=now, finished_at=now)
    add(connection, namespace="other", state="SUCCESS", started_at=now, finished_at=now)
    work = read_work(connection, FARMS)
    assert work.ends == [
        TaskEnds(
            namespace="farm",
            queue="core",
            task="check-nodes",
            succeeded_1h=1,
            failed_1h=1,
            succeeded_24h=2,
            failed_24h=1,
            p50_seconds=2.0,
            p95_seconds=2.9,
            last_finished_at=now - timedelta(minutes=10),
        )
    ]
    assert sum(hour.succeeded for hour in work.hours) == 2
    assert sum(hour.failed for hour in work.hours) == 1
    assert all((hour.start.minute, hour.start.second) == (0, 0) for hour in work.hours)


def test_of_a_task_that_ticks_its_last_tick_counts_and_not_the_minute_of_its_pod(
    connection: sa.Connection, now: datetime
) -> None:
    began = now - timedelta(seconds=55)
    add(connection, state="SUCCESS", started_at=began, finished_at=now, ticks=12, last_tick_seconds=0.25)
    (ends,) = read_work(connection, FARMS).ends
    assert ends.p50_seconds == 0.25


def test_runs_at_work_and_waiting_ones_are_told_apart(connection: sa.Connection, now: datetime) -> None:
    add(connection, task="at work", started_at=now)
    add(connection, task="forgotten", created_at=now - timedelta(days=3), started_at=now - timedelta(days=3))
    add(connection, task="waits", state="PENDING", enqueued=True)
    add(connection, task="again", state="RETRY", enqueued=True, not_before=now + timedelta(minutes=1), priority=9)
    add(connection, task="over", state="SUCCESS", started_at=now, finished_at=now)
    work = read_work(connection, FARMS)
    assert [run.task for run in work.at_work] == ["at work"]
    assert [(run.task, run.priority) for run in work.waiting] == [("waits", None), ("again", 9)]
    assert len(work.recent) == 5


def test_so_many_waiting_runs_are_read_and_one_that_tells_of_more(connection: sa.Connection) -> None:
    rows = [
        {"id": uuid4(), "namespace": "farm", "queue": "q", "task": "t", "pod": "", "state": "PENDING", "enqueued": True}
        for _ in range(MOST_OPEN + 5)
    ]
    connection.execute(sa.insert(task_runs), rows)
    assert len(read_work(connection, FARMS).waiting) == MOST_OPEN + 1


def test_a_list_leaves_large_arguments_and_results_to_the_run_itself(connection: sa.Connection) -> None:
    run_id, large = uuid4(), {"text": "x" * LARGEST_SHOWN}
    add(connection, id=run_id, arguments=large, result={"small": 1})
    (run,) = latest_runs(connection, FARMS, largest=LARGEST_SHOWN)
    assert run.arguments["truncated"] is True
    assert run.arguments["bytes"] > LARGEST_SHOWN
    assert run.result == {"small": 1}
    whole = find_run(connection, ["other", "farm"], run_id)
    assert whole is not None
    assert whole.arguments == large
    assert find_run(connection, ["other"], run_id) is None
    (unbounded,) = latest_runs(connection, FARMS)
    assert unbounded.arguments == large
