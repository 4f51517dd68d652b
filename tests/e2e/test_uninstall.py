"""An uninstallation with the defaults, whose hook runs as a pod: nothing waits for the operator that is gone."""

from __future__ import annotations

import pytest

from dev.environment import Environment, Installation
from dev.farm.process import Farm
from dev.scenario import NOTHING_DECLARED, Scenario

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]

DELETION_SECONDS = 30


def test_after_an_uninstallation_the_namespace_with_its_nodes_is_deleted_at_once(environment: Environment) -> None:
    if not environment.isolated:
        pytest.skip("a pod with a token takes root")
    release = Installation(environment, "e2e-uninstalled", values=NOTHING_DECLARED)
    release.install()
    release.wait_ready()
    with Farm(nodes=2, meetings=3, attendees=5, frozen=True) as farm:
        scenario = Scenario(release, farm)
        scenario.declare()
        for node in farm.nodes:
            scenario.expect_condition(node.name, "Ready", "True/Responding", within=10)
        release.helm("uninstall", "--wait", "--timeout=60s")
        kinds = "jobs,roles,rolebindings,networkpolicies,serviceaccounts,pods"
        assert "uninstall" not in release.kubectl("get", kinds, "-o", "name")
        assert len(release.kubectl("get", "bbbnodes", "-o", "name").splitlines()) == len(farm.nodes)
        release.kubectl("delete", "namespace", release.namespace, "--wait=false")
        find = ("get", "namespace", release.namespace, "--ignore-not-found", "-o", "name")
        scenario.expect("the namespace is gone", lambda: not release.kubectl(*find), within=DELETION_SECONDS)
