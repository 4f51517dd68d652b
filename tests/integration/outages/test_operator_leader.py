"""Two operators of which one leads: it dies, is stopped for a while, or ends, and the other one goes on in time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from b3lb_operator.leadership import LEADER_LEASE_NAME
from dev.controlplane import ControlPlane
from dev.postgres import Postgres
from dev.processes import ManagedProcess
from tests.integration.operator_cluster import OperatorCluster, bbb_queue

# The first use of the control plane's programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

WITHOUT_LEADER_SECONDS = 20


class Pair:
    """Two operators of one namespace; ``cluster.process`` is the first to lead."""

    def __init__(self, cluster: OperatorCluster, first: ManagedProcess, second: ManagedProcess) -> None:
        self.cluster, self.first, self.second = cluster, first, second

    def holder(self) -> str:
        lease = self.cluster.get("lease", LEADER_LEASE_NAME)
        return str(lease.get("spec", {}).get("holderIdentity", ""))

    def repaired(self, within: float) -> float:
        """Take the CronJob away and return how long it took until a leader brought it back."""
        self.cluster.kubectl("delete", "cronjob", "b3lb-core")
        return self.cluster.expect(
            "the CronJob is back", lambda: bool(self.cluster.get("cronjob", "b3lb-core")), within=within
        )


@pytest.fixture
def pair(plane_with_definitions: ControlPlane, postgres: Postgres, tmp_path: Path) -> Iterator[Pair]:
    environment = {"B3LB_LEADER_ELECTION": "true"}
    cluster = OperatorCluster(plane_with_definitions, postgres, tmp_path, environment=environment)
    cluster.start()
    second = cluster.new_process(tmp_path / "second.log", port=0)
    second.start()
    cluster.apply(bbb_queue())
    cluster.expect("the CronJob", lambda: bool(cluster.get("cronjob", "b3lb-core")), within=10)
    cluster.expect(
        "the second waits", lambda: "waiting for the lead" in (tmp_path / "second.log").read_text(), within=10
    )
    pair = Pair(cluster, cluster.process, second)
    yield pair
    for process in (pair.first, pair.second):
        if process.running:
            process.resume()
        process.stop()
    cluster.engine.dispose()


def test_a_leader_that_is_killed_is_followed_within_20_seconds(pair: Pair) -> None:
    holder = pair.holder()
    pair.first.kill()
    assert pair.repaired(WITHOUT_LEADER_SECONDS) > 5
    assert pair.holder() != holder


def test_a_leader_that_ends_is_followed_at_once(pair: Pair) -> None:
    pair.first.stop()
    assert pair.first.exit_code == 0
    assert pair.repaired(8) < 8


def test_a_leader_that_stood_still_does_no_harm_when_it_goes_on_and_ends_by_itself(pair: Pair) -> None:
    cluster = pair.cluster
    pair.first.pause()
    assert pair.repaired(WITHOUT_LEADER_SECONDS) > 5
    holder = pair.holder()
    cluster.patch("bbbqueue", "core", {"spec": {"successfulJobsHistoryLimit": 7}})

    def limit() -> int:
        return int(cluster.get("cronjob", "b3lb-core")["spec"]["successfulJobsHistoryLimit"])

    cluster.expect("the second follows", lambda: limit() == 7, within=5)
    version = cluster.get("cronjob", "b3lb-core")["metadata"]["resourceVersion"]
    pair.first.resume()
    cluster.expect("the first ends", lambda: not pair.first.running, within=20)
    assert pair.first.exit_code == 75
    time.sleep(2)
    assert cluster.get("cronjob", "b3lb-core")["metadata"]["resourceVersion"] == version
    assert pair.holder() == holder
    assert pair.second.running
