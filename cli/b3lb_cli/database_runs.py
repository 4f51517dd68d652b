"""Task runs by the database itself: enqueued, read and taken back without asking the operator."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from b3lb.db.engine import database_clock
from b3lb.db.mirror import QueueMirror
from b3lb.db.mirror.queues import read_queues
from b3lb.db.run_history import TaskRun, read_run, read_runs
from b3lb.db.task_queue import InvalidRunError, enqueue, purge, revoke
from b3lb.db.task_runs import TaskState
from b3lb.views.runs import run_document
from b3lb.views.values import Document, listing
from b3lb.workflows import Workflow
from b3lb_cli.database import ask
from b3lb_cli.outcome import CommandError, ExitCode
from b3lb_cli.table import shown
from b3lb_cli.workflow_file import put_workflow

_NAME_COLUMNS = 40


class DatabaseRuns:
    """The runs of a namespace's queues; every call raises CommandError with what is allowed."""

    def __init__(self, url: str, namespace: str) -> None:
        self._url = url
        self._namespace = namespace

    def runs(
        self, *, queue: str | None, task: str | None, state: str | None, parent: UUID | None = None, limit: int
    ) -> Document:
        """Return the newest runs."""
        wanted = None if state is None else state.upper()
        if wanted is not None and wanted not in set(TaskState):
            message = f"there is no state {shown(str(state), _NAME_COLUMNS)}; the states are {', '.join(TaskState)}"
            raise CommandError(ExitCode.USAGE, message)

        def read(connection: sa.Connection) -> tuple[list[TaskRun], datetime]:
            found = read_runs(
                connection, self._namespace, queue=queue, task=task, state=wanted, parent=parent, most=limit
            )
            if not found and queue is not None:
                self._check_queue(connection, queue)
            if not found and task is not None:
                queue_with(task, read_queues(connection, self._namespace), self._namespace)
            return found, database_clock(connection)

        found, now = ask(self._url, read)
        return listing("TaskRunList", [run_document(run) for run in found], as_of=now)

    def run(self, run_id: UUID) -> Document:
        """Return a run."""
        return run_document(ask(self._url, lambda connection: self._existing(connection, run_id)))

    def enqueue(self, task: str, arguments: Mapping[str, Any], priority: int | None) -> Document:
        """Enqueue a run in the queue that has the task, and return it."""

        def put(connection: sa.Connection) -> TaskRun:
            queue = queue_with(task, read_queues(connection, self._namespace), self._namespace)
            try:
                run_id = enqueue(
                    connection,
                    namespace=self._namespace,
                    queue=queue,
                    task=task,
                    arguments=arguments,
                    priority=priority,
                )
            except InvalidRunError as error:
                raise CommandError(ExitCode.USAGE, str(error)) from None
            return self._existing(connection, run_id)

        return run_document(ask(self._url, put, write=True))

    def enqueue_workflow(self, workflow: Workflow, priority: int | None) -> Document:
        """Enqueue runs that belong together, and return the run that stands for all of them."""

        def put(connection: sa.Connection) -> TaskRun:
            queues = read_queues(connection, self._namespace)
            run_id = put_workflow(
                connection,
                self._namespace,
                workflow,
                queue_of=lambda task: queue_with(task, queues, self._namespace),
                priority=priority,
            )
            return self._existing(connection, run_id)

        return run_document(ask(self._url, put, write=True))

    def revoke(self, run_id: UUID) -> Document:
        """Take a run back and return it."""

        def take_back(connection: sa.Connection) -> TaskRun:
            if not revoke(connection, self._namespace, run_id, why="revoked by hand"):
                run = self._existing(connection, run_id)
                problem = f"it is over: {run.state}" if run.by_request else "it was not enqueued: a schedule started it"
                raise CommandError(ExitCode.NOT_FOUND, f"run {run_id} cannot be revoked: {problem}")
            return self._existing(connection, run_id)

        return run_document(ask(self._url, take_back, write=True))

    def purge(self, queue: str) -> int:
        """Take back the waiting runs of a queue and return how many there were."""

        def take_back(connection: sa.Connection) -> int:
            revoked = purge(connection, self._namespace, queue, why="purged by hand")
            if not revoked:
                # What waits for a queue that was deleted can be purged all the same.
                self._check_queue(connection, queue)
            return revoked

        return ask(self._url, take_back, write=True)

    def _check_queue(self, connection: sa.Connection, queue: str) -> None:
        queues = read_queues(connection, self._namespace)
        if queue not in queues:
            there = f"the queues are {', '.join(queues)}" if queues else "there is none at all"
            message = f"no BBBQueue {shown(queue, _NAME_COLUMNS)} in namespace {self._namespace}; {there}"
            raise CommandError(ExitCode.USAGE, message)

    def _existing(self, connection: sa.Connection, run_id: UUID) -> TaskRun:
        run = read_run(connection, self._namespace, run_id)
        if run is None:
            message = f"no run {run_id} in namespace {self._namespace}; b3lb runs lists them"
            raise CommandError(ExitCode.NOT_FOUND, message)
        return run


def queue_with(task: str, queues: Mapping[str, QueueMirror], namespace: str) -> str:
    """Return the name of the queue that has ``task``.

    Raises:
        CommandError: None has it; the message lists the tasks that there are.
    """
    for name, queue in queues.items():
        if task in queue.tasks:
            return name
    tasks = sorted({found for queue in queues.values() for found in queue.tasks})
    there = f"the tasks are {', '.join(tasks)}" if tasks else "there is no BBBQueue at all"
    message = f"no BBBQueue in namespace {namespace} has the task {shown(task, _NAME_COLUMNS)}; {there}"
    raise CommandError(ExitCode.USAGE, message)
