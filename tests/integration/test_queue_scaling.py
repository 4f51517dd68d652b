"""How many runs of a queue are at work on a real control plane: by hand, by themselves, and after a common fault.

There is no node, so a Job's pod stays where its controller made it, which is all that counts here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from b3lb.db import task_queue
from b3lb.db.engine import transaction
from b3lb.db.task_attempts import AttemptEnd, begin_attempt, end_attempt
from b3lb.db.task_runs import TaskState
from dev.controlplane import ControlPlane, KubectlError
from dev.postgres import Postgres
from tests.integration.enqueued_runs import PACKAGE
from tests.integration.operator_cluster import API_VERSION, OperatorCluster, bbb_queue

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

SELECTOR = "app.kubernetes.io/name=b3lb-job,app.kubernetes.io/instance=b3lb-work"


@pytest.fixture(scope="module")
def operator(
    plane_with_definitions: ControlPlane, postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorCluster]:
    """An operator that knows the task `work`."""
    directory = tmp_path_factory.mktemp("operator")
    environment = {"PYTHONPATH": PACKAGE}
    with OperatorCluster(plane_with_definitions, postgres_server, directory, environment=environment) as running:
        # At the beginning, so that no test waits for the autoscaler.
        running.apply(on_demand("scaled", "update-statistics"), autoscaler("scaled"))
        yield running
    assert running.problems() == []


@pytest.fixture
def cluster(operator: OperatorCluster) -> Iterator[OperatorCluster]:
    """The operator, without queues and runs."""
    yield operator
    operator.kubectl("delete", "bbbqueues", "work", "core", "--ignore-not-found", "--timeout=20s")
    operator.kubectl("delete", "jobs", "--all", "--wait=false")
    with operator.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM task_runs"))


def on_demand(name: str, task: str, **spec: Any) -> dict[str, Any]:
    """Return a queue without a schedule."""
    fields = {"tasks": [task], **spec}
    return {"apiVersion": API_VERSION, "kind": "BBBQueue", "metadata": {"name": name}, "spec": fields}


def autoscaler(queue: str) -> dict[str, Any]:
    """Return a HorizontalPodAutoscaler of three to ten."""
    reference = {"apiVersion": API_VERSION, "kind": "BBBQueue", "name": queue}
    target = {"type": "AverageValue", "averageValue": "1"}
    metric = {"type": "External", "external": {"metric": {"name": "b3lb_queue_length"}, "target": target}}
    spec = {"scaleTargetRef": reference, "minReplicas": 3, "maxReplicas": 10, "metrics": [metric]}
    metadata = {"name": queue}
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": spec}


def declare(cluster: OperatorCluster, **spec: Any) -> None:
    """Declare the queue `work`, which runs on demand, and wait until its numbers are shown."""
    cluster.apply(on_demand("work", "work", **spec))
    cluster.expect_condition("bbbqueue", "work", "True/OnDemand", within=10)
    cluster.expect("its numbers are shown", lambda: "depth" in cluster.get("bbbqueue", "work")["status"], within=10)


def enqueue(cluster: OperatorCluster, count: int) -> None:
    """Enqueue runs, all in the same moment."""
    with transaction(cluster.engine, timeout_seconds=10) as connection:
        for _ in range(count):
            task_queue.enqueue(connection, namespace=cluster.namespace, queue="work", task="work")


def jobs(cluster: OperatorCluster) -> list[str]:
    return cluster.kubectl("get", "jobs", "-l", "b3lb.io/run", "-o", "name").split()


def numbers(cluster: OperatorCluster) -> tuple[int, int, int]:
    """Return depth, active and replicas as the status has them."""
    status = cluster.get("bbbqueue", "work")["status"]
    return status["depth"], status["active"], status["replicas"]


def scale_of(cluster: OperatorCluster, name: str = "work") -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(
        cluster.kubectl("get", "bbbqueue", name, "--subresource=scale", "--output=json")
    )
    return answer


def end(cluster: OperatorCluster, runs: Sequence[UUID]) -> None:
    """Let the pods of the first attempts of some runs succeed."""
    with transaction(cluster.engine, timeout_seconds=10) as connection:
        for run_id in runs:
            begin_attempt(connection, run_id, attempt=1, pod="pod")
            end_attempt(connection, run_id, attempt=1, end=AttemptEnd(state=TaskState.SUCCESS))


def in_flight(cluster: OperatorCluster) -> list[UUID]:
    with cluster.engine.connect() as connection:
        return list(connection.execute(sa.text("SELECT id FROM task_runs WHERE in_flight")).scalars())


def test_fifty_runs_get_ten_places_within_fifteen_seconds_and_three_when_they_are_over(
    cluster: OperatorCluster,
) -> None:
    declare(cluster, autoscaling={"minReplicas": 3, "maxReplicas": 10})
    assert numbers(cluster) == (0, 0, 3)
    before = cluster.get("bbbqueue", "work")
    enqueue(cluster, 50)
    cluster.expect("ten runs have a Job", lambda: len(jobs(cluster)) == 10, within=15)
    cluster.expect("the status says so", lambda: numbers(cluster) == (40, 10, 10), within=15)
    after = cluster.get("bbbqueue", "work")
    assert (after["spec"], after["metadata"]["generation"]) == (before["spec"], before["metadata"]["generation"])
    assert scale_of(cluster)["status"] == {"replicas": 10, "selector": SELECTOR}
    assert len(jobs(cluster)) == len(in_flight(cluster)) == 10
    with transaction(cluster.engine, timeout_seconds=10) as connection:
        task_queue.purge(connection, cluster.namespace, "work", why="enough")
    end(cluster, in_flight(cluster))
    cluster.expect("the least is left", lambda: scale_of(cluster)["status"]["replicas"] == 3, within=20)


def test_kubectl_scale_changes_how_many_are_at_work(cluster: OperatorCluster) -> None:
    declare(cluster)
    enqueue(cluster, 6)
    cluster.expect("one run has a Job", lambda: len(jobs(cluster)) == 1, within=10)
    cluster.kubectl("scale", "bbbqueue", "work", "--replicas=4")
    cluster.expect("four runs have a Job", lambda: len(jobs(cluster)) == 4, within=10)
    cluster.expect(
        "kubectl shows it",
        lambda: (scale_of(cluster)["spec"], scale_of(cluster)["status"]["replicas"]) == ({"replicas": 4}, 4),
        within=10,
    )
    selector = scale_of(cluster)["status"]["selector"]
    cluster.expect(
        "its pods are found by the selector",
        lambda: len(cluster.kubectl("get", "pods", "-l", selector, "-o", "name").split()) == 4,
        within=10,
    )
    cluster.kubectl("scale", "bbbqueue", "work", "--replicas=2", "--current-replicas=4")
    assert cluster.get("bbbqueue", "work")["spec"]["concurrency"] == 2
    assert len(jobs(cluster)) == 4


def test_what_cannot_be_scaled_is_refused_with_the_reason(cluster: OperatorCluster) -> None:
    cluster.apply(bbb_queue("core"))
    declare(cluster, autoscaling={"minReplicas": 3, "maxReplicas": 10})
    for name, replicas, words in (
        ("core", 2, "concurrency must be 1 beside a schedule"),
        ("work", 4, "autoscaling must stand alone"),
        ("work", 0, "spec.concurrency"),
    ):
        with pytest.raises(KubectlError, match=words):
            cluster.kubectl("scale", "bbbqueue", name, f"--replicas={replicas}")


def test_twenty_runs_whose_pods_die_together_begin_again_over_more_than_five_seconds(
    cluster: OperatorCluster,
) -> None:
    declare(cluster, concurrency=20)
    enqueue(cluster, 20)
    cluster.expect("twenty pods are there", lambda: len(pods(cluster)) == 20, within=30)
    dead = json.dumps({"status": {"phase": "Failed", "reason": "NodeLost"}})
    cluster.kubectl("patch", *pods(cluster), "--subresource=status", "--type=merge", "-p", dead)
    cluster.expect("all begin again", lambda: len(second_attempts(cluster)) == 20, within=45)
    moments = second_attempts(cluster)
    assert (moments[-1] - moments[0]).total_seconds() >= 5


def test_kubernetes_own_autoscaler_has_raised_a_queue_to_its_least(cluster: OperatorCluster) -> None:
    """It does so without asking for metrics, of which there are none here, within its period of 15 s."""
    cluster.expect("it has three places", lambda: scale_of(cluster, "scaled")["spec"] == {"replicas": 3}, within=30)


def pods(cluster: OperatorCluster) -> list[str]:
    return cluster.kubectl("get", "pods", "-l", SELECTOR, "-o", "name").split()


def second_attempts(cluster: OperatorCluster) -> list[Any]:
    """Return when the second attempts were released."""
    statement = "SELECT released_at FROM task_runs WHERE attempts = 2 ORDER BY released_at"
    with cluster.engine.connect() as connection:
        return list(connection.execute(sa.text(statement)).scalars())
