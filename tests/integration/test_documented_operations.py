"""The runbooks of docs/operations.md: for each the fault is caused, its commands are typed, and its words appear."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from b3lb.db.engine import transaction
from b3lb.db.task_attempts import AttemptEnd, begin_attempt, end_attempt
from b3lb.db.task_queue import enqueue, mark_released
from b3lb.db.task_runs import TaskState
from b3lb.resources.conditions import ConditionStatus
from b3lb.resources.reasons import NODE_REASONS, QUEUE_REASONS
from b3lb_operator.doctor.doctor import FRESH_SECONDS
from dev.controlplane import ControlPlane
from dev.environment import REPOSITORY
from dev.farm.process import Farm
from dev.postgres import Postgres
from dev.processes import free_ports
from dev.toolchain import kubectl_path
from tests.e2e.documented import Block, Shell, command_blocks, shell_environment
from tests.integration.declared_queues import core_secret, declare_queues
from tests.integration.enqueued_runs import get
from tests.integration.operator_cluster import OperatorCluster, bbb_cluster, bbb_node, closed_database

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200), pytest.mark.usefixtures("running_queues")]

DOCUMENT = "docs/operations.md"
NOT_RUN = "not run by the tests: "
TOKEN = secrets.token_hex()


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    with Farm(nodes=1, meetings=2, attendees=3, frozen=True, start_time="now") as running:
        yield running


@pytest.fixture(scope="module")
def cluster(
    plane_with_definitions: ControlPlane,
    postgres_server: Postgres,
    tmp_path_factory: pytest.TempPathFactory,
    farm: Farm,
) -> Iterator[OperatorCluster]:
    """An operator with the server bbb1 and the queues core, statistics and housekeeping, as the documents name them."""
    directory = tmp_path_factory.mktemp("operations")
    (node,) = farm.nodes
    environment = {"B3LB_CONTROL_TOKEN": TOKEN}
    running = OperatorCluster(plane_with_definitions, postgres_server, directory, environment=environment)
    with running:
        named = bbb_node(node, secretRef={"name": "bbb1-secret"})
        named["metadata"]["name"] = "bbb1"
        running.apply(bbb_cluster(), core_secret("bbb1-secret", secret=node.secret), named)
        running.apply(*published(running))
        declare_queues(running)
        running.expect_condition("bbbnode", "bbb1", "True/Responding", within=10)
        yield running
    assert running.problems() == []


def published(cluster: OperatorCluster) -> list[dict[str, Any]]:
    """Return how the command line finds the operator: its Service, and the Secret with the token."""
    labels = {"app.kubernetes.io/part-of": "b3lb", "app.kubernetes.io/component": "operator"}
    metadata = {"name": "b3lb-operator", "labels": labels}
    annotated = {**metadata, "annotations": {"b3lb.io/control-secret": "b3lb-control/token"}}
    ports = [{"name": "metrics", "port": cluster.port}]
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": annotated, "spec": {"clusterIP": "None", "ports": ports}},
        core_secret("b3lb-control", token=TOKEN),
    ]


class Reader:
    """Somebody who types a runbook's commands in the order in which they stand there."""

    def __init__(self, cluster: OperatorCluster, directory: Path, farm: Farm) -> None:
        """Prepare a kubeconfig whose current namespace is the farm's."""
        kubeconfig = directory / "kubeconfig"
        shutil.copyfile(cluster.plane.kubeconfig, kubeconfig)
        self.variables = {
            **shell_environment(kubeconfig, [kubectl_path(), Path(sys.executable)]),
            "B3LB_SERVER": f"http://127.0.0.1:{cluster.port}",
            "B3LB_TOKEN": TOKEN,
            "B3LB_NAMESPACE": cluster.namespace,
            "B3LB_DATABASE_URL": cluster.setting("B3LB_DATABASE_URL"),
            "B3LB_ENCRYPTION_KEYS": cluster.setting("B3LB_ENCRYPTION_KEYS"),
            "BBB_SECRET": farm.nodes[0].secret,
        }
        self._directory = directory
        self._cluster = cluster
        cluster.plane.kubectl(
            "config", "set-context", "--current", f"--namespace={cluster.namespace}", kubeconfig=kubeconfig
        )

    def follow(self, section: str, **variables: str) -> list[str]:
        """Type the commands of a section; return the output of each block."""
        shell = Shell(self._directory, {**self.variables, **variables})
        return [shell.run(block) for block in blocks(section)]


def blocks(section: str) -> list[Block]:
    """Return the blocks of a section that can run here."""
    return [block for block in command_blocks("docs/operations.md", section) if not block.mark]


@pytest.fixture
def reader(cluster: OperatorCluster, tmp_path: Path, farm: Farm) -> Reader:
    return Reader(cluster, tmp_path, farm)


def ended(cluster: OperatorCluster, state: TaskState, error: str) -> UUID:
    """Return a run of the queue statistics that a pod ended so."""
    queue = "statistics"
    # In one transaction: the operator would release what it sees waiting.
    with transaction(cluster.engine, timeout_seconds=10) as connection:
        task = "update-statistics"
        run_id = enqueue(connection, namespace=cluster.namespace, queue=queue, task=task, arguments={})
        (released,) = mark_released(connection, cluster.namespace, queue, runs=[run_id], spent_until=None)
        begin_attempt(connection, run_id, attempt=released.attempt, pod="pod-1")
        end = AttemptEnd(state=state, error=error, retry_seconds=600)
        end_attempt(connection, run_id, attempt=released.attempt, end=end)
    return run_id


def test_every_runbook_is_tried_and_a_block_that_is_not_says_why() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    for block in command_blocks(DOCUMENT):
        if block.mark:
            assert block.mark.startswith(NOT_RUN), block
            assert len(block.mark) > len(NOT_RUN), block
        elif block.section != "Operations":
            assert f'"{block.section}"' in text, block


def test_the_tables_have_every_reason_for_which_a_node_or_a_queue_is_not_ready() -> None:
    text = (REPOSITORY / DOCUMENT).read_text(encoding="utf-8")
    nodes = {item.reason for item in NODE_REASONS if item.condition == "Ready" and item.status != ConditionStatus.TRUE}
    assert [reason for reason in sorted(nodes) if f"`{reason}`" not in text] == []
    queues = {item.reason for item in QUEUE_REASONS} - {"Pending"}
    assert [reason for reason in sorted(queues) if f"`{reason}`" not in text] == []


def test_every_check_of_the_doctor_is_in_the_table_of_checks() -> None:
    sources = [
        *(REPOSITORY / "operator/b3lb_operator/doctor").glob("*.py"),
        REPOSITORY / "cli/b3lb_cli/cluster_checks.py",
    ]
    names = {name for path in sources for name in re.findall(r'Check\(Group\.\w+, "(\w+)"\)', path.read_text("utf-8"))}
    text = (REPOSITORY / DOCUMENT).read_text(encoding="utf-8")
    assert len(names) > 30
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


def test_what_to_look_at_first_says_that_all_is_well(reader: Reader) -> None:
    (doctor,) = reader.follow("What to look at first")
    assert "ok       NodeAnswers: 1 of 1 nodes answer getMeetings" in doctor
    assert "ok       QueueReady" in doctor


def test_a_suspended_queue_is_found_and_resumed(cluster: OperatorCluster, reader: Reader) -> None:
    cluster.patch("bbbqueue", "statistics", {"spec": {"suspend": True}})
    cluster.expect_condition("bbbqueue", "statistics", "False/Suspended", within=10)
    asked, seen, resumed = reader.follow("Tasks are not executed")
    assert "something is down" in asked
    assert "update-statistics" in asked
    assert "Suspended" in seen
    assert "condition met" in resumed
    assert cluster.condition("bbbqueue", "statistics") == "True/Scheduled"


def test_a_failed_run_is_found_with_its_reason_and_its_task_can_be_run_by_hand(
    cluster: OperatorCluster, reader: Reader
) -> None:
    run_id = ended(cluster, TaskState.FAILURE, "the disk is full")
    told, _, by_hand = reader.follow("Tasks fail", RUN=str(run_id))
    assert told.count("the disk is full") == 2
    assert "FAILURE" in told
    assert "tick" in by_hand


def test_a_queue_gets_more_memory(cluster: OperatorCluster, reader: Reader) -> None:
    reader.follow("Memory grows")
    path = "jsonpath={.spec.jobTemplate.spec.template.spec.containers[0].resources.limits.memory}"
    cluster.expect(
        "the CronJob has it", lambda: cluster.kubectl("get", "cronjob", "b3lb-core", "-o", path) == "2Gi", within=10
    )


def test_a_run_that_is_retried_is_taken_back(cluster: OperatorCluster, reader: Reader) -> None:
    run_id = ended(cluster, TaskState.RETRY, "the other side is away")
    told, revoked = reader.follow("A run is retried again and again", RUN=str(run_id))
    assert told.count("the other side is away") == 2
    assert "patched" in revoked
    retry = cluster.get("bbbqueue", "statistics")["spec"]["retry"]
    assert retry["maxRetries"] == 2
    assert get(cluster.engine, cluster.namespace, run_id).state == TaskState.REVOKED


def test_without_an_api_server_the_first_group_says_so(reader: Reader, tmp_path: Path) -> None:
    nobody = json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{free_ports(1)[0]}"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "current-context": "c",
        }
    )
    (tmp_path / "nobody").write_text(nobody, encoding="utf-8")
    (told,) = reader.follow("The API server is lost", KUBECONFIG=str(tmp_path / "nobody"))
    assert "FAILED   ApiServer: the API server cannot be used" in told
    assert "the API server is away" in told


def test_without_a_database_doctor_and_ping_say_so(
    cluster: OperatorCluster, reader: Reader, postgres_server: Postgres
) -> None:
    with closed_database(cluster, postgres_server):
        # The doctor's last examination is shared for so long.
        time.sleep(FRESH_SECONDS)
        (told,) = reader.follow("The database is lost")
    assert "FAILED   DatabaseReachable: the database cannot be used" in told
    assert "database down" in told
    cluster.expect("it is ready again", lambda: cluster.probe("/readyz")[0] == 200, within=20)


def test_what_makes_ticks_slow_can_be_seen_and_changed(cluster: OperatorCluster, reader: Reader) -> None:
    seen, patched = reader.follow("Ticks are slow")
    assert "P95" in seen
    assert "bbb1" in seen
    assert patched.count("patched") == 2
    spec = cluster.get("bbbqueue", "core")["spec"]
    assert (spec["maxInFlight"], spec["tickSeconds"]) == (300, 20)
    cluster.expect_condition("bbbcluster", "default", "True/Accepted", within=5)


def test_a_node_with_a_wrong_secret_says_so_and_gets_the_right_one(cluster: OperatorCluster, reader: Reader) -> None:
    cluster.patch("secret", "bbb1-secret", {"stringData": {"secret": "wrong"}})
    cluster.expect_condition("bbbnode", "bbb1", "False/ChecksumError", within=10)
    seen, mended = reader.follow("A node is not Ready")
    assert "ChecksumError" in seen
    assert "condition met" in mended
    assert cluster.condition("bbbnode", "bbb1") == "True/Responding"
