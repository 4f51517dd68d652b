"""What the operator mirrors of tenants, API secrets and record profiles."""

from __future__ import annotations

import pytest

from b3lb.db.configuration import QueueRow, apply_queues, apply_record_profiles
from b3lb.db.engine import count_statements, transaction
from b3lb.db.mirror import ApiSecretMirror, QueueMirror, RecordProfileMirror, Snapshot, TenantMirror, read_snapshot
from b3lb.meetings.model import SecretTotals
from tests.integration.database_farm import Farm

pytestmark = pytest.mark.integration

_STATE = (
    "INSERT INTO secret_states (secret_id, list_digest, reason, meetings, attendees, listeners, voices, videos, "
    "moderators) VALUES (:id, '', :reason, 1, 2, 3, 4, 5, 6)"
)


def snapshot(farm: Farm) -> Snapshot:
    with transaction(farm.engine, timeout_seconds=10) as connection:
        return read_snapshot(connection, farm.namespace)


def test_a_snapshot_holds_tenants_secrets_with_their_totals_and_profiles(farm: Farm) -> None:
    blocked = farm.tenant("lab", blocked_reason="SlugInUse", blocked_message="older one")
    limited = farm.tenant(meeting_limit=3, attendee_limit=40)
    ids = farm.fill_tenants([limited, blocked], [farm.api_secret(), farm.api_secret(sub_id=0)])
    with transaction(farm.engine, timeout_seconds=10) as connection:
        apply_record_profiles(connection, farm.namespace, [farm.record_profile()], complete=True)
    farm.run(_STATE, id=ids["uni-001"], reason="Disabled")
    found = snapshot(farm)
    tenant_ids = dict(farm.rows("SELECT name, id FROM tenants"))
    assert found.tenants == {
        "lab": TenantMirror(tenant_ids["lab"], "lab", "uid-lab", 1, "SlugInUse", "older one"),
        "uni": TenantMirror(tenant_ids["uni"], "uni", "uid-uni", 1, None, None, SecretTotals(), 3, 40),
    }
    assert found.api_secrets == {
        "uni-000": ApiSecretMirror(ids["uni-000"], "uni-000", "uid-uni-000", 1, "uni", 0, None, None, None),
        "uni-001": ApiSecretMirror(
            id=ids["uni-001"],
            name="uni-001",
            uid="uid-uni-001",
            generation=1,
            tenant="uni",
            sub_id=1,
            blocked_reason=None,
            blocked_message=None,
            totals=SecretTotals(meetings=1, attendees=2, listeners=3, voices=4, videos=5, moderators=6),
        ),
    }
    assert found.record_profiles == {
        "standard": RecordProfileMirror(found.record_profiles["standard"].id, "standard", "uid-standard", 1, None, None)
    }


def test_a_snapshot_says_what_each_queue_runs(farm: Farm) -> None:
    rows = [
        QueueRow("core", "u-1", 1, ("check-nodes", "update-secrets-lists")),
        QueueRow("x", "u-2", 3, (), suspend=True),
    ]
    with transaction(farm.engine, timeout_seconds=10) as connection:
        apply_queues(connection, farm.namespace, rows, complete=True)
    assert snapshot(farm).queues == {
        "core": QueueMirror("core", "u-1", 1, ("check-nodes", "update-secrets-lists"), suspend=False),
        "x": QueueMirror("x", "u-2", 3, (), suspend=True),
    }


def test_deleted_ones_are_not_mirrored(farm: Farm) -> None:
    farm.fill_tenants([farm.tenant()], [farm.api_secret()])
    farm.fill_tenants([], [])
    found = snapshot(farm)
    assert (found.tenants, found.api_secrets, found.record_profiles) == ({}, {}, {})


def test_any_number_of_tenants_takes_seven_statements(farm: Farm) -> None:
    names = [f"t{chr(97 + index)}" for index in range(20)]
    farm.fill_tenants([farm.tenant(name) for name in names], [farm.api_secret(name) for name in names])
    with transaction(farm.engine, timeout_seconds=10) as connection, count_statements(farm.engine) as counter:
        assert len(read_snapshot(connection, farm.namespace).api_secrets) == 20
    assert counter.count == 7
