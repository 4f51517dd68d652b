"""The history of task runs: bounded, redacted, and ended exactly once."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from b3lb.db.engine import transaction
from b3lb.db.task_runs import (
    ERROR_CHARACTERS,
    JSON_BYTES,
    TRACEBACK_CHARACTERS,
    TaskState,
    fail_silent_runs,
    finish,
    record_tick,
    start,
)
from tests.integration.database_farm import Farm

pytestmark = pytest.mark.integration


def begin(farm: Farm, run_id: UUID | None = None, **changes: Any) -> tuple[UUID, bool]:
    run_id = run_id or uuid4()
    values = {
        "namespace": "default",
        "queue": "core",
        "task": "check-nodes",
        "pod": "core-1",
        "arguments": {"tick_seconds": 15},
        **changes,
    }
    with transaction(farm.engine, timeout_seconds=10) as connection:
        return run_id, start(connection, run_id, **values)


def end(farm: Farm, run_id: UUID, **values: Any) -> bool:
    with transaction(farm.engine, timeout_seconds=10) as connection:
        return finish(connection, run_id, **values)


def test_a_run_begins_ticks_and_ends(farm: Farm) -> None:
    run_id, may_begin = begin(farm)
    assert may_begin
    assert farm.rows("SELECT id, namespace, queue, task, pod, state, arguments, attempts, ticks FROM task_runs") == [
        (run_id, "default", "core", "check-nodes", "core-1", "STARTED", {"tick_seconds": 15}, 1, 0)
    ]
    with transaction(farm.engine, timeout_seconds=10) as connection:
        record_tick(connection, run_id, seconds=0.5)
    assert end(farm, run_id, state=TaskState.SUCCESS, result={"ticks": 1})
    assert farm.rows("SELECT state, result, error, traceback, ticks, finished_at >= started_at FROM task_runs") == [
        ("SUCCESS", {"ticks": 1}, None, None, 1, True)
    ]


def test_a_pod_that_died_without_a_word_has_failed_and_no_other_one(farm: Farm) -> None:
    for pod in ("b3lb-core-1-abcde", "b3lb-core-1-fghij-x", "b3lb-core-2-abcde"):
        begin(farm, pod=pod)
    ended, _ = begin(farm, pod="b3lb-core-1-klmno")
    end(farm, ended, state=TaskState.SUCCESS)
    with transaction(farm.engine, timeout_seconds=10) as connection:
        assert fail_silent_runs(connection, "elsewhere", ["b3lb-core-1"], error="killed") == 0
        assert fail_silent_runs(connection, "default", ["b3lb-core-1"], error="killed") == 1
        assert fail_silent_runs(connection, "default", ["b3lb-core-1"], error="killed") == 0
    assert farm.rows("SELECT pod, error FROM task_runs WHERE state = 'FAILURE'") == [("b3lb-core-1-abcde", "killed")]


def test_beginning_twice_is_one_run_and_keeps_its_beginning(farm: Farm) -> None:
    run_id, _ = begin(farm)
    (before,) = farm.rows("SELECT started_at FROM task_runs")
    assert begin(farm, run_id, attempts=2) == (run_id, True)
    assert farm.rows("SELECT started_at FROM task_runs") == [before]
    assert farm.rows("SELECT attempts FROM task_runs") == [(2,)]


def test_a_pending_row_of_the_operator_is_taken_over_and_a_revoked_one_is_not(farm: Farm) -> None:
    statement = (
        "INSERT INTO task_runs (id, namespace, queue, task, pod, state, finished_at)"
        " VALUES (:id, 'default', 'record', 'render', '', :state, :finished)"
    )
    pending, revoked = uuid4(), uuid4()
    farm.run(statement, id=pending, state="PENDING", finished=None)
    farm.run(statement, id=revoked, state="REVOKED", finished="2026-11-23")
    assert begin(farm, pending)[1] is True
    assert begin(farm, revoked)[1] is False
    assert farm.rows("SELECT state, started_at IS NULL FROM task_runs ORDER BY state") == [
        ("REVOKED", True),
        ("STARTED", False),
    ]


def test_a_run_ends_once(farm: Farm) -> None:
    run_id, _ = begin(farm)
    assert end(farm, run_id, state=TaskState.FAILURE, error="first")
    assert not end(farm, run_id, state=TaskState.SUCCESS, result={})
    with transaction(farm.engine, timeout_seconds=10) as connection:
        record_tick(connection, run_id, seconds=1)
    assert farm.rows("SELECT state, error, ticks FROM task_runs") == [("FAILURE", "first", 0)]


@pytest.mark.parametrize("size", [JSON_BYTES - 9, JSON_BYTES - 8, 5_000_000])
def test_json_beyond_64_kib_is_replaced_by_a_remark(farm: Farm, size: int) -> None:
    value = {"a": "x" * size}
    run_id, _ = begin(farm, arguments=value)
    end(farm, run_id, state=TaskState.SUCCESS, result=value)
    # {"a": "…"} has nine characters beside the text.
    expected = value if size + 9 <= JSON_BYTES else {"truncated": True, "bytes": size + 9}
    assert farm.rows("SELECT arguments, result FROM task_runs") == [(expected, expected)]


def test_numbers_that_grow_when_they_are_stored_count_as_stored(farm: Farm) -> None:
    begin(farm, arguments={"numbers": [1e300] * 1000})
    ((arguments,),) = farm.rows("SELECT arguments FROM task_runs")
    assert arguments["truncated"] is True


def test_errors_and_tracebacks_are_bounded_and_hold_no_secret(farm: Farm) -> None:
    run_id, _ = begin(farm)
    traceback = "begin\n" + "a line\n" * 10_000 + "ValueError: checksum=abcdef"
    end(farm, run_id, state=TaskState.FAILURE, error="x" * 5000 + "\x00", traceback=traceback)
    ((error, stored),) = farm.rows("SELECT error, traceback FROM task_runs")
    assert error == "x" * ERROR_CHARACTERS
    assert len(stored) <= TRACEBACK_CHARACTERS
    assert stored.startswith("begin\na line\n")
    assert stored.endswith("ValueError: checksum=[redacted]")
