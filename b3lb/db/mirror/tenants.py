"""What is mirrored of tenants, their API secrets and record profiles."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from b3lb.db.tables import record_profiles, secret_states, secrets, tenants
from b3lb.meetings.model import SecretTotals

WHOLE_TENANT = 0
"""The sub-ID whose totals are those of the whole tenant."""


@dataclass(frozen=True, slots=True)
class TenantMirror:
    """A tenant that is not deleted."""

    id: int
    name: str
    uid: str
    generation: int
    blocked_reason: str | None
    blocked_message: str | None


@dataclass(frozen=True, slots=True)
class ApiSecretMirror:
    """An API secret that is not deleted, and what its meetings add up to.

    ``tenant`` is the tenant's name, None if there is none. ``totals`` is None before they were first computed;
    ``list_reason`` says why the list is empty, e.g. Disabled, and is empty when the list says what runs.
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
    list_reason: str = ""


@dataclass(frozen=True, slots=True)
class RecordProfileMirror:
    """A record profile that is not deleted."""

    id: int
    name: str
    uid: str
    generation: int
    blocked_reason: str | None
    blocked_message: str | None


_TOTALS = tuple(item.name for item in dataclasses.fields(SecretTotals))
_PLAIN_FIELDS = ("id", "name", "uid", "generation", "blocked_reason", "blocked_message")


def _plain(table: sa.Table) -> list[sa.Column[Any]]:
    return [table.c[name] for name in _PLAIN_FIELDS]


def _present(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.namespace == sa.bindparam("namespace"), table.c.deleted_at.is_(None))


_TENANTS = sa.select(*_plain(tenants)).where(_present(tenants)).order_by(tenants.c.name)
_PROFILES = sa.select(*_plain(record_profiles)).where(_present(record_profiles)).order_by(record_profiles.c.name)
_SECRETS = (
    sa.select(
        *_plain(secrets),
        secrets.c.sub_id,
        tenants.c.name.label("tenant"),
        secret_states.c.secret_id,
        secret_states.c.reason,
        *[secret_states.c[name] for name in _TOTALS],
    )
    .select_from(
        secrets.outerjoin(tenants, tenants.c.id == secrets.c.tenant_id).outerjoin(
            secret_states, secret_states.c.secret_id == secrets.c.id
        )
    )
    .where(_present(secrets))
    .order_by(secrets.c.name)
)


def read_tenants(connection: sa.Connection, namespace: str) -> dict[str, TenantMirror]:
    """Return the tenants by name: one statement."""
    rows = connection.execute(_TENANTS, {"namespace": namespace}).mappings()
    return {row["name"]: TenantMirror(**row) for row in rows}


def read_api_secrets(connection: sa.Connection, namespace: str) -> dict[str, ApiSecretMirror]:
    """Return the API secrets by name, with their totals: one statement."""
    rows = connection.execute(_SECRETS, {"namespace": namespace}).mappings()
    return {row["name"]: _api_secret(row) for row in rows}


def read_record_profiles(connection: sa.Connection, namespace: str) -> dict[str, RecordProfileMirror]:
    """Return the record profiles by name: one statement."""
    rows = connection.execute(_PROFILES, {"namespace": namespace}).mappings()
    return {row["name"]: RecordProfileMirror(**row) for row in rows}


def _api_secret(row: Mapping[Any, Any]) -> ApiSecretMirror:
    known = row["secret_id"] is not None
    return ApiSecretMirror(
        **{name: row[name] for name in _PLAIN_FIELDS},
        tenant=row["tenant"],
        sub_id=row["sub_id"],
        totals=SecretTotals(**{name: row[name] for name in _TOTALS}) if known else None,
        list_reason=row["reason"] if known else "",
    )
