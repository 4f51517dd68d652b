"""An operator to be disturbed, with its database, or with the control plane of a file that has one of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.controlplane import ControlPlane
from dev.farm.messages import FarmNode
from dev.farm.process import Farm
from dev.postgres import Postgres
from tests.integration.operator_cluster import (
    OperatorCluster,
    api_secret,
    bbb_cluster,
    bbb_node,
    bbb_queue,
)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server of these tests' own, to be killed."""
    with Postgres(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture(scope="module")
def node() -> Iterator[FarmNode]:
    farm = Farm(nodes=1, meetings=2, attendees=3, frozen=True)
    farm.start()
    yield farm.nodes[0]
    farm.stop()


@pytest.fixture
def expected_problems() -> list[str]:
    """Patterns of the errors that the operator may log; a test adds its own."""
    return []


@pytest.fixture(scope="module")
def control_plane(plane_with_definitions: ControlPlane) -> ControlPlane:
    """The control plane; a file that disturbs it has this return `plane`."""
    return plane_with_definitions


@pytest.fixture(scope="module")
def definitions(control_plane: ControlPlane) -> None:
    """The control plane serves the custom resources; a file with one of its own installs them here."""
    assert control_plane.find("/apis/b3lb.io/v1alpha1")


@pytest.fixture
def prepared(
    control_plane: ControlPlane, postgres: Postgres, tmp_path: Path, expected_problems: list[str]
) -> Iterator[OperatorCluster]:
    """Everything but the operator, which the test starts."""
    cluster = OperatorCluster(control_plane, postgres, tmp_path)
    yield cluster
    cluster.process.stop()
    cluster.engine.dispose()
    assert cluster.problems(*expected_problems) == []


@pytest.fixture
def cluster(prepared: OperatorCluster, node: FarmNode, definitions: None) -> OperatorCluster:  # noqa: ARG001 - it is there first
    """A running operator with one Ready node."""
    prepared.start()
    prepared.apply(bbb_cluster(), api_secret(node), bbb_node(node), bbb_queue())
    prepared.expect_condition("bbbnode", node.name, "True/Responding", within=5)
    return prepared
