"""Tenants, API secrets and record profiles in the tables: written as sets, soft-deleted, revived, encrypted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
import sqlalchemy.exc

from b3lb.crypto import KeyRing
from b3lb.db.configuration import (
    Action,
    ApiSecretRow,
    Changed,
    Kind,
    RecordProfileRow,
    TenantRow,
    apply_clusters,
    apply_record_profiles,
    apply_secrets,
    apply_tenants,
    delete_by_uid,
)
from b3lb.db.engine import count_statements, transaction
from tests.integration.database_farm import Farm

pytestmark = pytest.mark.integration

TABLES = ("tenants", "secrets", "record_profiles")


def sync(
    farm: Farm,
    *,
    tenants: Sequence[TenantRow] | None = None,
    secrets: Sequence[ApiSecretRow] | None = None,
    profiles: Sequence[RecordProfileRow] | None = None,
    complete: bool = True,
    keys: KeyRing | None = None,
) -> list[Changed]:
    changes: list[Changed] = []
    with transaction(farm.engine, timeout_seconds=10) as connection:
        if tenants is not None:
            changes += apply_tenants(connection, farm.namespace, tenants, complete=complete)
        if secrets is not None:
            changes += apply_secrets(connection, farm.namespace, secrets, complete=complete, keys=keys or farm.keys)
        if profiles is not None:
            changes += apply_record_profiles(connection, farm.namespace, profiles, complete=complete)
    return changes


def everything(farm: Farm) -> list[list[tuple[Any, ...]]]:
    """Return every row with the transaction that wrote it."""
    return [farm.rows(f"SELECT xmin::text, * FROM {table} ORDER BY 2") for table in TABLES]  # noqa: S608 - tables of ours


def test_every_kind_is_stored_and_a_second_sync_writes_nothing(farm: Farm) -> None:
    tenants = [
        farm.tenant(),
        farm.tenant("lab", enabled=False, cluster_names=("a", "b"), meeting_limit=5, attendee_limit=6),
        farm.tenant("dup", blocked_reason="SlugInUse", blocked_message="older one"),
        farm.tenant("bad", slug="", blocked_reason="InvalidSpec", blocked_message="spec.slug: …"),
    ]
    secrets = [
        farm.api_secret(),
        farm.api_secret(sub_id=0, enabled=False, meeting_limit=1, attendee_limit=2, record_profile_names=("x", "y")),
        farm.api_secret("lab", secret=None, blocked_reason="SecretNotFound", blocked_message="no Secret"),
        farm.api_secret("nobody"),
    ]
    profiles = [
        farm.record_profile(),
        farm.record_profile("broken", is_default=False, spec={}, blocked_reason="InvalidSpec", blocked_message="…"),
    ]
    rows: dict[str, Any] = {"tenants": tenants, "secrets": secrets, "profiles": profiles}
    assert [change.kind for change in sync(farm, **rows)] == [Kind.TENANT] * 4 + [Kind.SECRET] * 4 + [
        Kind.RECORD_PROFILE
    ] * 2
    before = everything(farm)
    assert sync(farm, **rows) == []
    assert everything(farm) == before
    assert farm.rows(
        "SELECT s.name, t.slug, s.sub_id, s.enabled, s.record_profile_names, s.blocked_reason, s.blocked_message "
        "FROM secrets s LEFT JOIN tenants t ON t.id = s.tenant_id ORDER BY s.name"
    ) == [
        ("lab-001", "LAB", 1, True, [], "SecretNotFound", "no Secret"),
        ("nobody-001", None, 1, True, [], "TenantNotFound", "BBBTenant nobody does not exist"),
        ("uni-000", "UNI", 0, False, ["x", "y"], None, None),
        ("uni-001", "UNI", 1, True, [], None, None),
    ]
    assert farm.rows("SELECT spec FROM record_profiles WHERE name = 'standard'") == [
        ({"width": 1920, "webcam": {"crop": False}},)
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"generation": 2},
        {"uid": "another"},
        {"enabled": False},
        {"cluster_names": ("default", "second")},
        {"meeting_limit": 1},
        {"attendee_limit": 1},
        {"blocked_reason": "SlugInUse", "blocked_message": "…"},
    ],
)
def test_any_difference_of_a_tenant_is_written_once(farm: Farm, changes: dict[str, Any]) -> None:
    sync(farm, tenants=[farm.tenant(), farm.tenant("lab")])
    changed = [farm.tenant(**changes), farm.tenant("lab")]
    assert [(item.name, item.action) for item in sync(farm, tenants=changed)] == [("uni", Action.UPDATE)]
    assert sync(farm, tenants=changed) == []


def test_a_deleted_tenant_and_its_secrets_come_back_with_their_counters(farm: Farm) -> None:
    """Nothing goes by a cascade: the rows wait, with their IDs."""
    ids = farm.fill_tenants([farm.tenant()], [farm.api_secret(), farm.api_secret(sub_id=2)])
    farm.run("INSERT INTO counters (secret_id, meetings) VALUES (:id, 7)", id=ids["uni-001"])
    assert {change.action for change in sync(farm, tenants=[], secrets=[])} == {Action.DELETE}
    assert sync(farm, tenants=[], secrets=[]) == []
    ((age,),) = farm.rows("SELECT extract(epoch FROM clock_timestamp() - deleted_at)::float FROM tenants")
    assert 0 <= age < 10
    again = [farm.api_secret(uid="new"), farm.api_secret(sub_id=2, uid="newer")]
    changes = sync(farm, tenants=[farm.tenant(uid="new")], secrets=again)
    assert {change.action for change in changes} == {Action.REVIVE}
    assert {change.name: change.id for change in changes if change.kind is Kind.SECRET} == ids
    assert farm.rows(
        "SELECT s.uid, c.meetings FROM counters c JOIN secrets s ON s.id = c.secret_id WHERE s.deleted_at IS NULL"
    ) == [("new", 7)]


def test_a_tenant_that_goes_blocks_its_secrets_and_one_that_comes_back_frees_them(farm: Farm) -> None:
    farm.fill_tenants([farm.tenant()], [farm.api_secret()])
    sync(farm, tenants=[])
    sync(farm, secrets=[farm.api_secret()])
    assert farm.rows("SELECT blocked_reason, tenant_id FROM secrets") == [("TenantNotFound", None)]
    sync(farm, tenants=[farm.tenant()])
    sync(farm, secrets=[farm.api_secret()])
    assert farm.rows("SELECT blocked_reason, tenant_id IS NULL FROM secrets") == [(None, False)]


def test_single_deletions_go_by_uid_so_that_a_recreated_object_stays(farm: Farm) -> None:
    farm.fill_tenants([farm.tenant(), farm.tenant("lab", uid="new")], [farm.api_secret()])
    sync(farm, profiles=[farm.record_profile()])
    with transaction(farm.engine, timeout_seconds=10) as connection:
        gone = [
            (kind, [(item.name, item.action) for item in delete_by_uid(connection, kind, "default", uids)])
            for kind, uids in (
                (Kind.TENANT, ["uid-uni", "uid-lab"]),
                (Kind.SECRET, ["uid-uni-001"]),
                (Kind.RECORD_PROFILE, ["uid-standard", ""]),
            )
        ]
    assert gone == [
        (Kind.TENANT, [("uni", Action.DELETE)]),
        (Kind.SECRET, [("uni-001", Action.DELETE)]),
        (Kind.RECORD_PROFILE, [("standard", Action.DELETE)]),
    ]


def test_an_api_secret_is_encrypted_for_its_place_and_again_only_for_another_value_or_key(farm: Farm) -> None:
    def stored() -> tuple[bytes, str]:
        ((ciphertext, key_id),) = farm.rows("SELECT secret_ciphertext, secret_key_id FROM secrets")
        return ciphertext, key_id

    farm.fill_tenants([farm.tenant()], [farm.api_secret()])
    first = stored()
    assert b"secret of" not in first[0]
    sync(farm, secrets=[farm.api_secret(meeting_limit=3)])
    assert stored() == first
    rotated = KeyRing({"k2": bytes(32), **KeyRing.parse(farm.keys.export())._material})
    assert len(sync(farm, secrets=[farm.api_secret(meeting_limit=3)], keys=rotated)) == 1
    second = stored()
    assert (second[0] != first[0], second[1]) == (True, "k2")
    assert sync(farm, secrets=[farm.api_secret(meeting_limit=3)], keys=rotated) == []
    sync(farm, secrets=[farm.api_secret(secret="other")], keys=rotated)
    assert rotated.decrypt(stored()[0], "k2", context="secrets/default/uni-001") == "other"


def test_a_full_comparison_encrypts_deleted_api_secrets_again(farm: Farm) -> None:
    farm.fill_tenants([farm.tenant()], [farm.api_secret()])
    rotated = KeyRing({"k2": bytes(32), **KeyRing.parse(farm.keys.export())._material})
    sync(farm, tenants=[farm.tenant()], secrets=[], keys=rotated)
    ((ciphertext, key_id),) = farm.rows("SELECT secret_ciphertext, secret_key_id FROM secrets")
    assert key_id == "k2"
    assert KeyRing({"k2": bytes(32)}).decrypt(ciphertext, "k2", context="secrets/default/uni-001").startswith("secret")


def test_an_api_secret_that_vanished_leaves_no_ciphertext(farm: Farm) -> None:
    farm.fill_tenants([farm.tenant()], [farm.api_secret()])
    sync(farm, secrets=[farm.api_secret(secret=None, blocked_reason="SecretNotFound", blocked_message="no Secret")])
    assert farm.rows("SELECT secret_ciphertext, secret_key_id, secret_hash FROM secrets") == [(None, None, None)]


def test_an_api_secret_without_value_and_reason_is_refused_as_a_whole(farm: Farm) -> None:
    farm.fill_tenants([farm.tenant()], [farm.api_secret()])
    with pytest.raises(sqlalchemy.exc.IntegrityError, match="secrets_usable_check"):
        sync(farm, secrets=[farm.api_secret(meeting_limit=9), farm.api_secret(sub_id=2, secret=None)])
    assert farm.rows("SELECT name, meeting_limit FROM secrets") == [("uni-001", None)]


def test_the_same_slug_in_another_namespace_is_another_row(farm: Farm) -> None:
    farm.fill_tenants([farm.tenant()], [farm.api_secret()])
    with transaction(farm.engine, timeout_seconds=10) as connection:
        apply_tenants(connection, "other", [farm.tenant()], complete=True)
        apply_secrets(connection, "other", [farm.api_secret()], complete=True, keys=farm.keys)
        apply_tenants(connection, "other", [], complete=True)
    assert farm.rows("SELECT namespace FROM tenants WHERE deleted_at IS NULL") == [("default",)]
    assert farm.rows("SELECT count(DISTINCT tenant_id) FROM secrets") == [(2,)]


def test_any_number_of_rows_takes_the_same_few_statements(farm: Farm) -> None:
    counts = []
    for number in (1, 60):
        tenants = [farm.tenant(f"t{chr(97 + index // 26)}{chr(97 + index % 26)}") for index in range(number)]
        secrets = [farm.api_secret(tenant.name) for tenant in tenants]
        profiles = [farm.record_profile(f"p{index}") for index in range(number)]
        with count_statements(farm.engine) as counter:
            sync(farm, tenants=tenants, secrets=secrets, profiles=profiles)
        counts.append(counter.count)
        sync(farm, tenants=[], secrets=[], profiles=[])
    assert counts[0] == counts[1] <= 12


def test_how_long_lost_meetings_are_waited_for_is_stored_and_asks_for_no_new_poll(farm: Farm) -> None:
    farm.fill(1)
    with transaction(farm.engine, timeout_seconds=10) as connection:
        rows = [farm.cluster(lost_meetings_seconds=60)]
        changes = apply_clusters(connection, farm.namespace, rows, complete=True, keys=farm.keys)
        assert [(item.kind, item.action) for item in changes] == [(Kind.CLUSTER, Action.UPDATE)]
        assert apply_clusters(connection, farm.namespace, rows, complete=True, keys=farm.keys) == []
    assert farm.rows("SELECT lost_meetings_seconds FROM clusters") == [(60,)]


def test_no_secret_is_in_the_representation_of_a_row(farm: Farm) -> None:
    assert "secret of" not in repr(farm.api_secret())
    assert dataclasses.replace(farm.api_secret(), secret="x") == farm.api_secret()
