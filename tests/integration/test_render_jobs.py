"""Renders on a real control plane and database: whom Kubernetes replaces, what a pod's death means, and who is next.

There is no node: the tests play the pods.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from dev.controlplane import ControlPlane
from dev.postgres import Postgres
from tests.integration.enqueued_runs import get
from tests.integration.operator_cluster import API_VERSION, OperatorCluster, bbb_record_profile
from tests.integration.render_player import RenderPlayer, memory_limit
from tests.integration.render_rows import plan_renders, record_of
from tests.integration.render_scale import most_at_once, render_all

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

CONCURRENCY = 4


@pytest.fixture(scope="module")
def cluster(
    plane_with_definitions: ControlPlane, postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorCluster]:
    """An operator with the queue `record`, four at a time, and the profile `hd`."""
    directory = tmp_path_factory.mktemp("operator")
    with OperatorCluster(plane_with_definitions, postgres_server, directory) as running:
        running.apply(bbb_record_profile("hd"), render_queue())
        running.expect_condition("bbbqueue", "record", "True/OnDemand", within=10)
        running.expect_condition("bbbrecordprofile", "hd", "True/Accepted", type_="Accepted", within=10)
        yield running
    assert running.problems() == []


@pytest.fixture
def player(cluster: OperatorCluster) -> RenderPlayer:
    return RenderPlayer(cluster)


def render_queue(**spec: Any) -> dict[str, Any]:
    """Return the queue of renders."""
    fields = {"tasks": ["render-record"], "concurrency": CONCURRENCY, **spec}
    return {"apiVersion": API_VERSION, "kind": "BBBQueue", "metadata": {"name": "record"}, "spec": fields}


def planned(cluster: OperatorCluster, record_id: str) -> UUID:
    (run_id,) = plan_renders(cluster.engine, cluster.namespace, [record_id])
    return run_id


def state(cluster: OperatorCluster, run_id: UUID) -> str:
    return get(cluster.engine, cluster.namespace, run_id).state


def job_of(cluster: OperatorCluster, pod: dict[str, Any]) -> dict[str, Any]:
    return cluster.get("job", pod["metadata"]["labels"]["batch.kubernetes.io/job-name"])


def conditions(job: dict[str, Any]) -> dict[str, str]:
    found = job["status"].get("conditions", [])
    return {item["type"]: item.get("reason", "") for item in found if item["status"] == "True"}


def test_a_drained_pod_is_replaced_within_the_attempt_and_never_beside_the_other(
    cluster: OperatorCluster, player: RenderPlayer
) -> None:
    run_id = planned(cluster, "drained")
    first = player.next_pod(run_id)
    assert player.begin(first)
    player.die(first, 143, disrupted=True)
    second = player.next_pod(run_id, after=first)
    assert player.begin(second)
    assert player.succeed(second)
    cluster.expect("the Job is complete", lambda: "Complete" in conditions(job_of(cluster, second)), within=15)
    run = get(cluster.engine, cluster.namespace, run_id)
    assert (run.state, run.attempts) == ("SUCCESS", 1)
    assert record_of(cluster.engine, run_id)[0] == "RENDERED"


def test_a_pod_that_says_that_it_is_no_use_ends_its_job_at_once(cluster: OperatorCluster, player: RenderPlayer) -> None:
    run_id = planned(cluster, "broken")
    pod = player.next_pod(run_id)
    assert player.begin(pod)
    player.die(pod, 65)
    cluster.expect("the run has failed", lambda: state(cluster, run_id) == "FAILURE", within=30)
    assert conditions(job_of(cluster, pod))["Failed"] == "PodFailurePolicy"
    assert player.pods(run_id) == []


def test_a_pod_that_is_killed_for_its_memory_is_followed_by_one_with_half_as_much_more_and_by_no_third(
    cluster: OperatorCluster, player: RenderPlayer
) -> None:
    run_id = planned(cluster, "large")
    first = player.next_pod(run_id)
    assert player.begin(first)
    assert memory_limit(first) == "10Gi"
    player.die(first, 137, "OOMKilled")
    second = player.next_pod(run_id, after=first)
    assert memory_limit(second) == "15Gi"
    assert player.begin(second)
    player.die(second, 137, "OOMKilled")
    cluster.expect("the run has failed", lambda: state(cluster, run_id) == "FAILURE", within=30)
    assert record_of(cluster.engine, run_id) == ("FAILED", "OutOfMemory", 1)


def test_a_render_whose_queue_was_deleted_with_its_job_while_no_operator_ran_is_done_by_the_next_queue(
    cluster: OperatorCluster, player: RenderPlayer
) -> None:
    run_id = planned(cluster, "collected")
    first = player.next_pod(run_id)
    assert player.begin(first)
    cluster.process.stop()
    # The garbage collector learns of new kinds every half a minute only.
    cluster.kubectl("delete", "bbbqueue/record", f"job/{job_of(cluster, first)['metadata']['name']}")
    cluster.expect("the pod went with its Job", lambda: player.pods(run_id) == [], within=15)
    cluster.start()
    cluster.expect("the render waits", lambda: state(cluster, run_id) == "RETRY", within=15)
    assert record_of(cluster.engine, run_id)[0] == "PENDING"
    cluster.apply(render_queue())
    second = player.next_pod(run_id, after=first)
    assert player.begin(second)
    assert player.succeed(second)
    assert record_of(cluster.engine, run_id)[0] == "RENDERED"


def test_many_recordings_at_once_are_rendered_four_at_a_time_once_each_and_fairly(
    cluster: OperatorCluster, player: RenderPlayer
) -> None:
    many = plan_renders(cluster.engine, cluster.namespace, [f"a-{number}" for number in range(22)], tenant="AAA")
    few = plan_renders(cluster.engine, cluster.namespace, [f"b-{number}" for number in range(6)], tenant="BBB")
    order = render_all(player, [*many, *few], within=120)
    assert sorted(order) == sorted([*many, *few])
    assert most_at_once(cluster.engine, [*many, *few]) == CONCURRENCY
    last_of_few = max(order.index(run) for run in few)
    assert last_of_few < 2 * len(few) + 2 * CONCURRENCY
    with cluster.engine.connect() as connection:
        attempts = connection.execute(sa.text("SELECT max(attempts) FROM task_runs WHERE tenant IS NOT NULL"))
        assert attempts.scalar_one() == 1
