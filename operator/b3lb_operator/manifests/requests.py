"""Requests to a BBBQueue by annotations: whoever may patch the queue may have its runs made and taken back. Pure.

``request.b3lb.io/<uuid>`` holds a JSON object with exactly one of ``run``, ``workflow``, ``revoke`` and ``purge``. The
operator takes the annotation away once it has done what it asks for, or refused it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from b3lb.control import LARGEST_REQUEST, REQUEST_PREFIX
from b3lb.nesting import nesting
from b3lb.release import GREATEST_PRIORITY, LEAST_PRIORITY
from b3lb.workflows import Workflow

MOST = 20
"""So many requests a queue takes at a time; further ones are refused."""

DEEPEST = 64
"""So many levels of lists and objects a request may have; what goes through arguments does so by recursion."""

_TASK_LENGTH = 63


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class RunRequest(_Strict):
    """A run of ``task`` is to be enqueued; without a priority the queue's counts."""

    task: str = Field(min_length=1, max_length=_TASK_LENGTH)
    arguments: dict[str, Any] = Field(default_factory=dict)
    priority: int | None = Field(default=None, ge=LEAST_PRIORITY, le=GREATEST_PRIORITY)


class WorkflowRequest(_Strict):
    """Runs that belong together are to be enqueued; ``priority`` is that of the steps that name none."""

    definition: Workflow
    priority: int | None = Field(default=None, ge=LEAST_PRIORITY, le=GREATEST_PRIORITY)


@dataclass(frozen=True, slots=True)
class RevokeRequest:
    """A run is to be taken back."""

    run_id: UUID


@dataclass(frozen=True, slots=True)
class PurgeRequest:
    """All runs of the queue that wait are to be taken back."""


Action: TypeAlias = RunRequest | WorkflowRequest | RevokeRequest | PurgeRequest


class _Content(_Strict):
    """What an annotation holds."""

    run: RunRequest | None = None
    workflow: WorkflowRequest | None = None
    revoke: UUID | None = Field(default=None, strict=False)
    purge: Literal[True] | None = None


@dataclass(frozen=True, slots=True)
class QueueRequest:
    """One request: the ID that whoever asks chose, and what is to be done or else why it is refused.

    ``annotation`` is its name in the object; ``id`` is None where that names no UUID, which is always refused.
    """

    annotation: str
    id: UUID | None
    action: Action | None = None
    refusal: str = ""


class _RefusedError(Exception):
    """A request is not one; the message is the refusal."""


def has_requests(manifest: Mapping[str, Any]) -> bool:
    """Whether an object carries requests."""
    return any(name.startswith(REQUEST_PREFIX) for name in manifest["metadata"].get("annotations") or ())


def read_requests(manifest: Mapping[str, Any]) -> list[QueueRequest]:
    """Return the requests that a BBBQueue carries, by their names; those beyond `MOST` are refused."""
    found = sorted(_named(manifest))
    tasks = manifest["spec"].get("tasks") or ()
    requests = [_read(name, text, tasks) for name, text in found[:MOST]]
    refusal = f"a queue takes {MOST} requests at a time: ask again when those are done"
    return requests + [QueueRequest(name, _identifier(name), refusal=refusal) for name, _ in found[MOST:]]


def _named(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, text in (manifest["metadata"].get("annotations") or {}).items():
        if name.startswith(REQUEST_PREFIX):
            yield name, text


def _identifier(name: str) -> UUID | None:
    try:
        return UUID(name.removeprefix(REQUEST_PREFIX))
    except ValueError:
        return None


def _read(name: str, text: str, tasks: Sequence[str]) -> QueueRequest:
    request_id = _identifier(name)
    if request_id is None:
        return QueueRequest(name, None, refusal=f"the annotation has to be called {REQUEST_PREFIX}<UUID>")
    try:
        return QueueRequest(name, request_id, _action(_content(text), tasks))
    except _RefusedError as error:
        return QueueRequest(name, request_id, refusal=str(error))


def _content(text: str) -> _Content:
    if len(text.encode(errors="replace")) > LARGEST_REQUEST:
        raise _RefusedError(f"a request has at most {LARGEST_REQUEST} bytes")
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _RefusedError("a request is a JSON object")
    if nesting(text) > DEEPEST:
        raise _RefusedError(f"a request has at most {DEEPEST} levels of lists and objects")
    try:
        return _Content.model_validate(found)
    except ValidationError as error:
        raise _RefusedError(_problem(error)) from None


def _action(content: _Content, tasks: Sequence[str]) -> Action:
    revoke = None if content.revoke is None else RevokeRequest(content.revoke)
    purge = None if content.purge is None else PurgeRequest()
    given = [action for action in (content.run, content.workflow, revoke, purge) if action is not None]
    if len(given) != 1:
        raise _RefusedError(f"a request has exactly one of {', '.join(_Content.model_fields)}")
    for task in _wanted_tasks(content):
        if task not in tasks:
            raise _RefusedError(f"the queue does not have the task {task!r}; it has {', '.join(tasks)}")
    return given[0]


def _wanted_tasks(content: _Content) -> Iterator[str]:
    """Yield the tasks that are to run: whoever may patch one queue has only that one's."""
    if content.run is not None:
        yield content.run.task
    if content.workflow is not None:
        yield from (step.task for step in content.workflow.definition.steps)


def _problem(error: ValidationError) -> str:
    """Return the first of pydantic's errors in a line."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])[:_TASK_LENGTH]
    return f"{where}: {first['msg']}"


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")
