"""What is mirrored of tenants, their API secrets and record profiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from b3lb.db.running import RUNNING_OF_SECRET, RUNNING_OF_TENANT
from b3lb.db.secret_states import GAUGES, MAXIMUM_GAUGE, owns_slug
from b3lb.db.tables import record_profiles, secret_states, secrets, tenants
from b3lb.meetings.model import SecretTotals


@dataclass(frozen=True, slots=True)
class TenantMirror:
    """A tenant that is not deleted, and what runs under its secrets, by the rule that admission goes by.

    ``running`` is zero while the tenant is disabled or does not own its slug: its lists and usage are empty then.
    """

    id: int
    name: str
    uid: str
    generation: int
    blocked_reason: str | None
    blocked_message: str | None
    running: SecretTotals = field(default_factory=SecretTotals)
    meeting_limit: int | None = None
    attendee_limit: int | None = None


@dataclass(frozen=True, slots=True)
class ApiSecretMirror:
    """An API secret that is not deleted, and what its meetings add up to.

    ``tenant`` is the tenant's name, None if there is none. ``totals`` are those of its list, which for sub-ID 0 is the
    whole tenant's, as they were last noted; None before that. ``running`` is what runs under the secret itself, which
    its limits bound.
    """

    id: int
    name: str
    uid: str
    generation: int
    tenant: str | None
    sub_id: int
    blocked_reason: str | None
    blocked_message: str | None
    totals: SecretTotals | None
    running: SecretTotals = field(default_factory=SecretTotals)


@dataclass(frozen=True, slots=True)
class RecordProfileMirror:
    """A record profile that is not deleted."""

    id: int
    name: str
    uid: str
    generation: int
    blocked_reason: str | None
    blocked_message: str | None


_PLAIN_FIELDS = ("id", "name", "uid", "generation", "blocked_reason", "blocked_message")


def _plain(table: sa.Table) -> list[sa.Column[Any]]:
    return [table.c[name] for name in _PLAIN_FIELDS]


def _present(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.namespace == sa.bindparam("namespace"), table.c.deleted_at.is_(None))


def _running(text: str) -> sa.FromClause:
    """Return the subselect as it stands in the statement that mirrors what runs."""
    return sa.text(text).columns(*[sa.column(name, sa.BigInteger) for name in GAUGES]).lateral("running")


_of_secret = _running(RUNNING_OF_SECRET)
_of_tenant = _running(RUNNING_OF_TENANT)
_counts = sa.and_(tenants.c.enabled, owns_slug)
_TENANTS = (
    sa.select(
        *_plain(tenants),
        tenants.c.meeting_limit,
        tenants.c.attendee_limit,
        *[sa.case((_counts, sa.func.least(_of_tenant.c[name], MAXIMUM_GAUGE)), else_=0).label(name) for name in GAUGES],
    )
    .select_from(tenants.join(_of_tenant, sa.true()))
    .where(_present(tenants))
    .order_by(tenants.c.name)
)
_PROFILES = sa.select(*_plain(record_profiles)).where(_present(record_profiles)).order_by(record_profiles.c.name)
_SECRETS = (
    sa.select(
        *_plain(secrets),
        secrets.c.sub_id,
        tenants.c.name.label("tenant"),
        secret_states.c.secret_id,
        *[secret_states.c[name].label(f"listed_{name}") for name in GAUGES],
        *[sa.func.least(_of_secret.c[name], MAXIMUM_GAUGE).label(name) for name in GAUGES],
    )
    .select_from(
        secrets.outerjoin(tenants, tenants.c.id == secrets.c.tenant_id)
        .outerjoin(secret_states, secret_states.c.secret_id == secrets.c.id)
        .join(_of_secret, sa.true())
    )
    .where(_present(secrets))
    .order_by(secrets.c.name)
)


def read_tenants(connection: sa.Connection, namespace: str) -> dict[str, TenantMirror]:
    """Return the tenants by name: one statement."""
    rows = connection.execute(_TENANTS, {"namespace": namespace}).mappings()
    return {row["name"]: _tenant(row) for row in rows}


def read_api_secrets(connection: sa.Connection, namespace: str) -> dict[str, ApiSecretMirror]:
    """Return the API secrets by name, with their totals: one statement."""
    rows = connection.execute(_SECRETS, {"namespace": namespace}).mappings()
    return {row["name"]: _api_secret(row) for row in rows}


def read_record_profiles(connection: sa.Connection, namespace: str) -> dict[str, RecordProfileMirror]:
    """Return the record profiles by name: one statement."""
    rows = connection.execute(_PROFILES, {"namespace": namespace}).mappings()
    return {row["name"]: RecordProfileMirror(**row) for row in rows}


def _tenant(row: Mapping[Any, Any]) -> TenantMirror:
    limits = {name: row[name] for name in ("meeting_limit", "attendee_limit")}
    return TenantMirror(**{name: row[name] for name in _PLAIN_FIELDS}, running=_totals(row), **limits)


def _api_secret(row: Mapping[Any, Any]) -> ApiSecretMirror:
    known = row["secret_id"] is not None
    return ApiSecretMirror(
        **{name: row[name] for name in _PLAIN_FIELDS},
        tenant=row["tenant"],
        sub_id=row["sub_id"],
        totals=_totals(row, "listed_") if known else None,
        running=_totals(row),
    )


def _totals(row: Mapping[Any, Any], prefix: str = "") -> SecretTotals:
    return SecretTotals(**{name: int(row[prefix + name]) for name in GAUGES})
