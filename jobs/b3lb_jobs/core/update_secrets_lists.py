"""The task ``update-secrets-lists``: what each API secret's meetings add up to, and whether its list changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from b3lb.db.secret_states import load_totals, write_totals
from b3lb.meetings.model import SecretTotals
from b3lb.meetings.totals import ComparedList, ListState, changed_lists
from b3lb_jobs.interface import Findings, TaskContext
from b3lb_jobs.words import arrow

MOST_ROWS = 50
"""Of more lists than that, a dry run says only how many there are."""


class UpdateSecretsLists:
    """Compares the lists of a namespace's secrets with what was noted of them; works in the database alone."""

    def __init__(self, context: TaskContext) -> None:
        self._namespace = context.namespace

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """There is nothing to close."""

    def load(self, connection: sa.Connection, _at: datetime) -> Sequence[ComparedList]:
        """Read what every list holds and what was noted of it: one statement."""
        return load_totals(connection, self._namespace)

    def least_seconds(self, _loaded: Sequence[ComparedList]) -> float:
        """Return zero: nothing remote is asked."""
        return 0.0

    def seconds_needed(self, _loaded: Sequence[ComparedList]) -> float:
        """Return zero: nothing remote is asked."""
        return 0.0

    async def work(self, loaded: Sequence[ComparedList], *, at: datetime, seconds: float) -> Findings:  # noqa: ARG002 - a task's signature
        """Find the lists that changed."""
        changed = changed_lists(loaded)
        return Findings(
            summary={
                "secrets": len(loaded),
                "closed": sum(bool(item.found.reason) for item in loaded),
                "changed": len(changed),
            },
            write=partial(write_totals, rows=changed) if changed else None,
            changes=tuple(_rows(changed)),
        )


def _rows(changed: Sequence[ComparedList]) -> Iterator[dict[str, Any]]:
    if len(changed) > MOST_ROWS:
        yield {"object": "secrets", "message": f"{len(changed)} lists changed"}
    else:
        yield from map(_row, changed)


def _row(item: ComparedList) -> dict[str, Any]:
    """Return a list's old and new gauges; one whose numbers stay has other meetings, or others of their data."""
    old = None if item.stored is None else item.stored.totals
    gauges = (field.name for field in dataclasses.fields(SecretTotals))
    return {
        "object": f"secret/{item.name}",
        "reason": arrow(_reason(item.stored), _reason(item.found)),
        **{
            name: arrow(None if old is None else getattr(old, name), getattr(item.found.totals, name))
            for name in gauges
        },
    }


def _reason(state: ListState | None) -> str:
    return "-" if state is None or not state.reason else state.reason
