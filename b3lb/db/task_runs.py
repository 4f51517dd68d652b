"""The history of task runs: one row per task and pod run, in Celery's states.

A pod writes its own run. Everything is bounded, and error texts are stripped of secrets before they are stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.statements import dump, storable_text
from b3lb.db.tables import task_runs
from b3lb.nesting import nesting
from b3lb.redaction import redact, shortened

JSON_BYTES = 65_536
JSON_LEVELS = 100
"""So deeply arguments and results are nested at most, so that whoever reads them can."""

ERROR_CHARACTERS = 1_000
TRACEBACK_CHARACTERS = 16_000

SILENT_DAYS = 2
"""Runs that began earlier are not looked at any more: finished Jobs are kept for a day."""


class TaskState(StrEnum):
    """The states of a task run."""

    PENDING = "PENDING"
    STARTED = "STARTED"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    RETRY = "RETRY"
    REVOKED = "REVOKED"


def capped_json(parameter: str) -> sa.ColumnElement[Any]:
    """Return a JSON parameter, replaced by a remark when its stored text would be too long."""
    value = sa.cast(sa.bindparam(parameter, type_=sa.Text), postgresql.JSONB)
    size = sa.func.octet_length(sa.cast(value, sa.Text))
    remark = sa.func.jsonb_build_object("truncated", sa.true(), "bytes", size)
    return sa.case((size > JSON_BYTES, remark), else_=value)


_INSERT = postgresql.insert(task_runs).values(
    id=sa.bindparam("run_id", type_=sa.Uuid),
    namespace=sa.bindparam("namespace"),
    queue=sa.bindparam("queue"),
    task=sa.bindparam("task"),
    pod=sa.bindparam("pod"),
    state=TaskState.STARTED.value,
    arguments=capped_json("arguments"),
    attempts=sa.bindparam("attempts", type_=sa.Integer),
    started_at=sa.func.clock_timestamp(),
)
_START = _INSERT.on_conflict_do_update(
    index_elements=[task_runs.c.id],
    set_={
        "state": TaskState.STARTED.value,
        "pod": _INSERT.excluded.pod,
        "arguments": _INSERT.excluded.arguments,
        "attempts": _INSERT.excluded.attempts,
        "started_at": sa.func.coalesce(task_runs.c.started_at, _INSERT.excluded.started_at),
    },
    where=task_runs.c.finished_at.is_(None),
).returning(task_runs.c.id)

_mine = sa.and_(task_runs.c.id == sa.bindparam("run_id", type_=sa.Uuid), task_runs.c.finished_at.is_(None))
_seconds = sa.bindparam("seconds", type_=sa.Double)
_RECORD_TICK = (
    sa.update(task_runs)
    .where(_mine)
    .values(
        ticks=task_runs.c.ticks + 1,
        last_tick_seconds=_seconds,
        longest_tick_seconds=sa.func.greatest(sa.func.coalesce(task_runs.c.longest_tick_seconds, 0.0), _seconds),
    )
)
_FINISH = (
    sa.update(task_runs)
    .where(_mine)
    .values(
        state=sa.bindparam("final_state"),
        result=sa.case(
            (sa.bindparam("final_result", type_=sa.Text).is_(None), sa.null()), else_=capped_json("final_result")
        ),
        error=sa.bindparam("final_error", type_=sa.Text),
        traceback=sa.bindparam("final_traceback", type_=sa.Text),
        finished_at=sa.func.clock_timestamp(),
    )
    .returning(task_runs.c.id)
)


def start(
    connection: sa.Connection,
    run_id: UUID,
    *,
    namespace: str,
    queue: str,
    task: str,
    pod: str,
    arguments: Mapping[str, Any],
    attempts: int = 1,
) -> bool:
    """Note that a run began; return False if it was revoked or had ended already, so that it must not begin.

    Harmless to repeat. A row that the operator made before (PENDING) is taken over by its ID.
    """
    parameters = {
        "run_id": run_id,
        "namespace": namespace,
        "queue": queue,
        "task": task,
        "pod": pod,
        "arguments": dump(arguments),
        "attempts": attempts,
    }
    return connection.execute(_START, parameters).scalar_one_or_none() is not None


def record_tick(connection: sa.Connection, run_id: UUID, *, seconds: float) -> None:
    """Count one tick that took ``seconds``; nothing happens after the run ended."""
    connection.execute(_RECORD_TICK, {"run_id": run_id, "seconds": seconds})


def finish(
    connection: sa.Connection,
    run_id: UUID,
    *,
    state: TaskState,
    result: Mapping[str, Any] | None = None,
    error: str | None = None,
    traceback: str | None = None,
) -> bool:
    """Note how a run ended; return False if its end stood there already.

    Args:
        connection: Within a transaction.
        run_id: The run.
        state: SUCCESS, FAILURE, RETRY (this pod gives up, a later one tries again) or REVOKED.
        result: What came out, as JSON; more than 64 KiB are replaced by a remark.
        error: One line for people; capped and redacted.
        traceback: Capped in its middle, for both its ends tell the most, and redacted.
    """
    parameters = {
        "run_id": run_id,
        "final_state": state.value,
        "final_result": None if result is None else dump(result),
        "final_error": stored_error(error),
        "final_traceback": stored_traceback(traceback),
    }
    return connection.execute(_FINISH, parameters).scalar_one_or_none() is not None


_SILENT = (
    sa.update(task_runs)
    .where(
        task_runs.c.namespace == sa.bindparam("for_namespace"),
        sa.not_(task_runs.c.enqueued),
        task_runs.c.finished_at.is_(None),
        task_runs.c.created_at > sa.func.now() - sa.func.make_interval(0, 0, 0, SILENT_DAYS),
        # Kubernetes calls the pods of a Job by its name, a hyphen and five random characters.
        sa.func.left(task_runs.c.pod, -6) == sa.any_(sa.bindparam("jobs", type_=postgresql.ARRAY(sa.Text))),
    )
    .values(
        state=TaskState.FAILURE.value,
        error=sa.bindparam("why", type_=sa.Text),
        finished_at=sa.func.clock_timestamp(),
    )
    .returning(task_runs.c.id)
)


def fail_silent_runs(connection: sa.Connection, namespace: str, jobs: Sequence[str], *, error: str) -> int:
    """Note the end of runs whose pods, of these failed Jobs of schedules, died without a word; return how many."""
    parameters = {"for_namespace": namespace, "jobs": list(jobs), "why": stored_error(error)}
    return len(connection.execute(_SILENT, parameters).all())


def readable_json(value: Mapping[str, Any]) -> str | None:
    """Return ``value`` as JSON, None if it is nested more deeply than `JSON_LEVELS`."""
    try:
        text = dump(value)
    except RecursionError:
        return None
    return text if nesting(text) <= JSON_LEVELS else None


def stored_result(result: Mapping[str, Any] | None) -> str | None:
    """Return the result of a task as it may be stored: one that is nested too deeply is replaced by a remark."""
    return None if result is None else readable_json(result) or dump({"truncated": True, "levels": JSON_LEVELS})


def stored_error(error: str | None) -> str | None:
    """Return ``error`` as it may be stored: redacted and capped."""
    return None if error is None else storable_text(redact(error))[:ERROR_CHARACTERS]


def stored_traceback(traceback: str | None) -> str | None:
    """Return ``traceback`` as it may be stored: redacted, and capped in its middle."""
    return None if traceback is None else shortened(storable_text(redact(traceback)), TRACEBACK_CHARACTERS)
