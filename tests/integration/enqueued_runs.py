"""What tests of enqueued runs share: the package with the task ``work``, and rows in and out of the database."""

from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from b3lb.db.engine import transaction
from b3lb.db.run_history import TaskRun, read_run
from b3lb.db.task_queue import enqueue, mark_released

PACKAGE = str(Path(__file__).resolve().parents[1] / "tasks_package")


def put(engine: sa.Engine, namespace: str, *, queue: str = "work", task: str = "work", **values: Any) -> UUID:
    """Enqueue a run; what is no field of it is an argument of the task."""
    fields = {name: values.pop(name) for name in ("priority", "tenant", "not_before") if name in values}
    with transaction(engine, timeout_seconds=10) as connection:
        return enqueue(connection, namespace=namespace, queue=queue, task=task, arguments=values, **fields)


def let_go(engine: sa.Engine, namespace: str, run_id: UUID, *, queue: str = "work") -> int:
    """Release a run; return the number of its attempt."""
    with transaction(engine, timeout_seconds=10) as connection:
        (released,) = mark_released(connection, namespace, queue, runs=[run_id], spent_until=None)
        return released.attempt


def get(engine: sa.Engine, namespace: str, run_id: UUID) -> TaskRun:
    """Return a run."""
    with transaction(engine, timeout_seconds=10) as connection:
        found = read_run(connection, namespace, run_id)
    assert found is not None
    return found
