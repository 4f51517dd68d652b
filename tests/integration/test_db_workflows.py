"""Chains and groups in PostgreSQL: results are handed on, failures end them, and each step begins once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from b3lb.db.engine import transaction
from b3lb.db.farm_metrics import read_farm_metrics
from b3lb.db.run_history import TaskRun, forget_old_runs, read_run, read_runs
from b3lb.db.task_attempts import AttemptEnd, begin_attempt, end_attempt, record_progress
from b3lb.db.task_queue import InvalidRunError, mark_released, purge, read_content, revoke
from b3lb.db.task_runs import JSON_BYTES, TaskState
from b3lb.db.workflows import MOST_CARRIED_ON, carry_on_workflows, enqueue_workflow
from b3lb.retention import HistoryPolicy
from b3lb.workflows import parse_workflow

pytestmark = pytest.mark.integration

NAMESPACE = "default"
CHAIN = {
    "chain": [
        {"task": "fetch", "arguments": {"set": 7}},
        {"task": "render", "receives": "fetched"},
        {"task": "send"},
    ]
}
GROUP = {"group": [{"task": "render", "arguments": {"set": number}} for number in range(3)]}


def put(connection: sa.Connection, content: dict[str, Any], **options: Any) -> UUID:
    workflow = parse_workflow(content)
    return enqueue_workflow(
        connection, namespace=NAMESPACE, workflow=workflow, queues=["record"] * len(workflow.steps), **options
    )


def row(connection: sa.Connection, run_id: UUID) -> TaskRun:
    found = read_run(connection, NAMESPACE, run_id)
    assert found is not None
    return found


def steps(connection: sa.Connection, parent: UUID) -> list[TaskRun]:
    return sorted(read_runs(connection, NAMESPACE, parent=parent), key=lambda run: run.place or 0)


def states(connection: sa.Connection, parent: UUID) -> list[str]:
    return [run.state for run in steps(connection, parent)]


def waiting(connection: sa.Connection) -> list[UUID]:
    return [run.id for run in read_content(connection, NAMESPACE).runs]


def work(connection: sa.Connection, run_id: UUID, **end: Any) -> None:
    """Let a run be released and end."""
    (released,) = mark_released(connection, NAMESPACE, "record", runs=[run_id], spent_until=None)
    assert begin_attempt(connection, run_id, attempt=released.attempt, pod="pod") is not None
    ending = AttemptEnd(**{"state": TaskState.SUCCESS, "result": {}, **end})
    assert end_attempt(connection, run_id, attempt=released.attempt, end=ending)


def in_threads(*functions: Callable[[], None]) -> None:
    """Call all at the same time, and wait for them."""
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_chain_hands_each_result_to_the_step_that_asks_for_it(connection: sa.Connection) -> None:
    chain = put(connection, CHAIN, priority=8)
    first, second, third = steps(connection, chain)
    assert waiting(connection) == [first.id]
    assert (first.arguments, first.priority, row(connection, chain).steps) == ({"set": 7}, 8, 3)
    assert carry_on_workflows(connection, NAMESPACE) == 0
    work(connection, first.id, result={"files": 2})
    assert carry_on_workflows(connection, NAMESPACE) == 1
    assert carry_on_workflows(connection, NAMESPACE) == 0
    assert waiting(connection) == [second.id]
    assert row(connection, second.id).arguments == {"fetched": {"files": 2}}
    assert row(connection, chain).state == "STARTED"
    work(connection, second.id)
    carry_on_workflows(connection, NAMESPACE)
    assert row(connection, third.id).arguments == {}
    work(connection, third.id, result={"sent": True})
    carry_on_workflows(connection, NAMESPACE)
    ended = row(connection, chain)
    assert (ended.state, ended.result, ended.error) == ("SUCCESS", {"sent": True}, None)
    assert ended.started_at == row(connection, first.id).started_at
    assert not read_content(connection, NAMESPACE).has_workflows


def test_a_chain_stops_at_a_failure_and_its_later_steps_are_revoked_with_the_reason(connection: sa.Connection) -> None:
    chain = put(connection, CHAIN)
    work(connection, steps(connection, chain)[0].id, state=TaskState.FAILURE, error="the disk is full")
    carry_on_workflows(connection, NAMESPACE)
    assert states(connection, chain) == ["FAILURE", "REVOKED", "REVOKED"]
    ended = row(connection, chain)
    assert (ended.state, ended.error) == ("FAILURE", "step 1 (fetch): FAILURE: the disk is full")
    assert steps(connection, chain)[2].error == f"the chain was given up: {ended.error}"
    assert (waiting(connection), carry_on_workflows(connection, NAMESPACE)) == ([], 0)


def test_a_step_waits_from_its_turn_on(connection: sa.Connection) -> None:
    chain = put(connection, CHAIN)
    connection.execute(sa.text("UPDATE task_runs SET created_at = now() - interval '1 day'"))
    work(connection, steps(connection, chain)[0].id)
    carry_on_workflows(connection, NAMESPACE)
    metrics = read_farm_metrics(connection, [NAMESPACE])
    assert metrics.now.timestamp() - (metrics.enqueued[NAMESPACE, "record"].oldest_at or 0.0) < 60
    (second,) = read_content(connection, NAMESPACE).runs
    assert second.not_before is not None
    assert second.not_before <= metrics.now


def test_a_step_that_is_tried_again_keeps_its_chain_waiting(connection: sa.Connection) -> None:
    chain = put(connection, CHAIN)
    first = steps(connection, chain)[0].id
    work(connection, first, state=TaskState.RETRY, retry_seconds=0.0)
    assert carry_on_workflows(connection, NAMESPACE) == 0
    work(connection, first)
    assert carry_on_workflows(connection, NAMESPACE) == 1


def test_a_result_that_is_too_large_to_be_handed_on_ends_the_chain_with_a_reason(connection: sa.Connection) -> None:
    chain = put(connection, CHAIN)
    work(connection, steps(connection, chain)[0].id, result={"text": "x" * (JSON_BYTES - 20)})
    carry_on_workflows(connection, NAMESPACE)
    ended = row(connection, chain)
    assert (ended.state, states(connection, chain)) == ("FAILURE", ["SUCCESS", "REVOKED", "REVOKED"])
    assert "step 2 with the result before it: the arguments of a run are at most 65536 bytes" in str(ended.error)


def test_arguments_that_the_database_refuses_end_their_chain_only(connection: sa.Connection) -> None:
    content = {"chain": [{"task": "fetch"}, {"task": "send", "receives": "sizes", "arguments": {"text": "x" * 10_000}}]}
    chain, other = put(connection, content), put(connection, CHAIN)
    work(connection, steps(connection, chain)[0].id, result={"sizes": [1e-300] * 200})
    work(connection, steps(connection, other)[0].id)
    assert carry_on_workflows(connection, NAMESPACE) == 2
    ended = row(connection, chain)
    assert (ended.state, states(connection, chain)) == ("FAILURE", ["SUCCESS", "REVOKED"])
    assert "step 2 with the result before it: the database refuses it" in str(ended.error)
    assert waiting(connection) == [steps(connection, other)[1].id]


def test_a_group_runs_side_by_side_and_its_result_is_the_list(connection: sa.Connection) -> None:
    group = put(connection, GROUP)
    runs = steps(connection, group)
    assert set(waiting(connection)) == {run.id for run in runs}
    for number in (2, 0, 1):
        assert row(connection, group).state != "SUCCESS"
        work(connection, runs[number].id, result={"number": number})
        carry_on_workflows(connection, NAMESPACE)
    ended = row(connection, group)
    assert (ended.state, ended.result) == ("SUCCESS", {"results": [{"number": 0}, {"number": 1}, {"number": 2}]})


def test_a_group_names_which_failed_once_all_have_ended_and_keeps_the_other_results(connection: sa.Connection) -> None:
    group = put(connection, GROUP)
    runs = steps(connection, group)
    work(connection, runs[1].id, state=TaskState.FAILURE, result=None, error="the disk is full")
    assert carry_on_workflows(connection, NAMESPACE) == 0
    work(connection, runs[0].id, result={"number": 0})
    work(connection, runs[2].id, result={"number": 2})
    carry_on_workflows(connection, NAMESPACE)
    ended = row(connection, group)
    assert (ended.state, ended.error) == ("FAILURE", "1 of 3 failed: step 2 (render): FAILURE: the disk is full")
    assert ended.result == {"results": [{"number": 0}, None, {"number": 2}]}


def test_of_two_that_see_the_same_end_only_one_begins_the_next_step(engine: sa.Engine) -> None:
    with transaction(engine, timeout_seconds=10) as connection:
        chain = put(connection, CHAIN)
        work(connection, steps(connection, chain)[0].id)
    barrier = threading.Barrier(4)
    moved: list[int] = []

    def carry_on() -> None:
        barrier.wait()
        with transaction(engine, timeout_seconds=10) as connection:
            moved.append(carry_on_workflows(connection, NAMESPACE))

    in_threads(*[carry_on] * 4)
    assert sorted(moved) == [0, 0, 0, 1]


def test_ends_at_the_same_moment_end_a_group_once(engine: sa.Engine) -> None:
    with transaction(engine, timeout_seconds=10) as connection:
        group = put(connection, GROUP)
        runs = [run.id for run in steps(connection, group)]
    barrier = threading.Barrier(len(runs))
    moved: list[int] = []

    def end(run_id: UUID) -> None:
        barrier.wait()
        with transaction(engine, timeout_seconds=10) as connection:
            work(connection, run_id)
        with transaction(engine, timeout_seconds=10) as connection:
            moved.append(carry_on_workflows(connection, NAMESPACE))

    in_threads(*[partial(end, run_id) for run_id in runs])
    assert sum(moved) == 1
    with transaction(engine, timeout_seconds=10) as connection:
        assert row(connection, group).state == "SUCCESS"


def test_revoking_a_workflow_revokes_its_steps_and_of_a_revoked_step_its_chain(connection: sa.Connection) -> None:
    chain, other = put(connection, CHAIN), put(connection, CHAIN)
    assert revoke(connection, NAMESPACE, chain, why="by hand")
    assert (row(connection, chain).state, states(connection, chain)) == ("REVOKED", ["REVOKED"] * 3)
    assert revoke(connection, NAMESPACE, steps(connection, other)[1].id, why="by hand")
    work(connection, steps(connection, other)[0].id)
    carry_on_workflows(connection, NAMESPACE)
    assert (row(connection, other).state, states(connection, other)) == ("REVOKED", ["SUCCESS", "REVOKED", "REVOKED"])


def test_purging_ends_the_chains_whose_steps_waited(connection: sa.Connection) -> None:
    chain = put(connection, CHAIN)
    assert purge(connection, NAMESPACE, "record", why="purged") == 1
    carry_on_workflows(connection, NAMESPACE)
    assert (row(connection, chain).state, states(connection, chain)) == ("REVOKED", ["REVOKED"] * 3)


def test_purging_ends_chunks_that_waited_with_each_of_them(connection: sa.Connection) -> None:
    chunks = put(connection, {"chunks": {"task": "render", "items": [1, 2, 3], "size": 1}})
    assert purge(connection, NAMESPACE, "record", why="purged") == 1
    assert (row(connection, chunks).state, states(connection, chunks)) == ("REVOKED", ["REVOKED"] * 3)
    assert forget_old_runs(connection, NAMESPACE, HistoryPolicy(days=30, rows=0)) == 4


def test_finished_steps_are_kept_as_long_as_their_workflow_has_not_ended(connection: sa.Connection) -> None:
    chain = put(connection, CHAIN)
    first = steps(connection, chain)[0].id
    work(connection, first)
    nothing = HistoryPolicy(days=30, rows=0)
    assert forget_old_runs(connection, NAMESPACE, nothing) == 0
    revoke(connection, NAMESPACE, chain, why="by hand")
    assert forget_old_runs(connection, NAMESPACE, nothing) == 4


def test_however_many_workflows_wait_the_others_go_on(connection: sa.Connection) -> None:
    last = max(put(connection, CHAIN) for _ in range(MOST_CARRIED_ON + 1))
    work(connection, steps(connection, last)[0].id)
    assert carry_on_workflows(connection, NAMESPACE) == 1
    assert steps(connection, last)[1].id in waiting(connection)


def test_steps_that_are_too_large_are_refused_and_nothing_is_enqueued(connection: sa.Connection) -> None:
    with pytest.raises(InvalidRunError, match="at most 65536 bytes"):
        put(connection, {"group": [{"task": "render"}, {"task": "render", "arguments": {"text": "x" * JSON_BYTES}}]})
    assert read_runs(connection, NAMESPACE) == []


def test_carrying_on_costs_the_same_whatever_the_number_of_steps(engine: sa.Engine) -> None:
    def count(size: int) -> int:
        executed: list[str] = []
        with engine.connect() as connection:
            put(connection, {"group": [{"task": "render"}] * size})
            sa.event.listen(connection, "before_cursor_execute", lambda *event: executed.append(event[2]))
            carry_on_workflows(connection, NAMESPACE)
        return len(executed)

    assert count(2) == count(100) == 1


def test_progress_is_read_back_redacted_and_a_new_attempt_begins_without(connection: sa.Connection) -> None:
    group = put(connection, {"group": [{"task": "render"}]})
    (run,) = steps(connection, group)
    mark_released(connection, NAMESPACE, "record", runs=[run.id], spent_until=None)
    begin_attempt(connection, run.id, attempt=1, pod="pod")
    record_progress(connection, run.id, percent=40.0, message="password=geheim")
    found = row(connection, run.id)
    assert (found.progress_percent, found.progress_message) == (40.0, "password=[redacted]")
    end_attempt(connection, run.id, attempt=1, end=AttemptEnd(state=TaskState.RETRY, retry_seconds=0.0))
    work(connection, run.id)
    assert row(connection, run.id).progress_percent is None
