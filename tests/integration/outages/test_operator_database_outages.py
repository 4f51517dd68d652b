"""The operator while its database is away or has been emptied: no status changes, and all comes back by itself."""

from __future__ import annotations

import http.client
import time

import pytest

from dev.farm.messages import FarmNode
from dev.postgres import Postgres
from tests.integration.operator_cluster import OperatorCluster, execute

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

READY = http.client.OK


def test_a_database_that_is_away_changes_no_status_and_is_used_again_within_seconds(
    cluster: OperatorCluster, node: FarmNode, postgres: Postgres
) -> None:
    postgres.kill()
    cluster.expect("not ready", lambda: cluster.probe("/readyz")[0] == 503, within=5)
    assert "database" in cluster.probe("/readyz")[1]
    assert cluster.probe("/livez") == (READY, "ok\n")
    cluster.patch("bbbnode", node.name, {"spec": {"state": "Cordoned"}})
    cluster.expect_condition("bbbnode", node.name, "False/Cordoned", type_="Schedulable", within=5)
    time.sleep(20)
    assert cluster.condition("bbbnode", node.name) == "True/Responding"
    postgres.restart()
    cluster.expect("ready", lambda: cluster.probe("/readyz")[0] == READY, within=5)
    cluster.patch("bbbnode", node.name, {"spec": {"state": "Active", "secretRef": {"name": "other"}}})
    cluster.expect_condition("bbbnode", node.name, "False/SecretNotFound", within=5)


def test_an_operator_starts_without_a_database_and_without_touching_a_status(
    cluster: OperatorCluster, postgres: Postgres
) -> None:
    time.sleep(2)
    cluster.process.stop()
    postgres.kill()
    before = cluster.versions()
    cluster.process.start()
    cluster.expect("it answers", lambda: cluster.probe("/readyz")[0] == 503, within=10)
    time.sleep(10)
    assert cluster.probe("/livez") == (READY, "ok\n")
    assert cluster.versions() == before
    postgres.restart()
    cluster.expect("ready", lambda: cluster.probe("/readyz")[0] == READY, within=5)
    time.sleep(2)
    assert cluster.versions() == before


def test_a_lost_database_is_filled_again_from_the_custom_resources(
    cluster: OperatorCluster, node: FarmNode, postgres: Postgres
) -> None:
    execute(cluster.engine, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    postgres.restart()
    cluster.expect("ready", lambda: cluster.probe("/readyz")[0] == READY, within=15)
    polled_again(cluster)
    cluster.expect_condition("bbbnode", node.name, "True/Responding", within=5)


def test_a_schema_that_is_dropped_while_it_runs_is_there_again_within_seconds(
    cluster: OperatorCluster, node: FarmNode
) -> None:
    """The connections stay: this is what a restore looks like halfway."""
    execute(cluster.engine, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    assert polled_again(cluster) < 15
    cluster.expect_condition("bbbnode", node.name, "True/Responding", within=2)
    cluster.expect("ready", lambda: cluster.probe("/readyz") == (READY, "ok\n"), within=2)
    assert "does not exist" in cluster.log.read_text()


def test_a_schema_that_stays_away_is_told_and_used_as_soon_as_it_is_there(
    cluster: OperatorCluster, node: FarmNode
) -> None:
    execute(cluster.engine, "DROP SCHEMA public CASCADE")
    cluster.expect("not ready", lambda: cluster.probe("/readyz")[0] == 503, within=12)
    time.sleep(20)
    status, text = cluster.probe("/readyz")
    assert (status, cluster.probe("/livez")) == (503, (READY, "ok\n"))
    assert "the database cannot be used: the migration failed: no schema has been selected to create in" in text
    assert cluster.log.read_text().count("no schema has been selected to create in") == 1
    execute(cluster.engine, "CREATE SCHEMA public")
    assert polled_again(cluster) < 15
    cluster.expect_condition("bbbnode", node.name, "True/Responding", within=2)
    cluster.expect("ready", lambda: cluster.probe("/readyz") == (READY, "ok\n"), within=2)


def polled_again(cluster: OperatorCluster) -> float:
    """Wait until the database has its tables and a node's state in them; return how many seconds it took."""

    def known() -> bool:
        with cluster.engine.connect() as connection:
            if connection.exec_driver_sql("SELECT to_regclass('node_states')").scalar_one() is None:
                return False
            return bool(connection.exec_driver_sql("SELECT count(*) FROM node_states WHERE ready").scalar_one())

    return cluster.expect("the node is polled", known, within=15)
