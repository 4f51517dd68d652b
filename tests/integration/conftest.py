"""Fixtures for tests on real parts: PostgreSQL, a simulated farm, a control plane."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from dev.controlplane import ControlPlane
from dev.farm.process import Farm as SimulatedFarm
from tests.integration.database_farm import Farm
from tests.integration.declared_queues import let_jobs_succeed
from tests.integration.job_runs import all_healthy
from tests.integration.moto_server import moto_server
from tests.integration.operator_cluster import OperatorCluster, install_definitions
from tests.integration.recording_archives import recording_archive


@pytest.fixture
def farm(engine: sa.Engine) -> Farm:
    """An empty namespace."""
    return Farm(engine)


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction as the programs open it; it is rolled back after the test."""
    with engine.connect() as opened:
        yield opened


@pytest.fixture
def open_transaction(engine: sa.Engine) -> Iterator[Callable[[], sa.Connection]]:
    """Return a function that opens further connections, each with a transaction of its own."""
    opened: list[sa.Connection] = []

    def connect() -> sa.Connection:
        opened.append(engine.connect())
        return opened[-1]

    yield connect
    for item in opened:
        item.close()


@pytest.fixture(scope="module")
def moto_endpoint() -> Iterator[str]:
    """The address of an S3 server that moto plays, for a file's tests."""
    with moto_server() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def running_farm() -> Iterator[SimulatedFarm]:
    """Four simulated servers, shared by a file's tests."""
    with SimulatedFarm(nodes=4, meetings=3, attendees=5, frozen=True, start_time="now") as running:
        yield running


@pytest.fixture
def bbb_farm(running_farm: SimulatedFarm) -> SimulatedFarm:
    """Four healthy nodes that do not change by themselves."""
    return all_healthy(running_farm)


@pytest.fixture(scope="module")
def plane(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of a file's own: its tests kill parts of it, and a node of one file would run another's pods."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane"), assets=assets) as running:
        yield running


@pytest.fixture(scope="session")
def plane_with_definitions(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane that serves the custom resources, shared by tests that keep to namespaces of their own.

    Whoever kills a part of it brings it back, whatever happens; whoever changes more than that takes `plane`.
    """
    with ControlPlane(tmp_path_factory.mktemp("shared-control-plane"), assets=assets) as running:
        install_definitions(running)
        yield running


@pytest.fixture
def running_queues(cluster: OperatorCluster) -> None:
    """Queues whose Jobs have just succeeded, in the `cluster` of a file that declared them (`declare_queues`)."""
    let_jobs_succeed(cluster)


@pytest.fixture(scope="session")
def short_recording(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The archive of a recording of two seconds."""
    return recording_archive(tmp_path_factory.mktemp("recording"))
