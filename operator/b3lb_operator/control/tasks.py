"""``/stats`` and ``/registered``: what became of each task's runs, and which tasks there are."""

from __future__ import annotations

from collections.abc import Iterable

from b3lb.resources.queue import EVERY_MINUTE
from b3lb.tasks import DEFAULT_QUEUES, DESCRIPTIONS, TICKING, all_tasks
from b3lb.views.queues import stats_items
from b3lb.views.values import Document
from b3lb_operator.control.farms import Farms, away
from b3lb_operator.control.questions import Question, UnavailableError
from b3lb_operator.kinds import QUEUE, Key, Manifest


async def stats(farms: Farms, question: Question) -> Document:
    """Return what became of the runs of each task in each queue."""
    namespaces = question.namespaces(farms.namespaces)
    metrics, work = await farms.farm_metrics(), await farms.present_work()
    if metrics is None:
        raise UnavailableError(away(farms.sight.error))
    items = stats_items(metrics.totals, metrics.ticks, work.ends)
    return farms.listing("TaskStatsList", [item for item in items if item["namespace"] in namespaces])


async def registered(farms: Farms, question: Question) -> Document:
    """Return the tasks that this version knows, and the queues that run them."""
    namespaces = question.namespaces(farms.namespaces)
    queues = [found for namespace in namespaces for found in farms.store.in_namespace(QUEUE, namespace)]
    return farms.listing("RegisteredTaskList", registered_items(queues))


def registered_items(queues: Iterable[tuple[Key, Manifest]]) -> list[Document]:
    """Return what is shown of every task."""
    found = [(key, manifest["spec"]) for key, manifest in queues]
    items: list[Document] = []
    for task in all_tasks():
        routes = [(key, spec) for key, spec in found if task in spec.get("tasks", ())]
        schedules = [spec["schedule"] for _, spec in routes if spec.get("schedule")]
        items.append(
            {
                "task": task,
                "queue": DEFAULT_QUEUES.get(task),
                "routedTo": [{"namespace": key.namespace, "queue": key.name} for key, _ in routes],
                "runs": _runs(task, schedules),
                "description": DESCRIPTIONS.get(task),
            }
        )
    return items


def _runs(task: str, schedules: list[str]) -> str:
    if not schedules:
        return "when enqueued"
    return "every tick" if task in TICKING and EVERY_MINUTE in schedules else "once"
