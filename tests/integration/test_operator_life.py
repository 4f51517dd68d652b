"""The operator on a real API server: statuses, references, CronJobs, deletion, restarts, and its own rights only."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.controlplane import ControlPlane
from dev.farm.messages import Behaviour, FarmNode
from dev.farm.process import Farm
from dev.postgres import Postgres
from tests.integration.operator_cluster import (
    OperatorCluster,
    api_secret,
    bbb_cluster,
    bbb_node,
    bbb_queue,
)

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    running = Farm(nodes=3, meetings=2, attendees=3, frozen=True)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def cluster(
    plane_with_definitions: ControlPlane, postgres_server: Postgres, tmp_path: Path
) -> Iterator[OperatorCluster]:
    with OperatorCluster(plane_with_definitions, postgres_server, tmp_path) as running:
        yield running
    assert running.problems() == []


@pytest.fixture
def node(farm: Farm) -> FarmNode:
    """A simulated node that answers."""
    first = farm.nodes[0]
    farm.control.set_behaviour(first.name, Behaviour.OK)
    return first


def container(cluster: OperatorCluster) -> dict[str, Any]:
    spec = cluster.get("cronjob", "b3lb-core")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    found: dict[str, Any] = spec["containers"][0]
    return found


def test_a_new_node_is_ready_within_five_seconds_with_true_numbers(cluster: OperatorCluster, node: FarmNode) -> None:
    cluster.apply(bbb_cluster(), api_secret(node), bbb_node(node), bbb_queue())
    cluster.expect_condition("bbbnode", node.name, "True/Responding", within=5)
    status = cluster.get("bbbnode", node.name)["status"]
    assert status["meetings"] == 2
    assert status["observedGeneration"] == 1
    cluster.expect_condition("bbbnode", node.name, "True/Schedulable", type_="Schedulable", within=1)
    cluster.expect_condition("bbbqueue", "core", "False/Suspended", within=5)
    cluster.expect_condition("bbbcluster", "default", "True/Accepted", within=5)
    cluster.expect(
        "the cluster counts it",
        lambda: cluster.get("bbbcluster", "default")["status"]["nodes"]["summary"] == "1/1",
        within=5,
    )


def test_a_node_that_hangs_says_timeout_within_its_time_out_and_two_seconds(
    cluster: OperatorCluster, farm: Farm
) -> None:
    hanging = farm.nodes[1]
    farm.control.set_behaviour(hanging.name, Behaviour.HANG)
    cluster.apply(bbb_cluster(health={"timeoutSeconds": 2}), api_secret(hanging), bbb_node(hanging))
    cluster.expect_condition("bbbnode", hanging.name, "False/Timeout", within=4)


def test_every_missing_reference_is_a_reason_and_heals_when_it_appears(
    cluster: OperatorCluster, node: FarmNode
) -> None:
    cluster.apply(bbb_node(node))
    cluster.expect_condition("bbbnode", node.name, "False/SecretNotFound", within=5)
    cluster.kubectl("create", "secret", "generic", node.name)
    cluster.expect_condition("bbbnode", node.name, "False/SecretKeyNotFound", within=5)
    cluster.patch("secret", node.name, {"data": {"secret": ""}})
    cluster.expect_condition("bbbnode", node.name, "False/InvalidSecret", within=5)
    cluster.apply(api_secret(node))
    cluster.expect_condition("bbbnode", node.name, "False/ClusterNotFound", within=5)
    cluster.apply(bbb_cluster())
    cluster.expect_condition("bbbnode", node.name, "True/Responding", within=5)
    cluster.kubectl("delete", "secret", node.name)
    cluster.expect_condition("bbbnode", node.name, "False/SecretNotFound", within=5)
    cluster.apply(api_secret(node))
    cluster.kubectl("delete", "bbbcluster", "default")
    cluster.expect_condition("bbbnode", node.name, "False/ClusterNotFound", within=5)


def test_a_wrong_secret_is_a_reason_and_a_corrected_one_heals(cluster: OperatorCluster, node: FarmNode) -> None:
    wrong = {**api_secret(node), "stringData": {"secret": "wrong"}}
    cluster.apply(bbb_cluster(), wrong, bbb_node(node))
    cluster.expect_condition("bbbnode", node.name, "False/ChecksumError", within=5)
    cluster.apply(api_secret(node))
    cluster.expect_condition("bbbnode", node.name, "True/Responding", within=5)
    assert "wrong" not in cluster.log.read_text()


def test_of_two_nodes_with_one_address_the_older_is_polled_and_its_end_frees_the_other(
    cluster: OperatorCluster, node: FarmNode
) -> None:
    second = {**bbb_node(node, secretRef={"name": node.name}), "metadata": {"name": "twin"}}
    cluster.apply(bbb_cluster(), api_secret(node), bbb_node(node))
    cluster.expect_condition("bbbnode", node.name, "True/Responding", within=5)
    time.sleep(1.1)
    cluster.apply(second)
    cluster.expect_condition("bbbnode", "twin", "False/DuplicateURL", within=5)
    cluster.kubectl("annotate", "bbbnode", node.name, "b3lb.io/force-delete=true")
    cluster.kubectl("delete", "bbbnode", node.name, "--timeout=5s")
    cluster.expect_condition("bbbnode", "twin", "True/Responding", within=5)


def test_a_certificate_authority_that_is_missing_is_a_reason_of_the_cluster_and_of_nodes_without_any(
    cluster: OperatorCluster, node: FarmNode
) -> None:
    cluster.apply(bbb_cluster(tls={"caSecretRef": {"name": "ca"}}), api_secret(node), bbb_node(node))
    cluster.expect_condition("bbbcluster", "default", "False/SecretNotFound", within=5)
    cluster.expect_condition("bbbnode", node.name, "False/CASecretNotFound", within=5)
    cluster.kubectl("create", "secret", "generic", "ca", "--from-literal=ca.crt=nonsense")
    cluster.expect_condition("bbbcluster", "default", "False/InvalidCertificates", within=5)
    cluster.expect_condition("bbbnode", node.name, "False/InvalidCertificates", within=5)
    cluster.kubectl("delete", "secret", "ca")
    cluster.kubectl("create", "secret", "generic", "ca", f"--from-file=ca.crt={cluster.plane.ca_file}")
    cluster.expect_condition("bbbcluster", "default", "True/Accepted", within=5)
    told = ["Accepted", "SecretNotFound"]
    cluster.expect("both Events, once", lambda: [r for n, r in cluster.events() if n == "default"] == told, within=5)
    cluster.expect_condition("bbbnode", node.name, "True/Responding", within=5)
    cluster.kubectl("delete", "secret", "ca")
    cluster.expect_condition("bbbcluster", "default", "False/SecretNotFound", within=5)
    assert cluster.condition("bbbnode", node.name) == "True/Responding"
    cluster.kubectl("create", "secret", "generic", "ca", f"--from-file=ca.crt={cluster.plane.ca_file}")
    cluster.expect_condition("bbbcluster", "default", "True/Accepted", within=5)


def test_what_the_database_does_not_take_is_a_reason_and_keeps_no_other_object_waiting(
    cluster: OperatorCluster, node: FarmNode, farm: Farm
) -> None:
    """The tables take all that the API server does: here they are made stricter."""
    with cluster.engine.begin() as connection:
        for table, rule in (
            ("clusters", "timeout_seconds <> 7"),
            ("nodes", "weight_percent <> 7"),
            ("queues", "tick_seconds <> 30"),
        ):
            connection.exec_driver_sql(f"ALTER TABLE {table} ADD CONSTRAINT no_{table} CHECK ({rule})")
    strict, refused = bbb_cluster("strict", health={"timeoutSeconds": 7}), "False/DatabaseRefused"
    bad = farm.nodes[1]
    farm.control.set_behaviour(bad.name, Behaviour.OK)
    objects = [bbb_cluster(), strict, api_secret(node), api_secret(bad), bbb_node(node), bbb_node(bad, weightPercent=7)]
    cluster.apply(*objects, bbb_queue(tickSeconds=30, suspend=False))
    cluster.expect_condition("bbbnode", node.name, "True/Responding", within=5)
    cluster.expect_condition("bbbcluster", "default", "True/Accepted", within=5)
    for kind, name in (("bbbnode", bad.name), ("bbbcluster", "strict"), ("bbbqueue", "core")):
        cluster.expect_condition(kind, name, refused, within=5)
    cluster.apply(bbb_cluster("strict"), bbb_node(bad, weightPercent=8), bbb_queue(tickSeconds=15, suspend=False))
    cluster.expect_condition("bbbnode", bad.name, "True/Responding", within=5)
    cluster.expect_condition("bbbcluster", "strict", "True/Accepted", within=5)
    cluster.expect_condition("bbbqueue", "core", "True/Scheduled", within=5)


def test_what_the_user_wants_is_shown_within_five_seconds_and_told_once(
    cluster: OperatorCluster, node: FarmNode
) -> None:
    cluster.apply(bbb_cluster(), api_secret(node), bbb_node(node))
    cluster.expect_condition("bbbnode", node.name, "True/Responding", within=5)
    for state in ("Cordoned", "Draining", "Active"):
        cluster.patch("bbbnode", node.name, {"spec": {"state": state}})
        value = "True/Schedulable" if state == "Active" else f"False/{state}"
        cluster.expect_condition("bbbnode", node.name, value, type_="Schedulable", within=5)
    cluster.patch("bbbnode", node.name, {"spec": {"state": "Disabled"}})
    cluster.expect_condition("bbbnode", node.name, "False/Disabled", within=5)
    wanted = ["Cordoned", "Disabled", "Draining", "Responding", "Schedulable"]
    cluster.expect("the Events", lambda: [r for n, r in cluster.events() if n == node.name] == wanted, within=5)


def test_changes_to_the_cron_job_are_undone_and_other_peoples_labels_stay(cluster: OperatorCluster) -> None:
    cluster.apply(bbb_queue(resources={"limits": {"cpu": "0.5", "memory": "1024Mi"}}))
    cluster.expect_condition("bbbqueue", "core", "False/Suspended", within=5)
    cluster.patch("cronjob", "b3lb-core", {"metadata": {"labels": {"team": "x"}}, "spec": {"suspend": False}})
    cluster.expect("suspend is back", lambda: cluster.get("cronjob", "b3lb-core")["spec"]["suspend"], within=5)
    sidecar = {"op": "add", "path": "/spec/jobTemplate/spec/template/spec/containers/-"}
    value = {"name": "sidecar", "image": "x", "imagePullPolicy": "IfNotPresent"}
    patch = json.dumps([{**sidecar, "value": value}])
    cluster.kubectl("patch", "cronjob", "b3lb-core", "--type=json", "-p", patch)

    def containers() -> int:
        template = cluster.get("cronjob", "b3lb-core")["spec"]["jobTemplate"]["spec"]["template"]
        return len(template["spec"]["containers"])

    cluster.expect("the sidecar is gone", lambda: containers() == 1, within=5)
    live = cluster.get("cronjob", "b3lb-core")
    assert live["metadata"]["labels"]["team"] == "x"
    assert live["metadata"]["ownerReferences"][0]["controller"] is True
    time.sleep(3)
    assert cluster.get("cronjob", "b3lb-core")["metadata"]["resourceVersion"] == live["metadata"]["resourceVersion"]
    cluster.kubectl("delete", "cronjob", "b3lb-core")
    cluster.expect("it is back", lambda: bool(cluster.get("cronjob", "b3lb-core")), within=5)


def test_an_unknown_task_or_one_of_an_older_queue_is_a_reason_and_heals(cluster: OperatorCluster) -> None:
    cluster.apply(bbb_queue("core", tasks=["check-nodse"]))
    cluster.expect_condition("bbbqueue", "core", "False/UnknownTask", within=5)
    cluster.patch("bbbqueue", "core", {"spec": {"tasks": ["check-nodes"]}})
    cluster.expect_condition("bbbqueue", "core", "False/Suspended", within=5)
    time.sleep(1.1)
    cluster.apply(bbb_queue("aa-second"))
    cluster.expect_condition("bbbqueue", "aa-second", "False/TaskInOtherQueue", within=5)
    cluster.kubectl("delete", "bbbqueue", "core", "--timeout=10s")
    # Kubernetes' garbage collector learns of new kinds every 30 s only.
    cluster.expect("its CronJob goes", lambda: not cluster.get("cronjob", "b3lb-core"), within=40)
    cluster.expect_condition("bbbqueue", "aa-second", "False/Suspended", within=5)


def test_somebody_elses_cron_job_is_left_alone_whatever_the_queue_of_its_name_says(cluster: OperatorCluster) -> None:
    cluster.kubectl("create", "cronjob", "b3lb-core", "--image=busybox", "--schedule=0 3 * * *")
    before = cluster.get("cronjob", "b3lb-core")["metadata"]["resourceVersion"]
    cluster.apply(bbb_queue(tasks=["check-nodse"]))
    cluster.expect_condition("bbbqueue", "core", "False/UnknownTask", within=5)
    cluster.patch("bbbqueue", "core", {"spec": {"tasks": ["check-nodes"]}})
    cluster.expect_condition("bbbqueue", "core", "False/Refused", within=5)
    assert cluster.get("cronjob", "b3lb-core")["metadata"]["resourceVersion"] == before


def test_what_the_api_server_refuses_is_a_reason_in_its_own_words(cluster: OperatorCluster) -> None:
    cluster.apply(bbb_queue(timeZone="Europe/Nowhere"))
    cluster.expect_condition("bbbqueue", "core", "False/Refused", within=5)
    (condition,) = cluster.get("bbbqueue", "core")["status"]["conditions"]
    assert "Europe/Nowhere" in condition["message"]


def test_a_deleted_node_goes_after_a_fresh_tick_without_meetings(cluster: OperatorCluster, node: FarmNode) -> None:
    cluster.apply(bbb_cluster(), api_secret(node), bbb_node(node))
    cluster.expect_condition("bbbnode", node.name, "True/Responding", within=5)
    cluster.kubectl("delete", "bbbnode", node.name, "--wait=false")
    cluster.expect_condition("bbbnode", node.name, "False/Deleting", type_="Schedulable", within=5)
    cluster.tick(meetings=1)
    time.sleep(2)
    assert cluster.condition("bbbnode", node.name, "Drained") == "False/MeetingsRunning"
    cluster.tick(meetings=0)
    cluster.expect("it is gone", lambda: not cluster.get("bbbnode", node.name), within=5)
    cluster.expect("its row is deleted", lambda: deleted_rows(cluster) == [node.name], within=2)


def test_a_node_that_was_never_polled_is_deleted_at_once(cluster: OperatorCluster, node: FarmNode) -> None:
    cluster.apply(bbb_node(node))
    cluster.expect_condition("bbbnode", node.name, "False/SecretNotFound", within=5)
    cluster.kubectl("delete", "bbbnode", node.name, "--timeout=5s")


def test_a_deleted_node_whose_meetings_nobody_can_see_any_more_is_waited_for(
    cluster: OperatorCluster, node: FarmNode
) -> None:
    cluster.apply(bbb_cluster(), api_secret(node), bbb_node(node))
    cluster.expect_condition("bbbnode", node.name, "True/Responding", within=5)
    cluster.apply({**api_secret(node), "stringData": {"secret": "wrong"}})
    cluster.expect_condition("bbbnode", node.name, "False/ChecksumError", within=5)
    cluster.kubectl("delete", "secret", node.name)
    cluster.expect_condition("bbbnode", node.name, "False/SecretNotFound", within=5)
    cluster.kubectl("delete", "bbbnode", node.name, "--wait=false")
    cluster.expect_condition("bbbnode", node.name, "False/Deleting", type_="Schedulable", within=5)
    time.sleep(3)
    assert "the node goes at" in cluster.kubectl("get", "bbbnode", node.name, "-o", "yaml")
    cluster.kubectl("annotate", "bbbnode", node.name, "b3lb.io/force-delete=true")
    cluster.expect("the node is gone", lambda: not cluster.get("bbbnode", node.name), within=5)


def test_the_drains_deadline_lets_a_deleted_node_go(cluster: OperatorCluster, node: FarmNode) -> None:
    cluster.apply(bbb_cluster(), api_secret(node), bbb_node(node, drain={"deadlineSeconds": 3}))
    cluster.expect_condition("bbbnode", node.name, "True/Responding", within=5)
    began = time.monotonic()
    cluster.kubectl("delete", "bbbnode", node.name, "--timeout=15s")
    assert 2 < time.monotonic() - began < 10


def test_a_namespace_with_busy_nodes_is_deleted_by_an_operator_whose_rights_outlive_it(
    plane_with_definitions: ControlPlane, postgres_server: Postgres, tmp_path: Path, node: FarmNode
) -> None:
    """Rights inside of the namespace are deleted with it, before the operator can use them."""
    with OperatorCluster(plane_with_definitions, postgres_server, tmp_path, home="operators") as cluster:
        cluster.apply(bbb_cluster(), api_secret(node), bbb_node(node), bbb_queue())
        cluster.expect_condition("bbbnode", node.name, "True/Responding", within=5)
        cluster.tick(meetings=5)
        cluster.plane.kubectl("delete", "namespace", cluster.namespace, "--wait=false")
        cluster.expect("the node is gone", lambda: not cluster.get("bbbnode", node.name), within=10)


def test_a_restart_writes_nothing_and_repeats_no_event(cluster: OperatorCluster, node: FarmNode, farm: Farm) -> None:
    cluster.apply(bbb_cluster(), bbb_queue(), *(api_secret(item) for item in farm.nodes))
    cluster.apply(bbb_node(node), bbb_node(farm.nodes[2]))
    cluster.expect_condition("bbbnode", node.name, "True/Responding", within=5)
    cluster.expect_condition("bbbnode", farm.nodes[2].name, "True/Responding", within=5)
    # Numbers alone are written every 30 s at most.
    cluster.expect(
        "the cluster counts both",
        lambda: cluster.get("bbbcluster", "default")["status"]["nodes"]["summary"] == "2/2",
        within=35,
    )
    before, events, rows = cluster.versions(), cluster.events(), revisions(cluster)
    began = time.monotonic()
    cluster.process.stop(signal_number=signal.SIGTERM)
    assert time.monotonic() - began < 5
    assert cluster.process.exit_code == 0
    cluster.start()
    time.sleep(12)
    assert (cluster.versions(), cluster.events(), revisions(cluster)) == (before, events, rows)


def test_what_was_deleted_while_the_operator_was_down_is_seen_at_its_start(
    cluster: OperatorCluster, node: FarmNode, farm: Farm
) -> None:
    other = farm.nodes[2]
    cluster.apply(bbb_cluster(), api_secret(node), api_secret(other), bbb_node(node), bbb_node(other))
    for item in (node, other):
        cluster.expect_condition("bbbnode", item.name, "True/Responding", within=5)
    cluster.process.kill()
    cluster.patch("bbbnode", node.name, {"metadata": {"finalizers": None}})
    cluster.kubectl("delete", "bbbnode", node.name, "--timeout=5s")
    cluster.kubectl("delete", "bbbnode", other.name, "--wait=false")
    cluster.start()
    assert deleted_rows(cluster) == [node.name]
    cluster.expect_condition("bbbnode", other.name, "False/Deleting", type_="Schedulable", within=5)
    time.sleep(1.1)
    cluster.tick(meetings=0)
    cluster.expect("it is gone", lambda: not cluster.get("bbbnode", other.name), within=5)


def deleted_rows(cluster: OperatorCluster) -> list[str]:
    """Return the names of the soft-deleted nodes."""
    with cluster.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT name FROM nodes WHERE deleted_at IS NOT NULL ORDER BY name")
        return [row.name for row in rows]


def revisions(cluster: OperatorCluster) -> list[tuple[str, int, int]]:
    """Return the nodes' names, revisions and row versions: any write changes the last."""
    with cluster.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT name, revision, xmin::text::bigint FROM nodes ORDER BY name")
        return [tuple(row) for row in rows]


def test_a_queue_whose_last_job_failed_says_so_within_five_seconds_and_names_what_its_pods_lack(
    cluster: OperatorCluster,
) -> None:
    cluster.apply(bbb_cluster(), bbb_queue(suspend=False))
    cluster.expect_condition("bbbqueue", "core", "True/Scheduled", within=5)
    text = cluster.kubectl("create", "job", "short", "--from=cronjob/b3lb-core", "--dry-run=client", "-o", "json")
    job = json.loads(text)
    job["spec"]["activeDeadlineSeconds"] = 1
    cluster.apply(job)
    cluster.kubectl("wait", "job/short", "--for=condition=Failed", "--timeout=20s")
    cluster.expect_condition("bbbqueue", "core", "False/JobsFailing", within=5)
    (condition,) = cluster.get("bbbqueue", "core")["status"]["conditions"]
    assert "the last Job, short, failed: DeadlineExceeded" in condition["message"]
    assert "Secret b3lb-database does not exist, so no pod can start" in condition["message"]
    cluster.expect("an Event", lambda: ("core", "JobsFailing") in cluster.events(), within=5)
    cluster.kubectl("delete", "job", "short")
    cluster.expect_condition("bbbqueue", "core", "True/Scheduled", within=5)
