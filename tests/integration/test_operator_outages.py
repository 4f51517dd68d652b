"""The operator while parts of its world are away: it waits without noise, stays alive, and comes back by itself."""

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
from dev.farm.process import Farm
from dev.postgres import Postgres
from dev.processes import wait_until
from tests.integration.operator_cluster import (
    OperatorCluster,
    api_secret,
    bbb_cluster,
    bbb_node,
    bbb_queue,
    install_definitions,
)

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

API_SERVER = "kube-apiserver"
READY = http.client.OK


@pytest.fixture(scope="module")
def plane(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of these tests' own, at first without the custom resource definitions."""
    with ControlPlane(tmp_path_factory.mktemp("plane"), assets=assets) as running:
        yield running


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


@pytest.fixture
def prepared(
    plane: ControlPlane, postgres: Postgres, tmp_path: Path, expected_problems: list[str]
) -> Iterator[OperatorCluster]:
    """Everything but the operator, which the test starts."""
    cluster = OperatorCluster(plane, postgres, tmp_path)
    yield cluster
    cluster.process.stop()
    cluster.engine.dispose()
    assert cluster.problems(*expected_problems) == []


@pytest.fixture
def cluster(prepared: OperatorCluster, node: FarmNode) -> OperatorCluster:
    """A running operator with one Ready node."""
    install_definitions(prepared.plane)
    prepared.start()
    prepared.apply(bbb_cluster(), api_secret(node), bbb_node(node), bbb_queue())
    prepared.expect_condition("bbbnode", node.name, "True/Responding", within=5)
    return prepared


@pytest.fixture
def administrator(postgres: Postgres, with_own_role: OperatorCluster) -> Iterator[sa.Engine]:
    """Connections to the database that the operator owns without being a superuser."""
    name = with_own_role.namespace.replace("-", "_")
    engine = create_engine(postgres.database_url(name), application_name="administrator")
    yield engine
    engine.dispose()


@pytest.fixture
def with_own_role(
    plane: ControlPlane, postgres: Postgres, node: FarmNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OperatorCluster]:
    """A running operator with one Ready node that works as a role from which rights can be revoked."""
    create_database = postgres.create_database

    def create_owned_database(name: str) -> str:
        url = create_database(name)
        password = secrets.token_hex()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'".encode())
            connection.execute(f"ALTER DATABASE {name} OWNER TO {name}".encode())
        return f"postgresql://{name}:{password}@{url.partition('@')[2]}"

    monkeypatch.setattr(postgres, "create_database", create_owned_database)
    install_definitions(plane)
    cluster = OperatorCluster(plane, postgres, tmp_path)
    with cluster:
        cluster.apply(bbb_cluster(), api_secret(node), bbb_node(node))
        cluster.expect_condition("bbbnode", node.name, "True/Responding", within=5)
        yield cluster
    assert cluster.problems() == []


def test_an_operator_that_is_there_before_the_definitions_waits_for_them(
    prepared: OperatorCluster, node: FarmNode
) -> None:
    """This is the first test: no definition is there yet."""
    prepared.process.start()
    assert wait_until(lambda: prepared.probe("/readyz")[0] != 0, timeout=10)
    status, text = prepared.probe("/readyz")
    assert status == 503
    assert "custom resource definitions" in text
    assert prepared.probe("/livez") == (READY, "ok\n")
    install_definitions(prepared.plane)
    assert wait_until(lambda: prepared.probe("/readyz")[0] == READY, timeout=15)
    prepared.apply(bbb_cluster(), api_secret(node), bbb_node(node))
    prepared.expect_condition("bbbnode", node.name, "True/Responding", within=5)


@pytest.mark.parametrize("seconds", [20, 90])
def test_an_api_server_that_was_killed_is_waited_for_and_nothing_is_lost(
    cluster: OperatorCluster, node: FarmNode, seconds: int
) -> None:
    cluster.plane.kill(API_SERVER)
    time.sleep(seconds)
    assert cluster.probe("/livez") == (READY, "ok\n")
    assert cluster.probe("/readyz") == (READY, "ok\n")
    cluster.plane.restart(API_SERVER)
    cluster.patch("bbbnode", node.name, {"spec": {"state": "Cordoned"}})
    cluster.kubectl("delete", "cronjob", "b3lb-core")
    cluster.expect_condition("bbbnode", node.name, "False/Cordoned", type_="Schedulable", within=5)
    cluster.expect("the CronJob is back", lambda: bool(cluster.get("cronjob", "b3lb-core")), within=8)
    assert cluster.probe("/livez") == (READY, "ok\n")


def test_an_api_server_that_hangs_is_noticed_and_the_watches_come_back(
    cluster: OperatorCluster, node: FarmNode
) -> None:
    cluster.plane.pause(API_SERVER)
    time.sleep(80)
    assert cluster.probe("/livez") == (READY, "ok\n")
    cluster.plane.resume(API_SERVER)
    cluster.expect("it answers", lambda: "ok" in cluster.kubectl("get", "--raw", "/readyz", check=False), within=60)
    cluster.patch("bbbnode", node.name, {"spec": {"state": "Cordoned"}})
    cluster.expect_condition("bbbnode", node.name, "False/Cordoned", type_="Schedulable", within=15)


def test_an_etcd_that_is_away_is_waited_for(cluster: OperatorCluster, node: FarmNode) -> None:
    cluster.plane.kill("etcd")
    time.sleep(15)
    assert cluster.probe("/livez") == (READY, "ok\n")
    cluster.plane.restart("etcd")
    cluster.expect("it answers", lambda: "ok" in cluster.kubectl("get", "--raw", "/readyz", check=False), within=60)
    cluster.patch("bbbnode", node.name, {"spec": {"state": "Cordoned"}})
    cluster.expect_condition("bbbnode", node.name, "False/Cordoned", type_="Schedulable", within=15)
    assert cluster.process.running


def test_objects_that_went_while_the_history_was_lost_are_noticed(cluster: OperatorCluster, node: FarmNode) -> None:
    """410 Gone: the watches start anew from a list, which says nothing of deletions."""
    cluster.process.pause()
    cluster.patch("bbbnode", node.name, {"metadata": {"finalizers": None}})
    cluster.kubectl("delete", "bbbnode", node.name, "--timeout=5s")
    cluster.kubectl("delete", "cronjob", "b3lb-core")
    cluster.plane.compact()
    cluster.process.resume()
    cluster.expect("the CronJob is back", lambda: bool(cluster.get("cronjob", "b3lb-core")), within=20)
    cluster.expect("the row is deleted", lambda: deleted(cluster, node.name), within=20)


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
    cluster: OperatorCluster, node: FarmNode, expected_problems: list[str]
) -> None:
    expected_problems.append(r'"event": "the migration failed".*no schema has been selected to create in')
    execute(cluster.engine, "DROP SCHEMA public CASCADE")
    cluster.expect("not ready", lambda: cluster.probe("/readyz")[0] == 503, within=12)
    time.sleep(20)
    status, text = cluster.probe("/readyz")
    assert (status, cluster.probe("/livez")) == (503, (READY, "ok\n"))
    assert "the database cannot be used: " in text
    execute(cluster.engine, "CREATE SCHEMA public")
    assert polled_again(cluster) < 15
    cluster.expect_condition("bbbnode", node.name, "True/Responding", within=2)
    cluster.expect("ready", lambda: cluster.probe("/readyz") == (READY, "ok\n"), within=2)


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
    install_definitions(prepared.plane)
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


def test_sigterm_ends_it_within_five_seconds_although_nobody_answers(
    cluster: OperatorCluster, postgres: Postgres
) -> None:
    cluster.plane.pause(API_SERVER)
    postgres.pause()
    try:
        # Long enough for a look at the database and a renewal of the lease to hang.
        time.sleep(20)
        began = time.monotonic()
        cluster.process.stop(timeout=20)
        assert time.monotonic() - began < 5
    finally:
        postgres.resume()
        cluster.plane.resume(API_SERVER)
    assert cluster.process.exit_code == 0


def test_a_port_that_is_taken_is_one_line_and_an_exit_code(prepared: OperatorCluster, tmp_path: Path) -> None:
    install_definitions(prepared.plane)
    prepared.start()
    log = tmp_path / "second.log"
    second = prepared.new_process(log)
    second.start()
    assert second.wait(20)
    assert second.exit_code == 1
    lines = log.read_text().splitlines()
    assert lines[-1].startswith("b3lb-operator: B3LB_HTTP_PORT: cannot listen on 127.0.0.1:")
    assert not any("Traceback" in line for line in lines)


def execute(engine: sa.Engine, *statements: str) -> None:
    """Run statements, each in a transaction of its own."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def polled_again(cluster: OperatorCluster) -> float:
    """Wait until the database has its tables and a node's state in them; return how many seconds it took."""

    def known() -> bool:
        with cluster.engine.connect() as connection:
            if connection.exec_driver_sql("SELECT to_regclass('node_states')").scalar_one() is None:
                return False
            return bool(connection.exec_driver_sql("SELECT count(*) FROM node_states WHERE ready").scalar_one())

    return cluster.expect("the node is polled", known, within=15)


def deleted(cluster: OperatorCluster, name: str) -> bool:
    """Whether a node's row is soft-deleted."""
    with cluster.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT name FROM nodes WHERE deleted_at IS NOT NULL")
        return name in {row.name for row in rows}
