"""Cordon, drain, disable and delete."""

from __future__ import annotations

import pytest

from dev.environment import Installation
from dev.scenario import SEAM_SECONDS, TICK_SECONDS, Scenario

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


@pytest.fixture
def installation(shared_installation: Installation) -> Installation:
    """One release for all tests of this file."""
    return shared_installation


def test_a_cordoned_node_takes_no_rooms_within_five_seconds_and_stays_ready(scenario: Scenario) -> None:
    scenario.declare(suspend=True)
    name = scenario.farm.nodes[0].name
    scenario.expect_condition(name, "Ready", "True/Responding", within=5)
    scenario.patch("bbbnode", name, {"state": "Cordoned"})
    scenario.expect_condition(name, "Schedulable", "False/Cordoned", within=5)
    assert scenario.condition(name, "Ready") == "True/Responding"
    scenario.patch("bbbnode", name, {"state": "Active"})
    scenario.expect_condition(name, "Schedulable", "True/Schedulable", within=5)


def test_a_disabled_node_is_not_polled_and_is_ready_again_within_five_seconds_of_being_active(
    scenario: Scenario,
) -> None:
    scenario.declare(suspend=True)
    name = scenario.farm.nodes[0].name
    scenario.expect_condition(name, "Ready", "True/Responding", within=5)
    scenario.patch("bbbnode", name, {"state": "Disabled"})
    scenario.expect_condition(name, "Ready", "False/Disabled", within=5)
    scenario.farm.control.reset_counters()
    scenario.start_job()
    scenario.expect(
        "the others are polled",
        lambda: bool(scenario.requests(scenario.farm.nodes[1].name)),
        within=SEAM_SECONDS,
    )
    assert scenario.requests(name) == 0
    scenario.patch("bbbnode", name, {"state": "Active"})
    scenario.expect_condition(name, "Ready", "True/Responding", within=5)


def test_a_draining_node_is_drained_within_a_tick_of_its_last_meetings_end(scenario: Scenario) -> None:
    scenario.declare()
    name = scenario.farm.nodes[0].name
    scenario.expect_condition(name, "Ready", "True/Responding", within=5)
    scenario.patch("bbbnode", name, {"state": "Draining"})
    scenario.expect_condition(name, "Drained", "False/MeetingsRunning", within=5)
    assert scenario.condition(name, "Schedulable") == "False/Draining"
    scenario.farm.control.end_meetings(name)
    scenario.start_job()
    scenario.expect_condition(name, "Drained", "True/NoMeetings", within=TICK_SECONDS + SEAM_SECONDS)


def test_a_deleted_node_goes_only_after_a_fresh_poll_without_meetings(scenario: Scenario) -> None:
    scenario.declare()
    name = scenario.farm.nodes[0].name
    scenario.expect_condition(name, "Ready", "True/Responding", within=5)
    scenario.start_job()
    scenario.installation.kubectl("delete", "bbbnode", name, "--wait=false")
    scenario.expect_condition(name, "Schedulable", "False/Deleting", within=5)
    scenario.expect("two ticks were done", lambda: scenario.requests(name) >= 4, within=2 * SEAM_SECONDS)
    assert scenario.exists("bbbnode", name)
    scenario.farm.control.end_meetings(name)
    scenario.expect(
        "the node is gone", lambda: not scenario.exists("bbbnode", name), within=TICK_SECONDS + SEAM_SECONDS
    )


def test_the_drain_deadline_lets_a_deleted_node_go_although_meetings_run(scenario: Scenario) -> None:
    scenario.declare()
    name = scenario.farm.nodes[0].name
    scenario.patch("bbbnode", name, {"drain": {"deadlineSeconds": 6}})
    scenario.expect_condition(name, "Ready", "True/Responding", within=5)
    scenario.installation.kubectl("delete", "bbbnode", name, "--wait=false")
    scenario.expect_condition(name, "Drained", "False/", within=4)
    scenario.expect("the node is gone", lambda: not scenario.exists("bbbnode", name), within=6 + 10)
