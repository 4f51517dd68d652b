"""The custom resources that an installation declares in ConfigMaps."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from b3lb_operator.events import EventRecorder
from b3lb_operator.kinds import CONFIG_MAP, EVENT, QUEUE, Manifest
from b3lb_operator.kube import ConflictError
from b3lb_operator.objects import InvalidObjectError, ObjectApplier, declared_object
from tests.unit.operator_fakes import NAMESPACE, FakeKube, key, manifest_of, queue_manifest

SPEC = {"tasks": ["check-nodes"], "schedule": "* * * * *"}


def config_map(text: str | None = None, **declared: Any) -> Manifest:
    value = {"kind": "BBBQueue", "metadata": {"name": "core", "labels": {"a": "b"}}, "spec": SPEC, **declared}
    manifest = manifest_of(CONFIG_MAP, "b3lb-queue-core")
    del manifest["spec"]
    return {**manifest, "data": {"object.json": json.dumps(value) if text is None else text}}


def applier(kube: FakeKube) -> ObjectApplier:
    return ObjectApplier(kube, EventRecorder(kube, instance="pod-1"), namespaces=[NAMESPACE], names=["b3lb-queue-core"])


OWNER = {"apiVersion": "v1", "kind": "ConfigMap", "name": "b3lb-queue-core", "uid": "configmaps-b3lb-queue-core"}


def test_the_object_stands_in_the_config_maps_namespace_and_is_owned_by_it() -> None:
    kind, manifest = declared_object(config_map())
    assert kind == QUEUE
    assert manifest == {
        "apiVersion": "b3lb.io/v1alpha1",
        "kind": "BBBQueue",
        "metadata": {"namespace": NAMESPACE, "name": "core", "labels": {"a": "b"}, "ownerReferences": [OWNER]},
        "spec": SPEC,
    }


@pytest.mark.parametrize(
    "wrong",
    [
        config_map(""),
        config_map("[]"),
        config_map("{}"),
        config_map(kind="BBBNode"),
        config_map(kind="Secret"),
        config_map(metadata={}),
        {**config_map(), "data": None},
    ],
)
def test_what_may_not_stand_there_is_refused(wrong: Manifest) -> None:
    with pytest.raises(InvalidObjectError, match=r"its key object\.json has to hold a BBBCluster or BBBQueue as JSON"):
        declared_object(wrong)


async def test_a_missing_object_is_made_and_ours_is_followed_without_force() -> None:
    kube = FakeKube()
    kube.put(CONFIG_MAP, config_map())
    assert await applier(kube).apply(key("b3lb-queue-core"))
    assert kube.object(QUEUE, "core")["spec"] == SPEC
    kube.put(CONFIG_MAP, config_map(spec={**SPEC, "suspend": True}))
    assert await applier(kube).apply(key("b3lb-queue-core"))
    assert kube.object(QUEUE, "core")["spec"]["suspend"] is True


async def events_of(kube: FakeKube, *, times: int = 1, restarts: int = 1) -> list[Manifest]:
    """Return the Events after the ConfigMap was applied some times, by one operator after the other."""
    for _ in range(restarts):
        recorder = EventRecorder(kube, instance="pod-1")
        tested = ObjectApplier(kube, recorder, namespaces=[NAMESPACE], names=["b3lb-queue-core"])
        sending = asyncio.create_task(recorder.run())
        for _ in range(times):
            await tested.apply(key("b3lb-queue-core"))
        await asyncio.sleep(0.01)
        sending.cancel()
    return [item for item in kube.objects.values() if item["kind"] == EVENT.name]


async def test_an_object_of_somebody_else_is_left_alone_and_one_event_says_so() -> None:
    kube = FakeKube()
    kube.put(CONFIG_MAP, config_map())
    kube.put(QUEUE, queue_manifest(suspend=True))
    assert await applier(kube).apply(key("b3lb-queue-core"))
    (event,) = await events_of(kube, times=3, restarts=2)
    assert (event["type"], event["reason"], event["regarding"]["name"]) == ("Warning", "ForeignObject", "core")
    assert event["note"].startswith("somebody else made this BBBQueue")
    assert {path.rpartition("/")[2] for _, path, _ in kube.writes} == {"events"}


async def test_a_field_that_somebody_changed_is_one_event_until_it_is_another_field() -> None:
    kube = FakeKube()
    kube.put(CONFIG_MAP, config_map())
    assert await applier(kube).apply(key("b3lb-queue-core"))
    message = 'conflict with "kubectl-edit": .spec.tickSeconds'
    kube.failure = lambda method, _path: ConflictError(message) if method == "PATCH" else None
    (event,) = await events_of(kube, times=3, restarts=2)
    assert (event["type"], event["reason"], event["regarding"]["kind"]) == ("Warning", "FieldConflict", "BBBQueue")
    assert event["note"].endswith(message)
    message = 'conflict with "kubectl-edit": .spec.suspend'
    assert len(await events_of(kube)) == 2


async def test_an_object_that_is_as_declared_has_no_event() -> None:
    kube = FakeKube()
    kube.put(CONFIG_MAP, config_map())
    assert await events_of(kube, times=3) == []


async def test_what_is_wrong_is_told_once() -> None:
    kube = FakeKube()
    tested = applier(kube)
    with capture_logs() as logs:
        assert not await tested.apply(key("b3lb-queue-core"))
        kube.put(CONFIG_MAP, config_map())
        assert await tested.apply(key("b3lb-queue-core"))
        conflict = ConflictError('conflict with "kubectl-edit": .spec.tickSeconds')
        kube.failure = lambda method, _path: conflict if method == "PATCH" else None
        for _ in range(3):
            assert await tested.apply(key("b3lb-queue-core"))
        kube.failure = lambda _method, _path: None
        assert await tested.apply(key("b3lb-queue-core"))
    assert [entry["problem"].rpartition(" ")[2] for entry in logs] == ["found", ".spec.tickSeconds"]
