"""Reading task runs, and forgetting old ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.tables import task_runs
from b3lb.retention import FinishedRun, HistoryPolicy, expired_runs

MOST_FORGOTTEN = 5_000
"""So many runs are forgotten at a time; the rest follows with the next call."""


@dataclass(frozen=True, slots=True)
class TaskRun:
    """A task run as people read it; an enqueued one may have arguments and a result, and waits until it is released.

    ``workflow`` says of which kind a workflow is that has ``steps`` steps; ``place`` is that of a step of the workflow
    ``parent``, from 0 on. ``progress_percent`` and ``progress_message`` are what the task said last.
    """

    id: UUID
    namespace: str
    queue: str
    task: str
    pod: str
    state: str
    attempts: int
    enqueued: bool
    priority: int | None
    arguments: Mapping[str, Any]
    result: Any
    error: str | None
    traceback: str | None
    created_at: datetime
    not_before: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    workflow: str | None
    steps: int | None
    parent: UUID | None
    place: int | None
    progress_percent: float | None
    progress_message: str | None

    @property
    def by_request(self) -> bool:
        """Whether somebody enqueued it, alone or as a part of something; else a schedule started it."""
        return self.enqueued or self.workflow is not None or self.parent is not None


_T = task_runs.c
_LARGE = frozenset({"arguments", "result"})
_COLUMNS = tuple(_T[name] for name in TaskRun.__dataclass_fields__)
_namespace: sa.BindParameter[str] = sa.bindparam("namespace", type_=sa.Text)
_namespaces: sa.BindParameter[Any] = sa.bindparam("namespaces", type_=sa.ARRAY(sa.Text))
_ours = _T.namespace == sa.any_(_namespaces)
_RUN = sa.select(*_COLUMNS).where(_ours, _T.id == sa.bindparam("run_id", type_=sa.Uuid))


def read_run(connection: sa.Connection, namespace: str, run_id: UUID) -> TaskRun | None:
    """Return the run of that ID, None if there is none."""
    return find_run(connection, [namespace], run_id)


def find_run(connection: sa.Connection, namespaces: Sequence[str], run_id: UUID) -> TaskRun | None:
    """Return the run of that ID in one of some namespaces, None if there is none."""
    row = connection.execute(_RUN, {"namespaces": list(namespaces), "run_id": run_id}).mappings().one_or_none()
    return None if row is None else TaskRun(**row)


def read_runs(
    connection: sa.Connection,
    namespace: str,
    *,
    queue: str | None = None,
    task: str | None = None,
    state: str | None = None,
    parent: UUID | None = None,
    most: int = 50,
) -> list[TaskRun]:
    """Return the newest runs, newest first; None chooses all queues, tasks, states or workflows (``parent``)."""
    return latest_runs(connection, [namespace], queue=queue, task=task, state=state, parent=parent, most=most)


def latest_runs(
    connection: sa.Connection,
    namespaces: Sequence[str],
    *,
    queue: str | None = None,
    task: str | None = None,
    state: str | None = None,
    parent: UUID | None = None,
    most: int = 50,
    largest: int | None = None,
) -> list[TaskRun]:
    """Return the newest runs of some namespaces, newest first: one statement.

    Args:
        connection: To the database.
        namespaces: Where to look.
        queue: Only those of this queue; None: of all.
        task: Only those of this task; None: of all.
        state: Only those in this state; None: in any.
        parent: Only those of this workflow; None: of any and of none.
        most: How many at most.
        largest: Arguments and results of more bytes are left in the database; a remark says how large they are. None:
            all are read.
    """
    columns = _COLUMNS if largest is None else [_capped(column, largest) for column in _COLUMNS]
    chosen = sa.select(*columns).where(_ours)
    chosen_values: tuple[tuple[sa.Column[Any], object], ...] = (
        (_T.queue, queue),
        (_T.task, task),
        (_T.state, state),
        (_T.parent, parent),
    )
    for column, value in chosen_values:
        if value is not None:
            chosen = chosen.where(column == value)
    statement = chosen.order_by(_T.created_at.desc(), _T.place, _T.id).limit(most)
    return [TaskRun(**row) for row in connection.execute(statement, {"namespaces": list(namespaces)}).mappings()]


def _capped(column: sa.Column[Any], largest: int) -> sa.ColumnElement[Any]:
    if column.name not in _LARGE:
        return column
    size = sa.func.octet_length(sa.cast(column, sa.Text))
    remark = sa.func.jsonb_build_object("truncated", sa.true(), "bytes", size, type_=postgresql.JSONB)
    return sa.case((size > largest, remark), else_=column).label(column.name)


_open_workflows = task_runs.alias("open_workflows")
_of_open_workflow = sa.and_(
    _T.parent.is_not(None),
    sa.select(sa.literal(1)).where(_open_workflows.c.id == _T.parent, _open_workflows.c.finished_at.is_(None)).exists(),
)
_finished = (
    sa.select(
        _T.id,
        _T.finished_at,
        sa.func.row_number().over(partition_by=_T.task, order_by=(_T.finished_at.desc(), _T.id.desc())).label("place"),
    )
    .where(_T.namespace == _namespace, _T.finished_at.is_not(None), sa.not_(_T.in_flight), sa.not_(_of_open_workflow))
    .subquery("finished")
)
_CANDIDATES = (
    sa.select(_finished, sa.func.clock_timestamp().label("now"))
    .where(
        sa.or_(
            _finished.c.place > sa.bindparam("rows"),
            _finished.c.finished_at
            < sa.func.clock_timestamp() - sa.func.make_interval(0, 0, 0, sa.bindparam("days", type_=sa.Integer)),
        )
    )
    .order_by(_finished.c.finished_at, _finished.c.id)
    .limit(MOST_FORGOTTEN)
)
_DELETE = sa.delete(task_runs).where(_T.id == sa.any_(sa.bindparam("ids", type_=postgresql.ARRAY(sa.Uuid))))


def forget_old_runs(connection: sa.Connection, namespace: str, policy: HistoryPolicy) -> int:
    """Delete what the policy does not keep, the oldest first, and return how many rows went: two statements."""
    parameters = {"namespace": namespace, "rows": policy.rows, "days": policy.days}
    rows = connection.execute(_CANDIDATES, parameters).all()
    if not rows:
        return 0
    runs = (FinishedRun(row.id, row.finished_at, row.place) for row in rows)
    expired = expired_runs(runs, policy, rows[0].now)
    return connection.execute(_DELETE, {"ids": expired}).rowcount
