"""Generated API secrets: there whoever deletes them, never overwritten, and no value anywhere but in the Secret."""

from __future__ import annotations

import asyncio
import base64
import re
from typing import Any

import pytest
import structlog.testing

from b3lb.redaction import redact_value
from b3lb_operator.events import EventRecorder
from b3lb_operator.kinds import API_SECRET, EVENT, SECRET, Key, Manifest
from b3lb_operator.kube import ConflictError, ForbiddenError, UnavailableError
from b3lb_operator.manifests.api_secret import build_generated_secret
from b3lb_operator.reconcilers.secret import ApiSecretReconciler, new_api_secret
from b3lb_operator.store import Store
from tests.unit.operator_fakes import FakeKube, api_secret_manifest, key, secret_manifest

pytestmark = [pytest.mark.looptime]

NAME = "uni-001-api-secret"


class Fixture:
    """A reconciler on an API server in memory with one BBBSecret in it."""

    def __init__(self) -> None:
        self.kube = FakeKube()
        self.store = Store(lambda _: None)
        self.told: list[Key] = []
        self.events = EventRecorder(self.kube, instance="pod")
        self.reconciler = self.restarted()

    def restarted(self) -> ApiSecretReconciler:
        return ApiSecretReconciler(kube=self.kube, store=self.store, events=self.events, on_problem=self.told.append)

    def put(self, manifest: Manifest) -> None:
        self.store.observe(API_SECRET, "MODIFIED", self.kube.put(API_SECRET, manifest))

    async def reconcile(self) -> float | None:
        return await self.reconciler.reconcile(key("uni-001"))

    @property
    def value(self) -> str:
        return base64.b64decode(self.kube.object(SECRET, NAME)["data"]["secret"]).decode()


@pytest.fixture
def fixture() -> Fixture:
    fixture = Fixture()
    fixture.put(api_secret_manifest())
    return fixture


def test_the_secret_goes_with_its_owner_and_does_not_block_it() -> None:
    assert build_generated_secret(api_secret_manifest(), "value") == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "namespace": "farm",
            "name": NAME,
            "labels": {"app.kubernetes.io/part-of": "b3lb"},
            "ownerReferences": [
                {
                    "apiVersion": "b3lb.io/v1alpha1",
                    "kind": "BBBSecret",
                    "name": "uni-001",
                    "uid": "bbbsecrets-uni-001",
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
        "type": "Opaque",
        "data": {"secret": "dmFsdWU="},
    }


def test_api_secrets_are_48_letters_and_digits_and_never_the_same() -> None:
    values = {new_api_secret() for _ in range(100)}
    assert len(values) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9]{48}", value) for value in values)


async def test_where_none_is_given_one_is_generated_once(fixture: Fixture) -> None:
    assert await fixture.reconcile() is None
    first = fixture.value
    assert len(first) == 48
    assert await fixture.reconcile() is None
    fixture.reconciler = fixture.restarted()
    assert await fixture.reconcile() is None
    assert fixture.value == first
    assert len(fixture.kube.writes) == 1


async def test_what_the_watch_shows_is_not_asked_for_again(fixture: Fixture) -> None:
    fixture.store.observe(SECRET, "ADDED", secret_manifest(NAME, secret="x"))
    await fixture.reconcile()
    assert fixture.kube.requests == []


async def test_a_deleted_one_is_generated_anew(fixture: Fixture) -> None:
    await fixture.reconcile()
    first = fixture.value
    del fixture.kube.objects[SECRET.path("farm", NAME)]
    await fixture.reconcile()
    assert fixture.value != first


@pytest.mark.parametrize(
    ("status", "reason", "told"),
    [("True", "Accepted", True), ("False", "Disabled", True), ("False", "SecretNotFound", False)],
)
async def test_a_value_that_took_the_place_of_another_one_is_an_event_which_does_not_hold_it(
    fixture: Fixture, status: str, reason: str, told: bool
) -> None:
    condition = {"type": "Accepted", "status": status, "reason": reason}
    fixture.put({**api_secret_manifest(), "status": {"conditions": [condition]}})
    sending = asyncio.create_task(fixture.events.run())
    await fixture.reconcile()
    await fixture.reconcile()
    await asyncio.sleep(1)
    sending.cancel()
    events = [item for item in fixture.kube.objects.values() if item["kind"] == EVENT.name]
    assert [(event["type"], event["reason"]) for event in events] == [("Warning", "SecretRegenerated")] * told
    assert all(NAME in event["note"] for event in events)
    assert fixture.value not in str(events)


async def test_a_new_bbbsecret_has_no_event(fixture: Fixture) -> None:
    sending = asyncio.create_task(fixture.events.run())
    await fixture.reconcile()
    await asyncio.sleep(1)
    sending.cancel()
    assert [item for item in fixture.kube.objects.values() if item["kind"] == EVENT.name] == []


async def test_a_secret_of_that_name_is_never_touched_whosever_it_is(fixture: Fixture) -> None:
    fixture.kube.put(SECRET, secret_manifest(NAME, secret="somebody's"))
    await fixture.reconcile()
    assert (fixture.value, fixture.kube.writes) == ("somebody's", [])


async def test_of_two_operators_at_once_the_first_one_wins(fixture: Fixture) -> None:
    """Between the look and the creation: 409."""

    def others_are_faster(method: str, _path: str) -> Exception | None:
        return ConflictError("exists") if method == "POST" else None

    fixture.kube.failure = others_are_faster
    assert await fixture.reconcile() is None
    assert fixture.reconciler.problem(key("uni-001")) == ""


@pytest.mark.parametrize(
    "manifest",
    [
        api_secret_manifest(secretRef={"name": "given"}),
        api_secret_manifest(metadata={"deletionTimestamp": "2026-03-01T12:00:00Z"}),
        {**api_secret_manifest(), "spec": {}},
        api_secret_manifest(subId=2),
    ],
)
async def test_nothing_is_generated_for_one_that_needs_none_goes_or_cannot_be_read(manifest: Manifest) -> None:
    fixture = Fixture()
    fixture.put(manifest)
    assert await fixture.reconcile() is None
    assert fixture.kube.requests == []


async def test_nothing_is_generated_for_one_that_is_gone() -> None:
    fixture = Fixture()
    assert await fixture.reconcile() is None
    assert fixture.kube.requests == []


async def test_a_refusal_is_known_told_once_and_tried_again(fixture: Fixture) -> None:
    refusal: Exception | None = ForbiddenError("secrets is forbidden: exceeded quota")
    fixture.kube.failure = lambda method, _path: refusal if method == "POST" else None
    with structlog.testing.capture_logs() as logs:
        assert await fixture.reconcile() == 30
        assert await fixture.reconcile() == 30
    assert fixture.reconciler.problem(key("uni-001")) == "secrets is forbidden: exceeded quota"
    assert [line["event"] for line in logs] == ["API secret not generated"]
    refusal = None
    assert await fixture.reconcile() is None
    assert fixture.reconciler.problem(key("uni-001")) == ""
    assert fixture.told == [key("uni-001")] * 2


async def test_an_api_server_that_is_away_is_the_queues_affair(fixture: Fixture) -> None:
    fixture.kube.failure = lambda _method, _path: UnavailableError("away")
    with pytest.raises(UnavailableError):
        await fixture.reconcile()


async def test_the_log_names_the_secret_and_the_bbbsecret_for_a_name_is_no_secret(fixture: Fixture) -> None:
    with structlog.testing.capture_logs() as logs:
        await fixture.reconcile()
        fixture.kube.objects.pop(SECRET.path("farm", NAME))
        fixture.kube.failure = lambda method, _path: ForbiddenError("exceeded quota") if method == "POST" else None
        await fixture.reconcile()
    shown = [{key: redact_value(key, value) for key, value in line.items()} for line in logs]
    assert [(line["event"], line["name"]) for line in shown] == [
        ("API secret generated", NAME),
        ("API secret not generated", "uni-001"),
    ]


async def test_no_value_is_logged(fixture: Fixture) -> None:
    with structlog.testing.capture_logs() as logs:
        await fixture.reconcile()
    line: dict[str, Any] = dict(logs[0])
    assert line == {
        "event": "API secret generated",
        "namespace": "farm",
        "name": NAME,
        "log_level": "info",
    }
