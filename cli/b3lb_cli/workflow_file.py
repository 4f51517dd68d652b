"""``b3lb run --file``: a chain, a group or chunks from a YAML file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO
from uuid import UUID

import sqlalchemy as sa
import yaml

from b3lb.db.task_queue import InvalidRunError
from b3lb.db.workflows import enqueue_workflow
from b3lb.workflows import InvalidWorkflowError, Workflow, parse_workflow
from b3lb_cli.outcome import CommandError, ExitCode

MOST_CHARACTERS = 16 * 2**20


def read_workflow(path: str) -> Workflow:
    """Return the workflow that stands in a file, or in the standard input for ``-``.

    Raises:
        CommandError: It cannot be read, is no YAML, or is no workflow; the message says where.
    """
    try:
        if path == "-":
            return _parsed(sys.stdin)
        with Path(path).open(encoding="utf-8") as stream:
            return _parsed(stream)
    except OSError as error:
        raise CommandError(ExitCode.USAGE, f"{path}: {error.strerror or error}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}: " if mark is not None else ""
        raise CommandError(ExitCode.USAGE, f"{path}: {place}{error.problem or 'this is no YAML'}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise CommandError(ExitCode.USAGE, f"{path}: this is no YAML in UTF-8") from None
    except InvalidWorkflowError as error:
        raise CommandError(ExitCode.USAGE, f"{path}: {error}") from None


def _parsed(stream: TextIO) -> Workflow:
    text = stream.read(MOST_CHARACTERS + 1)
    if len(text) > MOST_CHARACTERS:
        raise InvalidWorkflowError(f"more than {MOST_CHARACTERS} characters")
    return parse_workflow(yaml.safe_load(text))


def put_workflow(
    connection: sa.Connection,
    namespace: str,
    workflow: Workflow,
    *,
    queue_of: Callable[[str], str],
    priority: int | None,
) -> UUID:
    """Enqueue a workflow and return its ID.

    Args:
        connection: Within a transaction.
        namespace: Namespace of the BBBQueues.
        workflow: What the file says.
        queue_of: Returns the name of the queue that has a task.
        priority: Of the steps that name none.

    Raises:
        CommandError: No queue has a task, or a step is too large.
    """
    names = {task: queue_of(task) for task in dict.fromkeys(step.task for step in workflow.steps)}
    queues = [names[step.task] for step in workflow.steps]
    try:
        return enqueue_workflow(connection, namespace=namespace, workflow=workflow, queues=queues, priority=priority)
    except InvalidRunError as error:
        raise CommandError(ExitCode.USAGE, str(error)) from None
