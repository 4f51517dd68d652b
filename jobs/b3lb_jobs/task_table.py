"""The tasks: name, default queue, function, and whether it ticks. The one place where a task is entered."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from b3lb.tasks import (
    CHECK_NODES,
    DEFAULT_QUEUES,
    QUEUES,
    TASKS,
    UPDATE_SECRETS_LISTS,
    UPDATE_STATISTICS,
    added_tasks,
    tasks_of,
)

if TYPE_CHECKING:
    from b3lb_jobs.interface import Task, TaskContext
    from b3lb_jobs.on_demand import OnDemandTask


class UnknownNameError(ValueError):
    """A name that is neither a task nor a queue; the message lists the allowed ones."""


@dataclass(frozen=True, slots=True)
class TaskEntry:
    """One task.

    ``function`` is ``module:attribute`` of what makes the task from its context; it is imported only when the task
    runs. A task that does not tick runs once per pod. One that runs ``on_demand`` only is an `OnDemandTask`, and its
    function ``module:attribute`` is that object itself.
    """

    name: str
    function: str
    ticking: bool
    on_demand: bool = False

    @property
    def queue(self) -> str:
        """The queue that runs the task by default; empty for a task that another package adds."""
        return DEFAULT_QUEUES.get(self.name, "")

    def load(self) -> Callable[[TaskContext], Task[Any]]:
        """Import and return what makes the task."""
        return cast("Callable[[TaskContext], Task[Any]]", self._import())

    def load_on_demand(self) -> OnDemandTask[Any]:
        """Import and return a task that runs on demand."""
        return cast("OnDemandTask[Any]", self._import())

    def _import(self) -> object:
        module, _, attribute = self.function.partition(":")
        return getattr(importlib.import_module(module), attribute)


TABLE: tuple[TaskEntry, ...] = (
    TaskEntry(CHECK_NODES, "b3lb_jobs.core.check_nodes:CheckNodes", ticking=True),
    TaskEntry(UPDATE_SECRETS_LISTS, "b3lb_jobs.core.update_secrets_lists:UpdateSecretsLists", ticking=True),
    TaskEntry(UPDATE_STATISTICS, "b3lb_jobs.statistics.update_statistics:UpdateStatistics", ticking=False),
)

_BY_NAME = {entry.name: entry for entry in TABLE}


def entry_of(name: str) -> TaskEntry | None:
    """Return the task of that name, also one that another package adds; None if there is none."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    function = added_tasks().get(name)
    return None if function is None else TaskEntry(name, function, ticking=False, on_demand=True)


def route(names: Iterable[str]) -> tuple[TaskEntry, ...]:
    """Return the tasks that ``names`` (tasks or queues) mean, each once, in order.

    Raises:
        UnknownNameError: A name is neither.
    """
    found: dict[str, TaskEntry] = {}
    for name in names:
        if name in added_tasks():
            raise UnknownNameError(f"{name!r} runs only when it is enqueued: b3lb run {name}")
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
    rows += [(name, "-", "when enqueued") for name in sorted(added_tasks())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
