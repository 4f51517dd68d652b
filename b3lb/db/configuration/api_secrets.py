"""Tenants' API secrets."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa

from b3lb.crypto import KeyRing
from b3lb.db.configuration.store import (
    execute_plan,
    existing_rows,
    live_ids,
    sealed_columns,
    sealed_from,
    store_resealed,
)
from b3lb.db.planning import (
    Write,
    api_secret_comparison,
    api_secret_context,
    cleaned,
    plan,
    reseal,
    resolve_tenants,
)
from b3lb.db.refusals import Refused
from b3lb.db.rows import ApiSecretRow, Changed, Existing, Kind

_PLAIN_FIELDS = [item.name for item in dataclasses.fields(ApiSecretRow) if item.name not in {"tenant", "secret"}]


def apply_secrets(
    connection: sa.Connection,
    namespace: str,
    desired: Sequence[ApiSecretRow],
    *,
    complete: bool,
    keys: KeyRing,
    refused: list[Refused] | None = None,
) -> list[Changed]:
    """Make the API secrets of ``namespace`` equal to ``desired``; return what was written.

    Call it after `apply_tenants`: a secret whose tenant is not in the database is blocked with TenantNotFound. Secrets
    are encrypted here; one that did not change is encrypted again only to bring it under the primary key, as are, when
    everything is compared, those of deleted ones. A deleted secret's row keeps its ID and its counters, and
    gets them back when the object comes back.
    """
    rows = existing_rows(connection, Kind.SECRET, namespace, desired, complete=complete)
    existing = [_existing(row) for row in rows]
    tenants = live_ids(connection, Kind.TENANT, namespace)
    planned = plan(
        [cleaned(row) for row in resolve_tenants(desired, tenants)],
        existing,
        complete=complete,
        compare=api_secret_comparison(namespace, keys),
    )
    if complete:
        live = {row.name for row in desired}
        deleted = [item for item in existing if item.row.name not in live]
        resealed = reseal(deleted, keys, context=partial(api_secret_context, namespace))
        store_resealed(connection, Kind.SECRET, resealed)
    records = [_record(write, tenants, namespace, keys) for write in planned.writes]
    return execute_plan(connection, Kind.SECRET, namespace, planned, records, refused=refused)


def _record(write: Write[ApiSecretRow], tenants: Mapping[str, int], namespace: str, keys: KeyRing) -> dict[str, Any]:
    row = write.row
    return {
        **{name: getattr(row, name) for name in _PLAIN_FIELDS},
        "tenant_id": None if row.tenant is None else tenants[row.tenant],
        **sealed_columns(write, keys, context=api_secret_context(namespace, row.name)),
    }


def _existing(row: Mapping[Any, Any]) -> Existing[ApiSecretRow]:
    values = {name: row[name] for name in _PLAIN_FIELDS}
    values["record_profile_names"] = tuple(values["record_profile_names"])
    secret = ApiSecretRow(**values, tenant=row["owner"], secret=None)
    return Existing(id=row["id"], row=secret, deleted=row["deleted_at"] is not None, secret=sealed_from(row))
