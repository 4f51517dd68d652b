"""The custom resources that an installation declares in ConfigMaps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from b3lb_operator.events import EventRecorder
from b3lb_operator.kinds import CONFIG_MAP, EVENT, QUEUE, Manifest
from b3lb_operator.kube import ConflictError
from b3lb_operator.objects import InvalidObjectError, ObjectApplier, declared_object, without_fields
from tests.unit.operator_fakes import NAMESPACE, FakeKube, key, manifest_of, queue_manifest

SPEC = {"tasks": ["check-nodes"], "schedule": "* * * * *"}


def config_map(text: str | None = None, **declared: Any) -> Manifest:
    value = {"kind": "BBBQueue", "metadata": {"name": "core", "labels": {"a": "b"}}, "spec": SPEC, **declared}
    manifest = manifest_of(CONFIG_MAP, "b3lb-queue-core")
    del manifest["spec"]
    return {**manifest, "data": {"object.json": json.dumps(value) if text is None else text}}


def applier(kube: FakeKube) -> ObjectApplier:
    return ObjectApplier(kube, EventRecorder(kube, instance="pod-1"), namespaces=[NAMESPACE], names=["b3lb-queue-core"])


def conflict(kube: FakeKube, field: str) -> Callable[[str, str], Exception | None]:
    """Return what refuses to apply a field of the spec that somebody else changed."""

    def refuse(method: str, _path: str) -> Exception | None:
        if method != "PATCH" or field not in kube.requests[-1][2]["spec"]:
            return None
        return ConflictError(f'conflict with "kubectl-edit": .spec.{field}', fields=[f".spec.{field}"])

    return refuse


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
    with pytest.raises(
        InvalidObjectError, match=r"its key object\.json has to hold a BBBCluster, BBBQueue or BBBRecordProfile as JSON"
    ):
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
    kube.put(CONFIG_MAP, config_map(spec={**SPEC, "tickSeconds": 5, "suspend": True}))
    kube.failure = conflict(kube, "tickSeconds")
    (event,) = await events_of(kube, times=3, restarts=2)
    assert (event["type"], event["reason"], event["regarding"]["kind"]) == ("Warning", "FieldConflict", "BBBQueue")
    assert event["note"].endswith('conflict with "kubectl-edit": .spec.tickSeconds')
    kube.failure = conflict(kube, "suspend")
    assert len(await events_of(kube)) == 2


async def test_a_field_that_somebody_changed_stays_and_all_others_are_applied() -> None:
    kube = FakeKube()
    kube.put(CONFIG_MAP, config_map(spec={**SPEC, "tickSeconds": 5}))
    tested = applier(kube)
    assert await tested.apply(key("b3lb-queue-core"))
    live = kube.object(QUEUE, "core")
    kube.put(QUEUE, {**live, "spec": {**live["spec"], "tickSeconds": 10}})
    kube.failure = conflict(kube, "tickSeconds")
    kube.put(CONFIG_MAP, config_map(spec={**SPEC, "tickSeconds": 5, "maxInFlight": 7}))
    assert await tested.apply(key("b3lb-queue-core"))
    assert kube.object(QUEUE, "core")["spec"] == {**SPEC, "tickSeconds": 10, "maxInFlight": 7}


async def test_a_conflict_that_names_no_field_is_tried_again_later() -> None:
    kube = FakeKube()
    kube.put(CONFIG_MAP, config_map())
    assert await applier(kube).apply(key("b3lb-queue-core"))
    kube.failure = lambda method, _path: ConflictError("the object was modified") if method == "PATCH" else None
    assert not await applier(kube).apply(key("b3lb-queue-core"))


async def test_where_neither_side_changed_nothing_is_written_also_while_a_field_is_somebody_elses() -> None:
    kube = FakeKube()
    kube.put(CONFIG_MAP, config_map(spec={**SPEC, "tickSeconds": 5}))
    tested = applier(kube)
    assert await tested.apply(key("b3lb-queue-core"))
    live = kube.object(QUEUE, "core")
    kube.put(QUEUE, {**live, "spec": {**live["spec"], "tickSeconds": 10}})
    kube.failure = conflict(kube, "tickSeconds")
    assert await tested.apply(key("b3lb-queue-core"))
    kube.requests.clear()
    for _ in range(3):
        assert await tested.apply(key("b3lb-queue-core"))
    assert kube.writes == []


@pytest.mark.parametrize(
    "change", [{"labels": {}}, {"ownerReferences": [{**OWNER, "uid": "the-one-before"}]}, {"uid": "another"}]
)
async def test_a_label_or_owner_that_is_gone_or_another_object_is_written_again(change: dict[str, Any]) -> None:
    kube = FakeKube()
    kube.put(CONFIG_MAP, config_map())
    tested = applier(kube)
    assert await tested.apply(key("b3lb-queue-core"))
    live = kube.object(QUEUE, "core")
    kube.put(QUEUE, {**live, "metadata": {**live["metadata"], **change}})
    kube.requests.clear()
    assert await tested.apply(key("b3lb-queue-core"))
    assert [method for method, _, _ in kube.writes] == ["PATCH"]


@pytest.mark.looptime
async def test_a_deleted_object_is_made_again_at_once_when_that_is_told() -> None:
    kube = FakeKube()
    kube.put(CONFIG_MAP, config_map())
    tested = applier(kube)
    running = asyncio.create_task(tested.run())
    await asyncio.sleep(10)
    del kube.objects[QUEUE.path(NAMESPACE, "core")]
    kube.requests.clear()
    tested.request()
    await asyncio.sleep(0.1)
    assert kube.object(QUEUE, "core")["spec"] == SPEC
    for _ in range(100):
        tested.request()
        await asyncio.sleep(0.05)
    assert len([path for _, path, _ in kube.requests if "configmaps" in path]) <= 1 + 5
    running.cancel()


def test_fields_are_taken_out_by_their_paths_whatever_dots_their_names_have() -> None:
    declared = {
        "metadata": {"labels": {"b3lb.io/a": "1", "b3lb.io/ab": "2"}, "ownerReferences": [OWNER]},
        "spec": {"tick": 1, "tickSeconds": 5, "tasks": ["a", "b"], "resources": {"limits": {"cpu": 1, "memory": 2}}},
    }
    paths = [".metadata.labels.b3lb.io/a", ".spec.tick", ".spec.tasks", ".spec.resources.limits.cpu", ".spec.unknown"]
    assert without_fields(declared, paths) == {
        "metadata": {"labels": {"b3lb.io/ab": "2"}, "ownerReferences": [OWNER]},
        "spec": {"tickSeconds": 5, "resources": {"limits": {"memory": 2}}},
    }
    part_of_a_list = ['.metadata.ownerReferences[uid="x"].name']
    assert "ownerReferences" not in without_fields(declared, part_of_a_list)["metadata"]


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
        kube.put(CONFIG_MAP, config_map(spec={**SPEC, "tickSeconds": 5}))
        kube.failure = conflict(kube, "tickSeconds")
        for _ in range(3):
            assert await tested.apply(key("b3lb-queue-core"))
        kube.failure = lambda _method, _path: None
        kube.put(CONFIG_MAP, config_map())
        assert await tested.apply(key("b3lb-queue-core"))
    assert [entry["problem"].rpartition(" ")[2] for entry in logs] == ["found", ".spec.tickSeconds"]
