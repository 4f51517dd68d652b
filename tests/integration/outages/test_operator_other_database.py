"""The operator while the database is not what it left there: read-only, restored to an older state, or emptied."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from dev.farm.messages import FarmNode
from tests.integration.operator_cluster import OperatorCluster, bbb_node, execute

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

END_CONNECTIONS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
    "AND pid <> pg_backend_pid()"
)
TABLES = ("clusters", "nodes", "queues", "node_states", "heartbeats", "leases", "task_runs")
PUT_BACK = "INSERT INTO name OVERRIDING SYSTEM VALUE SELECT * FROM old_name"
EMPTY = f"TRUNCATE {', '.join(TABLES)} CASCADE"


def set_read_only(engine: sa.Engine, value: str) -> None:
    """Make the database read-only, or no longer, for everybody."""
    with engine.connect() as connection:
        name = connection.exec_driver_sql("SELECT current_database()").scalar_one()
    execute(
        engine,
        "SET default_transaction_read_only = off",
        f'ALTER DATABASE "{name}" SET default_transaction_read_only = {value}',
        END_CONNECTIONS,
    )
    engine.dispose()


def test_while_the_database_is_read_only_the_users_wish_is_shown_within_seconds(
    cluster: OperatorCluster, node: FarmNode
) -> None:
    cluster.tick()
    set_read_only(cluster.engine, "on")
    cluster.patch("bbbnode", node.name, {"spec": {"state": "Cordoned"}})
    cluster.expect_condition("bbbnode", node.name, "False/Cordoned", type_="Schedulable", within=8)
    assert cluster.condition("bbbnode", node.name) == "True/Responding"
    cluster.patch("bbbnode", node.name, {"spec": {"state": "Disabled"}})
    cluster.expect_condition("bbbnode", node.name, "False/Disabled", within=5)
    cluster.expect_condition("bbbnode", node.name, "False/Disabled", type_="Schedulable", within=1)
    set_read_only(cluster.engine, "off")
    cluster.patch("bbbnode", node.name, {"spec": {"state": "Active"}})
    cluster.expect_condition("bbbnode", node.name, "True/Responding", within=10)


def test_a_change_that_cannot_be_stored_does_not_keep_a_node_from_being_stale(
    cluster: OperatorCluster, node: FarmNode
) -> None:
    cluster.tick()
    execute(
        cluster.engine,
        "UPDATE heartbeats SET started_at = now() - interval '140 s', finished_at = now() - interval '140 s'",
        "UPDATE node_states SET written_at = now() - interval '140 s'",
    )
    set_read_only(cluster.engine, "on")
    cluster.patch("bbbnode", node.name, {"spec": {"weightPercent": 50}})
    cluster.expect_condition("bbbnode", node.name, "Unknown/Stale", within=25)
    set_read_only(cluster.engine, "off")


def test_after_an_online_restore_of_older_rows_all_is_true_again_within_fifteen_seconds(
    cluster: OperatorCluster, node: FarmNode
) -> None:
    cluster.tick()
    execute(cluster.engine, *(f"CREATE TABLE old_{name} AS TABLE {name}" for name in TABLES))
    second = bbb_node(node, apiUrl="http://127.0.0.1:9/bigbluebutton/api")
    second["metadata"]["name"] = "second"
    cluster.apply(second)
    cluster.patch("bbbnode", node.name, {"spec": {"secretRef": {"name": "other"}}})
    cluster.expect_condition("bbbnode", node.name, "False/SecretNotFound", within=5)
    cluster.expect_condition("bbbnode", "second", "False/Refused", within=5)
    cluster.tick()
    with cluster.engine.begin() as connection:
        connection.exec_driver_sql(EMPTY)
        for name in TABLES:
            connection.exec_driver_sql(PUT_BACK.replace("name", name))
    truth = {node.name: "SecretNotFound", "second": None}
    cluster.expect("the changes are stored again", lambda: stored(cluster) == truth, within=15)
    cluster.expect_condition("bbbnode", node.name, "False/SecretNotFound", within=2)
    cluster.expect_condition("bbbnode", "second", "False/Refused", within=5)


def test_after_the_tables_were_emptied_a_change_is_told_nothing_untrue_and_brings_all_back(
    cluster: OperatorCluster, node: FarmNode
) -> None:
    cluster.tick()
    execute(cluster.engine, EMPTY)
    cluster.patch("bbbnode", node.name, {"spec": {"weightPercent": 50}})
    cluster.expect_condition("bbbnode", node.name, "True/Responding", within=15)
    cluster.expect("the queue is stored", lambda: count(cluster, "queues") == 1, within=15)
    cluster.expect_condition("bbbcluster", "default", "True/Accepted", within=2)
    assert "ClusterNotFound" not in {reason for _, reason in cluster.events()}


def test_emptied_tables_are_noticed_although_nothing_changes(cluster: OperatorCluster, node: FarmNode) -> None:
    cluster.tick()
    execute(cluster.engine, EMPTY)
    cluster.expect("all is stored", lambda: stored(cluster) == {node.name: None}, within=15)
    cluster.expect_condition("bbbnode", node.name, "True/Responding", within=5)
    cluster.expect_condition("bbbcluster", "default", "True/Accepted", within=2)
    assert count(cluster, "queues") == 1


def stored(cluster: OperatorCluster) -> dict[str, str | None]:
    """Return the nodes of the database and why they are blocked."""
    with cluster.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT name, blocked_reason FROM nodes WHERE deleted_at IS NULL").all()
    return {row.name: row.blocked_reason for row in rows}


def count(cluster: OperatorCluster, table: str) -> int:
    """Return how many rows a table has."""
    with cluster.engine.connect() as connection:
        number: int = connection.execute(sa.select(sa.func.count()).select_from(sa.table(table))).scalar_one()
    return number
