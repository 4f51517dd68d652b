"""A node declared with kubectl is polled, and its health is true in `kubectl get bbbnodes`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from dev.environment import Installation
from dev.farm.process import Farm
from dev.scenario import SEAM_SECONDS, TICK_SECONDS, Scenario, bbb_node, cluster, core_queue, secret

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


@pytest.fixture
def installation(shared_installation: Installation) -> Installation:
    """One release for all tests of this file."""
    return shared_installation


TIMEOUT_SECONDS = 5
UNHEALTHY_AFTER = 3


def test_a_new_node_that_answers_is_ready_within_five_seconds(scenario: Scenario) -> None:
    began = time.monotonic()
    scenario.declare()
    for node in scenario.farm.nodes:
        scenario.expect_condition(node.name, "Ready", "True/Responding", within=5 - (time.monotonic() - began))
    status = scenario.get("bbbnode", scenario.farm.nodes[0].name)["status"]
    truth = scenario.farm.control.node(scenario.farm.nodes[0].name)
    assert (status["meetings"], status["attendees"]) == (truth.meetings, truth.attendees)
    assert status["observedGeneration"] == 1


def test_a_new_node_that_hangs_says_timeout_within_its_time_out_and_two_seconds(scenario: Scenario) -> None:
    node = scenario.farm.nodes[0]
    scenario.farm.control.set_behaviour(node.name, "hang")
    scenario.declare([node])
    scenario.expect_condition(node.name, "Ready", "False/Timeout", within=TIMEOUT_SECONDS + 2)


def test_dead_nodes_are_suspect_at_once_and_not_ready_after_three_polls_with_the_exact_reason(
    installation: Installation, start_farm: Callable[..., Farm]
) -> None:
    """Four kinds of failure, side by side, among enough healthy nodes to keep the mass-failure guard out of it."""
    scenario = Scenario(installation, start_farm(nodes=9, frozen=True))
    scenario.declare()
    names = [node.name for node in scenario.farm.nodes]
    for name in names:
        scenario.expect_condition(name, "Ready", "True/Responding", within=10)
    scenario.start_job()
    scenario.expect("a tick was done", lambda: bool(scenario.requests(names[0])), within=SEAM_SECONDS)
    failures = {"refused": "Refused", "http-500": "HTTPStatus", "wrong-secret": "ChecksumError", "hang": "Timeout"}
    broken = dict(zip(names, failures, strict=False))
    for name, behaviour in broken.items():
        scenario.farm.control.set_behaviour(name, behaviour)
    began = time.monotonic()
    for name in broken:
        limit = TICK_SECONDS + SEAM_SECONDS + TIMEOUT_SECONDS - (time.monotonic() - began)
        scenario.expect_condition(name, "Schedulable", "False/", within=limit)
    limit = UNHEALTHY_AFTER * TICK_SECONDS + TIMEOUT_SECONDS + 10 + SEAM_SECONDS
    for name, behaviour in broken.items():
        left = limit - (time.monotonic() - began)
        scenario.expect_condition(name, "Ready", f"False/{failures[behaviour]}", within=left)
    assert all(scenario.condition(name, "Ready") == "True/Responding" for name in names[len(broken) :])
    for name in broken:
        scenario.farm.control.set_behaviour(name, "ok")
    began = time.monotonic()
    # A failing node is asked again after its present delay, and has to answer twice.
    limit = 4 * TICK_SECONDS + 2 * TICK_SECONDS + SEAM_SECONDS
    for name in broken:
        scenario.expect_condition(name, "Ready", "True/Responding", within=limit - (time.monotonic() - began))
    events = json.loads(scenario.installation.kubectl("get", "events", "-o", "json"))["items"]
    of_first = [event["reason"] for event in events if event["involvedObject"]["name"] == names[0]]
    assert of_first.count("Refused") == 1, of_first


def test_a_missing_secret_is_a_reason_and_heals_within_five_seconds_of_its_appearance(scenario: Scenario) -> None:
    node = scenario.farm.nodes[0]
    scenario.apply(cluster(), bbb_node(node), core_queue(suspend=True))
    scenario.expect_condition(node.name, "Ready", "False/SecretNotFound", within=5)
    scenario.apply(secret(node.name, node.secret))
    scenario.expect_condition(node.name, "Ready", "True/Responding", within=5)


def test_a_missing_cluster_is_a_reason_and_heals_within_five_seconds_of_its_appearance(scenario: Scenario) -> None:
    node = scenario.farm.nodes[0]
    scenario.apply(secret(node.name, node.secret), bbb_node(node), core_queue(suspend=True))
    scenario.expect_condition(node.name, "Ready", "False/ClusterNotFound", within=5)
    scenario.apply(cluster())
    scenario.expect_condition(node.name, "Ready", "True/Responding", within=5)


def test_a_corrected_secret_makes_the_node_ready_within_five_seconds(scenario: Scenario) -> None:
    node = scenario.farm.nodes[0]
    scenario.apply(cluster(), secret(node.name, "not the secret"), bbb_node(node), core_queue(suspend=True))
    scenario.expect_condition(node.name, "Ready", "False/ChecksumError", within=5)
    scenario.apply(secret(node.name, node.secret))
    scenario.expect_condition(node.name, "Ready", "True/Responding", within=5)


def test_two_nodes_with_one_address_are_told_apart_by_age(scenario: Scenario) -> None:
    node = scenario.farm.nodes[0]
    scenario.declare([node])
    scenario.expect_condition(node.name, "Ready", "True/Responding", within=5)
    twin = bbb_node(node)
    twin["metadata"] = {"name": "twin"}
    scenario.apply(twin)
    scenario.expect_condition("twin", "Ready", "False/DuplicateURL", within=5)
    scenario.installation.kubectl("annotate", "bbbnode", node.name, "b3lb.io/force-delete=true")
    scenario.installation.kubectl("delete", "bbbnode", node.name, "--timeout=10s")
    scenario.expect_condition("twin", "Ready", "True/Responding", within=5)


def test_most_of_the_farm_failing_at_once_keeps_every_node_ready_and_says_mass_failure(scenario: Scenario) -> None:
    scenario.declare()
    names = [node.name for node in scenario.farm.nodes]
    for name in names:
        scenario.expect_condition(name, "Ready", "True/Responding", within=5)
    for name in names:
        scenario.farm.control.set_behaviour(name, "refused")
    scenario.start_job()
    within = TICK_SECONDS + SEAM_SECONDS
    scenario.expect_condition("default", "MassFailure", "True/", within=within, of="bbbcluster")
    time.sleep(2 * TICK_SECONDS)
    assert [scenario.condition(name, "Ready") for name in names] == ["True/Responding"] * 3
    assert [scenario.condition(name, "Schedulable") for name in names] == ["True/Schedulable"] * 3
    for name in names:
        scenario.farm.control.set_behaviour(name, "ok")
    scenario.expect_condition("default", "MassFailure", "False/", within=within, of="bbbcluster")
