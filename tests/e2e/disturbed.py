"""What the tests of faults ask before and after: is the status the truth, and does polling go on?"""

from __future__ import annotations

from dev.scenario import Scenario

SLOT_SECONDS = 60


def assert_truth(scenario: Scenario) -> None:
    """The refusing node is not Ready, all others are."""
    conditions = {node.name: scenario.condition(node.name, "Ready") for node in scenario.farm.nodes}
    dead, *living = scenario.farm.nodes
    assert conditions == {dead.name: "False/Refused", **{node.name: "True/Responding" for node in living}}


def polled_again(scenario: Scenario, *, within: float) -> None:
    """Wait until a living node has been polled anew."""
    name = scenario.farm.nodes[1].name
    scenario.farm.control.reset_counters()
    scenario.expect("polls go on", lambda: scenario.requests(name) > 0, within=within)


def recovers(scenario: Scenario, *, within: float) -> None:
    """The dead node answers again, and the status says so."""
    name = scenario.farm.nodes[0].name
    scenario.farm.control.set_behaviour(name, "ok")
    scenario.expect_condition(name, "Ready", "True/Responding", within=within)
