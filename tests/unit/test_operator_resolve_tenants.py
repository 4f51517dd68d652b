"""From tenants, API secrets and record profiles to rows: one owner per slug, and a reason for whatever is missing."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.db.configuration import ApiSecretRow, RecordProfileRow, TenantRow
from b3lb_operator.kinds import API_SECRET, RECORD_PROFILE, Key, Manifest
from b3lb_operator.resolve import (
    api_secret_ref,
    resolve_api_secret,
    resolve_record_profile,
    resolve_tenant,
    secret_names,
    slug_owners,
)
from tests.unit.operator_fakes import (
    api_secret_manifest,
    generated_secret,
    manifest_of,
    secret_manifest,
    tenant_manifest,
)

CREATED = datetime(2026, 3, 1, 10, tzinfo=UTC)
GENERATED = "uni-001-api-secret"


def tenant(namespace: str, created: str = "2026-03-01T10:00:00Z", name: str = "uni", **spec: Any) -> Manifest:
    return tenant_manifest(name, metadata={"namespace": namespace, "creationTimestamp": created}, **spec)


def test_a_tenant_becomes_a_row_with_everything_from_its_spec() -> None:
    manifest = tenant_manifest(
        clusterRefs=[{"name": "a"}, {"name": "b"}], enabled=False, limits={"meetings": 5, "attendees": 100}
    )
    assert resolve_tenant(manifest, {}) == TenantRow(
        name="uni",
        uid="bbbtenants-uni",
        generation=1,
        created_at=CREATED,
        slug="UNI",
        enabled=False,
        cluster_names=("a", "b"),
        meeting_limit=5,
        attendee_limit=100,
    )


def test_a_tenant_uses_the_default_cluster_and_has_no_limits_unless_it_says_so() -> None:
    row = resolve_tenant(tenant_manifest(), {})
    assert (row.cluster_names, row.meeting_limit, row.attendee_limit, row.enabled) == (("default",), None, None, True)


def test_of_two_tenants_with_one_slug_the_older_keeps_it_whatever_its_namespace_is_called() -> None:
    old, young = tenant("z", "2026-03-01T09:00:00Z"), tenant("a", "2026-03-01T11:00:00Z")
    owners = slug_owners([young, old])
    assert owners == {"UNI": Key("z", "uni")}
    assert resolve_tenant(old, owners).blocked_reason is None
    row = resolve_tenant(young, owners)
    assert (row.blocked_reason, row.blocked_message) == (
        "SlugInUse",
        "BBBTenant z/uni is older and has slug UNI already",
    )
    assert resolve_tenant(young, slug_owners([young])).blocked_reason is None


def test_of_equal_age_the_first_namespace_keeps_the_slug() -> None:
    found = [tenant(namespace) for namespace in ("b", "a", "c")]
    assert slug_owners(found) == {"UNI": Key("a", "uni")}


def test_a_disabled_tenant_keeps_its_slug_and_one_that_cannot_be_read_has_none() -> None:
    disabled = tenant("a", "2026-03-01T09:00:00Z", enabled=False)
    unreadable = tenant("b", "2026-03-01T08:00:00Z", limits=5)
    misnamed = tenant("c", "2026-03-01T08:00:00Z", name="other", slug="UNI")
    assert slug_owners([disabled, unreadable, misnamed, tenant("d")]) == {"UNI": Key("a", "uni")}


@given(
    st.permutations(
        [tenant(namespace, f"2026-03-01T1{hour}:00:00Z") for namespace, hour in itertools.product("abc", "01")]
    )
)
def test_the_order_in_which_tenants_are_seen_makes_no_difference(found: list[Manifest]) -> None:
    assert slug_owners(found) == {"UNI": Key("a", "uni")}


@pytest.mark.parametrize(
    "spec", [{}, {"slug": "uni"}, {"slug": 5}, {"slug": "UNI", "clusterRefs": []}, {"slug": "ABC"}]
)
def test_a_tenant_that_cannot_be_used_has_no_slug_and_says_why(spec: dict[str, Any]) -> None:
    row = resolve_tenant({**tenant_manifest(), "spec": spec}, {})
    assert (row.slug, row.blocked_reason) == ("", "InvalidSpec")
    assert row.blocked_message


def test_an_api_secret_becomes_a_row_with_everything_from_its_spec() -> None:
    manifest = api_secret_manifest(
        "uni-007",
        enabled=False,
        secretRef={"name": "given", "key": "k"},
        limits={"meetings": 1, "attendees": 2},
        recordProfileRefs=[{"name": "hd"}, {"name": "small"}],
        holdDays=7,
    )
    row = resolve_api_secret(manifest, {"given": secret_manifest("given", k="value\n")})
    assert row.secret == "value"
    assert row == ApiSecretRow(
        name="uni-007",
        uid="bbbsecrets-uni-007",
        generation=1,
        created_at=CREATED,
        tenant="uni",
        sub_id=7,
        enabled=False,
        secret="not compared",
        meeting_limit=1,
        attendee_limit=2,
        record_profile_names=("hd", "small"),
        hold_days=7,
    )


def test_a_generated_secret_is_read_like_a_given_one() -> None:
    manifest = api_secret_manifest()
    row = resolve_api_secret(manifest, {GENERATED: generated_secret(manifest, "value")})
    assert (row.secret, row.blocked_reason) == ("value", None)


def owned_by(name: str, uid: str) -> Manifest:
    return generated_secret(api_secret_manifest(name, metadata={"uid": uid}))


@pytest.mark.parametrize(
    ("secret", "reason", "words"),
    [
        pytest.param(None, "Pending", "about to be generated", id="not there yet"),
        pytest.param(secret_manifest(GENERATED, secret="x"), "SecretConflict", "delete it, or name it", id="nobody's"),
        pytest.param(owned_by("lab-001", "lab"), "SecretConflict", "not this BBBSecret's", id="another's"),
        pytest.param(owned_by("uni-001", "old"), "Pending", "garbage collector", id="of a deleted one of this name"),
    ],
)
def test_a_secret_that_is_to_be_generated_but_cannot_be_used_says_why(
    secret: Manifest | None, reason: str, words: str
) -> None:
    row = resolve_api_secret(api_secret_manifest(), {GENERATED: secret})
    assert (row.secret, row.blocked_reason, row.tenant, row.sub_id) == (None, reason, "uni", 1)
    assert words in (row.blocked_message or "")


def test_a_generated_secret_whose_key_was_taken_away_is_not_generated_over() -> None:
    manifest = api_secret_manifest()
    row = resolve_api_secret(manifest, {GENERATED: {**generated_secret(manifest), "data": {}}})
    assert row.blocked_reason == "SecretKeyNotFound"


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        (None, "SecretNotFound"),
        (secret_manifest("given", other="x"), "SecretKeyNotFound"),
        (secret_manifest("given", secret=""), "InvalidSecret"),
        (secret_manifest("given", secret="two\nlines"), "InvalidSecret"),
    ],
)
def test_a_given_secret_that_cannot_be_used_is_a_reason(secret: Manifest | None, reason: str) -> None:
    row = resolve_api_secret(api_secret_manifest(secretRef={"name": "given"}), {"given": secret})
    assert (row.secret, row.blocked_reason) == (None, reason)
    assert "two" not in repr(row)


@pytest.mark.parametrize("spec", [{}, {"tenantRef": {"name": "uni"}, "subId": 2}, {"tenantRef": 1, "subId": 1}])
def test_an_api_secret_that_cannot_be_used_has_no_tenant_and_says_why(spec: dict[str, Any]) -> None:
    row = resolve_api_secret({**api_secret_manifest(), "spec": spec}, {"uni-001-api-secret": None})
    assert (row.tenant, row.blocked_reason) == (None, "InvalidSpec")
    assert row.blocked_message


def test_given_and_generated_secrets_are_asked_for() -> None:
    found = [
        api_secret_manifest(),
        api_secret_manifest("uni-002", secretRef={"name": "given"}),
        {**api_secret_manifest("uni-003"), "spec": {}},
    ]
    assert secret_names({API_SECRET: found}) == {GENERATED, "given"}
    refs = [api_secret_ref(manifest) for manifest in found]
    assert [ref and (ref.name, ref.key) for ref in refs] == [(GENERATED, "secret"), ("given", "secret"), None]


def test_a_record_profile_is_stored_whole_with_its_defaults_and_reads_back_equal() -> None:
    row = resolve_record_profile(manifest_of(RECORD_PROFILE, "hd", {"width": 1280, "default": True}))
    assert row == RecordProfileRow(
        name="hd",
        uid="bbbrecordprofiles-hd",
        generation=1,
        is_default=True,
        spec={
            "width": 1280,
            "height": 1080,
            "webcam": {"sizePercent": 25, "crop": False, "stretch": False},
            "backdrop": "#000000",
            "annotations": True,
            "container": "mp4",
            "video": {"preset": "veryfast", "crf": 23, "framesPerSecond": 25},
            "default": True,
            "runtime": "pypy",
            "resources": {"requests": {}, "limits": {}},
        },
    )
    again = resolve_record_profile(manifest_of(RECORD_PROFILE, "hd", dict(row.spec)))
    assert again == row


def test_a_record_profile_that_cannot_be_read_says_why() -> None:
    row = resolve_record_profile(manifest_of(RECORD_PROFILE, "hd", {"width": 1279}))
    assert (row.spec, row.is_default, row.blocked_reason) == ({}, False, "InvalidSpec")
    assert "width" in (row.blocked_message or "")


def test_a_tenants_hold_time_is_in_its_row() -> None:
    assert resolve_tenant(tenant_manifest(holdDays=14), {}).hold_days == 14
