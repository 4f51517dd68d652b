"""Renders among the enqueued runs: what their Jobs are made of, and what the end of a pod makes of the recording."""

from __future__ import annotations

import sqlalchemy as sa

from b3lb.db.renders import fail_render, retry_render, step_memory
from b3lb.db.task_attempts import AttemptEnd, end_attempt
from b3lb.db.task_queue import EnqueuedRun
from b3lb.db.task_runs import TaskState
from b3lb_operator.manifests.run_end import Cause, JobEnd


def end_render(connection: sa.Connection, run: EnqueuedRun, *, end: JobEnd, planned: AttemptEnd) -> AttemptEnd | None:
    """Note the end of a render's attempt whose pod said nothing, in the run and in the video's row.

    One that ran out of memory is tried once more, at once, with more of it, however many attempts there were.

    Args:
        connection: Within a transaction.
        run: The run.
        end: How its Job ended.
        planned: What becomes of another task's run that ended so.

    Returns:
        What was noted, None if the attempt was over already.
    """
    with connection.begin_nested() as savepoint:
        if end.cause is Cause.OUT_OF_MEMORY:
            planned = _with_more_memory(connection, run, end)
        if not end_attempt(connection, run.id, attempt=run.attempt, end=planned):
            savepoint.rollback()
            return None
        reason, message = end.cause.value, planned.error or end.error
        if planned.state is TaskState.RETRY:
            retry_render(connection, run_id=run.id, reason=reason, message=message)
        else:
            fail_render(connection, run_id=run.id, reason=reason, message=message)
    return planned


def _with_more_memory(connection: sa.Connection, run: EnqueuedRun, end: JobEnd) -> AttemptEnd:
    # Also when a pod that noticed in time asked for it, and was gone before it could note its end.
    if step_memory(connection, run_id=run.id, attempt=run.attempt):
        return AttemptEnd(state=TaskState.RETRY, retry_seconds=0.0, error=f"{end.error}; once more with more of it")
    return AttemptEnd(state=TaskState.FAILURE, error=end.error)
