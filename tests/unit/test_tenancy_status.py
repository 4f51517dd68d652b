"""The statuses of tenants, API secrets and record profiles: whole dictionaries, every reason, usage counted once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from b3lb.db.mirror import (
    ApiSecretMirror,
    ClusterMirror,
    Heartbeat,
    QueueMirror,
    RecordProfileMirror,
    Snapshot,
    TenantMirror,
)
from b3lb.health import GuardState
from b3lb.meetings.model import SecretTotals
from b3lb.resources import BBBRecordProfileStatus, BBBSecretStatus, BBBTenantStatus
from b3lb_operator.kinds import RECORD_PROFILE, Manifest
from b3lb_operator.reconcilers.tenancy import api_secret_status, record_profile_status, tenant_status
from b3lb_operator.view import View
from tests.unit.operator_fakes import NOW, api_secret_manifest, manifest_of, tenant_manifest

TOTALS = SecretTotals(meetings=2, attendees=30, listeners=3, voices=20, videos=4, moderators=2)
USAGE = {"meetings": 2, "attendees": 30, "listeners": 3, "voices": 20, "videos": 4, "moderators": 2}
LIMITED = {"meetings": 3, "attendees": 40}
CORE = QueueMirror("core", "bbbqueues-core", 1, ("check-nodes", "update-secrets-lists"))
HD = RecordProfileMirror(1, "hd", "bbbrecordprofiles-hd", 1, None, None)


def tenant_row(**fields: Any) -> TenantMirror:
    values: dict[str, Any] = {"blocked_reason": None, "blocked_message": None, "running": TOTALS}
    return TenantMirror(**{"id": 1, "name": "uni", "uid": "bbbtenants-uni", "generation": 1, **values, **fields})


def secret_row(sub_id: int = 1, **fields: Any) -> ApiSecretMirror:
    name = f"uni-{sub_id:03d}"
    values: dict[str, Any] = {
        "id": sub_id,
        "name": name,
        "uid": f"bbbsecrets-{name}",
        "generation": 1,
        "tenant": "uni",
        "sub_id": sub_id,
        "blocked_reason": None,
        "blocked_message": None,
        "totals": TOTALS,
        "running": TOTALS,
    }
    return ApiSecretMirror(**{**values, **fields})


def view(
    *,
    tenant: TenantMirror | None = None,
    secrets: tuple[ApiSecretMirror, ...] = (),
    profiles: tuple[RecordProfileMirror, ...] = (),
    clusters: tuple[str, ...] = ("default",),
    lists_age: float | None = 5,
    error: str = "",
    age: float = 0,
    queues: tuple[QueueMirror, ...] = (CORE,),
) -> View:
    """Return a look at the database; ``lists_age`` is how many seconds ago the lists were updated, None for never."""
    beats = {"check-nodes": 5.0} if lists_age is None else {"check-nodes": 5.0, "update-secrets-lists": lists_age}
    snapshot = Snapshot(
        now=NOW - timedelta(seconds=age),
        heartbeats={task: beat(task, seconds) for task, seconds in beats.items()},
        clusters={name: ClusterMirror(1, name, "u", 1, GuardState()) for name in clusters},
        nodes={},
        tenants={} if tenant is None else {tenant.name: tenant},
        api_secrets={row.name: row for row in secrets},
        record_profiles={row.name: row for row in profiles},
        queues={row.name: row for row in queues},
    )
    return View.of(snapshot, age=timedelta(seconds=age), error=error, now=NOW)


def beat(task: str, seconds: float) -> Heartbeat:
    moment = NOW - timedelta(seconds=seconds)
    return Heartbeat(task, moment, moment, moment, "pod", 1, {})


NEVER_READ = View.of(None, age=timedelta(seconds=5), error="connection refused", now=NOW)
AWAY = View.of(None, age=timedelta(seconds=200), error="connection refused", now=NOW)


def tenant_of(manifest: Manifest | None = None, *, look: View, secrets: int = 1) -> dict[str, Any]:
    status = tenant_status(manifest or tenant_manifest(), look, secrets=secrets)
    assert status is not None
    BBBTenantStatus.model_validate(status)
    return status


def secret_of(
    manifest: Manifest | None = None,
    *,
    look: View,
    tenant: str = "True/Accepted",
    problem: str = "",
) -> dict[str, Any]:
    status = api_secret_status(
        manifest or api_secret_manifest(), look, tenants={"uni": tenant_condition(tenant)}, problem=problem
    )
    assert status is not None
    BBBSecretStatus.model_validate(status)
    return status


def tenant_condition(value: str) -> Mapping[str, Any]:
    if not value:
        return {}
    status, _, reason = value.partition("/")
    return {"conditions": [{"type": "Accepted", "status": status, "reason": reason, "message": "why"}]}


def found(status: Mapping[str, Any], type_: str = "Accepted") -> str:
    (condition,) = (item for item in status["conditions"] if item["type"] == type_)
    return f"{condition['status']}/{condition['reason']}"


def message(status: Mapping[str, Any], type_: str = "Accepted") -> str:
    (text,) = (item["message"] for item in status["conditions"] if item["type"] == type_)
    return str(text)


def whole(type_: str, status: str, reason: str, text: str) -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "observedGeneration": 1,
        "lastTransitionTime": "2026-03-01T12:00:00Z",
        "reason": reason,
        "message": text,
    }


def test_a_tenant_in_use_shows_what_runs_and_how_many_secrets_it_has() -> None:
    look = view(tenant=tenant_row(), secrets=(secret_row(),))
    assert tenant_of(tenant_manifest(limits=LIMITED), look=look, secrets=4) == {
        "observedGeneration": 1,
        "secrets": 4,
        "usage": USAGE,
        "conditions": [
            whole("Accepted", "True", "Accepted", "the tenant may be used"),
            whole("LimitReached", "False", "BelowLimits", "less runs than the limits allow"),
        ],
    }


def test_an_api_secret_in_use_shows_what_runs_and_where_it_is_kept() -> None:
    assert secret_of(look=view(tenant=tenant_row(), secrets=(secret_row(),))) == {
        "observedGeneration": 1,
        "secretRef": {"name": "uni-001-api-secret", "key": "secret"},
        "usage": USAGE,
        "conditions": [
            whole("Accepted", "True", "Accepted", "the secret is valid"),
            whole("LimitReached", "False", "NoLimits", "spec.limits is empty, and so is that of BBBTenant uni"),
        ],
    }


def test_a_record_profile_in_use() -> None:
    status = record_profile_status(manifest_of(RECORD_PROFILE, "hd"), view(profiles=(HD,)))
    assert status == {
        "observedGeneration": 1,
        "conditions": [whole("Accepted", "True", "Accepted", "recordings may use the profile")],
    }
    BBBRecordProfileStatus.model_validate(status)


@pytest.mark.parametrize(
    ("manifest", "look", "expected"),
    [
        pytest.param(tenant_manifest(), view(), "Unknown/Pending", id="not stored yet"),
        pytest.param(tenant_manifest(), AWAY, "Unknown/DatabaseUnavailable", id="no database"),
        pytest.param(
            tenant_manifest(),
            view(tenant=tenant_row(blocked_reason="SlugInUse", blocked_message="…"), clusters=()),
            "False/SlugInUse",
            id="slug",
        ),
        pytest.param(tenant_manifest(), view(tenant=tenant_row(), clusters=()), "False/ClusterNotFound", id="cluster"),
        pytest.param(tenant_manifest(enabled=False), AWAY, "False/Disabled", id="disabled needs no database"),
        pytest.param({**tenant_manifest(), "spec": {}}, view(tenant=tenant_row()), "False/InvalidSpec", id="spec"),
        pytest.param(tenant_manifest(), view(tenant=tenant_row(uid="old")), "Unknown/Pending", id="re-created"),
    ],
)
def test_why_a_tenant_is_not_accepted(manifest: Manifest, look: View, expected: str) -> None:
    assert found(tenant_of(manifest, look=look)) == expected


def test_all_clusters_that_are_missing_are_named() -> None:
    manifest = tenant_manifest(clusterRefs=[{"name": "default"}, {"name": "a"}, {"name": "b"}])
    status = tenant_of(manifest, look=view(tenant=tenant_row()))
    assert message(status) == "BBBCluster a, b does not exist or cannot be used"


@pytest.mark.parametrize(
    ("fields", "row", "tenant", "expected"),
    [
        pytest.param({"enabled": False}, secret_row(), "True/Accepted", "False/Disabled", id="disabled"),
        pytest.param({}, secret_row(), "False/Disabled", "False/TenantDisabled", id="tenant disabled"),
        pytest.param({}, secret_row(), "False/SlugInUse", "False/TenantNotAccepted", id="tenant not accepted"),
        pytest.param({}, secret_row(), "Unknown/Pending", "Unknown/Pending", id="tenant pending"),
        pytest.param({}, secret_row(), "", "Unknown/Pending", id="tenant unknown"),
        pytest.param(
            {},
            secret_row(tenant=None, blocked_reason="TenantNotFound", blocked_message="…"),
            "",
            "False/TenantNotFound",
            id="no tenant",
        ),
        pytest.param(
            {},
            secret_row(blocked_reason="SecretConflict", blocked_message="…"),
            "True/Accepted",
            "False/SecretConflict",
            id="somebody else's Secret",
        ),
        pytest.param(
            {},
            secret_row(blocked_reason="Pending", blocked_message="…"),
            "True/Accepted",
            "Unknown/Pending",
            id="not generated yet",
        ),
        pytest.param({"subId": "x"}, secret_row(), "True/Accepted", "False/InvalidSpec", id="spec"),
        pytest.param(
            {"recordProfileRefs": [{"name": "none"}]},
            secret_row(),
            "True/Accepted",
            "False/RecordProfileNotFound",
            id="profile",
        ),
        pytest.param(
            {"recordProfileRefs": [{"name": "hd"}]}, secret_row(), "True/Accepted", "True/Accepted", id="profile found"
        ),
    ],
)
def test_why_an_api_secret_is_not_accepted(
    fields: dict[str, Any], row: ApiSecretMirror, tenant: str, expected: str
) -> None:
    status = secret_of(api_secret_manifest(**fields), look=view(secrets=(row,), profiles=(HD,)), tenant=tenant)
    assert found(status) == expected
    assert ("secretRef" in status) == (row.blocked_reason is None and "subId" not in fields)


def test_a_profile_that_cannot_be_used_counts_as_missing() -> None:
    broken = RecordProfileMirror(1, "hd", "bbbrecordprofiles-hd", 1, "InvalidSpec", "…")
    manifest = api_secret_manifest(recordProfileRefs=[{"name": "hd"}])
    status = secret_of(manifest, look=view(secrets=(secret_row(),), profiles=(broken,)))
    assert found(status) == "False/RecordProfileNotFound"


def test_why_nothing_is_generated_is_said() -> None:
    row = secret_row(blocked_reason="Pending", blocked_message="Secret uni-001-api-secret is about to be generated")
    look = view(secrets=(row,))
    assert message(secret_of(look=look)) == "Secret uni-001-api-secret is about to be generated"
    refused = secret_of(look=look, problem="exceeded quota")
    assert (found(refused), message(refused)) == (
        "Unknown/Pending",
        "the Secret cannot be generated: exceeded quota",
    )


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, "False/NoLimits"),
        ({"meetings": 3}, "False/BelowLimits"),
        ({"attendees": 31}, "False/BelowLimits"),
        ({"meetings": 2}, "True/MeetingLimitReached"),
        ({"attendees": 30}, "True/AttendeeLimitReached"),
        ({"meetings": 1, "attendees": 1}, "True/MeetingLimitReached"),
    ],
)
def test_a_limit_is_reached_when_as_much_runs_as_it_says(limits: dict[str, int], expected: str) -> None:
    look = view(tenant=tenant_row(), secrets=(secret_row(),))
    for status in (
        tenant_of(tenant_manifest(limits=limits), look=look),
        secret_of(api_secret_manifest(limits=limits), look=look),
    ):
        assert found(status, "LimitReached") == expected


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        pytest.param(
            view(tenant=tenant_row(), secrets=(secret_row(totals=None),), lists_age=None),
            "Unknown/Pending",
            id="never counted",
        ),
        pytest.param(
            view(tenant=tenant_row(), secrets=(secret_row(),), lists_age=151), "Unknown/Stale", id="lists stopped"
        ),
        pytest.param(
            view(tenant=tenant_row(), secrets=(secret_row(),), error="away", age=151),
            "Unknown/DatabaseUnavailable",
            id="database away",
        ),
    ],
)
def test_usage_that_is_not_known_is_absent_and_the_limit_unknown(look: View, expected: str) -> None:
    """Accepted says what it said before: it follows from the spec, not from what runs."""
    before = tenant_of(tenant_manifest(limits=LIMITED), look=view(tenant=tenant_row(), secrets=(secret_row(),)))
    status = tenant_of({**tenant_manifest(limits=LIMITED), "status": before}, look=look)
    assert found(status, "LimitReached") == expected
    assert "usage" not in status
    assert found(status) == "True/Accepted"


def test_lists_that_stopped_say_whose_work_they_are() -> None:
    look = view(tenant=tenant_row(), secrets=(secret_row(),), lists_age=151)
    text = message(tenant_of(tenant_manifest(limits=LIMITED), look=look), "LimitReached")
    assert text == (
        "no update of the lists since 2026-03-01T11:57:29Z: see the BBBQueue that runs update-secrets-lists, its "
        "CronJob and its Jobs"
    )


@pytest.mark.parametrize(
    ("queue", "advice"),
    [
        (dataclasses.replace(CORE, tasks=("check-nodes",)), "no BBBQueue runs update-secrets-lists"),
        (
            dataclasses.replace(CORE, suspend=True),
            "BBBQueue core, which runs update-secrets-lists, is suspended",
        ),
        (CORE, "see the BBBQueue that runs update-secrets-lists, its CronJob and its Jobs"),
    ],
)
def test_lists_that_no_queue_updates_any_more_or_never_did_say_so(queue: QueueMirror, advice: str) -> None:
    stopped, never = (
        view(tenant=tenant_row(), secrets=(secret_row(totals=totals),), lists_age=age, queues=(queue,))
        for totals, age in ((TOTALS, 151), (None, None))
    )
    for look, expected in ((stopped, "Unknown/Stale"), (never, "Unknown/Pending")):
        for status in (
            tenant_of(tenant_manifest(limits=LIMITED), look=look),
            secret_of(api_secret_manifest(limits=LIMITED), look=look),
        ):
            assert found(status, "LimitReached") == expected
            assert message(status, "LimitReached").endswith(f": {advice}")


def test_also_without_limits_it_is_said_at_once_that_no_queue_updates_the_usage() -> None:
    queue = dataclasses.replace(CORE, tasks=("check-nodes",))
    look = view(tenant=tenant_row(), secrets=(secret_row(),), queues=(queue,))
    assert message(tenant_of(look=look), "LimitReached") == (
        "spec.limits is empty; usage is not updated: no BBBQueue runs update-secrets-lists"
    )


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param((), id="no secret"),
        pytest.param((secret_row(0, totals=SecretTotals()), secret_row(1)), id="sub-id 0"),
        pytest.param((secret_row(1, totals=SecretTotals()), secret_row(2, totals=None)), id="without sub-id 0"),
    ],
)
def test_a_tenants_usage_and_limit_are_what_admission_counts_whatever_secrets_there_are(
    rows: tuple[ApiSecretMirror, ...],
) -> None:
    look = view(tenant=tenant_row(running=SecretTotals(meetings=5)), secrets=rows)
    status = tenant_of(tenant_manifest(limits={"meetings": 3}), look=look)
    assert status["usage"]["meetings"] == 5
    assert found(status, "LimitReached") == "True/MeetingLimitReached"


def test_the_limit_of_sub_id_0_is_held_against_its_own_meetings_while_its_usage_is_the_whole_tenants() -> None:
    """As at admission: what other secrets create has their limits, and the tenant's."""
    rows = {
        meetings: secret_row(0, totals=SecretTotals(meetings=5), running=SecretTotals(meetings=meetings))
        for meetings in (2, 3)
    }
    reasons = {}
    for meetings, row in rows.items():
        manifest = api_secret_manifest("uni-000", limits={"meetings": 3})
        status = secret_of(manifest, look=view(tenant=tenant_row(), secrets=(row,)))
        assert status["usage"]["meetings"] == 5
        reasons[meetings] = found(status, "LimitReached")
    assert reasons == {2: "False/BelowLimits", 3: "True/MeetingLimitReached"}


@pytest.mark.parametrize(
    ("own", "tenants", "expected", "text"),
    [
        ({}, {"meeting_limit": 3}, "False/BelowLimits", "less runs than the limits allow"),
        (
            {},
            {"meeting_limit": 2},
            "True/MeetingLimitReached",
            "no new meetings: 2 run in BBBTenant uni, whose spec.limits.meetings is 2",
        ),
        (
            {"attendees": 30},
            {"attendee_limit": 20},
            "True/AttendeeLimitReached",
            "no new meetings: 30 attendees, spec.limits.attendees is 30",
        ),
        (
            {"attendees": 31},
            {"attendee_limit": 30},
            "True/AttendeeLimitReached",
            "no new meetings: 30 attendees in BBBTenant uni, whose spec.limits.attendees is 30",
        ),
        (
            {"attendees": 30},
            {"meeting_limit": 2},
            "True/MeetingLimitReached",
            "no new meetings: 2 run in BBBTenant uni, whose spec.limits.meetings is 2",
        ),
    ],
)
def test_the_limits_of_a_secrets_tenant_apply_to_it_in_the_order_of_admission(
    own: dict[str, int], tenants: dict[str, int], expected: str, text: str
) -> None:
    look = view(tenant=tenant_row(**tenants), secrets=(secret_row(),))
    status = secret_of(api_secret_manifest(limits=own), look=look)
    assert (found(status, "LimitReached"), message(status, "LimitReached")) == (expected, text)


@pytest.mark.parametrize(
    ("tenant", "row", "expected"),
    [
        ("True/Accepted", secret_row(blocked_reason="SecretConflict", blocked_message="why"), "Unknown/SecretConflict"),
        ("False/SlugInUse", secret_row(), "Unknown/TenantNotAccepted"),
        ("False/Disabled", secret_row(), "Unknown/TenantDisabled"),
        ("Unknown/Pending", secret_row(), "Unknown/Pending"),
    ],
)
def test_what_is_not_accepted_has_no_limit_to_reach(tenant: str, row: ApiSecretMirror, expected: str) -> None:
    look = view(tenant=tenant_row(), secrets=(row,))
    for limits in ({}, LIMITED):
        status = secret_of(api_secret_manifest(limits=limits), look=look, tenant=tenant)
        assert found(status, "LimitReached") == expected
        assert message(status, "LimitReached") == message(status)
    disabled = tenant_of(tenant_manifest(enabled=False, limits=LIMITED), look=look)
    assert found(disabled, "LimitReached") == "Unknown/Disabled"


def test_until_a_new_generation_is_stored_nothing_is_said() -> None:
    look = view(tenant=tenant_row(), secrets=(secret_row(),), profiles=(HD,))
    assert tenant_status(tenant_manifest(metadata={"generation": 2}), look, secrets=1) is None
    assert api_secret_status(api_secret_manifest(metadata={"generation": 2}), look, tenants={}, problem="") is None
    assert record_profile_status(manifest_of(RECORD_PROFILE, "hd", generation=2), look) is None


def test_without_a_database_what_was_said_stands_with_its_generation() -> None:
    before = secret_of(look=view(tenant=tenant_row(), secrets=(secret_row(),)))
    manifest = {**api_secret_manifest(metadata={"generation": 2}), "status": before}
    status = secret_of(manifest, look=view(tenant=tenant_row(), secrets=(secret_row(),), error="away", age=5))
    assert status == before


def test_an_operator_that_starts_without_a_database_says_nothing_new() -> None:
    before = tenant_of(look=view(tenant=tenant_row(), secrets=(secret_row(),)))
    assert tenant_status({**tenant_manifest(), "status": before}, NEVER_READ, secrets=1) is None
    assert found(tenant_of(look=NEVER_READ)) == "Unknown/Pending"
