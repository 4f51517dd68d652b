"""The plan for tenants' API secrets: encrypted only for a reason, blocked without a tenant."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from b3lb.crypto import KeyRing
from b3lb.db.configuration import (
    ApiSecretRow,
    ClusterRow,
    Difference,
    Existing,
    TenantRow,
    api_secret_context,
    resolve_tenants,
)
from b3lb.db.planning import api_secret_comparison, cluster_comparison, compare_rows

OLD = KeyRing({"old": b"o" * 32})
NEW = KeyRing({"new": b"n" * 32, "old": b"o" * 32})
CREATED = datetime(2026, 11, 1, tzinfo=UTC)


def row(**changes: Any) -> ApiSecretRow:
    secret = ApiSecretRow(
        name="uni-001", uid="u", generation=1, created_at=CREATED, tenant="uni", sub_id=1, secret="8cd8ef52"
    )
    return dataclasses.replace(secret, **changes)


def stored(wanted: ApiSecretRow, keys: KeyRing = OLD) -> Existing[ApiSecretRow]:
    """Return a row as the database gives it back."""
    sealed = None
    if wanted.secret is not None:
        sealed = keys.encrypt(wanted.secret, context=api_secret_context("farm", wanted.name))
    return Existing(id=1, row=dataclasses.replace(wanted, secret=None), secret=sealed)


@pytest.mark.parametrize(
    ("wanted", "existing", "keys", "expected"),
    [
        pytest.param(row(), stored(row()), OLD, Difference(changed=False), id="equal"),
        pytest.param(row(enabled=False), stored(row()), OLD, Difference(changed=True), id="disabled"),
        pytest.param(row(secret="x"), stored(row()), OLD, Difference(changed=True, seal=True), id="another value"),
        pytest.param(row(), stored(row()), NEW, Difference(changed=True, seal=True), id="an older key"),
        pytest.param(row(secret=None), stored(row()), OLD, Difference(changed=True), id="gone"),
        pytest.param(row(), stored(row(secret=None)), OLD, Difference(changed=True, seal=True), id="there again"),
        pytest.param(row(secret=None), stored(row(secret=None)), OLD, Difference(changed=False), id="still gone"),
        pytest.param(
            row(), stored(row(), NEW), KeyRing({"x": b"x" * 32}), Difference(changed=True, seal=True), id="key dropped"
        ),
    ],
)
def test_a_secret_is_encrypted_only_for_a_reason(
    wanted: ApiSecretRow, existing: Existing[ApiSecretRow], keys: KeyRing, expected: Difference
) -> None:
    assert api_secret_comparison("farm", keys)(wanted, existing) == expected


def test_the_value_of_another_place_is_not_the_same() -> None:
    """Else a row that was copied into another namespace would keep a value that cannot be decrypted there."""
    assert api_secret_comparison("other", OLD)(row(), stored(row())).seal


def test_a_secret_without_its_tenant_is_blocked_unless_it_is_already() -> None:
    blocked = row(tenant="none", blocked_reason="SecretNotFound", blocked_message="…")
    assert resolve_tenants([row(), row(tenant="none"), blocked, row(tenant=None)], {"uni"}) == [
        row(),
        row(tenant=None, blocked_reason="TenantNotFound", blocked_message="BBBTenant none does not exist"),
        row(tenant=None, blocked_reason="SecretNotFound", blocked_message="…"),
        row(tenant=None, blocked_reason="TenantNotFound", blocked_message="no BBBTenant is named"),
    ]


def test_a_tenant_is_written_when_it_differs() -> None:
    tenant = TenantRow("uni", "u", 1, CREATED, "UNI", cluster_names=("default",))
    assert compare_rows(tenant, Existing(id=1, row=tenant)) == Difference(changed=False)
    other = dataclasses.replace(tenant, cluster_names=("default", "second"))
    assert compare_rows(other, Existing(id=1, row=tenant)) == Difference(changed=True)


def test_how_long_lost_meetings_are_waited_for_is_no_reason_to_poll() -> None:
    cluster = ClusterRow("default", "u", 1)
    changed = dataclasses.replace(cluster, lost_meetings_seconds=0)
    assert cluster_comparison("default", OLD)(changed, Existing(id=1, row=cluster)) == Difference(
        changed=True, repoll=False
    )
