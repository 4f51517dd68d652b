"""The task ``forget-rows``: rows that nothing needs any more go."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import Self

import sqlalchemy as sa

from b3lb.db.forgetting import expired_rows, forget_rows
from b3lb.retention import HistoryPolicy, RowPolicy
from b3lb_jobs.interface import Findings, TaskContext


class ForgetRows:
    """Forgets a namespace's old rows; works in the database alone."""

    def __init__(self, context: TaskContext, *, policy: RowPolicy | None = None) -> None:
        self._namespace = context.namespace
        self._policy = policy or RowPolicy()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """There is nothing to close."""

    def load(self, connection: sa.Connection, _at: datetime) -> Mapping[str, int]:
        """Count what may go: one statement."""
        return expired_rows(connection, self._namespace, self._policy)

    def least_seconds(self, _loaded: Mapping[str, int]) -> float:
        """Return zero: nothing remote is asked."""
        return 0.0

    def seconds_needed(self, _loaded: Mapping[str, int]) -> float:
        """Return zero: nothing remote is asked."""
        return 0.0

    async def work(self, loaded: Mapping[str, int], *, at: datetime, seconds: float) -> Findings:  # noqa: ARG002 - a task's signature
        """Say what is to go; finished task runs are counted only when they are forgotten."""
        found = {table: number for table, number in loaded.items() if number}
        return Findings(
            summary={"expired": sum(found.values()), **found},
            write=self._write,
            changes=[{"object": table, "message": f"{number} rows would go"} for table, number in found.items()],
        )

    def _write(self, connection: sa.Connection) -> int:
        return sum(forget_rows(connection, self._namespace, self._policy, HistoryPolicy()).values())
