"""A release whose database or Secret is missing: readiness and one line say what, and all goes on when it is there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dev.controlplane import ControlPlane
from dev.postgres import Postgres
from tests.integration.chart.charts import Helm
from tests.integration.chart.releases import Release, RunningOperator

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

OUTAGE_SECONDS = 8
"""Long enough for several attempts."""

BACK_SECONDS = 30
"""A migration in between is a process of its own, on a machine that may be busy."""
PROBLEM = ("warning", "error", "critical")
NODE = {
    "apiVersion": "b3lb.io/v1alpha1",
    "kind": "BBBNode",
    "metadata": {"name": "bbb1"},
    "spec": {"host": "bbb1.example.org", "secretRef": {"name": "bbb1"}},
}


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server of these tests' own, to be killed."""
    with Postgres(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture
def release(plane_with_definitions: ControlPlane, shared_helm: Helm, tmp_path: Path) -> Release:
    """A release with Secrets of its user's own, which are not there yet, and a node."""
    release = Release(plane_with_definitions, shared_helm, tmp_path)
    own = ("database.existingSecret.name=postgresql", "encryption.existingSecret.name=key")
    release.helm("install", "--set=crds.enabled=false", *(f"--set={value}" for value in own))
    release.kubectl("apply", "-f", "-", input=json.dumps(NODE))
    return release


@pytest.fixture
def stopped() -> Iterator[list[RunningOperator]]:
    """Operators that the test starts, stopped at its end."""
    started: list[RunningOperator] = []
    yield started
    for operator in started:
        operator.process.stop()


def database(release: Release, postgres: Postgres) -> str:
    """Return the URL of an empty database."""
    return postgres.create_database(release.namespace.replace("-", "_"))


def create_secret(release: Release, name: str, **values: str) -> None:
    """Create a core Secret."""
    literals = (f"--from-literal={key}={value}" for key, value in values.items())
    release.kubectl("create", "secret", "generic", name, *literals)


def create_key(release: Release) -> None:
    """Create the Secret with the encryption key."""
    create_secret(release, "key", keys=f"k1:{'A' * 43}=")


def start(release: Release, stopped: list[RunningOperator]) -> RunningOperator:
    """Start the operator, and do not wait until it is ready."""
    operator = release.operator()
    stopped.append(operator)
    operator.process.start()
    return operator


def expect_outage(release: Release, operator: RunningOperator, problem: str) -> None:
    """The operator is alive and not ready, and says why."""
    release.expect(problem, lambda: problem in operator.probe("/readyz")[1], within=20)
    time.sleep(OUTAGE_SECONDS)
    status, text = operator.probe("/readyz")
    assert (status, operator.probe("/livez")) == (503, (200, "ok\n"))
    assert problem in text


def expect_work(release: Release, operator: RunningOperator, url: str) -> None:
    """The operator is ready and stores what was declared meanwhile."""
    release.expect("ready", operator.ready, within=BACK_SECONDS)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT name FROM nodes").fetchall() == [("bbb1",)]
    release.expect(
        "the node is held", lambda: "finalizers" in release.get("bbbnode", "bbb1")["metadata"], within=BACK_SECONDS
    )


def test_a_missing_database_secret(release: Release, postgres: Postgres, stopped: list[RunningOperator]) -> None:
    create_key(release)
    operator = start(release, stopped)
    problem = f"Secret {release.namespace}/postgresql does not exist"
    expect_outage(release, operator, f"waiting for Secrets: {problem}\n")
    assert operator.lines(*PROBLEM) == [("waiting for Secrets", problem)]
    url = database(release, postgres)
    create_secret(release, "postgresql", url=url)
    expect_work(release, operator, url)
    assert ("the Secrets are there", "") in operator.lines("info")
    assert len(operator.lines(*PROBLEM)) == 1


def test_a_missing_key(release: Release, postgres: Postgres, stopped: list[RunningOperator]) -> None:
    url = database(release, postgres)
    create_secret(release, "postgresql", url=url)
    operator = start(release, stopped)
    problem = f"Secret {release.namespace}/key does not exist"
    expect_outage(release, operator, f"waiting for Secrets: {problem}\n")
    create_key(release)
    expect_work(release, operator, url)
    assert operator.lines(*PROBLEM) == [("waiting for Secrets", problem)]


def test_a_wrong_password(release: Release, postgres: Postgres, stopped: list[RunningOperator]) -> None:
    create_key(release)
    url = database(release, postgres)
    role = f"user_{release.namespace.replace('-', '_')}"
    create_secret(release, "postgresql", url=f"postgresql://{role}:right@{url.rpartition('@')[2]}")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'other'")
        operator = start(release, stopped)
        expect_outage(release, operator, f'password authentication failed for user "{role}"')
        assert [event for event, _ in operator.lines(*PROBLEM)] == ["database unavailable"]
        connection.execute(f"ALTER ROLE {role} PASSWORD 'right'")
    expect_work(release, operator, url)
    assert len(operator.lines(*PROBLEM)) == 1
    assert ("database connected", "") in operator.lines("info")


def test_a_database_that_goes_and_comes_back(
    release: Release, postgres: Postgres, stopped: list[RunningOperator]
) -> None:
    create_key(release)
    url = database(release, postgres)
    create_secret(release, "postgresql", url=url)
    operator = start(release, stopped)
    expect_work(release, operator, url)
    before = operator.lines("info").count(("database connected", ""))
    postgres.kill()
    release.kubectl("apply", "-f", "-", input=json.dumps({**NODE, "metadata": {"name": "bbb2"}}))
    expect_outage(release, operator, "the database cannot be used: ")
    told = operator.lines(*PROBLEM)
    assert {event for event, _ in told} == {"database unavailable"}
    assert len({reason for _, reason in told}) == len(told) <= 3, (
        "the ends of two connections, and why there is no other"
    )
    postgres.restart()
    release.expect("ready", operator.ready, within=BACK_SECONDS)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM nodes").fetchall() == [(2,)]
    assert operator.lines("info").count(("database connected", "")) == before + 1
    further = operator.lines(*PROBLEM)[len(told) :]
    assert all("not yet accepting" in reason or "starting up" in reason for _, reason in further), "it recovered"
