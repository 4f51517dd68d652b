"""Plugin of pytest with the fixtures of the record job's tests, for a Python that has few packages.

PostgreSQL and S3 run beside it; variables of the environment say where.
"""

import os
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from hypothesis import settings

from tests.databases import copies, engine_of
from tests.integration.database_farm import Farm
from tests.integration.recording_archives import recording_archive

DATABASE_URL = "B3LB_TESTS_DATABASE_URL"
"""Connection URL of a server's first database, as superuser."""

DATABASE_TEMPLATE = "B3LB_TESTS_DATABASE_TEMPLATE"
"""Name of its database that has the tables."""

S3_ENDPOINT = "B3LB_TESTS_S3_ENDPOINT"

# The machine is shared with other tests: a slow example is no failure.
settings.register_profile("b3lb", deadline=None)
settings.load_profile("b3lb")


@pytest.fixture
def database_url() -> Iterator[str]:
    """The URL of a fresh, migrated database."""
    with copies(os.environ[DATABASE_URL]) as copy:
        yield copy(os.environ[DATABASE_TEMPLATE])


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """An engine on a fresh, migrated database."""
    with engine_of(database_url) as created:
        yield created


@pytest.fixture
def farm(engine: sa.Engine) -> Farm:
    """An empty namespace."""
    return Farm(engine)


@pytest.fixture(scope="session")
def moto_endpoint() -> str:
    """The address of an S3 server without buckets."""
    return os.environ[S3_ENDPOINT]


@pytest.fixture(scope="session")
def short_recording(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The archive of a recording of two seconds."""
    return recording_archive(tmp_path_factory.mktemp("recording"))
