"""How a tenant's API secret differs from the existing row, and which have no tenant."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence

from b3lb.crypto import KeyRing
from b3lb.db.planning.plans import Difference
from b3lb.db.planning.sealing import api_secret_context, compare_secret
from b3lb.db.rows import ApiSecretRow, Existing


def api_secret_comparison(
    namespace: str, keys: KeyRing
) -> Callable[[ApiSecretRow, Existing[ApiSecretRow]], Difference]:
    """Return how the API secrets of ``namespace`` are compared."""

    def compare(row: ApiSecretRow, existing: Existing[ApiSecretRow]) -> Difference:
        context = api_secret_context(namespace, existing.row.name)
        secret = compare_secret(row.secret, existing.secret, keys, context=context)
        return Difference(changed=row != existing.row or bool(secret), seal=secret.seal)

    return compare


def resolve_tenants(rows: Sequence[ApiSecretRow], tenants: Collection[str]) -> list[ApiSecretRow]:
    """Return the API secrets with those blocked whose tenant does not exist; a reason that is there already stays."""
    return [row if row.tenant in tenants else _without_tenant(row) for row in rows]


def _without_tenant(row: ApiSecretRow) -> ApiSecretRow:
    if row.blocked_reason is not None:
        return dataclasses.replace(row, tenant=None)
    message = f"BBBTenant {row.tenant} does not exist" if row.tenant else "no BBBTenant is named"
    return dataclasses.replace(row, tenant=None, blocked_reason="TenantNotFound", blocked_message=message)
