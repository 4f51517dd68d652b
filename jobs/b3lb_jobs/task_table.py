"""The tasks: name, default queue, function, and whether it ticks. The one place where a task is entered."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from b3lb.tasks import (
    CHECK_NODES,
    DEFAULT_QUEUES,
    DELETE_RECORDING,
    DELIVER_CALLBACKS,
    FINISH_DELETIONS,
    FORGET_ROWS,
    HOUSEKEEPING_RECORDINGS,
    ON_DEMAND,
    QUEUES,
    RENDER_RECORD,
    SWEEP_STORAGE,
    TASKS,
    UPDATE_SECRETS_LISTS,
    UPDATE_STATISTICS,
    added_tasks,
    tasks_of,
)
from b3lb_jobs.ticks import SINGLE_RUN

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
    function ``module:attribute`` is that object itself. A run of several tasks that do not tick may take as long as the
    ``longest`` of them.
    """

    name: str
    function: str
    ticking: bool
    on_demand: bool = False
    longest: timedelta = SINGLE_RUN

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


HOUSEKEEPING = timedelta(hours=2, minutes=10)
"""Deleting and sweeping take an hour at most, each; the Job of a daily schedule may take six."""

TABLE: tuple[TaskEntry, ...] = (
    TaskEntry(CHECK_NODES, "b3lb_jobs.core.check_nodes:CheckNodes", ticking=True),
    TaskEntry(UPDATE_SECRETS_LISTS, "b3lb_jobs.core.update_secrets_lists:UpdateSecretsLists", ticking=True),
    TaskEntry(UPDATE_STATISTICS, "b3lb_jobs.statistics.update_statistics:UpdateStatistics", ticking=False),
    TaskEntry(DELIVER_CALLBACKS, "b3lb_jobs.statistics.deliver_callbacks:DeliverCallbacks", ticking=False),
    TaskEntry(
        HOUSEKEEPING_RECORDINGS,
        "b3lb_jobs.housekeeping.housekeeping_recordings:HousekeepingRecordings",
        ticking=False,
        longest=HOUSEKEEPING,
    ),
    TaskEntry(
        FINISH_DELETIONS,
        "b3lb_jobs.housekeeping.finish_deletions:FinishDeletions",
        ticking=False,
        longest=HOUSEKEEPING,
    ),
    TaskEntry(SWEEP_STORAGE, "b3lb_jobs.housekeeping.sweep_storage:SweepStorage", ticking=False, longest=HOUSEKEEPING),
    TaskEntry(FORGET_ROWS, "b3lb_jobs.housekeeping.forget_rows:ForgetRows", ticking=False, longest=HOUSEKEEPING),
    TaskEntry(DELETE_RECORDING, "b3lb_jobs.housekeeping.delete_recording:TASK", ticking=False, on_demand=True),
    TaskEntry(RENDER_RECORD, "b3lb_jobs.record.render_record:TASK", ticking=False, on_demand=True),
)

_BY_NAME = {entry.name: entry for entry in TABLE}


def entry_of(name: str) -> TaskEntry | None:
    """Return the task of that name, also one that another package adds; None if there is none."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    function = added_tasks().get(name)
    return None if function is None else TaskEntry(name, function, ticking=False, on_demand=True)


def longest_of(entries: Iterable[TaskEntry]) -> timedelta:
    """Return how long a run of these tasks may take."""
    return max((entry.longest for entry in entries), default=SINGLE_RUN)


def route(names: Iterable[str]) -> tuple[TaskEntry, ...]:
    """Return the tasks that ``names`` (tasks or queues) mean, each once, in order.

    Among others, and in a queue, b3lb's own tasks that run on demand are left out: a queue's schedule names all of the
    queue's tasks.

    Raises:
        UnknownNameError: A name is neither, or nothing is left.
    """
    given = list(names)
    found: dict[str, TaskEntry] = {}
    for name in given:
        if name in added_tasks() or (name in ON_DEMAND and set(given) <= ON_DEMAND):
            raise UnknownNameError(f"{name!r} runs only when it is enqueued: b3lb run {name}")
        tasks = (name,) if name in _BY_NAME else tasks_of(name)
        if not tasks:
            raise UnknownNameError(
                f"{name!r} is neither a task nor a queue; tasks: {', '.join(TASKS)}; queues: {', '.join(QUEUES)}"
            )
        found.update((task, _BY_NAME[task]) for task in tasks if task not in ON_DEMAND)
    return tuple(found.values())


def _runs(entry: TaskEntry) -> str:
    if entry.on_demand:
        return "when enqueued"
    return "every tick" if entry.ticking else "once"


def listing() -> str:
    """Return the table for people: a line per task."""
    rows = [("TASK", "QUEUE", "RUNS"), *((e.name, e.queue, _runs(e)) for e in TABLE)]
    rows += [(name, "-", "when enqueued") for name in sorted(added_tasks())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
