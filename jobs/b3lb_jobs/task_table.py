"""The tasks: name, default queue, function, and whether it ticks. The one place where a task is entered."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from b3lb.tasks import CHECK_NODES, DEFAULT_QUEUES, QUEUES, TASKS, UPDATE_SECRETS_LISTS, UPDATE_STATISTICS, tasks_of

if TYPE_CHECKING:
    from b3lb_jobs.interface import Task, TaskContext


class UnknownNameError(ValueError):
    """A name that is neither a task nor a queue; the message lists the allowed ones."""


@dataclass(frozen=True, slots=True)
class TaskEntry:
    """One task.

    ``function`` is ``module:attribute`` of what makes the task from its context; it is imported only when the task
    runs. A task that does not tick runs once per pod.
    """

    name: str
    function: str
    ticking: bool

    @property
    def queue(self) -> str:
        """The queue that runs the task by default."""
        return DEFAULT_QUEUES[self.name]

    def load(self) -> Callable[[TaskContext], Task[Any]]:
        """Import and return what makes the task."""
        module, _, attribute = self.function.partition(":")
        made = getattr(importlib.import_module(module), attribute)
        return cast("Callable[[TaskContext], Task[Any]]", made)


TABLE: tuple[TaskEntry, ...] = (
    TaskEntry(CHECK_NODES, "b3lb_jobs.core.check_nodes:CheckNodes", ticking=True),
    TaskEntry(UPDATE_SECRETS_LISTS, "b3lb_jobs.core.update_secrets_lists:UpdateSecretsLists", ticking=True),
    TaskEntry(UPDATE_STATISTICS, "b3lb_jobs.statistics.update_statistics:UpdateStatistics", ticking=False),
)

_BY_NAME = {entry.name: entry for entry in TABLE}


def route(names: Iterable[str]) -> tuple[TaskEntry, ...]:
    """Return the tasks that ``names`` (tasks or queues) mean, each once, in order.

    Raises:
        UnknownNameError: A name is neither.
    """
    found: dict[str, TaskEntry] = {}
    for name in names:
        tasks = (name,) if name in _BY_NAME else tasks_of(name)
        if not tasks:
            raise UnknownNameError(
                f"{name!r} is neither a task nor a queue; tasks: {', '.join(TASKS)}; queues: {', '.join(QUEUES)}"
            )
        found.update((task, _BY_NAME[task]) for task in tasks)
    return tuple(found.values())


def listing() -> str:
    """Return the table for people: a line per task."""
    rows = [("TASK", "QUEUE", "RUNS"), *((e.name, e.queue, "every tick" if e.ticking else "once") for e in TABLE)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
