"""The operator without rights that it needs, in the database or at the API server: it says which, and goes on later."""

from __future__ import annotations

import http.client
import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from b3lb.db.engine import create_engine
from dev.controlplane import ControlPlane
from dev.farm.messages import FarmNode
from dev.postgres import Postgres
from dev.processes import wait_until
from tests.integration.operator_cluster import (
    OperatorCluster,
    api_secret,
    bbb_cluster,
    bbb_node,
    execute,
)

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

READY = http.client.OK


@pytest.fixture
def administrator(postgres: Postgres, with_own_role: OperatorCluster) -> Iterator[sa.Engine]:
    """Connections to the database that the operator owns without being a superuser."""
    name = with_own_role.namespace.replace("-", "_")
    engine = create_engine(postgres.database_url(name), application_name="administrator")
    yield engine
    engine.dispose()


@pytest.fixture
def with_own_role(
    plane_with_definitions: ControlPlane, postgres: Postgres, node: FarmNode, tmp_path: Path
) -> Iterator[OperatorCluster]:
    """A running operator with one Ready node that works as a role from which rights can be revoked."""

    def create_owned_database(postgres: Postgres, name: str) -> str:
        url = postgres.create_database(name)
        password = secrets.token_hex()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'".encode())
            connection.execute(f"ALTER DATABASE {name} OWNER TO {name}".encode())
        return f"postgresql://{name}:{password}@{url.partition('@')[2]}"

    cluster = OperatorCluster(plane_with_definitions, postgres, tmp_path, create_database=create_owned_database)
    with cluster:
        cluster.apply(bbb_cluster(), api_secret(node), bbb_node(node))
        cluster.expect_condition("bbbnode", node.name, "True/Responding", within=5)
        yield cluster
    assert cluster.problems() == []


@pytest.mark.parametrize("right", ["SELECT", "INSERT, UPDATE", "ALL"])
def test_a_revoked_right_is_told_as_long_as_it_is_missing(
    with_own_role: OperatorCluster, node: FarmNode, administrator: sa.Engine, right: str
) -> None:
    cluster, role = with_own_role, with_own_role.namespace.replace("-", "_")
    execute(administrator, f"REVOKE {right} ON nodes FROM {role}")
    cluster.patch("bbbnode", node.name, {"spec": {"state": "Cordoned"}})
    cluster.expect("not ready", lambda: cluster.probe("/readyz")[0] == 503, within=12)
    answers = []
    for _ in range(24):
        time.sleep(0.5)
        answers.append(cluster.probe("/readyz"))
    assert {status for status, _ in answers} == {503}
    assert all("permission denied for table nodes" in text for _, text in answers)
    assert cluster.probe("/livez") == (READY, "ok\n")
    execute(administrator, f"GRANT {right} ON nodes TO {role}")
    # What could not be stored is tried again every 5 s at the latest.
    cluster.expect("ready", lambda: cluster.probe("/readyz") == (READY, "ok\n"), within=12)
    cluster.expect_condition("bbbnode", node.name, "False/Cordoned", type_="Schedulable", within=2)


def test_a_right_that_is_missing_for_150_s_makes_ready_unknown(
    with_own_role: OperatorCluster, node: FarmNode, administrator: sa.Engine
) -> None:
    cluster, role = with_own_role, with_own_role.namespace.replace("-", "_")
    execute(administrator, f"REVOKE ALL ON heartbeats FROM {role}")
    seconds = cluster.expect_condition("bbbnode", node.name, "Unknown/DatabaseUnavailable", within=175)
    assert seconds > 135
    execute(administrator, f"GRANT ALL ON heartbeats TO {role}")
    cluster.tick()
    cluster.expect_condition("bbbnode", node.name, "True/Responding", within=12)


def test_rights_that_are_missing_at_the_start_are_waited_for(prepared: OperatorCluster, node: FarmNode) -> None:
    binding = json.loads(prepared.kubectl("get", "rolebinding", "b3lb-operator", "-o", "json"))
    prepared.kubectl("delete", "rolebinding", "b3lb-operator")
    prepared.process.start()
    assert wait_until(lambda: prepared.probe("/livez")[0] == READY, timeout=10)
    time.sleep(10)
    assert prepared.process.running
    for field in ("uid", "resourceVersion", "creationTimestamp"):
        binding["metadata"].pop(field)
    prepared.apply(binding)
    prepared.apply(bbb_cluster(), api_secret(node), bbb_node(node))
    prepared.expect_condition("bbbnode", node.name, "True/Responding", within=15)
    assert prepared.probe("/readyz")[0] == READY
