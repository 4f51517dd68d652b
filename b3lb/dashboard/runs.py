"""Task runs as the pages show them: those at work, and those that ended."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from b3lb.dashboard.documents import Document, block, flag, label, line, moment, number, text
from b3lb.dashboard.levels import Badge, Level

_ERROR_CHARACTERS = 240
_BLOCK_CHARACTERS = 70_000
"""Arguments and results have at most 64 KiB."""

_LEVELS = {
    "SUCCESS": Level.GOOD,
    "FAILURE": Level.BAD,
    "RETRY": Level.WARNING,
    "STARTED": Level.BUSY,
    "PENDING": Level.IDLE,
    "REVOKED": Level.IDLE,
}


@dataclass(frozen=True, slots=True)
class Active:
    """A run that a pod works on."""

    id: str
    namespace: str
    queue: str
    task: str
    pod: str
    attempt: str
    started_at: datetime | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a list."""

    id: str
    namespace: str
    queue: str
    task: str
    badge: Badge
    attempts: str
    created_at: datetime | None
    finished_at: datetime | None
    seconds: float | None
    error: str


@dataclass(frozen=True, slots=True)
class WholeRun:
    """A run on a page of its own; arguments and result are JSON with an indentation, empty when there are none."""

    run: Run
    enqueued: bool
    priority: str
    pod: str
    not_before: datetime | None
    paused: bool
    started_at: datetime | None
    arguments: str
    result: str
    error: str
    traceback: str


def active(item: Document) -> Active:
    """Return what the page shows of a run at work."""
    return Active(
        id=label(item, "id"),
        namespace=label(item, "namespace"),
        queue=label(item, "queue"),
        task=label(item, "task"),
        pod=label(item, "pod") or label(item, "job"),
        attempt=label(item, "attempt"),
        started_at=moment(item, "startedAt"),
        seconds=number(item, "seconds"),
    )


def longest_first(runs: Iterable[Active]) -> list[Active]:
    """Return the runs at work, the one that takes longest first."""
    return sorted(runs, key=lambda run: (-(run.seconds or 0.0), run.queue, run.task, run.id))


def run(item: Document) -> Run:
    """Return what the page shows of a run in a list."""
    state = label(item, "state") or "unknown"
    started, finished = moment(item, "startedAt"), moment(item, "finishedAt")
    return Run(
        id=label(item, "id"),
        namespace=label(item, "namespace"),
        queue=label(item, "queue"),
        task=label(item, "task"),
        badge=Badge(_LEVELS.get(state, Level.UNKNOWN), state),
        attempts=label(item, "attempts"),
        created_at=moment(item, "createdAt"),
        finished_at=finished,
        seconds=None if started is None or finished is None else (finished - started).total_seconds(),
        error=line(text(item, "error"), _ERROR_CHARACTERS),
    )


def newest_first(runs: Iterable[Run]) -> list[Run]:
    """Return the runs, the one that was made last first."""
    return sorted(runs, key=lambda found: -(found.created_at.timestamp() if found.created_at else 0.0))


def whole_run(item: Document) -> WholeRun:
    """Return what a run's own page shows."""
    return WholeRun(
        run=run(item),
        enqueued=flag(item, "enqueued") is True,
        priority=label(item, "priority"),
        pod=label(item, "pod"),
        not_before=moment(item, "notBefore"),
        paused=flag(item, "paused") is True,
        started_at=moment(item, "startedAt"),
        arguments=_json(item.get("arguments") or None),
        result=_json(item.get("result")),
        error=block(text(item, "error"), _BLOCK_CHARACTERS),
        traceback=block(text(item, "traceback"), _BLOCK_CHARACTERS),
    )


def _json(value: Any) -> str:
    if value is None:
        return ""
    return block(json.dumps(value, indent=2, ensure_ascii=False, default=str), _BLOCK_CHARACTERS)
