"""An empty cluster, `helm install` with the defaults, a farm: what a new user gets, and how it goes away again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dev.environment import Environment, Installation
from dev.farm.process import Farm
from dev.helm import CHART
from dev.scenario import Scenario, example_objects
from tests.e2e.conftest import assert_no_problems

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]

NODES = 3
BAR_SECONDS = 45
GROUP = "app.kubernetes.io/part-of=b3lb"


@dataclass(frozen=True)
class Installed:
    """A release with its bundled database, and how long it took until every node was Ready."""

    scenario: Scenario
    seconds: float

    @property
    def release(self) -> Installation:
        """The release."""
        return self.scenario.installation


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, assets: Path, helm_program: Path) -> Iterator[Installed]:
    """The chart with its defaults on an empty cluster, and examples/minimal.yaml for three simulated servers."""
    assert helm_program.exists()
    directory = tmp_path_factory.mktemp("empty")
    with (
        Environment(directory, assets=assets, own_postgres=False) as environment,
        Farm(nodes=NODES, meetings=3, attendees=5, frozen=True, start_time="now") as farm,
    ):
        if not environment.isolated:
            pytest.skip("a bundled database takes root")
        scenario = Scenario(Installation(environment, "b3lb", bundled_database=True), farm)
        began = time.monotonic()
        scenario.installation.install()
        declare(scenario)
        scenario.expect("every node is Ready", lambda: ready(scenario) == NODES, within=4 * BAR_SECONDS)
        yield Installed(scenario, time.monotonic() - began)


def declare(scenario: Scenario) -> None:
    """Apply the example as soon as the definitions are known."""
    scenario.installation.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "-l", GROUP)
    scenario.apply(*example_objects(scenario.farm.nodes))


def ready(scenario: Scenario) -> int:
    """Return how many nodes `kubectl get bbbnodes` calls Ready."""
    lines = scenario.installation.kubectl("get", "bbbnodes", "--no-headers").splitlines()
    return sum(line.split()[1:3] == ["Active", "True"] for line in lines)


def identities(release: Installation) -> list[tuple[Any, ...]]:
    """Return what the database knows of nodes and tenants, with what it gave them itself."""
    with psycopg.connect(release.database_url) as connection:
        rows = connection.execute("SELECT id, uid::text, name FROM nodes UNION SELECT id, uid::text, name FROM tenants")
        return sorted(rows.fetchall())


def stuck(release: Installation) -> list[str]:
    """Return what is there of the release's workloads and objects, or is being deleted."""
    kinds = "pods,deployments,statefulsets,jobs,cronjobs,services,configmaps,roles,rolebindings,serviceaccounts,secrets"
    items = json.loads(release.kubectl("get", f"{kinds},persistentvolumeclaims,b3lb", "-o", "json"))["items"]
    kept = {"BBBNode", "BBBTenant", "BBBSecret", "PersistentVolumeClaim", "Secret"}
    return [
        f"{item['kind']}/{item['metadata']['name']}"
        for item in items
        if "deletionTimestamp" in item["metadata"]
        or (item["kind"] not in kept and item["metadata"]["name"] not in {"default", "kube-root-ca.crt"})
        or item["kind"].startswith(("BBBCluster", "BBBQueue"))
    ]


def finalizers(release: Installation) -> list[str]:
    """Return what holds the nodes when they are deleted."""
    return release.kubectl("get", "bbbnodes", "-o", "jsonpath={.items[*].metadata.finalizers[*]}").split()


def test_from_helm_install_to_a_true_status_of_every_node_takes_at_most_45_seconds(installed: Installed) -> None:
    print(f"\nhelm install to a true `kubectl get bbbnodes`: {installed.seconds:.1f} s")
    for number, node in enumerate(installed.scenario.farm.nodes, start=1):
        status = installed.scenario.get("bbbnode", f"bbb{number}")["status"]
        truth = installed.scenario.farm.control.node(node.name)
        assert (status["meetings"], status["attendees"]) == (truth.meetings, truth.attendees)
    assert installed.seconds <= BAR_SECONDS


def test_an_upgrade_keeps_the_data_an_uninstall_leaves_nothing_stuck_and_a_reinstall_goes_on(
    installed: Installed,
) -> None:
    scenario, release = installed.scenario, installed.release
    before, keys = identities(release), release.encryption_keys
    # Both pods are replaced.
    changes = ("--set=log.level=debug", "--set=database.bundled.podAnnotations.example=changed")
    release.helm("upgrade", str(CHART), *release.value_arguments(), *changes)
    release.kubectl("rollout", "status", "statefulset/b3lb-database", "--timeout=60s")
    release.kubectl("rollout", "status", "deployment/b3lb-operator", "--timeout=60s")
    release.wait_ready()
    assert (identities(release), release.encryption_keys) == (before, keys)

    assert finalizers(release) == ["b3lb.io/drain"] * NODES
    release.helm("uninstall", "--wait", "--timeout=60s")
    scenario.expect("everything that goes is gone", lambda: not stuck(release), within=60)
    assert (ready(scenario), finalizers(release)) == (NODES, [])

    release.helm("install", str(CHART), *release.value_arguments())
    scenario.expect("the operator is ready", lambda: release.answers("/readyz"), within=60)
    assert (identities(release), release.encryption_keys) == (before, keys)
    scenario.expect("the nodes are held again", lambda: len(finalizers(release)) == NODES, within=10)

    arguments = (*release.value_arguments(), "--set=crds.keep=false")
    release.helm("upgrade", str(CHART), *arguments)
    release.helm("uninstall", "--wait", "--timeout=120s")
    definitions = release.kubectl("get", "crds", "-o", "name")
    assert "b3lb.io" not in definitions
    assert_no_problems(release)
