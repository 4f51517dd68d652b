"""The accounting and the metrics texts of tenants, as people and programs ask for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa

from b3lb.db.tables import accounting, tenant_metrics, tenants


@dataclass(frozen=True, slots=True)
class AccountedMonth:
    """What a tenant had in a month of its time zone.

    ``started_at`` is later than the month's beginning if the accounting began in it. ``closed_at`` is when the month
    was over, None while it is not: then the numbers are those of ``written_at``. ``recording_bytes`` is
    what its recordings took when it was last looked at, None for a month without any.
    """

    slug: str
    tenant: str
    time_zone: str
    month: date
    started_at: datetime
    closed_at: datetime | None
    participant_milliseconds: int
    meeting_milliseconds: int
    peak_attendees: int
    peak_meetings: int
    recording_bytes: int | None
    written_at: datetime


_MONTHS = (
    sa.select(
        tenants.c.slug,
        tenants.c.name,
        tenants.c.time_zone,
        *[
            accounting.c[name]
            for name in (
                "month",
                "started_at",
                "closed_at",
                "participant_milliseconds",
                "meeting_milliseconds",
                "peak_attendees",
                "peak_meetings",
                "recording_bytes",
                "written_at",
            )
        ],
    )
    .select_from(accounting.join(tenants, tenants.c.id == accounting.c.tenant_id))
    .where(
        tenants.c.namespace == sa.bindparam("namespace"),
        sa.func.coalesce(sa.bindparam("name", type_=sa.Text), tenants.c.name) == tenants.c.name,
        sa.func.coalesce(sa.bindparam("month", type_=sa.Date), accounting.c.month) == accounting.c.month,
    )
    .order_by(accounting.c.month, tenants.c.name)
)


def read_months(
    connection: sa.Connection, namespace: str, *, tenant: str | None = None, month: date | None = None
) -> list[AccountedMonth]:
    """Return the months of the BBBTenant ``tenant``, or of all, deleted ones included: one statement.

    Args:
        connection: To the database.
        namespace: The tenants' namespace.
        tenant: The BBBTenant's name; None: all.
        month: Its first day; None: all months.
    """
    rows = connection.execute(_MONTHS, {"namespace": namespace, "name": tenant, "month": month})
    return [AccountedMonth(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class MetricsText:
    """A tenant's metrics in Prometheus' text format, None before they were first written."""

    text: str | None
    written_at: datetime | None


_TEXT = (
    sa.select(tenant_metrics.c.text, tenant_metrics.c.written_at)
    .select_from(tenants.outerjoin(tenant_metrics, tenant_metrics.c.tenant_id == tenants.c.id))
    .where(
        tenants.c.namespace == sa.bindparam("namespace"),
        tenants.c.name == sa.bindparam("name"),
        tenants.c.deleted_at.is_(None),
    )
)


def read_metrics(connection: sa.Connection, namespace: str, tenant: str) -> MetricsText | None:
    """Return the metrics of the BBBTenant ``tenant``, or None if there is none: one statement."""
    row = connection.execute(_TEXT, {"namespace": namespace, "name": tenant}).one_or_none()
    return None if row is None else MetricsText(row.text, row.written_at)


_NAMES = (
    sa.select(tenants.c.namespace, tenants.c.name)
    .where(tenants.c.deleted_at.is_(None))
    .order_by(tenants.c.namespace, tenants.c.name)
)


def tenant_names(connection: sa.Connection) -> dict[str, list[str]]:
    """Return the names of all BBBTenants by namespace, sorted: one statement."""
    found: dict[str, list[str]] = {}
    for namespace, name in connection.execute(_NAMES):
        found.setdefault(namespace, []).append(name)
    return found
