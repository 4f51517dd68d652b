"""An uninstallation: nodes go with their definition, whether an operator runs or not; those that stay wait for none."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from b3lb_operator.kinds import NODE, Manifest
from b3lb_operator.kube import ForbiddenError, KubeError, NotFoundError
from b3lb_operator.reconcilers.node import FINALIZER
from b3lb_operator.uninstall import OPERATOR_SECONDS, delete_nodes, release_nodes
from tests.unit.operator_fakes import NAMESPACE, FakeKube, node_manifest

pytestmark = [pytest.mark.looptime]


class DeletingKube(FakeKube):
    """An API server that deletes what has no finalizer; an operator takes ours away if there is one."""

    def __init__(self, *, operator: bool) -> None:
        super().__init__()
        self._operator = operator

    async def _attempt(self, method: str, path: str, body: Manifest | None, content_type: str) -> Manifest:
        if method != "DELETE":
            answer = await super()._attempt(method, path, body, content_type)
            if "deletionTimestamp" in answer.get("metadata", {}) and not answer["metadata"].get("finalizers"):
                self.objects.pop(path.partition("?")[0], None)
            return answer
        self.requests.append((method, path, None))
        if path not in self.objects:
            raise NotFoundError(path)
        metadata = self.objects[path]["metadata"]
        assert metadata["annotations"]["b3lb.io/force-delete"] == "true"
        metadata["deletionTimestamp"] = "2026-03-01T12:00:00Z"
        if self._operator or not metadata.get("finalizers"):
            return self.objects.pop(path)
        return self.objects[path]


@pytest.mark.parametrize("operator", [True, False])
async def test_every_node_goes(operator: bool) -> None:
    kube = DeletingKube(operator=operator)
    kube.put(NODE, node_manifest("one", metadata={"finalizers": [FINALIZER]}))
    kube.put(NODE, node_manifest("two"))
    await delete_nodes(kube, [NAMESPACE])
    assert kube.objects == {}


async def test_finalizers_of_others_are_left_to_them() -> None:
    kube = DeletingKube(operator=False)
    kube.put(NODE, node_manifest("one", metadata={"finalizers": [FINALIZER, "example.org/other"]}))
    await delete_nodes(kube, [NAMESPACE])
    assert kube.object(NODE, "one")["metadata"]["finalizers"] == ["example.org/other"]


async def test_without_nodes_there_is_nothing_to_wait_for() -> None:
    kube = DeletingKube(operator=False)
    await delete_nodes(kube, [NAMESPACE])
    assert kube.writes == []
    assert len(kube.requests) < OPERATOR_SECONDS


async def test_nodes_that_stay_lose_the_operators_finalizer_and_nothing_else() -> None:
    kube = FakeKube()
    kube.put(NODE, node_manifest("one", metadata={"finalizers": [FINALIZER, "example.org/other"]}))
    kube.put(NODE, node_manifest("two", metadata={"finalizers": [FINALIZER]}))
    three = kube.put(NODE, node_manifest("three"))
    await release_nodes(kube, [NAMESPACE])
    assert kube.object(NODE, "one")["metadata"]["finalizers"] == ["example.org/other"]
    assert kube.object(NODE, "two")["metadata"]["finalizers"] == []
    assert kube.object(NODE, "three") == three
    assert len(kube.writes) == 2


async def test_a_finalizer_that_an_ending_operator_puts_back_is_taken_away_again() -> None:
    kube = FakeKube()
    manifest = node_manifest("one", metadata={"finalizers": [FINALIZER]})
    kube.put(NODE, manifest)
    returns = 3

    def ending_operator(method: str, _path: str) -> None:
        nonlocal returns
        if method == "PATCH" and returns:
            returns -= 1
            asyncio.get_running_loop().call_later(0.5, kube.put, NODE, manifest)

    kube.failure = ending_operator
    await release_nodes(kube, [NAMESPACE])
    assert kube.object(NODE, "one")["metadata"]["finalizers"] == []
    assert returns == 0


async def test_an_operator_that_goes_on_running_is_given_way_to_in_bounded_time() -> None:
    kube = FakeKube()
    manifest = node_manifest("one", metadata={"finalizers": [FINALIZER]})
    kube.put(NODE, manifest)

    def other_operator(method: str, _path: str) -> None:
        if method == "PATCH":
            asyncio.get_running_loop().call_later(0.5, kube.put, NODE, manifest)

    kube.failure = other_operator
    with capture_logs() as logs:
        await release_nodes(kube, [NAMESPACE])
    assert logs[-1]["event"] == "another operator holds the nodes again and again: left to it"
    assert asyncio.get_running_loop().time() < 2 * OPERATOR_SECONDS


async def test_a_namespace_that_refuses_does_not_keep_the_others_waiting() -> None:
    kube = FakeKube()
    kube.put(NODE, node_manifest("one", metadata={"finalizers": [FINALIZER]}))
    kube.failure = lambda _method, path: ForbiddenError("no") if "/gone/" in path else None
    with pytest.raises(KubeError, match="no"):
        await release_nodes(kube, ["gone", NAMESPACE])
    assert kube.object(NODE, "one")["metadata"]["finalizers"] == []


async def test_without_the_definition_there_is_nothing_to_release() -> None:
    kube = FakeKube()
    kube.failure = lambda _method, _path: NotFoundError("the server could not find the requested resource")
    await release_nodes(kube, [NAMESPACE])
    assert kube.writes == []
