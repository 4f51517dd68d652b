"""Enqueued runs in PostgreSQL: each is released once, ends once, and is revoked at once."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from b3lb.db.engine import database_clock
from b3lb.db.release_rates import read_spent_until
from b3lb.db.run_history import forget_old_runs, read_run, read_runs
from b3lb.db.task_attempts import AttemptEnd, begin_attempt, end_attempt
from b3lb.db.task_queue import (
    MOST_LOOKED_AT,
    InvalidRunError,
    enqueue,
    forget_job,
    mark_released,
    purge,
    read_content,
    record_job,
    revoke,
)
from b3lb.db.task_runs import JSON_BYTES, JSON_LEVELS, TaskState
from b3lb.db.workflows import enqueue_workflow
from b3lb.release import RunCounts
from b3lb.retention import HistoryPolicy
from b3lb.workflows import parse_workflow

pytestmark = pytest.mark.integration

NAMESPACE = "default"


def put(connection: sa.Connection, **values: Any) -> UUID:
    return enqueue(connection, **{"namespace": NAMESPACE, "queue": "record", "task": "render", **values})


def let_go(connection: sa.Connection, *runs: UUID) -> list[tuple[UUID, int]]:
    released = mark_released(connection, NAMESPACE, "record", runs=runs, spent_until=None)
    return [(run.id, run.attempt) for run in released]


def state(connection: sa.Connection, run_id: UUID) -> str:
    found = read_run(connection, NAMESPACE, run_id)
    assert found is not None
    return found.state


def test_a_run_is_enqueued_once_with_all_that_was_said(connection: sa.Connection) -> None:
    chosen = uuid4()
    later = database_clock(connection) + timedelta(hours=1)
    for _ in range(2):
        put(connection, run_id=chosen, arguments={"id": 1}, priority=9, tenant="UNIA", not_before=later)
    (run,) = read_content(connection, NAMESPACE).runs
    assert (run.id, run.task, run.priority, run.tenant, run.not_before) == (chosen, "render", 9, "UNIA", later)
    assert (run.state, run.attempt, run.in_flight) == ("PENDING", 0, False)
    assert read_content(connection, "elsewhere").runs == ()


@pytest.mark.parametrize("priority", [-1, 10])
def test_a_priority_beyond_its_range_is_refused(connection: sa.Connection, priority: int) -> None:
    with pytest.raises(InvalidRunError, match="from 0 to 9"):
        put(connection, priority=priority)


def test_arguments_have_a_limit_which_the_database_holds_as_well(connection: sa.Connection) -> None:
    put(connection, arguments={"text": "x" * (JSON_BYTES - 12)})
    put(connection, arguments={"list": [1] * 20_000})
    for arguments in ({"text": "x" * (JSON_BYTES - 11)}, {"list": [1] * 30_000}):
        with pytest.raises(InvalidRunError, match="at most 65536 bytes"):
            put(connection, arguments=arguments)


def nested(levels: int) -> dict[str, Any]:
    """Return arguments or a result of so many levels."""
    value: list[Any] = []
    for _ in range(levels - 2):
        value = [value]
    return {"list": value}


@pytest.mark.parametrize("levels", [JSON_LEVELS + 1, 100_000])
def test_what_is_nested_too_deeply_to_be_read_again_is_not_stored(connection: sa.Connection, levels: int) -> None:
    run_id = put(connection, arguments=nested(JSON_LEVELS))
    with pytest.raises(InvalidRunError, match="at most 100 levels"):
        put(connection, arguments=nested(levels))
    let_go(connection, run_id)
    end = AttemptEnd(state=TaskState.SUCCESS, result=nested(levels))
    assert end_attempt(connection, run_id, attempt=1, end=end)
    run = read_run(connection, NAMESPACE, run_id)
    assert run is not None
    assert (run.state, run.result) == ("SUCCESS", {"truncated": True, "levels": JSON_LEVELS})


def test_a_run_is_released_once_and_begun_by_one_pod_of_that_attempt_only(connection: sa.Connection) -> None:
    run_id = put(connection, arguments={"id": 1})
    assert begin_attempt(connection, run_id, attempt=1, pod="early") is None
    assert let_go(connection, run_id) == [(run_id, 1)]
    assert let_go(connection, run_id) == []
    assert begin_attempt(connection, run_id, attempt=2, pod="a") is None
    claimed = begin_attempt(connection, run_id, attempt=1, pod="a")
    assert claimed is not None
    assert (claimed.task, claimed.arguments, claimed.attempt) == ("render", {"id": 1}, 1)
    assert begin_attempt(connection, run_id, attempt=1, pod="b") is None
    assert begin_attempt(connection, run_id, attempt=1, pod="a") == claimed


def test_two_operators_cannot_release_the_same_run(
    engine: sa.Engine, open_transaction: Callable[[], sa.Connection]
) -> None:
    with engine.begin() as connection:
        run_id = put(connection)
    first, second = open_transaction(), open_transaction()
    assert let_go(first, run_id) == [(run_id, 1)]
    first.commit()
    assert let_go(second, run_id) == []


def test_an_attempt_that_failed_for_a_passing_reason_waits_and_is_another_one(connection: sa.Connection) -> None:
    run_id = put(connection)
    let_go(connection, run_id)
    record_job(connection, run_id, attempt=1, job_uid="uid-1")
    begin_attempt(connection, run_id, attempt=1, pod="a")
    end = AttemptEnd(state=TaskState.RETRY, retry_seconds=60, error="later")
    assert end_attempt(connection, run_id, attempt=1, end=end)
    content = read_content(connection, NAMESPACE)
    (run,) = content.runs
    assert (run.state, run.attempt, run.in_flight) == ("RETRY", 1, False)
    assert run.not_before is not None
    assert timedelta(seconds=58) < run.not_before - content.now <= timedelta(seconds=60)
    assert let_go(connection, run_id) == [(run_id, 2)]
    assert read_content(connection, NAMESPACE).runs[0].job_uid is None
    late = AttemptEnd(state=TaskState.SUCCESS, result={})
    assert not end_attempt(connection, run_id, attempt=1, end=late)


def test_an_end_is_written_once_redacted_and_capped(connection: sa.Connection) -> None:
    run_id = put(connection)
    let_go(connection, run_id)
    begin_attempt(connection, run_id, attempt=1, pod="a")
    end = AttemptEnd(state=TaskState.FAILURE, error="password=geheim", result={"text": "x" * JSON_BYTES})
    assert end_attempt(connection, run_id, attempt=1, end=end)
    assert not end_attempt(connection, run_id, attempt=1, end=AttemptEnd(state=TaskState.SUCCESS))
    run = read_run(connection, NAMESPACE, run_id)
    assert run is not None
    assert (run.state, run.error, run.result["truncated"]) == ("FAILURE", "password=[redacted]", True)
    assert read_content(connection, NAMESPACE).runs == ()


def test_a_waiting_run_is_revoked_at_once_and_one_in_flight_keeps_its_place_until_its_job_is_gone(
    connection: sa.Connection,
) -> None:
    waiting, flying = put(connection), put(connection)
    let_go(connection, flying)
    record_job(connection, flying, attempt=1, job_uid="uid")
    for run_id in (waiting, flying):
        assert revoke(connection, NAMESPACE, run_id, why="by hand")
        assert not revoke(connection, NAMESPACE, run_id, why="again")
        assert state(connection, run_id) == "REVOKED"
    assert not revoke(connection, "elsewhere", waiting, why="by hand")
    assert begin_attempt(connection, flying, attempt=1, pod="a") is None
    (run,) = read_content(connection, NAMESPACE).runs
    assert (run.id, run.state, run.job_uid) == (flying, "REVOKED", "uid")
    forget_job(connection, flying, attempt=1)
    assert read_content(connection, NAMESPACE).runs == ()


def test_purging_takes_what_waits_in_that_queue_only(connection: sa.Connection) -> None:
    runs = [put(connection) for _ in range(3)]
    other = put(connection, queue="other")
    let_go(connection, runs[0])
    assert purge(connection, NAMESPACE, "record", why="purged") == 2
    assert [state(connection, run_id) for run_id in (*runs, other)] == ["PENDING", "REVOKED", "REVOKED", "PENDING"]


def test_the_state_of_a_rate_is_kept_by_queue(connection: sa.Connection) -> None:
    run_id, until = put(connection), database_clock(connection)
    assert read_spent_until(connection, NAMESPACE, "record") is None
    mark_released(connection, NAMESPACE, "record", runs=[run_id], spent_until=until)
    assert read_spent_until(connection, NAMESPACE, "record") == until
    assert read_spent_until(connection, NAMESPACE, "other") is None


def test_of_very_many_the_most_important_and_the_oldest_are_looked_at(connection: sa.Connection) -> None:
    for number in range(MOST_LOOKED_AT + 50):
        put(connection, priority=7 if number else 0)
    urgent = put(connection, priority=9)
    found = {run.id for run in read_content(connection, NAMESPACE).runs}
    assert urgent in found
    assert len(found) <= 2 * MOST_LOOKED_AT
    assert read_content(connection, NAMESPACE).counts == {"record": RunCounts(waiting=MOST_LOOKED_AT + 51)}


def test_a_tenant_with_very_many_runs_keeps_nobody_elses_from_being_looked_at(connection: sa.Connection) -> None:
    for _ in range(MOST_LOOKED_AT + 50):
        put(connection, tenant="AAA")
    few = {put(connection, tenant=tenant) for tenant in ("BBB", "BBB", "CCC", None)}
    found = {run.id for run in read_content(connection, NAMESPACE).runs}
    assert few <= found
    assert len(found) <= 2 * MOST_LOOKED_AT


def test_what_waits_and_what_is_at_work_is_counted_by_queue(connection: sa.Connection) -> None:
    runs = [put(connection) for _ in range(4)]
    let_go(connection, runs[0], runs[1])
    revoke(connection, NAMESPACE, runs[0], why="its Job is still there")
    put(connection, queue="other")
    put(connection, namespace="elsewhere")
    counts = read_content(connection, NAMESPACE).counts
    assert counts == {"record": RunCounts(waiting=2, in_flight=2), "other": RunCounts(waiting=1)}
    assert read_content(connection, "nowhere").counts == {}


def test_chunks_ask_for_as_many_pods_as_there_are(connection: sa.Connection) -> None:
    put(connection)
    chunked = []
    for items in (3, 4):
        workflow = parse_workflow({"chunks": {"task": "render", "items": [0] * items, "size": 1}})
        chunked.append(enqueue_workflow(connection, namespace=NAMESPACE, workflow=workflow, queues=["record"] * items))
    let_go(connection, chunked[0])
    counts = read_content(connection, NAMESPACE).counts["record"]
    assert (counts, counts.demand) == (RunCounts(waiting=2, in_flight=1, further=5), 8)


def test_runs_are_listed_newest_first_and_chosen_by_queue_task_and_state(connection: sa.Connection) -> None:
    first, second = put(connection), put(connection, queue="other", task="send")
    assert {run.id for run in read_runs(connection, NAMESPACE)} == {first, second}
    assert [run.id for run in read_runs(connection, NAMESPACE, queue="other")] == [second]
    assert [run.id for run in read_runs(connection, NAMESPACE, task="render")] == [first]
    assert read_runs(connection, NAMESPACE, state="STARTED") == []
    assert len(read_runs(connection, NAMESPACE, most=1)) == 1


def test_old_runs_are_forgotten_by_days_and_by_rows_and_unfinished_ones_never(connection: sa.Connection) -> None:
    for age in (0, 1, 2, 40):
        run_id = put(connection)
        statement = "UPDATE task_runs SET state = 'SUCCESS', finished_at = now() - make_interval(days => :age)"
        connection.execute(sa.text(f"{statement} WHERE id = :id"), {"age": age, "id": run_id})
    waiting = put(connection)
    assert forget_old_runs(connection, NAMESPACE, HistoryPolicy(days=30, rows=10)) == 1
    assert forget_old_runs(connection, NAMESPACE, HistoryPolicy(days=30, rows=2)) == 1
    assert forget_old_runs(connection, NAMESPACE, HistoryPolicy(days=30, rows=2)) == 0
    assert len(read_runs(connection, NAMESPACE)) == 3
    assert state(connection, waiting) == "PENDING"
