"""``b3lb run``, ``runs``, ``result``, ``revoke`` and ``purge``: by the database if its URL is set, or the operator."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from b3lb_cli.namespaces import farm_namespace
from b3lb_cli.outcome import CommandError, ExitCode
from b3lb_cli.output import Column, Item, Listing, age, count, moment, text, write_document, write_listing
from b3lb_cli.source import by_database, database, operator
from b3lb_cli.table import ago, shown

if TYPE_CHECKING:
    from b3lb.workflows import Workflow

POLL_SECONDS = 1.0

_ERROR_COLUMNS = 60


class Runs(Protocol):
    """Where runs are; every call raises CommandError with what is allowed."""

    def runs(
        self, *, queue: str | None, task: str | None, state: str | None, parent: UUID | None, limit: int
    ) -> Mapping[str, Any]:
        """Return the newest runs."""

    def run(self, run_id: UUID) -> Mapping[str, Any]:
        """Return a run."""

    def enqueue(self, task: str, arguments: Mapping[str, Any], priority: int | None) -> Mapping[str, Any]:
        """Enqueue a run in the queue that has the task, and return it."""

    def enqueue_workflow(self, workflow: Workflow, priority: int | None) -> Mapping[str, Any]:
        """Enqueue runs that belong together, and return the run that stands for all of them."""

    def revoke(self, run_id: UUID) -> Mapping[str, Any]:
        """Take a run back and return it."""

    def purge(self, queue: str) -> int:
        """Take back the waiting runs of a queue and return how many there were."""


def duration(item: Item, now: datetime | None) -> str:
    """Return how long a run has worked, empty for one that never began."""
    began, ended = moment(item.get("startedAt")), moment(item.get("finishedAt")) or now
    return "" if began is None or ended is None else ago(ended - began)


def state_with_progress(item: Item, _now: datetime | None) -> str:
    """Return the state of a run; while it is at work, with the part that is done, if the task tells."""
    progress = item.get("progress")
    if not isinstance(progress, Mapping) or item.get("finishedAt"):
        return str(item.get("state"))
    return f"{item.get('state')} {progress.get('percent', 0):.0f}%"


def _optional(heading: str, name: str, *, columns: int = _ERROR_COLUMNS) -> Column:
    """Return a column that is empty, not unknown, where there is nothing to say."""
    return Column(heading, lambda item, _now: shown("" if item.get(name) is None else str(item[name]), columns))


LISTING = Listing(
    "task runs",
    (
        text("ID", "id"),
        text("TASK", "task"),
        text("QUEUE", "queue"),
        Column("STATE", state_with_progress),
        Column("PRIORITY", _optional("PRIORITY", "priority").cell, right=True),
        count("ATTEMPTS", "attempts"),
        age("AGE", "createdAt"),
        Column("DURATION", duration),
        text("POD", "pod", columns=63, wide=True),
        text("NAMESPACE", "namespace", wide=True),
        _optional("ERROR", "error"),
    ),
)


def run(options: argparse.Namespace) -> None:
    """Enqueue a run; with ``--wait`` say how it ended.

    Raises:
        CommandError: There is no such task, or the run that was waited for did not succeed.
    """
    source = runs_source(options)
    if options.file is None:
        found = source.enqueue(options.task, options.arguments, options.priority)
    else:
        from b3lb_cli.workflow_file import read_workflow  # noqa: PLC0415 - few commands need it

        found = source.enqueue_workflow(read_workflow(options.file), options.priority)
    print_run(source, found, options)


def print_run(source: Runs, found: Mapping[str, Any], options: argparse.Namespace) -> None:
    """Print a run that was enqueued; with ``--wait`` when it is over.

    Raises:
        CommandError: The run that was waited for did not succeed.
    """
    if not options.wait:
        _print(found, options.output)
        return
    deadline = time.monotonic() + options.timeout
    while found.get("finishedAt") is None and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        found = source.run(UUID(found["id"]))
    _print(found, options.output)
    if found["state"] != "SUCCESS":
        reason = f": {shown(str(found['error']), 500)}" if found.get("error") else ""
        raise CommandError(ExitCode.RUN_FAILED, f"run {found['id']}: {found['state']}{reason}")


def runs(options: argparse.Namespace) -> None:
    """List runs, the newest first.

    Raises:
        CommandError: There is no such queue, task or state.
    """
    found = runs_source(options).runs(
        queue=options.queue, task=options.task, state=options.state, parent=options.of, limit=options.limit
    )
    write_listing(LISTING, found, options.output)


def result(options: argparse.Namespace) -> None:
    """Show a run with its result.

    Raises:
        CommandError: There is none with this ID.
    """
    _print(runs_source(options).run(options.run), options.output)


def revoke(options: argparse.Namespace) -> None:
    """Take a run back.

    Raises:
        CommandError: There is none with this ID, or it is over.
    """
    _print(runs_source(options).revoke(options.run), options.output)


def purge(options: argparse.Namespace) -> None:
    """Take back what waits for a queue.

    Raises:
        CommandError: There is no such queue.
    """
    revoked = runs_source(options).purge(options.queue)
    if options.output == "table":
        sys.stdout.write(f"{revoked} waiting run{'' if revoked == 1 else 's'} revoked\n")
    else:
        write_document({"queue": options.queue, "revoked": revoked}, options.output)


def runs_source(options: argparse.Namespace) -> Runs:
    """Return where runs are: the database, or the operator."""
    # Either way takes as long to import as all the rest: only the one that is needed is.
    if by_database(options):
        from b3lb_cli.database_runs import DatabaseRuns  # noqa: PLC0415 - see above

        return DatabaseRuns(*database(options))
    from b3lb_cli.operator_client import writable  # noqa: PLC0415 - see above
    from b3lb_cli.operator_runs import OperatorRuns  # noqa: PLC0415 - see above

    client = operator(options)
    return OperatorRuns(client, lambda: writable(options, client), farm_namespace(options))


def _print(run: Mapping[str, Any], output: str) -> None:
    if output in {"json", "yaml"}:
        write_document(run, output)
        return
    widest = max(map(len, run))
    for name, value in run.items():
        if value is None or value == {}:
            continue
        printed = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        lines = [shown(line, len(line) + 1) for line in printed.splitlines()] or [""]
        sys.stdout.write(f"{name.ljust(widest)}  {lines[0]}\n")
        sys.stdout.writelines(f"{' ' * widest}  {line}\n" for line in lines[1:])
