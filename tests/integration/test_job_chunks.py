"""Chunks of a list in PostgreSQL and in pods: each item is worked on once, and all results are summed up."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from b3lb.db.chunks import begin_chunk, end_chunk, end_chunked_run
from b3lb.db.engine import transaction
from b3lb.db.run_history import TaskRun, read_runs
from b3lb.db.task_attempts import AttemptEnd
from b3lb.db.task_queue import read_content, revoke
from b3lb.db.task_runs import JSON_BYTES, TaskState
from b3lb.db.workflows import enqueue_workflow
from b3lb.workflows import parse_workflow
from tests.integration.enqueued_runs import PACKAGE, get, let_go
from tests.integration.job_runs import NAMESPACE, job

pytestmark = pytest.mark.integration

DONE = AttemptEnd(state=TaskState.SUCCESS, result={"done": True})


def put(engine: sa.Engine, *, items: int = 6, size: int = 2, **arguments: Any) -> UUID:
    """Enqueue and release a run with chunks."""
    content = {"task": "work", "items": list(range(1, items + 1)), "size": size, "arguments": arguments}
    workflow = parse_workflow({"chunks": content})
    with transaction(engine, timeout_seconds=10) as connection:
        run_id = enqueue_workflow(
            connection, namespace=NAMESPACE, workflow=workflow, queues=["work"] * len(workflow.steps)
        )
        (waiting,) = read_content(connection, NAMESPACE).runs
        assert (waiting.id, waiting.chunks) == (run_id, -(-items // size))
    assert let_go(engine, NAMESPACE, run_id) == 1
    return run_id


def chunks(engine: sa.Engine, run_id: UUID) -> list[TaskRun]:
    with transaction(engine, timeout_seconds=10) as connection:
        return sorted(read_runs(connection, NAMESPACE, parent=run_id), key=lambda run: run.place or 0)


def test_each_pod_works_on_the_chunk_of_its_index_and_the_results_are_a_list(
    engine: sa.Engine, database_url: str
) -> None:
    run_id = put(engine, items=5)
    for index in range(3):
        ended = job(database_url, "--run", str(run_id), B3LB_CHUNK=str(index), PYTHONPATH=PACKAGE)
        assert ended.returncode == 0, ended.stderr
    assert get(engine, NAMESPACE, run_id).state == "STARTED"
    with transaction(engine, timeout_seconds=10) as connection:
        assert end_chunked_run(connection, run_id, attempt=1, why="") is TaskState.SUCCESS
        assert end_chunked_run(connection, run_id, attempt=1, why="") is None
    run = get(engine, NAMESPACE, run_id)
    assert [result["items"] for result in run.result["results"]] == [[1, 2], [3, 4], [5]]
    assert (run.state, run.error) == ("SUCCESS", None)


def test_a_chunk_whose_pod_was_killed_is_worked_on_anew_and_the_late_end_of_the_first_does_not_count(
    connection: sa.Connection, engine: sa.Engine
) -> None:
    run_id = put(engine)
    first = begin_chunk(connection, run_id, attempt=1, chunk=1, pod="a")
    second = begin_chunk(connection, run_id, attempt=1, chunk=1, pod="b")
    assert first is not None
    assert second is not None
    assert (first.id, first.attempt, second.attempt) == (second.id, 1, 2)
    assert not end_chunk(connection, first.id, attempt=1, end=DONE)
    assert end_chunk(connection, second.id, attempt=2, end=DONE)
    assert begin_chunk(connection, run_id, attempt=1, chunk=1, pod="c") is None


def test_no_pod_works_on_a_chunk_of_another_attempt_of_a_revoked_run_or_on_one_that_is_not_there(
    connection: sa.Connection, engine: sa.Engine
) -> None:
    run_id = put(engine)
    assert begin_chunk(connection, run_id, attempt=2, chunk=0, pod="a") is None
    assert begin_chunk(connection, run_id, attempt=1, chunk=3, pod="a") is None
    revoke(connection, NAMESPACE, run_id, why="by hand")
    assert begin_chunk(connection, run_id, attempt=1, chunk=0, pod="a") is None
    assert end_chunked_run(connection, run_id, attempt=1, why="") is None
    assert {run.state for run in read_runs(connection, NAMESPACE)} == {"REVOKED"}


def test_chunks_that_failed_or_have_no_end_are_named_and_the_others_results_are_kept(engine: sa.Engine) -> None:
    run_id = put(engine)
    with transaction(engine, timeout_seconds=10) as connection:
        for index, end in enumerate((DONE, AttemptEnd(state=TaskState.FAILURE, error="the archive is damaged"))):
            claimed = begin_chunk(connection, run_id, attempt=1, chunk=index, pod="a")
            assert claimed is not None
            end_chunk(connection, claimed.id, attempt=1, end=end)
        assert end_chunked_run(connection, run_id, attempt=1, why="its pods were killed") is TaskState.FAILURE
    run = get(engine, NAMESPACE, run_id)
    assert run.error == (
        "2 of 3 failed: step 2 (work): FAILURE: the archive is damaged; step 3 (work): FAILURE: its pods were killed"
    )
    assert run.result == {"results": [{"done": True}, None, None]}


def test_a_passing_fault_of_a_chunk_ends_with_75_until_its_retries_are_used_up(
    engine: sa.Engine, database_url: str
) -> None:
    run_id = put(engine, end="transient")
    states = []
    for _ in range(3):
        ended = job(database_url, "--run", str(run_id), B3LB_CHUNK="0", B3LB_MAX_RETRIES="1", PYTHONPATH=PACKAGE)
        states.append((ended.returncode, chunks(engine, run_id)[0].state))
    assert states == [(75, "RETRY"), (75, "FAILURE"), (0, "FAILURE")]


def test_results_that_are_too_long_together_stay_with_their_chunks(engine: sa.Engine) -> None:
    run_id = put(engine)
    with transaction(engine, timeout_seconds=10) as connection:
        for index in range(3):
            claimed = begin_chunk(connection, run_id, attempt=1, chunk=index, pod="a")
            assert claimed is not None
            large = AttemptEnd(state=TaskState.SUCCESS, result={"text": "x" * (JSON_BYTES // 2)})
            end_chunk(connection, claimed.id, attempt=1, end=large)
        end_chunked_run(connection, run_id, attempt=1, why="")
    run = get(engine, NAMESPACE, run_id)
    assert (run.state, run.result["truncated"]) == ("SUCCESS", True)
    assert all(len(step.result["text"]) == JSON_BYTES // 2 for step in chunks(engine, run_id))
