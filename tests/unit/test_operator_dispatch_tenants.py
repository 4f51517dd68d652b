"""Whom a change of a tenant, an API secret, a record profile or one of their Secrets wakes."""

from __future__ import annotations

from typing import Any

import pytest

from b3lb_operator.dispatch import Dispatcher
from b3lb_operator.kinds import API_SECRET, RECORD_PROFILE, SECRET, TENANT
from b3lb_operator.references import Ref, targets_of
from b3lb_operator.store import Store
from tests.unit.operator_fakes import (
    api_secret_manifest,
    generated_secret,
    key,
    manifest_of,
    secret_manifest,
    tenant_manifest,
)
from tests.unit.test_operator_dispatch import Woken, later


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture
def store(woken: Woken) -> Store:
    return Store(Dispatcher(woken).dispatch)


def test_a_new_api_secret_wakes_its_row_the_mirror_and_what_generates(store: Store, woken: Woken) -> None:
    store.observe(API_SECRET, "ADDED", api_secret_manifest())
    assert woken.take() == [
        ("sync", "BBBSecret", "uni-001", "bbbsecrets-uni-001"),
        ("mirror", "farm"),
        ("api secret", "uni-001"),
    ]
    store.observe(API_SECRET, "MODIFIED", {**later(api_secret_manifest(), 2), "status": {"usage": {}}})
    assert woken.take() == []


def test_a_record_profile_and_a_tenant_wake_their_rows_and_the_mirror(store: Store, woken: Woken) -> None:
    """The mirror compares all references at every look."""
    store.observe(RECORD_PROFILE, "ADDED", manifest_of(RECORD_PROFILE, "hd"))
    assert woken.take() == [("sync", "BBBRecordProfile", "hd", "bbbrecordprofiles-hd"), ("mirror", "farm")]
    store.observe(TENANT, "ADDED", tenant_manifest())
    assert woken.take() == [("sync", "BBBTenant", "uni", "bbbtenants-uni"), ("mirror", "farm")]


def test_a_tenant_wakes_its_api_secrets_when_it_comes_and_when_it_goes(store: Store, woken: Woken) -> None:
    store.observe(API_SECRET, "ADDED", api_secret_manifest())
    store.observe(API_SECRET, "ADDED", api_secret_manifest("lab-001"))
    woken.take()
    store.observe(TENANT, "ADDED", tenant_manifest())
    assert ("sync", "BBBSecret", "uni-001", "") in woken.take()
    store.observe(TENANT, "MODIFIED", later(tenant_manifest(), 2, generation=2))
    assert ("sync", "BBBSecret", "uni-001", "") not in woken.take()
    store.observe(TENANT, "DELETED", later(tenant_manifest(), 3))
    calls = woken.take()
    assert ("sync", "BBBSecret", "uni-001", "") in calls
    assert ("sync", "BBBSecret", "lab-001", "") not in calls


def test_a_generated_secret_wakes_its_row_and_when_it_goes_what_generates(store: Store, woken: Woken) -> None:
    owner = api_secret_manifest()
    store.observe(API_SECRET, "ADDED", owner)
    woken.take()
    store.observe(SECRET, "ADDED", generated_secret(owner))
    assert woken.take() == [("sync", "BBBSecret", "uni-001", "")]
    store.observe(SECRET, "MODIFIED", later(generated_secret(owner), 2))
    assert woken.take() == [("sync", "BBBSecret", "uni-001", "")]
    store.observe(SECRET, "DELETED", later(generated_secret(owner), 3))
    assert woken.take() == [("sync", "BBBSecret", "uni-001", ""), ("api secret", "uni-001")]


def test_a_given_secret_wakes_those_who_name_it_and_the_generated_name_nobody(store: Store, woken: Woken) -> None:
    store.observe(API_SECRET, "ADDED", api_secret_manifest(secretRef={"name": "given"}))
    woken.take()
    store.observe(SECRET, "ADDED", secret_manifest("given", secret="x"))
    assert woken.take() == [("sync", "BBBSecret", "uni-001", "")]
    store.observe(SECRET, "ADDED", secret_manifest("uni-001-api-secret", secret="x"))
    assert woken.take() == []


@pytest.mark.parametrize("spec", [None, [], {"secretRef": "x", "tenantRef": None}, {"tenantRef": {"name": 5}}])
def test_a_malformed_api_secret_names_only_the_secret_that_would_be_generated(spec: Any) -> None:
    found = targets_of(API_SECRET, {**api_secret_manifest(), "spec": spec})
    assert found == {Ref(SECRET, key("uni-001-api-secret"))}
