"""Nodes and namespaces for tests of the process kubelet."""

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from dev.controlplane import ControlPlane
from dev.kubelet.api import Api, read_kubeconfig
from tests.integration.kubelet_cluster import Cluster, Node

NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def node(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """The node the scheduler may use."""
    running = Node(plane, tmp_path_factory.mktemp("node"), "main")
    running.start()
    yield running
    running.process.stop()


@pytest.fixture
def second_node(plane: ControlPlane, tmp_path: Path) -> Iterator[Node]:
    """A node a test may disturb; it has no private mounts."""
    name = f"second-{next(NUMBERS)}"
    running = Node(plane, tmp_path, name, "--no-private-mounts")
    running.start()
    plane.kubectl("cordon", name)
    yield running
    running.process.stop()


@pytest.fixture
async def cluster(plane: ControlPlane, node: Node) -> AsyncIterator[Cluster]:
    assert node.process.running
    namespace = f"kubelet-{next(NUMBERS)}"
    async with Api(read_kubeconfig(plane.kubeconfig)) as api:
        what = Cluster(api, namespace)
        await what.create("Namespace", "/api/v1/namespaces", namespace)
        for path in ("serviceaccounts/default", "configmaps/kube-root-ca.crt"):
            await what.until_exists(f"/api/v1/namespaces/{namespace}/{path}")
        yield what
        await api.request("DELETE", f"/api/v1/namespaces/{namespace}")
