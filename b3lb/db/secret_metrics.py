"""What the metrics of tenants are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from b3lb.db.counters import COUNTED, SecretCounters, counted_by_secret
from b3lb.db.secret_states import GAUGES, owns_slug
from b3lb.db.tables import secret_states, secrets, tenants
from b3lb.meetings.model import SecretTotals
from b3lb.metrics.tenants import SecretMetrics

_counted = counted_by_secret.subquery("counted")
_LOAD = (
    sa.select(
        tenants.c.slug,
        secrets.c.sub_id,
        secrets.c.meeting_limit,
        secrets.c.attendee_limit,
        tenants.c.meeting_limit.label("tenant_meeting_limit"),
        tenants.c.attendee_limit.label("tenant_attendee_limit"),
        secret_states.c.written_at.label("changed_at"),
        *[sa.func.coalesce(secret_states.c[name], 0).label(f"gauge_{name}") for name in GAUGES],
        *[_counted.c[name].label(f"counter_{name}") for name in COUNTED],
    )
    .select_from(
        secrets.join(tenants, tenants.c.id == secrets.c.tenant_id)
        .join(_counted, _counted.c.id == secrets.c.id)
        .outerjoin(secret_states, secret_states.c.secret_id == secrets.c.id)
    )
    .where(secrets.c.namespace == sa.bindparam("namespace"), tenants.c.deleted_at.is_(None), owns_slug)
    .order_by(tenants.c.slug, secrets.c.sub_id, secrets.c.id)
)
_PLAIN = (
    "slug",
    "sub_id",
    "meeting_limit",
    "attendee_limit",
    "tenant_meeting_limit",
    "tenant_attendee_limit",
    "changed_at",
)


def load_secret_metrics(connection: sa.Connection, namespace: str) -> list[SecretMetrics]:
    """Return the secrets of ``namespace`` by slug and sub-id: one statement.

    Deleted ones are left out, and those of tenants that are deleted or may not use their slug, whose series would be
    another tenant's.
    """
    rows = connection.execute(_LOAD, {"namespace": namespace}).mappings()
    return [_metrics(row) for row in rows]


def _metrics(row: Mapping[Any, Any]) -> SecretMetrics:
    return SecretMetrics(
        **{name: row[name] for name in _PLAIN},
        totals=SecretTotals(**{name: row[f"gauge_{name}"] for name in GAUGES}),
        counters=SecretCounters(**{name: row[f"counter_{name}"] for name in COUNTED}),
    )
