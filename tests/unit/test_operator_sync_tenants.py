"""What goes into the tables of tenants, API secrets and record profiles: deletes, restores and references heal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from b3lb.db.configuration import Kind as RowKind
from b3lb_operator.dispatch import Dispatcher
from b3lb_operator.kinds import API_SECRET, RECORD_PROFILE, SECRET, TENANT, Key, Kind, Manifest
from b3lb_operator.kube import UnavailableError
from b3lb_operator.store import Change
from tests.unit import test_operator_sync as synchronisation
from tests.unit.operator_fakes import (
    api_secret_manifest,
    generated_secret,
    manifest_of,
    secret_manifest,
    tenant_manifest,
)
from tests.unit.test_operator_dispatch import Woken
from tests.unit.test_operator_sync import Written, running

pytestmark = [pytest.mark.looptime]

OBJECTS: list[tuple[Kind, Manifest, RowKind]] = [
    (TENANT, tenant_manifest(), RowKind.TENANT),
    (API_SECRET, api_secret_manifest(), RowKind.SECRET),
    (RECORD_PROFILE, manifest_of(RECORD_PROFILE, "hd", {}), RowKind.RECORD_PROFILE),
]


class Marks(Woken):
    """Hands what has to be stored to the synchronisation; the others who are woken do not matter here."""

    def __init__(self, fixture: Fixture) -> None:
        super().__init__()
        self._fixture = fixture

    def sync(self, kind: Kind, name: Key, uid: str) -> None:
        self._fixture.sync.mark(kind, name, uid)


class Fixture(synchronisation.Fixture):
    """A running synchronisation that is woken as in the operator."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, namespaces: Sequence[str] = ("farm",)) -> None:
        self._dispatcher = Dispatcher(Marks(self))
        super().__init__(monkeypatch, namespaces)

    def _on_change(self, change: Change) -> None:
        self._dispatcher.dispatch(change)


@pytest.fixture
def fixture(monkeypatch: pytest.MonkeyPatch) -> Fixture:
    return Fixture(monkeypatch)


def names(written: Written, kind: Kind) -> set[str]:
    """Return the names of the rows of a kind that were written."""
    rows: dict[Kind, dict[str, Any]] = {
        TENANT: written.tenants,
        API_SECRET: written.api_secrets,
        RECORD_PROFILE: written.record_profiles,
    }
    return set(rows[kind])


@pytest.mark.parametrize(("kind", "manifest", "row_kind"), OBJECTS)
async def test_an_object_that_went_is_deleted_by_its_uid(
    fixture: Fixture, kind: Kind, manifest: Manifest, row_kind: RowKind
) -> None:
    async with running(fixture):
        fixture.put(kind, manifest)
        await asyncio.sleep(0.1)
        assert names(fixture.last, kind) == {manifest["metadata"]["name"]}
        fixture.remove(kind, manifest["metadata"]["name"])
        await asyncio.sleep(0.1)
    assert fixture.last.gone == {row_kind: [manifest["metadata"]["uid"]]}
    assert names(fixture.last, kind) == set()


@pytest.mark.parametrize(("kind", "manifest", "row_kind"), OBJECTS)
async def test_what_went_while_the_operator_was_down_is_missing_in_the_first_comparison(
    fixture: Fixture, kind: Kind, manifest: Manifest, row_kind: RowKind
) -> None:
    """The comparison is complete, so that rows without objects are deleted."""
    assert row_kind
    fixture.store.observe(kind, "ADDED", manifest)
    async with running(fixture):
        assert fixture.written[0].complete
        assert names(fixture.written[0], kind) == set()


@pytest.mark.parametrize(("kind", "manifest", "row_kind"), OBJECTS)
async def test_a_database_that_was_restored_gets_everything_again(
    fixture: Fixture, kind: Kind, manifest: Manifest, row_kind: RowKind
) -> None:
    assert row_kind
    fixture.kube.put(kind, manifest)
    async with running(fixture):
        fixture.written.clear()
        fixture.sync.request_full()
        await asyncio.sleep(1)
        (written,) = fixture.written
    assert written.complete
    assert names(written, kind) == {manifest["metadata"]["name"]}


@pytest.mark.parametrize(("kind", "manifest", "row_kind"), OBJECTS)
async def test_a_definition_that_was_deleted_and_created_again_deletes_by_the_old_uid_and_stores_the_new(
    fixture: Fixture, kind: Kind, manifest: Manifest, row_kind: RowKind
) -> None:
    fixture.kube.put(kind, manifest)
    again = {**manifest, "metadata": {**manifest["metadata"], "uid": "new"}}
    async with running(fixture):
        fixture.remove(kind, manifest["metadata"]["name"])
        await asyncio.sleep(0.1)
        assert fixture.last.gone == {row_kind: [manifest["metadata"]["uid"]]}
        created = fixture.kube.put(kind, again)
        version = str(int(created["metadata"]["resourceVersion"]) + 5000)
        fixture.store.observe(
            kind, "ADDED", {**created, "metadata": {**created["metadata"], "resourceVersion": version}}
        )
        await asyncio.sleep(0.1)
    assert fixture.last.gone == {}
    assert names(fixture.last, kind) == {manifest["metadata"]["name"]}


async def test_a_secret_that_appears_changes_or_goes_is_in_the_row_within_a_moment(fixture: Fixture) -> None:
    fixture.kube.put(TENANT, tenant_manifest())
    fixture.kube.put(API_SECRET, api_secret_manifest(secretRef={"name": "given"}))
    async with running(fixture):
        assert fixture.last.api_secrets["uni-001"].blocked_reason == "SecretNotFound"
        for value in ("first", "second"):
            fixture.put(SECRET, secret_manifest("given", secret=value))
            await asyncio.sleep(0.1)
            row = fixture.last.api_secrets["uni-001"]
            assert (row.secret, row.blocked_reason) == (value, None)
        fixture.remove(SECRET, "given")
        await asyncio.sleep(0.1)
        assert fixture.last.api_secrets["uni-001"].blocked_reason == "SecretNotFound"


async def test_a_generated_secret_is_used_when_it_appears(fixture: Fixture) -> None:
    manifest = api_secret_manifest()
    fixture.kube.put(API_SECRET, manifest)
    async with running(fixture):
        assert fixture.last.api_secrets["uni-001"].blocked_reason == "Pending"
        fixture.put(SECRET, generated_secret(manifest, "value"))
        await asyncio.sleep(0.1)
        assert fixture.last.api_secrets["uni-001"].secret == "value"


async def test_a_secret_that_cannot_be_read_for_now_is_not_called_missing(fixture: Fixture) -> None:
    fixture.kube.put(SECRET, secret_manifest("given", secret="s"))
    async with running(fixture):
        fixture.written.clear()
        away: Exception | None = UnavailableError("away")
        fixture.kube.failure = lambda _method, path: away if "/secrets" in path else None
        fixture.put(API_SECRET, api_secret_manifest(secretRef={"name": "given"}))
        await asyncio.sleep(60)
        assert fixture.written == []
        away = None
        await asyncio.sleep(6)
        assert fixture.last.api_secrets["uni-001"].secret == "s"


async def test_a_tenant_that_comes_or_goes_takes_its_api_secrets_along(fixture: Fixture) -> None:
    """Only the database knows whether the tenant is there, so the row has to be written again."""
    fixture.kube.put(API_SECRET, api_secret_manifest())
    async with running(fixture):
        fixture.put(TENANT, tenant_manifest())
        await asyncio.sleep(0.1)
        assert set(fixture.last.api_secrets) == {"uni-001"}
        fixture.remove(TENANT, "uni")
        await asyncio.sleep(0.1)
        assert (set(fixture.last.tenants), set(fixture.last.api_secrets)) == (set(), {"uni-001"})


def tenant(namespace: str, hour: int) -> Manifest:
    metadata = {
        "namespace": namespace,
        "uid": f"uid-{namespace}",
        "creationTimestamp": f"2026-03-01T{hour:02}:00:00Z",
    }
    return tenant_manifest(metadata=metadata)


def reasons(fixture: Fixture) -> dict[str, str | None]:
    """Return what the last write of each namespace said of the tenant."""
    return {
        written.namespace: written.tenants["uni"].blocked_reason
        for written in fixture.written
        if "uni" in written.tenants
    }


async def test_of_two_namespaces_the_older_tenant_has_the_slug_and_the_other_heals_when_it_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fixture = Fixture(monkeypatch, ("a", "b"))
    fixture.kube.put(TENANT, tenant("a", 11))
    fixture.kube.put(TENANT, tenant("b", 10))
    async with running(fixture):
        assert reasons(fixture) == {"a": "SlugInUse", "b": None}
        fixture.remove(TENANT, "uni", namespace="b")
        await asyncio.sleep(0.2)
        assert reasons(fixture)["a"] is None
        fixture.put(TENANT, tenant("b", 10))
        await asyncio.sleep(0.2)
        assert reasons(fixture) == {"a": "SlugInUse", "b": None}


async def test_a_restart_never_takes_the_younger_for_the_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    """No watch showed anything yet: all lists come before any row."""
    fixture = Fixture(monkeypatch, ("a", "b"))
    fixture.kube.put(TENANT, tenant("a", 11))
    fixture.kube.put(TENANT, tenant("b", 10))
    async with running(fixture):
        seen = {(written.namespace, written.tenants["uni"].blocked_reason) for written in fixture.written}
    assert seen == {("a", "SlugInUse"), ("b", None)}


async def test_a_change_in_one_namespace_writes_nothing_in_one_without_that_slug(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fixture = Fixture(monkeypatch, ("a", "b"))
    other = tenant_manifest("lab", metadata={"namespace": "b"})
    fixture.kube.put(TENANT, other)
    async with running(fixture):
        fixture.written.clear()
        fixture.put(TENANT, tenant("a", 10))
        await asyncio.sleep(0.2)
    assert [written.namespace for written in fixture.written] == ["a"]
