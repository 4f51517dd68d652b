"""What a task is to the runner: it loads, works without the database, and returns what is to be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import sqlalchemy as sa

from b3lb.crypto import KeyRing
from b3lb.db.unpolled import Unpolled
from b3lb_jobs.errors import PermanentError

Loaded = TypeVar("Loaded")


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What every task may know of the run; ``now`` returns the database's time.

    In a ``dry_run`` a task changes nothing anywhere: what it would write is thrown away, and what it would do outside
    of the database it leaves.
    """

    namespace: str
    keys: KeyRing
    tick_seconds: int
    max_in_flight: int
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """Something worth a log line once it is committed."""

    message: str
    fields: Mapping[str, Any]
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Findings:
    """What a tick found.

    ``summary`` becomes the heartbeat's: numbers about the whole, nothing about single objects. ``write`` stores what
    changed by a constant number of statements and returns the number of rows; it is called under the tick's lease, in
    its transaction, and is None if nothing changed. ``changes`` says the same for people, one flat mapping per row, for
    a dry run. ``unpolled`` stands in the heartbeat only. ``failure`` ends the task, which could do nothing at
    all; the rest is then written only if that lasts. ``poll_seconds`` are the durations of polls of nodes, for the
    histogram in the heartbeat.
    """

    summary: Mapping[str, Any]
    write: Callable[[sa.Connection], int] | None = None
    events: Sequence[Event] = ()
    changes: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    unpolled: Unpolled = field(default_factory=Unpolled)
    failure: PermanentError | None = None
    poll_seconds: Sequence[float] = ()


class Task(Protocol[Loaded]):
    """A task within one run; its clients are opened once and serve every tick."""

    async def __aenter__(self) -> Self:
        """Open what the ticks share."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        ...

    def load(self, connection: sa.Connection, at: datetime) -> Loaded:
        """Read what the tick due at ``at`` works on; a constant number of statements."""
        ...

    def least_seconds(self, loaded: Loaded) -> float:
        """Return the time that `work` must have to be worth beginning."""
        ...

    def seconds_needed(self, loaded: Loaded) -> float:
        """Return the longest that `work` takes if every remote side hangs."""
        ...

    async def work(self, loaded: Loaded, *, at: datetime, seconds: float) -> Findings:
        """Do the work of the tick due at ``at`` within ``seconds``; may be cancelled at any time.

        Raises:
            TransientError: Nothing can be written now.
            PermanentError: Nothing will ever be written without a change from outside.
        """
        ...
