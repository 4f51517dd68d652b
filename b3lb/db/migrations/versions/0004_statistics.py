"""Statistics and accounting: what tenants had in each month, and the integral of each meeting's attendees."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ZERO = sa.text("0")


def upgrade() -> None:
    """Bring schema version 3 to version 4; programs of versions 1 to 3 go on working.

    The time of meetings that run counts from the first tick of a program of version 4 on.
    """
    _extend_tenants()
    _extend_meetings()
    op.add_column("counters", _count("participant_milliseconds"))
    _create_tenant_stats()
    _create_tenant_metrics()
    _create_accounting()


def _count(name: str, *, comment: str | None = None) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), server_default=_ZERO, nullable=False, comment=comment)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), server_default=_ZERO, nullable=False)


def _now(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False)


def _extend_tenants() -> None:
    zone = sa.Column(
        "time_zone",
        sa.Text(),
        server_default="Etc/UTC",
        nullable=False,
        comment="of the months that are accounted",
    )
    op.add_column("tenants", zone)
    known = "timezone(time_zone, timestamptz 'epoch') is not null"
    op.create_check_constraint(op.f("tenants_time_zone_check"), "tenants", known)


def _extend_meetings() -> None:
    op.add_column("meetings", _count("participant_milliseconds", comment="attendees times time, up to attendees_since"))
    since = sa.Column(
        "attendees_since",
        sa.TIMESTAMP(timezone=True),
        nullable=True,
        comment="from when on the attendees are not in the sum yet; null while no time counts",
    )
    op.add_column("meetings", since)
    op.add_column("meetings", _count("counted_participant_milliseconds"))


def _create_tenant_stats() -> None:
    op.create_table(
        "tenant_stats",
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("secret_id", sa.BigInteger(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("origin_server", sa.Text(), nullable=False),
        _number("meetings"),
        _number("attendees"),
        _number("listeners"),
        _number("voices"),
        _number("videos"),
        _number("moderators"),
        _now("last_updated"),
        sa.CheckConstraint(
            "least(meetings, attendees, listeners, voices, videos, moderators) >= 0",
            name=op.f("tenant_stats_counts_check"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("tenant_stats_tenant_id_fkey")),
        sa.ForeignKeyConstraint(["secret_id"], ["secrets.id"], name=op.f("tenant_stats_secret_id_fkey")),
        sa.PrimaryKeyConstraint("secret_id", "origin", "origin_server", name=op.f("tenant_stats_pkey")),
    )
    op.create_index("tenant_stats_tenant_id_idx", "tenant_stats", ["tenant_id"], unique=False)


def _create_tenant_metrics() -> None:
    op.create_table(
        "tenant_metrics",
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False, comment="in Prometheus' text format"),
        _now("written_at"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("tenant_metrics_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("tenant_metrics_pkey")),
    )


def _create_accounting() -> None:
    op.create_table(
        "accounting",
        sa.Column("tenant_id", sa.BigInteger(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False, comment="its first day, by the tenant's time zone"),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("closed_at", sa.TIMESTAMP(timezone=True), nullable=True),
        _count("participant_base", comment="the tenant's sum when the month began"),
        _count("meeting_base", comment="the tenant's sum when the month began"),
        _count("participant_milliseconds"),
        _count("meeting_milliseconds"),
        _number("peak_attendees"),
        _number("peak_meetings"),
        sa.Column("recording_bytes", sa.BigInteger(), nullable=True, comment="null: not measured"),
        _now("written_at"),
        sa.CheckConstraint("month = date_trunc('month', month)", name=op.f("accounting_month_check")),
        sa.CheckConstraint(
            "peak_attendees >= 0 and peak_meetings >= 0 and recording_bytes >= 0",
            name=op.f("accounting_counts_check"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("accounting_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("tenant_id", "month", name=op.f("accounting_pkey")),
    )
    op.create_index(
        "accounting_open_idx",
        "accounting",
        ["tenant_id"],
        unique=True,
        postgresql_where=sa.text("closed_at is null"),
    )
