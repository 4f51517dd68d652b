"""Queues and their tasks as people and programs are shown them: pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from b3lb.db.work import TaskEnds


@dataclass(frozen=True, slots=True)
class Ends:
    """How many runs ended well or not in the last hour and in the last 24."""

    succeeded_1h: int = 0
    failed_1h: int = 0
    succeeded_24h: int = 0
    failed_24h: int = 0

    @classmethod
    def of(cls, ends: Iterable[TaskEnds]) -> Ends:
        """Return the sum over tasks."""
        found = list(ends)
        return cls(
            sum(task.succeeded_1h for task in found),
            sum(task.failed_1h for task in found),
            sum(task.succeeded_24h for task in found),
            sum(task.failed_24h for task in found),
        )

    def as_json(self) -> dict[str, int]:
        """Return the numbers by the names that they have in documents."""
        return {
            "succeeded1h": self.succeeded_1h,
            "failed1h": self.failed_1h,
            "succeeded24h": self.succeeded_24h,
            "failed24h": self.failed_24h,
        }
