"""Chains, groups and chunks in the table of task runs: enqueueing, and carrying on what can go on.

A workflow is a row that is not enqueued itself (chunks are: they have a Job) and has a row for each step. A step whose
turn has not come is not enqueued, so that nobody releases it. Whoever carries a workflow on locks its row first and
reads its steps afterwards: of two that see the same end, one finds that the next step has begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from b3lb.db.errors import broken_rule
from b3lb.db.node_states import notify
from b3lb.db.statements import dump, recordset
from b3lb.db.tables import task_runs
from b3lb.db.task_queue import InvalidRunError, check_arguments, revoke_steps
from b3lb.db.task_runs import TaskState, capped_json, stored_error
from b3lb.workflows import (
    Move,
    Step,
    StepState,
    Workflow,
    WorkflowEnd,
    WorkflowKind,
    chain_move,
    group_move,
    handed_over,
)

MOST_CARRIED_ON = 100
"""So many workflows are carried on at a time; the rest follows with the next call."""

_T = task_runs.c
_namespace: sa.BindParameter[str] = sa.bindparam("for_namespace", type_=sa.Text)
_parent: sa.BindParameter[UUID] = sa.bindparam("of_parent", type_=sa.Uuid)
_why: sa.BindParameter[str] = sa.bindparam("why", type_=sa.Text)

_FIELDS = (
    "id",
    "namespace",
    "queue",
    "task",
    "arguments",
    "priority",
    "enqueued",
    "workflow",
    "steps",
    "parent",
    "place",
    "receives",
)
_rows = recordset("rows", [_T[name] for name in _FIELDS])
_INSERT = sa.insert(task_runs).from_select(
    [*_FIELDS, "pod", "state", "attempts"],
    sa.select(*(_rows.c[name] for name in _FIELDS), sa.literal(""), sa.literal(TaskState.PENDING.value), sa.literal(0)),
)


def enqueue_workflow(
    connection: sa.Connection,
    *,
    namespace: str,
    workflow: Workflow,
    queues: Sequence[str],
    priority: int | None = None,
    run_id: UUID | None = None,
) -> UUID:
    """Enqueue a workflow and return its ID, by which its end and result are read; two statements.

    Args:
        connection: Within a transaction.
        namespace: Namespace of the BBBQueues.
        workflow: The chain, group or chunks.
        queues: The BBBQueue of each step, in order.
        priority: Of the steps that name none, 0 to 9; None: their queues'.
        run_id: An ID that the caller chose and that no run has; None: a new one.

    Raises:
        InvalidRunError: The arguments of a step are too large, or the priority is none.
    """
    chosen, steps, kind = run_id or uuid4(), workflow.steps, workflow.kind
    priorities = [priority if step.priority is None else step.priority for step in steps]
    for step, its_priority in zip(steps, priorities, strict=True):
        check_arguments(step.arguments, its_priority)
    parent = {
        "namespace": namespace,
        "id": chosen,
        "queue": queues[0],
        "task": steps[0].task if kind is WorkflowKind.CHUNKS else kind.value,
        "arguments": {},
        "priority": priorities[0],
        "enqueued": kind is WorkflowKind.CHUNKS,
        "workflow": kind.value,
        "steps": len(steps),
    }
    children = [
        {
            **_step_row(step, place, kind),
            "namespace": namespace,
            "queue": queue,
            "priority": priorities[place],
            "parent": chosen,
        }
        for place, (step, queue) in enumerate(zip(steps, queues, strict=True))
    ]
    connection.execute(_INSERT, {"rows": dump([parent, *children])})
    notify(connection, namespace)
    return chosen


def _step_row(step: Step, place: int, kind: WorkflowKind) -> dict[str, Any]:
    """Return what a step says of its row; one that does not begin at once is not enqueued."""
    begins = kind is WorkflowKind.GROUP or (kind is WorkflowKind.CHAIN and place == 0)
    return {
        "id": uuid4(),
        "task": step.task,
        "arguments": step.arguments,
        "enqueued": begins,
        "workflow": None,
        "steps": None,
        "place": place,
        "receives": step.receives,
    }


_steps = task_runs.alias("steps_of_it")


def _has_step(*conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return sa.select(sa.literal(1)).where(_steps.c.parent == _T.id, *conditions).correlate(task_runs).exists()


# Those that only wait are left out: however many they are, they must not keep the others from their turn.
_OPEN = (
    sa.select(_T.id, _T.workflow, _T.state)
    .where(
        _T.namespace == _namespace,
        _T.workflow.in_([WorkflowKind.CHAIN.value, WorkflowKind.GROUP.value]),
        _T.finished_at.is_(None),
        sa.or_(
            sa.not_(_has_step(_steps.c.enqueued, _steps.c.finished_at.is_(None))),
            sa.and_(_T.state == TaskState.PENDING.value, _has_step(_steps.c.started_at.is_not(None))),
        ),
    )
    .order_by(_T.id)
    .limit(MOST_CARRIED_ON)
    .with_for_update()
)
_state_columns = (_T.parent, _T.place, _T.task, _T.state, _T.enqueued, _T.started_at, _T.finished_at, _T.error)
_STEPS = (
    sa.select(*_state_columns)
    .where(_T.parent == sa.any_(sa.bindparam("parents", type_=sa.ARRAY(sa.Uuid))))
    .order_by(_T.parent, _T.place)
)
_RESULTS = sa.select(_T.place, _T.arguments, _T.receives, _T.result).where(_T.parent == _parent).order_by(_T.place)
_this_step = sa.and_(
    _T.parent == _parent,
    _T.place == sa.bindparam("at_place", type_=sa.Integer),
    sa.not_(_T.enqueued),
    _T.finished_at.is_(None),
)
_BEGIN_STEP = (
    sa.update(task_runs)
    .where(_this_step)
    .values(
        enqueued=True,
        # It waits from now on, not since the whole was enqueued.
        not_before=sa.func.clock_timestamp(),
        arguments=sa.cast(sa.bindparam("given", type_=sa.Text), postgresql.JSONB),
    )
)
_first_start = sa.select(sa.func.min(_steps.c.started_at)).where(_steps.c.parent == _parent).scalar_subquery()
_this_workflow = sa.and_(_T.id == _parent, _T.finished_at.is_(None))
_STARTED = (
    sa.update(task_runs)
    .where(_this_workflow, _T.state == TaskState.PENDING.value)
    .values(state=TaskState.STARTED.value, started_at=_first_start)
)
_END = (
    sa.update(task_runs)
    .where(_this_workflow)
    .values(
        state=sa.bindparam("final_state"),
        error=sa.bindparam("final_error", type_=sa.Text),
        result=capped_json("final_result"),
        started_at=_first_start,
        finished_at=sa.func.clock_timestamp(),
    )
)


def carry_on_workflows(connection: sa.Connection, namespace: str) -> int:
    """Begin the steps whose turn it is and end what has come to its end; return how many chains and groups moved.

    One statement where nothing moves. Harmless to repeat, and to do by several at once.
    """
    found = connection.execute(_OPEN, {"for_namespace": namespace}).all()
    if not found:
        return 0
    steps: dict[UUID, list[Any]] = {}
    for row in connection.execute(_STEPS, {"parents": [row.id for row in found]}):
        steps.setdefault(row.parent, []).append(row)
    moved = sum(_carry_on(connection, row, steps.get(row.id, [])) for row in found)
    if moved:
        notify(connection, namespace)
    return moved


def _carry_on(connection: sa.Connection, workflow: Any, rows: Sequence[Any]) -> bool:
    decide = chain_move if workflow.workflow == WorkflowKind.CHAIN else group_move
    move = decide([step_state(row) for row in rows])
    if move.begin is not None:
        move = _begin(connection, workflow.id, move.begin) or move
    if move.end is not None:
        _end(connection, WorkflowKind(workflow.workflow), workflow.id, move.end)
    elif workflow.state == TaskState.PENDING and any(row.started_at is not None for row in rows):
        connection.execute(_STARTED, {"of_parent": workflow.id})
    return move != Move()


def _begin(connection: sa.Connection, parent: UUID, place: int) -> Move | None:
    """Let it be a step's turn, or return the end of the chain if it cannot be given what it receives."""
    rows = connection.execute(_RESULTS, {"of_parent": parent}).all()
    row = rows[place]
    given = handed_over(row.arguments, row.receives, rows[place - 1].result if place else None)
    try:
        text = check_arguments(given)
        with connection.begin_nested():
            connection.execute(_BEGIN_STEP, {"of_parent": parent, "at_place": place, "given": text})
    except InvalidRunError as error:
        problem = str(error)
    except (sa.exc.IntegrityError, sa.exc.DataError) as error:
        # A number may be longer in the database than here: 1e-300 has 302 characters there.
        problem = f"the database refuses it: {broken_rule(error)}"
    else:
        return None
    return Move(end=WorkflowEnd(TaskState.FAILURE, f"step {place + 1} with the result before it: {problem}"))


def _end(connection: sa.Connection, kind: WorkflowKind, parent: UUID, end: WorkflowEnd) -> None:
    succeeded = end.state == TaskState.SUCCESS
    rows = connection.execute(_RESULTS, {"of_parent": parent}).all() if succeeded or kind is WorkflowKind.GROUP else []
    last = rows[-1].result if rows else None
    result = last if kind is WorkflowKind.CHAIN else joint_result(rows)
    parameters = {
        "of_parent": parent,
        "final_state": end.state,
        "final_error": stored_error(end.error),
        "final_result": None if result is None else dump(result),
    }
    connection.execute(_END, parameters)
    revoke_steps(connection, parent, why=f"the {kind} was given up: {end.error}")


def step_state(row: Any) -> StepState:
    """Return what a row says of a step."""
    return StepState(
        place=row.place,
        task=row.task,
        state=row.state,
        begun=row.enqueued,
        over=row.finished_at is not None,
        error=row.error,
    )


def joint_result(rows: Sequence[Any]) -> dict[str, Any]:
    """Return the results of steps that ran side by side, in order; None for one that has none."""
    return {"results": [row.result for row in rows]}
