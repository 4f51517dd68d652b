"""The operator while the Kubernetes API is away, hangs or has forgotten: it waits, stays alive and misses nothing."""

from __future__ import annotations

import http.client
import time
from pathlib import Path

import pytest

from dev.controlplane import ControlPlane
from dev.farm.messages import FarmNode
from dev.postgres import Postgres
from dev.processes import wait_until
from tests.integration.operator_cluster import OperatorCluster, api_secret, bbb_cluster, bbb_node, install_definitions

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

API_SERVER = "kube-apiserver"
READY = http.client.OK


@pytest.fixture(scope="module")
def control_plane(plane: ControlPlane) -> ControlPlane:
    """One of this file's own, without definitions at first."""
    return plane


@pytest.fixture(scope="module")
def definitions(plane: ControlPlane) -> None:
    """From the second test on, the custom resources are served."""
    install_definitions(plane)


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


def test_an_api_server_that_was_killed_is_waited_for_and_nothing_is_lost(
    cluster: OperatorCluster, node: FarmNode
) -> None:
    cluster.plane.kill(API_SERVER)
    time.sleep(20)
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


@pytest.mark.usefixtures("definitions")
def test_a_port_that_is_taken_is_one_line_and_an_exit_code(prepared: OperatorCluster, tmp_path: Path) -> None:
    prepared.start()
    log = tmp_path / "second.log"
    second = prepared.new_process(log)
    second.start()
    assert second.wait(20)
    assert second.exit_code == 1
    lines = log.read_text().splitlines()
    assert lines[-1].startswith("b3lb-operator: B3LB_HTTP_PORT: cannot listen on 127.0.0.1:")
    assert not any("Traceback" in line for line in lines)


def deleted(cluster: OperatorCluster, name: str) -> bool:
    """Whether a node's row is soft-deleted."""
    with cluster.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT name FROM nodes WHERE deleted_at IS NOT NULL")
        return name in {row.name for row in rows}
