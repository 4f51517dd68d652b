"""The names of the tasks, the queue that each belongs to by default, and what a set of queues leaves out or doubles.

Programs that only name tasks (labels, conditions, metrics) read them here; the functions behind the names are the
jobs' own.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Mapping
from functools import cache
from types import MappingProxyType

CHECK_NODES = "check-nodes"
UPDATE_SECRETS_LISTS = "update-secrets-lists"
UPDATE_STATISTICS = "update-statistics"
DELIVER_CALLBACKS = "deliver-callbacks"
HOUSEKEEPING_RECORDINGS = "housekeeping-recordings"
FINISH_DELETIONS = "finish-deletions"
SWEEP_STORAGE = "sweep-storage"
FORGET_ROWS = "forget-rows"
DELETE_RECORDING = "delete-recording"
RENDER_RECORD = "render-record"

DEFAULT_QUEUES: Mapping[str, str] = MappingProxyType(
    {
        CHECK_NODES: "core",
        UPDATE_SECRETS_LISTS: "core",
        UPDATE_STATISTICS: "statistics",
        DELIVER_CALLBACKS: "statistics",
        HOUSEKEEPING_RECORDINGS: "housekeeping",
        FINISH_DELETIONS: "housekeeping",
        SWEEP_STORAGE: "housekeeping",
        FORGET_ROWS: "housekeeping",
        DELETE_RECORDING: "housekeeping",
        RENDER_RECORD: "record",
    }
)
"""Task name → name of the queue that runs it unless the user says otherwise."""

TICKING = frozenset({CHECK_NODES, UPDATE_SECRETS_LISTS})
"""Tasks that run at every tick of a pod; the others run once in each."""

ON_DEMAND = frozenset({DELETE_RECORDING, RENDER_RECORD})
"""Tasks that run only when they are enqueued; the pods of their queue's schedule leave them out."""

STORING = frozenset({FINISH_DELETIONS, SWEEP_STORAGE, DELETE_RECORDING, RENDER_RECORD})
"""Tasks that read or change the storage of recordings; the pods of their queues are told where it is."""

DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        CHECK_NODES: "polls the nodes; writes their states and meetings",
        UPDATE_SECRETS_LISTS: "compares each API secret's list of meetings with the noted one and writes it",
        UPDATE_STATISTICS: "writes each tenant's statistics, metrics text and accounting",
        DELIVER_CALLBACKS: "tells front ends of recordings that are ready, again and again until they took it",
        HOUSEKEEPING_RECORDINGS: "marks the recordings that are past their hold time",
        FINISH_DELETIONS: "deletes the objects and rows of recordings that are marked, with an audit line each",
        SWEEP_STORAGE: "deletes abandoned uploads, and what the storage holds of no recording",
        FORGET_ROWS: "deletes old rows that nothing needs any more",
        DELETE_RECORDING: "deletes one recording at once",
        RENDER_RECORD: "renders one recording with one profile and publishes the video",
    }
)
"""Task name → what it does, in a line."""

TASKS: tuple[str, ...] = tuple(DEFAULT_QUEUES)
QUEUES: tuple[str, ...] = tuple(dict.fromkeys(DEFAULT_QUEUES.values()))


ENTRY_POINTS = "b3lb.tasks"
"""Group of the entry points by which a package installed beside b3lb adds tasks (name = module:attribute).

https://packaging.python.org/en/latest/specifications/entry-points/
"""


@cache
def added_tasks() -> Mapping[str, str]:
    """Return the tasks that other installed packages add: name → ``module:attribute``; none replaces one of b3lb's."""
    found = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return MappingProxyType({point.name: point.value for point in found if point.name not in DEFAULT_QUEUES})


def all_tasks() -> tuple[str, ...]:
    """Return the names of all tasks, b3lb's own first."""
    return (*TASKS, *sorted(added_tasks()))


def tasks_of(queue: str) -> tuple[str, ...]:
    """Return the tasks that ``queue`` runs by default, in the table's order; empty for an unknown queue."""
    return tuple(task for task, default in DEFAULT_QUEUES.items() if default == queue)


def unknown_tasks(tasks: Iterable[str]) -> tuple[str, ...]:
    """Return the names in ``tasks`` that are no tasks, each once, in order."""
    return tuple(dict.fromkeys(task for task in tasks if task not in DEFAULT_QUEUES and task not in added_tasks()))


def doubly_routed(queues: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Return the tasks that more than one queue runs, or one queue twice.

    Args:
        queues: Queue name → names of its tasks.

    Returns:
        Task name → the queues that run it, sorted; a queue that lists a task twice stands there twice.
    """
    routes: dict[str, list[str]] = {}
    for queue, tasks in queues.items():
        for task in tasks:
            routes.setdefault(task, []).append(queue)
    return {task: tuple(sorted(names)) for task, names in sorted(routes.items()) if len(names) > 1}
