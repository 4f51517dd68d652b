"""``b3lb run``, ``runs``, ``result``, ``revoke`` and ``purge``: task runs, enqueued, read and taken back."""

from __future__ import annotations

import argparse
import json
import sys
import time
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
from b3lb_cli.database import ask
from b3lb_cli.outcome import CommandError, ExitCode
from b3lb_cli.table import ago, shown, table
from b3lb_cli.workflow_file import put_workflow, read_workflow

POLL_SECONDS = 1.0

_HEADINGS = ("ID", "TASK", "QUEUE", "STATE", "PRIORITY", "ATTEMPTS", "AGE", "DURATION", "ERROR")
_NUMBERS = frozenset({"PRIORITY", "ATTEMPTS"})
_ERROR_COLUMNS = 60
_NAME_COLUMNS = 40


def execute(url: str, namespace: str, options: argparse.Namespace) -> None:
    """Do what the command line asks for.

    Raises:
        CommandError: There is no such task, queue, state or run, or the database does not say.
    """
    commands = {"run": _run, "runs": _runs, "result": _result, "revoke": _revoke, "purge": _purge}
    commands[options.command](url, namespace, options)


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
    raise CommandError(
        ExitCode.UNKNOWN_NAME,
        f"no BBBQueue in namespace {namespace} has the task {shown(task, _NAME_COLUMNS)}; {there}",
    )


def as_json(run: TaskRun) -> dict[str, Any]:
    """Return a run for programs; times are ISO 8601 in UTC."""
    return {
        "id": str(run.id),
        "namespace": run.namespace,
        "queue": run.queue,
        "task": run.task,
        "state": run.state,
        "enqueued": run.enqueued,
        "priority": run.priority,
        "attempts": run.attempts,
        "pod": run.pod or None,
        "arguments": dict(run.arguments),
        "result": run.result,
        "error": run.error,
        "traceback": run.traceback,
        "createdAt": _time(run.created_at),
        "notBefore": _time(run.not_before),
        "startedAt": _time(run.started_at),
        "finishedAt": _time(run.finished_at),
        "progress": None
        if run.progress_percent is None
        else {"percent": run.progress_percent, "message": run.progress_message or ""},
        "workflow": run.workflow,
        "steps": run.steps,
        "parent": None if run.parent is None else str(run.parent),
        "step": None if run.place is None else run.place + 1,
    }


def _run(url: str, namespace: str, options: argparse.Namespace) -> None:
    workflow = None if options.file is None else read_workflow(options.file)

    def put(connection: sa.Connection) -> TaskRun:
        queues = read_queues(connection, namespace)
        if workflow is not None:
            run_id = put_workflow(
                connection,
                namespace,
                workflow,
                queue_of=lambda task: queue_with(task, queues, namespace),
                priority=options.priority,
            )
            return _existing(connection, namespace, run_id)
        queue = queue_with(options.task, queues, namespace)
        try:
            run_id = enqueue(
                connection,
                namespace=namespace,
                queue=queue,
                task=options.task,
                arguments=options.arguments,
                priority=options.priority,
            )
        except InvalidRunError as error:
            raise CommandError(ExitCode.USAGE, str(error)) from None
        return _existing(connection, namespace, run_id)

    run = ask(url, put, write=True)
    run_id = run.id
    if not options.wait:
        _print(run, options.output)
        return
    deadline = time.monotonic() + options.timeout
    while run.finished_at is None and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        run = ask(url, lambda connection: _existing(connection, namespace, run_id))
    _print(run, options.output)
    if run.state != TaskState.SUCCESS:
        sys.stdout.flush()
        raise CommandError(ExitCode.RUN_FAILED, f"run {run.id}: {run.state}" + (f": {run.error}" if run.error else ""))


def _runs(url: str, namespace: str, options: argparse.Namespace) -> None:
    state = None if options.state is None else options.state.upper()
    if state is not None and state not in set(TaskState):
        states = ", ".join(TaskState)
        raise CommandError(
            ExitCode.UNKNOWN_NAME, f"there is no state {shown(options.state, _NAME_COLUMNS)}; the states are {states}"
        )

    def read(connection: sa.Connection) -> tuple[list[TaskRun], datetime]:
        found = read_runs(
            connection,
            namespace,
            queue=options.queue,
            task=options.task,
            state=state,
            parent=options.of,
            most=options.limit,
        )
        if not found and options.queue is not None:
            _check_queue(connection, namespace, options.queue)
        if not found and options.task is not None:
            queue_with(options.task, read_queues(connection, namespace), namespace)
        return found, database_clock(connection)

    runs, now = ask(url, read)
    if options.output == "json":
        sys.stdout.write(_dumped([as_json(run) for run in runs]))
    else:
        sys.stdout.write(table(_HEADINGS, [_line(run, now) for run in runs], right=_NUMBERS))


def _result(url: str, namespace: str, options: argparse.Namespace) -> None:
    _print(ask(url, lambda connection: _existing(connection, namespace, options.run)), options.output)


def _revoke(url: str, namespace: str, options: argparse.Namespace) -> None:
    def take_back(connection: sa.Connection) -> TaskRun:
        if not revoke(connection, namespace, options.run, why="revoked by hand"):
            run = _existing(connection, namespace, options.run)
            problem = f"it is over: {run.state}" if run.enqueued else "it was not enqueued: a schedule started it"
            raise CommandError(ExitCode.NOT_FOUND, f"run {options.run} cannot be revoked: {problem}")
        return _existing(connection, namespace, options.run)

    _print(ask(url, take_back, write=True), options.output)


def _purge(url: str, namespace: str, options: argparse.Namespace) -> None:
    def take_back(connection: sa.Connection) -> int:
        revoked = purge(connection, namespace, options.queue, why="purged by hand")
        if not revoked:
            # What waits for a queue that was deleted can be purged all the same.
            _check_queue(connection, namespace, options.queue)
        return revoked

    count = ask(url, take_back, write=True)
    if options.output == "json":
        sys.stdout.write(_dumped({"queue": options.queue, "revoked": count}))
    else:
        sys.stdout.write(f"{count} waiting run{'' if count == 1 else 's'} revoked\n")


def _check_queue(connection: sa.Connection, namespace: str, queue: str) -> None:
    queues = read_queues(connection, namespace)
    if queue not in queues:
        there = f"the queues are {', '.join(queues)}" if queues else "there is none at all"
        raise CommandError(
            ExitCode.UNKNOWN_NAME, f"no BBBQueue {shown(queue, _NAME_COLUMNS)} in namespace {namespace}; {there}"
        )


def _existing(connection: sa.Connection, namespace: str, run_id: UUID) -> TaskRun:
    run = read_run(connection, namespace, run_id)
    if run is None:
        raise CommandError(ExitCode.NOT_FOUND, f"no run {run_id} in namespace {namespace}; b3lb runs lists them")
    return run


def _print(run: TaskRun, output: str) -> None:
    content = as_json(run)
    if output == "json":
        sys.stdout.write(_dumped(content))
        return
    widest = max(map(len, content))
    for name, value in content.items():
        if value is None or value == {}:
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        lines = [shown(line, len(line) + 1) for line in text.splitlines()] or [""]
        sys.stdout.write(f"{name.ljust(widest)}  {lines[0]}\n")
        sys.stdout.writelines(f"{' ' * widest}  {line}\n" for line in lines[1:])


def _line(run: TaskRun, now: datetime) -> tuple[str, ...]:
    duration = "" if run.started_at is None else ago((run.finished_at or now) - run.started_at)
    priority = "" if run.priority is None else str(run.priority)
    names = (shown(run.task, _NAME_COLUMNS), shown(run.queue, _NAME_COLUMNS))
    error = shown(run.error or "", _ERROR_COLUMNS)
    state = run.state if run.progress_percent is None or run.finished_at else f"{run.state} {run.progress_percent:.0f}%"
    return (str(run.id), *names, state, priority, str(run.attempts), ago(now - run.created_at), duration, error)


def _dumped(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
