"""``/runs``, ``/runs/{id}``, ``/active`` and ``/scheduled``: runs that were, are and will be."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from b3lb.db.run_history import TaskRun, find_run, latest_runs
from b3lb.db.task_runs import TaskState
from b3lb.db.work import LARGEST_SHOWN, MOST_OPEN, OpenRun
from b3lb.release import is_held
from b3lb.views.runs import run_document
from b3lb.views.values import Document, listing, timestamp
from b3lb_operator.control.farms import Farms
from b3lb_operator.control.questions import Question, UnknownObjectError, shown
from b3lb_operator.control.queues import next_slot
from b3lb_operator.kinds import JOB, QUEUE, Key
from b3lb_operator.manifests.cronjob import RunIdentity, run_job_name
from b3lb_operator.manifests.queue_status import finish_time
from b3lb_operator.samples import SampledQueue, queue_samples

MOST_RUNS = 1_000

WITHOUT_JOB = timedelta(hours=1)
"""So long a run that no Job is known of counts as at work: one that somebody started by hand."""

_POD_SUFFIX = 6
"""Kubernetes calls the pods of a Job by its name, a hyphen and five random characters."""


async def runs(farms: Farms, question: Question) -> Document:
    """Return the newest runs, newest first; large arguments and results only in the document of the run itself."""
    namespaces = question.namespaces(farms.namespaces)
    queue, task = question.text("queue"), question.text("task")
    state = question.choice("state", TaskState)
    parent = question.optional_identifier("of")
    most = question.number("limit", default=50, least=1, greatest=MOST_RUNS)
    now = datetime.now(UTC)

    def read(connection: sa.Connection) -> list[TaskRun]:
        return latest_runs(
            connection,
            namespaces,
            queue=queue,
            task=task,
            state=state,
            parent=parent,
            most=most,
            largest=LARGEST_SHOWN,
        )

    found = await farms.ask(read)
    if not found:
        _check_names(farms, namespaces, queue=queue, task=task)
    return listing("TaskRunList", [run_document(run) for run in found], as_of=now)


async def run(farms: Farms, question: Question) -> Document:
    """Return one run with all that is known of it."""
    run_id = question.identifier("id")
    namespaces = question.namespaces(farms.namespaces)
    found = await farms.ask(lambda connection: find_run(connection, namespaces, run_id))
    if found is None:
        raise UnknownObjectError(f"there is no run {run_id}: /control/v1/runs lists the newest")
    return run_document(found)


async def active(farms: Farms, question: Question) -> Document:
    """Return the runs that pods work on, oldest first."""
    namespaces = question.namespaces(farms.namespaces)
    work = await farms.present_work()
    jobs = {
        key
        for namespace in namespaces
        for key, job in farms.store.in_namespace(JOB, namespace)
        if finish_time(job) is None
    }
    found = [run for run in work.at_work if run.namespace in namespaces]
    return _cut(farms, "ActiveRunList", active_items(found, jobs, now=datetime.now(UTC)), of=work.at_work)


def active_items(runs: Iterable[OpenRun], jobs: Collection[Key], *, now: datetime) -> list[Document]:
    """Return what is shown of runs at work.

    Args:
        runs: Those that the database has as begun and not over.
        jobs: The Jobs that have not ended. A run of a schedule whose Job is not among them is over; its pod died
            without a word, and the next look at it will note that.
        now: The present time.
    """
    items = []
    for run in runs:
        job = _job_name(run)
        began = run.started_at or run.created_at
        if not run.enqueued and Key(run.namespace, job) not in jobs and now - began > WITHOUT_JOB:
            continue
        items.append(
            {
                "id": str(run.id),
                "namespace": run.namespace,
                "queue": run.queue,
                "task": run.task,
                "pod": run.pod or None,
                "job": job or None,
                "attempt": run.attempts,
                "startedAt": timestamp(began),
                "seconds": max(0.0, round((now - began).total_seconds(), 3)),
                "enqueued": run.enqueued,
            }
        )
    return items


def _job_name(run: OpenRun) -> str:
    if run.enqueued:
        return run.job_name or run_job_name(RunIdentity(run.id, run.attempts))
    job = run.pod[:-_POD_SUFFIX]
    # The pods of an Indexed Job, whose indices are chunks, have their index before the random characters.
    return job if run.parent is None else job.rpartition("-")[0]


async def scheduled(farms: Farms, question: Question) -> Document:
    """Return what comes next, by time: slots of schedules, attempts that are repeated, runs that wait."""
    namespaces = question.namespaces(farms.namespaces)
    metrics, work, now = await farms.farm_metrics(), await farms.work(), datetime.now(UTC)
    queues = list(queue_samples(farms.store, namespaces, metrics, now=now))
    waiting = [] if work is None else work.waiting
    items = scheduled_items(queues, [run for run in waiting if run.namespace in namespaces], now=now)
    return _cut(farms, "ScheduledRunList", items, of=waiting)


def scheduled_items(queues: Sequence[SampledQueue], waiting: Iterable[OpenRun], *, now: datetime) -> list[Document]:
    """Return what is shown of the next slots of ``queues`` and of runs that wait, by time."""
    priorities: Mapping[Key, int] = {queue.key: queue.spec.priority for queue in queues}
    slots = [(slot, _slot(queue, slot)) for queue in queues if (slot := next_slot(queue, now=now)) is not None]
    runs = [(at := run.not_before or run.created_at, _waiting(run, at, priorities)) for run in waiting]
    return [item for _, item in sorted([*slots, *runs], key=lambda pair: (pair[0], str(pair[1]["id"])))]


def _slot(queue: SampledQueue, at: datetime) -> Document:
    return {
        "namespace": queue.key.namespace,
        "queue": queue.key.name,
        "tasks": list(queue.spec.tasks),
        "id": None,
        "at": timestamp(at),
        "kind": "slot",
        "priority": None,
    }


def _waiting(run: OpenRun, at: datetime, priorities: Mapping[Key, int]) -> Document:
    return {
        "namespace": run.namespace,
        "queue": run.queue,
        "tasks": [run.task],
        "id": str(run.id),
        "at": None if is_held(at) else timestamp(at),
        "kind": "paused" if is_held(at) else "retry" if run.state == TaskState.RETRY else "waiting",
        "priority": priorities.get(Key(run.namespace, run.queue)) if run.priority is None else run.priority,
    }


def _cut(farms: Farms, kind: str, items: Sequence[Document], *, of: Sequence[OpenRun]) -> Document:
    """Return a list of runs; it says when more were there than are read."""
    document = farms.listing(kind, items, sight=farms.works)
    return {**document, "truncated": True} if len(of) > MOST_OPEN else document


def _check_names(farms: Farms, namespaces: Sequence[str], *, queue: str | None, task: str | None) -> None:
    """Say that a queue or a task is not there, of which no run is known either."""
    found = {key.name: m for namespace in namespaces for key, m in farms.store.in_namespace(QUEUE, namespace)}
    tasks = sorted({name for manifest in found.values() for name in manifest["spec"].get("tasks", ())})
    for word, name, known in (("BBBQueue", queue, sorted(found)), ("task", task, tasks)):
        if name is not None and name not in known:
            raise UnknownObjectError(f"there is no {word} {shown(name)}: use one of {', '.join(known) or '(none)'}")
