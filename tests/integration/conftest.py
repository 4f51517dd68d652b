"""Fixtures for tests on real PostgreSQL, some of them with a simulated farm."""

from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from dev.farm.process import Farm as SimulatedFarm
from tests.integration.database_farm import Farm
from tests.integration.job_runs import all_healthy


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
def running_farm() -> Iterator[SimulatedFarm]:
    """Four simulated servers, shared by a file's tests."""
    with SimulatedFarm(nodes=4, meetings=3, attendees=5, frozen=True) as running:
        yield running


@pytest.fixture
def bbb_farm(running_farm: SimulatedFarm) -> SimulatedFarm:
    """Four healthy nodes that do not change by themselves."""
    return all_healthy(running_farm)
