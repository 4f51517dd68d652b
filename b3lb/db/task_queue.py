"""The queue of enqueued task runs: enqueueing, reading for the release, releasing, revoking.

An enqueued run waits (PENDING, or RETRY after an attempt that failed for a passing reason) until it is released; from
then on it is in flight until its attempt ends, or, when it was revoked meanwhile, until its Job is gone. The number of
the attempt is part of every write about it, so that nobody speaks for an attempt that is over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.node_states import notify
from b3lb.db.release_rates import write_spent_until
from b3lb.db.tables import task_runs
from b3lb.db.task_runs import JSON_BYTES, JSON_LEVELS, TaskState, readable_json, stored_error
from b3lb.release import GREATEST_PRIORITY, LEAST_PRIORITY, RunCounts

MOST_LOOKED_AT = 500
"""So many waiting runs of a queue are looked at by priority, of each tenant in turn one, and as many by age; the rest
has its turn later."""


class InvalidRunError(ValueError):
    """A run cannot be enqueued like that; the message is one line for people."""


@dataclass(frozen=True, slots=True)
class EnqueuedRun:
    """A run that waits or is in flight; ``priority`` is None where the queue's counts, ``attempt`` 0 before the first.

    ``job_uid`` is the uid of the attempt's Job once it is known to exist, ``job_name`` its name where other runs share
    it, and of a render. ``chunks`` is the number of chunks of a run that has them.
    """

    id: UUID
    queue: str
    task: str
    state: TaskState
    attempt: int
    enqueued_at: datetime
    in_flight: bool
    priority: int | None = None
    tenant: str | None = None
    not_before: datetime | None = None
    job_uid: str | None = None
    job_name: str | None = None
    chunks: int | None = None


@dataclass(frozen=True, slots=True)
class QueueContent:
    """The enqueued runs of a namespace that are not over, at ``now`` by the database's clock.

    ``counts`` has the exact numbers by queue, also where not every run that waits is among ``runs``; a queue without
    runs is not in it.
    ``has_workflows`` when there are chains or groups that have not ended.
    """

    now: datetime
    runs: Sequence[EnqueuedRun] = field(default_factory=tuple)
    counts: Mapping[str, RunCounts] = field(default_factory=dict)
    has_workflows: bool = False


_T = task_runs.c
_run_id = sa.bindparam("run_id", type_=sa.Uuid)
_namespace: sa.BindParameter[str] = sa.bindparam("for_namespace", type_=sa.Text)

_ENQUEUE = (
    postgresql.insert(task_runs)
    .values(
        id=_run_id,
        namespace=_namespace,
        queue=sa.bindparam("in_queue"),
        task=sa.bindparam("of_task"),
        pod="",
        state=TaskState.PENDING.value,
        arguments=sa.cast(sa.bindparam("given", type_=sa.Text), postgresql.JSONB),
        attempts=0,
        enqueued=True,
        priority=sa.bindparam("with_priority", type_=sa.Integer),
        tenant=sa.bindparam("of_tenant", type_=sa.Text),
        not_before=sa.bindparam("earliest", type_=sa.TIMESTAMP(timezone=True)),
    )
    .on_conflict_do_nothing(index_elements=[task_runs.c.id])
)


def check_arguments(arguments: Mapping[str, Any], priority: int | None = None) -> str:
    """Return the arguments of a run as JSON if a run can be like that.

    Raises:
        InvalidRunError: The arguments are more than 64 KiB or nested too deeply, or the priority is none.
    """
    if priority is not None and not LEAST_PRIORITY <= priority <= GREATEST_PRIORITY:
        raise InvalidRunError(f"a priority is a number from {LEAST_PRIORITY} to {GREATEST_PRIORITY}, not {priority}")
    text = readable_json(arguments)
    if text is None:
        raise InvalidRunError(f"the arguments of a run are nested at most {JSON_LEVELS} levels deep")
    # As jsonb the text may grow by a blank after each colon and comma; PostgreSQL's own check has the last word.
    if len(text.encode()) + text.count(":") + text.count(",") > JSON_BYTES:
        raise InvalidRunError(f"the arguments of a run are at most {JSON_BYTES} bytes of JSON")
    return text


def enqueue(
    connection: sa.Connection,
    *,
    namespace: str,
    queue: str,
    task: str,
    arguments: Mapping[str, Any] | None = None,
    priority: int | None = None,
    tenant: str | None = None,
    not_before: datetime | None = None,
    run_id: UUID | None = None,
) -> UUID:
    """Enqueue a run of ``task`` and return its ID; the operator is told when the transaction commits.

    Args:
        connection: Within a transaction.
        namespace: Namespace of the BBBQueue.
        queue: Name of the BBBQueue.
        task: Name of the task.
        arguments: What the task is told, as JSON of at most 64 KiB.
        priority: 0 to 9, the highest first; None: the queue's.
        tenant: Whose share of the queue the run is.
        not_before: The run does not begin earlier.
        run_id: An ID that the caller chose, so that repeating the call is harmless.

    Raises:
        InvalidRunError: The arguments are too large, or the priority is none.
    """
    text = check_arguments(arguments or {}, priority)
    chosen = run_id or uuid4()
    parameters = {
        "run_id": chosen,
        "for_namespace": namespace,
        "in_queue": queue,
        "of_task": task,
        "given": text,
        "with_priority": priority,
        "of_tenant": tenant,
        "earliest": not_before,
    }
    connection.execute(_ENQUEUE, parameters)
    notify(connection, namespace)
    return chosen


def _place(row: Any, *order: Any, tenant: bool = False) -> sa.ColumnElement[int]:
    """Return a row's place, from 1 on, among those of its queue, or of its queue and tenant."""
    alike = (row.queue, row.in_flight, row.tenant) if tenant else (row.queue, row.in_flight)
    return sa.func.row_number().over(partition_by=alike, order_by=order)


_NAMES = (
    "id",
    "queue",
    "task",
    "state",
    "attempts",
    "created_at",
    "in_flight",
    "priority",
    "tenant",
    "not_before",
    "job_uid",
    "job_name",
    "steps",
)
_not_due = sa.func.coalesce(_T.not_before > sa.func.clock_timestamp(), sa.false())
_level = sa.func.coalesce(_T.priority, 5)
_open = (
    sa.select(
        *(_T[name] for name in _NAMES),
        _not_due.label("not_due"),
        _level.label("level"),
        _place(_T, _not_due, _level.desc(), _T.created_at, _T.id, tenant=True).label("turn"),
    )
    .where(_T.namespace == _namespace, _T.enqueued, sa.or_(_T.finished_at.is_(None), _T.in_flight))
    .subquery("open_runs")
)
_O = _open.c
# By turns: else a tenant with many runs would keep those of others from being looked at.
_ranked = sa.select(
    *(_O[name] for name in _NAMES),
    _place(_O, _O.not_due, _O.level.desc(), _O.turn, _O.created_at, _O.id).label("by_priority"),
    _place(_O, _O.not_due, _O.created_at, _O.id).label("by_age"),
    sa.func.count().over(partition_by=(_O.queue, _O.in_flight)).label("alike"),
    sa.func.sum(sa.func.coalesce(_O.steps, 1) - 1).over(partition_by=_O.queue).label("further"),
).subquery("ranked")
_workflows = task_runs.alias("workflows")
_has_workflows = (
    sa.select(sa.literal(1))
    .where(
        _workflows.c.namespace == _namespace,
        _workflows.c.workflow.is_not(None),
        _workflows.c.finished_at.is_(None),
        sa.not_(_workflows.c.enqueued),
    )
    .exists()
)
_clock = sa.select(sa.func.clock_timestamp().label("now"), _has_workflows.label("has_workflows")).subquery("clock")
_CONTENT = (
    sa.select(_clock.c.now, _clock.c.has_workflows, *(_ranked.c[name] for name in (*_NAMES, "alike", "further")))
    .select_from(
        _clock.outerjoin(
            _ranked,
            sa.or_(
                _ranked.c.in_flight,
                _ranked.c.by_priority <= MOST_LOOKED_AT,
                _ranked.c.by_age <= MOST_LOOKED_AT,
            ),
        )
    )
    .order_by(_ranked.c.created_at, _ranked.c.id)
)


def read_content(connection: sa.Connection, namespace: str) -> QueueContent:
    """Return what waits and what is in flight in ``namespace``: one statement, bounded for what waits."""
    rows = connection.execute(_CONTENT, {"for_namespace": namespace}).all()
    found = [row for row in rows if row.id is not None]
    alike = {(row.queue, row.in_flight): row.alike for row in found}
    counts = {
        row.queue: RunCounts(alike.get((row.queue, False), 0), alike.get((row.queue, True), 0), row.further)
        for row in found
    }
    return QueueContent(rows[0].now, tuple(map(_run, found)), counts, rows[0].has_workflows)


def _run(row: Any) -> EnqueuedRun:
    return EnqueuedRun(
        id=row.id,
        queue=row.queue,
        task=row.task,
        state=TaskState(row.state),
        attempt=row.attempts,
        enqueued_at=row.created_at,
        in_flight=row.in_flight,
        priority=row.priority,
        tenant=row.tenant,
        not_before=row.not_before,
        job_uid=row.job_uid,
        job_name=row.job_name,
        chunks=row.steps,
    )


_waits = sa.and_(_T.enqueued, _T.finished_at.is_(None), sa.not_(_T.in_flight))
_RELEASE = (
    sa.update(task_runs)
    .where(_T.id == sa.any_(sa.bindparam("chosen", type_=postgresql.ARRAY(sa.Uuid))), _waits)
    .values(
        in_flight=True,
        attempts=_T.attempts + 1,
        released_at=sa.func.clock_timestamp(),
        job_uid=None,
        job_name=None,
        pod="",
    )
    .returning(*(_T[name] for name in _NAMES))
)


def mark_released(
    connection: sa.Connection, namespace: str, queue: str, *, runs: Sequence[UUID], spent_until: datetime | None
) -> list[EnqueuedRun]:
    """Begin an attempt of each run that still waits, and return these runs in the given order.

    Their Jobs are to be made afterwards: the row is written first, so that whoever finds it without a Job makes it.
    """
    rows = {row.id: _run(row) for row in connection.execute(_RELEASE, {"chosen": list(runs)})}
    if spent_until is not None and rows:
        write_spent_until(connection, namespace, queue, spent_until)
    return [rows[run_id] for run_id in runs if run_id in rows]


_SHARE_JOB = (
    sa.update(task_runs)
    .where(_T.id == sa.any_(sa.bindparam("chosen", type_=postgresql.ARRAY(sa.Uuid))), _T.in_flight)
    .values(job_name=sa.bindparam("name", type_=sa.Text))
)


def share_job(connection: sa.Connection, runs: Sequence[UUID], *, job_name: str) -> None:
    """Note, in the transaction that released these runs, the name of the one Job that works on all of them."""
    connection.execute(_SHARE_JOB, {"chosen": list(runs), "name": job_name})


@dataclass(frozen=True, slots=True)
class BatchedRun:
    """An attempt that a Job with other runs works on."""

    id: UUID
    attempt: int


_BATCH = (
    sa.select(_T.id, _T.attempts)
    .where(_T.job_name == sa.bindparam("name", type_=sa.Text), _T.enqueued, _T.in_flight, _T.finished_at.is_(None))
    .order_by(_T.created_at, _T.id)
)


def read_batch(connection: sa.Connection, job_name: str) -> list[BatchedRun]:
    """Return the runs that share a Job and have not ended, the oldest first."""
    return [BatchedRun(row.id, row.attempts) for row in connection.execute(_BATCH, {"name": job_name})]


_this_attempt = sa.and_(_T.id == _run_id, _T.enqueued, _T.in_flight, _T.attempts == sa.bindparam("attempt"))
_RECORD_JOB = sa.update(task_runs).where(_this_attempt).values(job_uid=sa.bindparam("uid"))
_FORGET_JOB = sa.update(task_runs).where(_this_attempt, _T.finished_at.is_not(None)).values(in_flight=False)


def record_job(connection: sa.Connection, run_id: UUID, *, attempt: int, job_uid: str) -> None:
    """Note that the attempt's Job exists: from now on its absence means that somebody deleted it."""
    connection.execute(_RECORD_JOB, {"run_id": run_id, "attempt": attempt, "uid": job_uid})


def forget_job(connection: sa.Connection, run_id: UUID, *, attempt: int) -> None:
    """Note that the Job of a run that is over, a revoked one, is gone: its place in the queue is free."""
    connection.execute(_FORGET_JOB, {"run_id": run_id, "attempt": attempt})


_revoked: dict[str, Any] = {
    "state": TaskState.REVOKED.value,
    "finished_at": sa.func.clock_timestamp(),
    "error": sa.bindparam("why", type_=sa.Text),
}
_REVOKE = (
    sa.update(task_runs)
    .where(
        _T.namespace == _namespace,
        _T.id == _run_id,
        sa.or_(_T.enqueued, _T.workflow.is_not(None), _T.parent.is_not(None)),
        _T.finished_at.is_(None),
    )
    .values(_revoked)
    .returning(_T.id)
)
_REVOKE_STEPS = (
    sa.update(task_runs)
    .where(_T.parent == sa.any_(sa.bindparam("parents", type_=postgresql.ARRAY(sa.Uuid))), _T.finished_at.is_(None))
    .values(_revoked)
)
_PURGE = (
    sa.update(task_runs)
    .where(_T.namespace == _namespace, _T.queue == sa.bindparam("of_queue"), _waits)
    .values(_revoked)
    .returning(_T.id, _T.steps)
)


def revoke(connection: sa.Connection, namespace: str, run_id: UUID, *, why: str) -> bool:
    """Revoke an enqueued run or a workflow; return False if there is none of that ID that is not over.

    One that waits is over at once. The Job of one that is in flight is deleted by the operator, which is told. With a
    workflow its steps are revoked.
    """
    parameters = {"for_namespace": namespace, "run_id": run_id, "why": stored_error(why)}
    done = connection.execute(_REVOKE, parameters).scalar_one_or_none() is not None
    if done:
        revoke_steps(connection, run_id, why=why)
        notify(connection, namespace)
    return done


def revoke_steps(connection: sa.Connection, *workflows: UUID, why: str) -> None:
    """Revoke the steps of workflows that have not ended; whoever calls this holds the workflows' rows."""
    connection.execute(_REVOKE_STEPS, {"parents": list(workflows), "why": stored_error(why)})


def purge(connection: sa.Connection, namespace: str, queue: str, *, why: str) -> int:
    """Revoke each run of a queue that waits, with its chunks; return how many there were. What is in flight goes on."""
    parameters = {"for_namespace": namespace, "of_queue": queue, "why": stored_error(why)}
    rows = connection.execute(_PURGE, parameters).all()
    if rows:
        revoke_steps(connection, *(row.id for row in rows if row.steps is not None), why=why)
        notify(connection, namespace)
    return len(rows)
