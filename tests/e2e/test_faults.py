"""Faults, made by killing things: no wrong state, and recovery within a slot of the fault's end."""

from __future__ import annotations

import time

import psutil
import pytest

from dev.scenario import SEAM_SECONDS, TICK_SECONDS, Scenario
from tests.e2e.disturbed import SLOT_SECONDS, assert_truth, polled_again, recovers

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]


def job_processes(namespace: str) -> list[psutil.Process]:
    """Return the processes of the namespace's job pods."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        line, variables = process.info["cmdline"] or [], process.info["environ"] or {}
        if any("b3lb-job" in word for word in line) and variables.get("B3LB_NAMESPACE") == namespace:
            found.append(process)
    return found


def test_a_job_killed_in_a_tick_leaves_the_truth_and_the_next_slot_goes_on(ticking: Scenario) -> None:
    """One of the two tests that wait for a real slot."""
    hanging = ticking.farm.nodes[2].name
    ticking.farm.control.set_behaviour(hanging, "slow", seconds=2)
    ticking.expect(
        "a poll is in flight", lambda: ticking.farm.control.counters().nodes[hanging].in_flight > 0, within=SEAM_SECONDS
    )
    for process in job_processes(ticking.installation.namespace):
        process.kill()
    ticking.farm.control.set_behaviour(hanging, "ok")
    assert_truth(ticking)
    polled_again(ticking, within=SLOT_SECONDS + 10)
    assert_truth(ticking)


def test_a_killed_operator_comes_back_with_the_truth_and_without_repeated_events(ticking: Scenario) -> None:
    events = ticking.installation.kubectl("get", "events", "-o", "name").splitlines()
    ticking.installation.operator.kill()
    ticking.farm.control.set_behaviour(ticking.farm.nodes[1].name, "http-500")
    ticking.expect("it is started anew and ready", lambda: ticking.installation.answers("/readyz"), within=15)
    ticking.start_job()
    within = 3 * TICK_SECONDS + SEAM_SECONDS + 10
    ticking.expect_condition(ticking.farm.nodes[1].name, "Ready", "False/HTTPStatus", within=within)
    again = [
        name for name in ticking.installation.kubectl("get", "events", "-o", "name").splitlines() if name not in events
    ]
    dead = ticking.farm.nodes[0].name
    assert [name for name in again if name.startswith(f"event/{dead}.")] == []


def test_a_database_that_is_away_for_thirty_seconds_changes_no_state(ticking: Scenario) -> None:
    postgres = ticking.installation.environment.postgres
    postgres.kill()
    time.sleep(5)
    assert not ticking.installation.answers("/readyz")
    time.sleep(25)
    assert_truth(ticking)
    postgres.restart()
    polled_again(ticking, within=SLOT_SECONDS + SEAM_SECONDS)
    ticking.expect("the operator is ready", lambda: ticking.installation.answers("/readyz"), within=15)
    assert_truth(ticking)
    recovers(ticking, within=SLOT_SECONDS + 2 * TICK_SECONDS + SEAM_SECONDS)


def test_a_node_deleted_while_the_operator_is_down_is_not_polled_any_more(ticking: Scenario) -> None:
    gone = ticking.farm.nodes[1].name
    ticking.farm.control.end_meetings(gone)
    ticking.installation.operator.stop()
    ticking.installation.kubectl("delete", "bbbnode", gone, "--wait=false")
    ticking.installation.start_operator()
    ticking.start_job()
    ticking.expect(
        "the node is gone",
        lambda: not ticking.exists("bbbnode", gone),
        within=TICK_SECONDS + SEAM_SECONDS,
    )
    ticking.farm.control.reset_counters()
    other = ticking.farm.nodes[2].name
    ticking.expect("the others are polled", lambda: ticking.requests(other) >= 2, within=SEAM_SECONDS)
    assert ticking.requests(gone) == 0
