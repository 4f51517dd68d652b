"""The task ``update-statistics``: what runs per front end, each tenant's metrics text, and the months' accounting.

Everything follows from what the core queue counted; no node is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from b3lb.db.accounting import Account, load_accounts, write_accounts
from b3lb.db.secret_metrics import load_secret_metrics
from b3lb.db.stored_bytes import StoredBytes, load_stored_bytes
from b3lb.db.tenant_stats import OriginStats, StoredText, load_changed_stats, load_texts, write_stats, write_texts
from b3lb.metrics.tenants import SecretMetrics, tenant_text
from b3lb_jobs.interface import Findings, TaskContext
from b3lb_jobs.words import arrow

MOST_ROWS = 50
"""Of more rows than that, a dry run says only how many there are."""

_MINUTE = 60_000


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is to be compared: ``stats`` are those that changed, the others are all there are."""

    stats: Sequence[OriginStats]
    accounts: Sequence[Account]
    texts: Sequence[StoredText]
    secrets: Sequence[SecretMetrics]
    recordings: Mapping[str, StoredBytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Changes:
    """What is to be written; ``texts`` by the tenant's ID, None for one that goes."""

    stats: Sequence[OriginStats]
    accounts: Sequence[Account]
    texts: dict[int, str | None]

    def __bool__(self) -> bool:
        return bool(self.stats or self.accounts or self.texts)

    def write(self, connection: sa.Connection) -> int:
        """Store it all, by five statements at most; return how many rows were written."""
        written = write_stats(connection, self.stats)
        written += write_texts(connection, self.texts)
        return written + write_accounts(connection, self.accounts)


def changes_of(loaded: Loaded) -> Changes:
    """Return what differs from what was noted."""
    of_slug: dict[str, list[SecretMetrics]] = {}
    for secret in loaded.secrets:
        of_slug.setdefault(secret.slug, []).append(secret)
    texts = {
        stored.tenant_id: _text(of_slug.get(stored.slug, ()), stored.slug, loaded) if stored.has_metrics else None
        for stored in loaded.texts
    }
    return Changes(
        stats=loaded.stats,
        accounts=[account for account in loaded.accounts if account.found != account.stored],
        texts={stored.tenant_id: text for stored in loaded.texts if (text := texts[stored.tenant_id]) != stored.text},
    )


def _text(secrets: Sequence[SecretMetrics], slug: str, loaded: Loaded) -> str:
    found = loaded.recordings.get(slug)
    stored = None if found is None else {"archive": found.archives, "video": found.videos}
    return tenant_text(secrets, slug, stored)


class UpdateStatistics:
    """Brings the statistics of a namespace's tenants up to date; works in the database alone."""

    def __init__(self, context: TaskContext) -> None:
        self._namespace = context.namespace

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """There is nothing to close."""

    def load(self, connection: sa.Connection, _at: datetime) -> Loaded:
        """Read what there is and what was noted of it: five statements."""
        return Loaded(
            stats=load_changed_stats(connection, self._namespace),
            accounts=load_accounts(connection, self._namespace),
            texts=load_texts(connection, self._namespace),
            secrets=load_secret_metrics(connection, self._namespace),
            recordings=load_stored_bytes(connection, self._namespace),
        )

    def least_seconds(self, _loaded: Loaded) -> float:
        """Return zero: nothing remote is asked."""
        return 0.0

    def seconds_needed(self, _loaded: Loaded) -> float:
        """Return zero: nothing remote is asked."""
        return 0.0

    async def work(self, loaded: Loaded, *, at: datetime, seconds: float) -> Findings:  # noqa: ARG002 - a task's signature
        """Find what changed."""
        changes = changes_of(loaded)
        return Findings(
            summary={
                "tenants": sum(stored.has_metrics for stored in loaded.texts),
                "secrets": len(loaded.secrets),
                "stats_changed": sum(stats.found is not None for stats in changes.stats),
                "stats_removed": sum(stats.found is None for stats in changes.stats),
                "accounts_changed": len(changes.accounts),
                "texts_changed": len(changes.texts),
            },
            write=changes.write if changes else None,
            changes=tuple(_rows(changes, {stored.tenant_id: stored.tenant for stored in loaded.texts})),
        )


def _rows(changes: Changes, names: dict[int, str]) -> Iterator[dict[str, Any]]:
    groups = {
        "stats": [_stats_row(stats) for stats in changes.stats],
        "months": [_account_row(account) for account in changes.accounts],
        "metrics": [
            {"object": f"metrics/{names[tenant_id]}", "message": "removed" if text is None else "new text"}
            for tenant_id, text in changes.texts.items()
        ],
    }
    for name, rows in groups.items():
        if len(rows) > MOST_ROWS:
            yield {"object": name, "message": f"{len(rows)} changed"}
        else:
            yield from rows


def _stats_row(stats: OriginStats) -> dict[str, Any]:
    old, new = stats.stored, stats.found
    return {
        "object": f"stats/{stats.secret}",
        "message": f"from {stats.origin or '-'} on {stats.origin_server or '-'}",
        "meetings": arrow(None if old is None else old.meetings, 0 if new is None else new.meetings),
        "attendees": arrow(None if old is None else old.attendees, 0 if new is None else new.attendees),
    }


def _account_row(account: Account) -> dict[str, Any]:
    minutes = (f"{value / _MINUTE:.1f}" for value in (account.stored[0], account.found[0]))
    stored = (
        f", recording bytes {arrow(account.stored[2], account.found[2])}"
        if account.stored[2:] != account.found[2:]
        else ""
    )
    return {
        "object": f"accounting/{account.tenant}",
        "message": f"{account.month:%Y-%m}: participant minutes {arrow(*minutes)}{stored}",
    }
