"""Chunks of a list in the table of task runs: the pod of its index works on each, and at the end all are summed up.

The run is enqueued and has one Job; its chunks are its steps. Kubernetes starts another pod for an index whose pod
failed, so a chunk may have several attempts within the one of its run; only the newest may note its end.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from b3lb.db.tables import task_runs
from b3lb.db.task_attempts import AttemptEnd, ClaimedRun, end_attempt
from b3lb.db.task_runs import JSON_BYTES, TaskState, capped_json, stored_error, stored_result, stored_traceback
from b3lb.db.workflows import joint_result, step_state
from b3lb.workflows import joint_end

_T = task_runs.c
_run_id = sa.bindparam("run_id", type_=sa.Uuid)
_this_attempt = sa.and_(
    _T.id == _run_id, _T.in_flight, _T.attempts == sa.bindparam("attempt"), _T.finished_at.is_(None)
)
_BEGIN_RUN = (
    sa.update(task_runs)
    .where(_this_attempt, _T.state != TaskState.STARTED.value)
    .values(state=TaskState.STARTED.value, started_at=sa.func.clock_timestamp())
)
_run = task_runs.alias("run")
_BEGIN = (
    sa.update(task_runs)
    .where(
        _T.parent == _run_id,
        _T.place == sa.bindparam("chunk", type_=sa.Integer),
        _T.finished_at.is_(None),
        _run.c.id == _T.parent,
        _run.c.in_flight,
        _run.c.attempts == sa.bindparam("attempt"),
        _run.c.finished_at.is_(None),
    )
    .values(
        state=TaskState.STARTED.value,
        pod=sa.bindparam("by_pod", type_=sa.Text),
        attempts=_T.attempts + 1,
        started_at=sa.func.clock_timestamp(),
        error=sa.null(),
        traceback=sa.null(),
        progress_percent=sa.null(),
        progress_message=sa.null(),
    )
    .returning(_T.id, _T.namespace, _T.queue, _T.task, _T.attempts, _T.arguments)
)
_result = sa.bindparam("final_result", type_=sa.Text)
_over = sa.bindparam("over", type_=sa.Boolean)
_END = (
    sa.update(task_runs)
    .where(
        _T.id == _run_id,
        _T.parent.is_not(None),
        _T.attempts == sa.bindparam("attempt"),
        _T.finished_at.is_(None),
    )
    .values(
        state=sa.bindparam("final_state"),
        error=sa.bindparam("final_error", type_=sa.Text),
        traceback=sa.bindparam("final_traceback", type_=sa.Text),
        result=sa.case((_result.is_(None), sa.null()), else_=capped_json("final_result")),
        finished_at=sa.case((_over, sa.func.clock_timestamp()), else_=sa.null()),
    )
    .returning(_T.id)
)
_LOCK = sa.select(_T.id).where(_this_attempt).with_for_update()
_FAIL_UNDONE = (
    sa.update(task_runs)
    .where(_T.parent == _run_id, _T.finished_at.is_(None))
    .values(
        state=TaskState.FAILURE.value,
        error=sa.bindparam("why", type_=sa.Text),
        finished_at=sa.func.clock_timestamp(),
    )
)
_STATES = (
    sa.select(_T.place, _T.task, _T.state, _T.enqueued, _T.finished_at, _T.error)
    .where(_T.parent == _run_id)
    .order_by(_T.place)
)
_SIZE = sa.select(sa.func.coalesce(sa.func.sum(sa.func.octet_length(sa.cast(_T.result, sa.Text))), 0)).where(
    _T.parent == _run_id
)
_RESULTS = sa.select(_T.result).where(_T.parent == _run_id).order_by(_T.place)


def begin_chunk(connection: sa.Connection, run_id: UUID, *, attempt: int, chunk: int, pod: str) -> ClaimedRun | None:
    """Note that ``pod`` works on a chunk, counted from 0; None if it must not: done, revoked, or of another attempt."""
    connection.execute(_BEGIN_RUN, {"run_id": run_id, "attempt": attempt})
    parameters = {"run_id": run_id, "attempt": attempt, "chunk": chunk, "by_pod": pod}
    found = connection.execute(_BEGIN, parameters).one_or_none()
    if found is None:
        return None
    return ClaimedRun(found.id, found.namespace, found.queue, found.task, found.attempts, found.arguments)


def end_chunk(connection: sa.Connection, chunk_id: UUID, *, attempt: int, end: AttemptEnd) -> bool:
    """Note how an attempt of a chunk ended; False if it is over already. When it is tried again, Kubernetes decides."""
    parameters = {
        "run_id": chunk_id,
        "attempt": attempt,
        "over": end.retry_seconds is None,
        "final_state": end.state.value,
        "final_error": stored_error(end.error),
        "final_traceback": stored_traceback(end.traceback),
        "final_result": stored_result(end.result),
    }
    return connection.execute(_END, parameters).scalar_one_or_none() is not None


def end_chunked_run(connection: sa.Connection, run_id: UUID, *, attempt: int, why: str) -> TaskState | None:
    """Sum up the chunks of a run whose Job has ended, and return its state; None if it is over already.

    Args:
        connection: Within a transaction.
        run_id: The run.
        attempt: Its attempt.
        why: What to say of chunks that have no end: how the Job ended.
    """
    if connection.execute(_LOCK, {"run_id": run_id, "attempt": attempt}).one_or_none() is None:
        return None
    connection.execute(_FAIL_UNDONE, {"run_id": run_id, "why": stored_error(why)})
    end = joint_end([step_state(row) for row in connection.execute(_STATES, {"run_id": run_id})])
    state = TaskState(end.state)
    attempt_end = AttemptEnd(state=state, result=_summed_up(connection, run_id), error=end.error)
    end_attempt(connection, run_id, attempt=attempt, end=attempt_end)
    return state


def _summed_up(connection: sa.Connection, run_id: UUID) -> dict[str, Any]:
    """Return the list of results, or a remark where that would be too long: each chunk keeps its own."""
    size = connection.execute(_SIZE, {"run_id": run_id}).scalar_one()
    if size > JSON_BYTES:
        return {"truncated": True, "bytes": int(size)}
    return joint_result(connection.execute(_RESULTS, {"run_id": run_id}).all())
