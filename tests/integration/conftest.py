"""Fixtures for tests on real PostgreSQL."""

from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from tests.integration.database_farm import Farm


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
