"""The task ``housekeeping-recordings``: record sets that are past their hold become DELETING.

Nothing is deleted here: their objects and rows go by `finish-deletions`, which follows in the same pod and goes on
where another pod stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from b3lb.db.record_deletion import FoundRecordSet, load_past_hold, mark_past_hold
from b3lb.recordings.hold import expires_at, past_hold
from b3lb_jobs.interface import Event, Findings, TaskContext


@dataclass(frozen=True, slots=True)
class Loaded:
    """Record sets that may be past their hold, and the database's time."""

    found: Sequence[FoundRecordSet]
    now: datetime


class HousekeepingRecordings:
    """Marks what is past its hold; works in the database alone."""

    def __init__(self, context: TaskContext) -> None:
        self._namespace = context.namespace
        self._now = context.now

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """There is nothing to close."""

    def load(self, connection: sa.Connection, _at: datetime) -> Loaded:
        """Read what may be past its hold: one statement."""
        return Loaded(load_past_hold(connection, self._namespace), self._now())

    def least_seconds(self, _loaded: Loaded) -> float:
        """Return zero: nothing remote is asked."""
        return 0.0

    def seconds_needed(self, _loaded: Loaded) -> float:
        """Return zero: nothing remote is asked."""
        return 0.0

    async def work(self, loaded: Loaded, *, at: datetime, seconds: float) -> Findings:  # noqa: ARG002 - a task's signature
        """Choose what is to be deleted."""
        chosen = past_hold([item.held for item in loaded.found], loaded.now)
        by_id = {item.held.id: item for item in loaded.found}
        rows = [_row(by_id[record_set]) for record_set in chosen]
        return Findings(
            summary={"past_hold": len(chosen), "bytes": sum(by_id[record_set].size for record_set in chosen)},
            write=partial(mark_past_hold, ids=chosen) if chosen else None,
            events=[Event("recording past its hold", row) for row in rows],
            changes=rows,
        )


def _row(item: FoundRecordSet) -> Mapping[str, Any]:
    expired = expires_at(item.held)
    return {
        "object": f"recording/{item.record_id}",
        "tenant": item.tenant_slug or "-",
        "state": f"{item.held.state} -> DELETING",
        "bytes": item.size,
        "message": f"meeting ended {item.held.ended_at:%Y-%m-%d}, held until {expired:%Y-%m-%d}",
    }
