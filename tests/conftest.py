"""Fixtures for every kind of test: one PostgreSQL server per session, one fresh migrated database per test."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings

from dev.postgres import Postgres
from dev.prometheus import prometheus_programs
from dev.s3 import S3Server
from dev.toolchain import ToolchainError, assets_directory, helm_path, s3_server_path
from tests.databases import copies, engine_of
from tests.migrated import migrated_template

# The files that take longest: three to six minutes each, most of them because faults are noticed only after a while.
_LONGEST = frozenset(
    {
        "test_api_server_faults.py",
        "test_enqueued_runs.py",
        "test_faults.py",
        "test_operator_api_outages.py",
        "test_operator_life.py",
        "test_operator_rights.py",
        "test_operator_tenants.py",
        "test_tenants.py",
    }
)

# The machine is shared with other tests: a slow example is no failure.
settings.register_profile("b3lb", deadline=None)
settings.load_profile("b3lb")


def pytest_configure() -> None:
    """Keep Python 3.11 from making an event loop of its own, which nobody would close, when plugins ask for one."""
    asyncio.set_event_loop(None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that parallel workers end at about the same time."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    if item.get_closest_marker("cluster") is None:
        return 2
    return 0 if item.path.name in _LONGEST else 1


@pytest.fixture(scope="session")
def assets() -> Path:
    """The directory of the control plane's binaries; without them a test is skipped, unless it must not be."""
    try:
        return assets_directory()
    except ToolchainError as error:
        if os.environ.get("B3LB_REQUIRE_CLUSTER"):
            raise
        pytest.skip(f"no control plane: {error}")


@pytest.fixture(scope="session")
def helm_program() -> Path:
    """Helm; without it a test is skipped, unless it must not be."""
    try:
        return helm_path()
    except ToolchainError as error:
        if os.environ.get("B3LB_REQUIRE_CLUSTER"):
            raise
        pytest.skip(f"no Helm: {error}")


@pytest.fixture(scope="session")
def prometheus() -> Path:
    """The directory of Prometheus and promtool; without them a test is skipped, unless it must not be."""
    try:
        return prometheus_programs()
    except ToolchainError as error:
        if os.environ.get("B3LB_REQUIRE_CLUSTER"):
            raise
        pytest.skip(f"no Prometheus: {error}")


@pytest.fixture(scope="module")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real server; without its program a test is skipped, unless it must not be."""
    try:
        s3_server_path()
    except ToolchainError as error:
        if os.environ.get("B3LB_REQUIRE_CLUSTER"):
            raise
        pytest.skip(f"no S3 server: {error}")
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A running server; use `database_url` or `empty_database_url` unless the server itself is the point."""
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def template_database(postgres_server: Postgres) -> str:
    """The name of a migrated database that nobody is connected to."""
    return migrated_template(postgres_server)


@pytest.fixture
def create_database(postgres_server: Postgres) -> Iterator[Callable[[str], str]]:
    """Return a function that copies the named database and returns the copy's URL; copies go after the test."""
    with copies(postgres_server.url) as copy:
        yield copy


@pytest.fixture(scope="module")
def module_database_url(postgres_server: Postgres, template_database: str) -> Iterator[str]:
    """The URL of a migrated database for a module whose tests leave nothing in it."""
    with copies(postgres_server.url) as copy:
        yield copy(template_database)


@pytest.fixture
def database_url(create_database: Callable[[str], str], template_database: str) -> str:
    """The URL of a fresh, migrated database."""
    return create_database(template_database)


@pytest.fixture
def empty_database_url(create_database: Callable[[str], str]) -> str:
    """The URL of a database without any table."""
    return create_database("template0")


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """An engine on a fresh, migrated database, as the programs make it, with connections for several rivals."""
    with engine_of(database_url) as created:
        yield created
