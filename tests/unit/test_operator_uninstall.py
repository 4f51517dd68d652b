"""An uninstallation that takes the definitions away: every node goes, whether an operator runs or not."""

from __future__ import annotations

import pytest

from b3lb_operator.kinds import NODE, Manifest
from b3lb_operator.kube import NotFoundError
from b3lb_operator.reconcilers.node import FINALIZER
from b3lb_operator.uninstall import OPERATOR_SECONDS, delete_nodes
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
