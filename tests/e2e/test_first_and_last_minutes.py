"""A release that waits for a Secret, and one that is uninstalled and whose nodes wait for nobody."""

from __future__ import annotations

import pytest

from b3lb.crypto import KeyRing
from dev.environment import Environment, Installation
from dev.farm.process import Farm
from dev.scenario import NOTHING_DECLARED, Scenario

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]

DELETION_SECONDS = 30


def test_an_operator_whose_key_is_missing_runs_and_is_ready_as_soon_as_it_is_there(environment: Environment) -> None:
    values = {**NOTHING_DECLARED, "encryption": {"existingSecret": {"name": "key"}}}
    release = Installation(environment, "e2e-waiting", values=values)
    release.install()
    try:
        assert release.wait_until(lambda: release.answers("/livez"), timeout=30)
        assert not release.answers("/readyz")
        release.kubectl("create", "secret", "generic", "key", f"--from-literal=keys={KeyRing.generate('k1').export()}")
        assert release.wait_until(lambda: release.answers("/readyz"), timeout=30)
        log = "".join(path.read_text() for path in release.logs() if "operator" in str(path))
        assert log.count("Secret e2e-waiting/key does not exist") == 1
    finally:
        release.operator.stop()
        release.helm("uninstall", "--no-hooks")


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
