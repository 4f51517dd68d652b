"""What the doctor of a real operator finds in a farm that is well, and for each fault that is provoked in it."""

from __future__ import annotations

import base64
import http.client
import json
import secrets
import time
from collections.abc import Iterator

import pytest

from b3lb.findings import Finding, FindingStatus
from b3lb.tasks import CHECK_NODES, tasks_of
from b3lb_operator.doctor.doctor import FRESH_SECONDS
from dev.controlplane import ControlPlane
from dev.farm.process import Farm
from dev.postgres import Postgres
from tests.integration.declared_queues import declare_queues, job_secrets
from tests.integration.operator_cluster import (
    ROOT,
    OperatorCluster,
    api_secret,
    bbb_cluster,
    bbb_node,
    closed_database,
    execute,
)

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200), pytest.mark.usefixtures("running_queues")]

TOKEN = secrets.token_hex()
LONGEST_SECONDS = 10.0


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    with Farm(nodes=2, meetings=2, attendees=3, frozen=True, start_time="now") as running:
        yield running


@pytest.fixture(scope="module")
def cluster(
    plane_with_definitions: ControlPlane,
    postgres_server: Postgres,
    tmp_path_factory: pytest.TempPathFactory,
    farm: Farm,
) -> Iterator[OperatorCluster]:
    """An operator with two healthy servers, and a queue that runs every task and has just succeeded."""
    directory = tmp_path_factory.mktemp("doctor")
    environment = {"B3LB_CONTROL_TOKEN": TOKEN}
    running = OperatorCluster(plane_with_definitions, postgres_server, directory, environment=environment)
    with running:
        for node in farm.nodes:
            running.apply(bbb_cluster(), api_secret(node), bbb_node(node))
        declare_queues(running)
        for node in farm.nodes:
            running.expect_condition("bbbnode", node.name, "True/Responding", within=10)
        yield running
    assert running.problems() == []


def examine(cluster: OperatorCluster) -> list[Finding]:
    """Return what is found now; an examination is kept for some seconds."""
    time.sleep(FRESH_SECONDS)
    connection = http.client.HTTPConnection("127.0.0.1", cluster.port, timeout=30)
    began = time.monotonic()
    connection.request("GET", "/control/v1/doctor", headers={"X-B3LB-Token": TOKEN})
    document = json.loads(connection.getresponse().read())
    connection.close()
    assert time.monotonic() - began < LONGEST_SECONDS
    assert document["kind"] == "FindingList"
    return [Finding.from_document(item) for item in document["items"]]


def found(cluster: OperatorCluster) -> dict[tuple[str, str], Finding]:
    """Return what is not well, by check and object."""
    return {(item.check, item.object): item for item in examine(cluster) if item.status is not FindingStatus.OK}


def written(cluster: OperatorCluster) -> dict[str, str]:
    """Return the versions of what the operator writes to; CronJobs' statuses are the control plane's."""
    return {name: version for name, version in cluster.versions().items() if not name.startswith("CronJob/")}


def test_a_farm_that_is_well_has_nothing_but_ok_and_nothing_is_written(cluster: OperatorCluster) -> None:
    before = written(cluster)
    findings = examine(cluster)
    assert [item for item in findings if item.status is not FindingStatus.OK] == []
    assert {item.check for item in findings} == {
        "DatabaseClock",
        "DatabaseConnections",
        "DatabaseLatency",
        "DatabaseReachable",
        "DatabaseSchema",
        "DatabaseSize",
        "DatabaseVersion",
        "DefinitionSchema",
        "DefinitionServed",
        "EncryptionKeys",
        "JobSecrets",
        "KeyRotation",
        "NodeAnswers",
        "NodeChecksum",
        "NodeClock",
        "NodeIdentity",
        "NodeLoad",
        "OperatorLag",
        "OperatorLive",
        "OperatorReady",
        "OperatorRights",
        "QueueBacklog",
        "QueueReady",
        "QueueSchedule",
        "QueueSuccess",
        "RecordingUploads",
        "TaskRouting",
    }
    assert written(cluster) == before


def test_each_fault_of_a_server_is_found_with_what_to_do(cluster: OperatorCluster, farm: Farm) -> None:
    first, second = farm.nodes
    farm.control.set_algorithms(first.name, ["sha1"])
    farm.control.set_clock_offset(second.name, 900.0)
    problems = found(cluster)
    farm.control.set_algorithms(first.name, ["sha1", "sha256", "sha384", "sha512"])
    farm.control.set_clock_offset(second.name, 0.0)
    algorithm = problems[("NodeChecksum", f"bbbnode/{first.name}")]
    assert algorithm.status is FindingStatus.FAILED
    assert algorithm.message == "the server refuses checksums by sha256 and takes sha1"
    clock = problems[("NodeClock", f"bbbnode/{second.name}")]
    assert (clock.status, clock.message) == (FindingStatus.FAILED, "its clock is 900 s ahead of the operator's")


def test_a_right_that_was_taken_away_and_keys_that_the_pods_lack_are_found(cluster: OperatorCluster) -> None:
    role = cluster.get("role", "b3lb-operator")
    rules = [rule for rule in role["rules"] if rule["resources"] != ["pods"]]
    cluster.patch("role", "b3lb-operator", {"rules": rules})
    other = f"k9:{base64.b64encode(secrets.token_bytes(32)).decode()}"
    cluster.apply(*job_secrets(cluster, keys=other))
    cluster.kubectl("delete", "secret", "b3lb-database")
    problems = found(cluster)
    cluster.patch("role", "b3lb-operator", {"rules": role["rules"]})
    cluster.apply(*job_secrets(cluster))
    rights = problems[("OperatorRights", f"namespace/{cluster.namespace}")]
    assert rights.message == "the operator may not list pods"
    assert rights.remedy.startswith(f"kubectl apply -n {cluster.namespace} -f deploy/rbac.yaml")
    keys = problems[("JobSecrets", "secret/b3lb-encryption")]
    assert keys.message == "the pods' keys do not open 2 of 2 stored secrets; needed: k1, configured: k9"
    missing = problems[("JobSecrets", "secret/b3lb-database")]
    assert missing.message == "the pods cannot use it: it does not exist"


def test_a_secret_under_a_lost_key_and_one_under_an_old_one_are_found(cluster: OperatorCluster, farm: Farm) -> None:
    first = farm.nodes[0].name
    execute(cluster.engine, f"UPDATE nodes SET secret_key_id = 'k0' WHERE name = '{first}'")  # noqa: S608 - our own name
    problems = found(cluster)
    execute(cluster.engine, "UPDATE nodes SET secret_key_id = 'k1'")
    closed = problems[("EncryptionKeys", "")]
    told = f"1 of 2 stored secrets cannot be decrypted (bbbnode/{first}); needed: k0, configured: k1"
    assert (closed.status, closed.message) == (FindingStatus.FAILED, told)
    assert problems[("KeyRotation", "")].message == "the rotation is not finished: 1 under k0, 1 under k1"


def test_a_queue_that_lacks_a_task_and_is_suspended_is_found(cluster: OperatorCluster) -> None:
    cluster.patch("bbbqueue", "core", {"spec": {"tasks": [CHECK_NODES], "suspend": True}})
    cluster.expect_condition("bbbqueue", "core", "False/Suspended", within=10)
    problems = found(cluster)
    cluster.patch("bbbqueue", "core", {"spec": {"tasks": tasks_of("core"), "suspend": False}})
    cluster.expect_condition("bbbqueue", "core", "True/Scheduled", within=10)
    suspended = problems[("QueueReady", "bbbqueue/core")]
    assert suspended.status is FindingStatus.WARNING
    assert suspended.remedy.endswith('-p \'{"spec":{"suspend":false}}\'')
    assert problems[("TaskRouting", "")].message == "no BBBQueue has the task update-secrets-lists"


def test_two_nodes_that_are_one_server_are_found(cluster: OperatorCluster, farm: Farm) -> None:
    first = farm.nodes[0]
    twin = bbb_node(first)
    twin["metadata"]["name"] = "twin"
    twin["spec"]["apiUrl"] = first.api_url.replace("127.0.0.1", "localhost")
    cluster.apply(twin)
    cluster.expect_condition("bbbnode", "twin", "True/Responding", within=10)
    problems = found(cluster)
    cluster.kubectl("annotate", "bbbnode", "twin", "b3lb.io/force-delete=true")
    cluster.kubectl("delete", "bbbnode", "twin", "--timeout=10s")
    same = problems[("NodeIdentity", "bbbnode/twin")]
    assert same.message == f"it lists the same meetings as bbbnode/{first.name}"


def test_a_definition_of_an_older_version_is_found(cluster: OperatorCluster) -> None:
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/weightPercent"
    name = "bbbnodes.b3lb.io"
    cluster.kubectl("patch", "crd", name, "--type=json", "-p", json.dumps([{"op": "remove", "path": path}]))
    try:
        told = ("DefinitionSchema", f"customresourcedefinition/{name}")
        cluster.expect("it is found", lambda: told in found(cluster), within=60)
        finding = found(cluster)[told]
    finally:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    assert finding.status is FindingStatus.FAILED
    assert "lacks spec.weightPercent: what it lacks is dropped" in finding.message
    assert "kubectl apply --server-side -f crds/" in finding.remedy


def test_without_a_database_the_rest_is_examined_all_the_same(
    cluster: OperatorCluster, postgres_server: Postgres
) -> None:
    with closed_database(cluster, postgres_server):
        problems = found(cluster)
    assert problems[("DatabaseReachable", "")].status is FindingStatus.FAILED
    assert problems[("NodeAnswers", "")].status is FindingStatus.UNKNOWN
    assert ("OperatorRights", f"namespace/{cluster.namespace}") not in problems
    cluster.expect("it is ready again", lambda: cluster.probe("/readyz")[0] == 200, within=20)
