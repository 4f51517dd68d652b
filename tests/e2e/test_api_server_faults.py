"""The API server goes away and comes back: no wrong state, and polling goes on within a slot."""

from __future__ import annotations

import time

import pytest

from dev.scenario import SEAM_SECONDS, TICK_SECONDS, Scenario
from tests.e2e.disturbed import SLOT_SECONDS, assert_truth, polled_again, recovers

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]


@pytest.mark.parametrize("seconds", [20, 90])
def test_an_api_server_that_is_away_costs_at_most_a_slot(ticking: Scenario, seconds: int) -> None:
    plane = ticking.installation.environment.control_plane
    operator = ticking.installation.operator
    plane.kill("kube-apiserver")
    time.sleep(seconds)
    assert operator.running
    plane.restart("kube-apiserver")
    # A cluster's controllers lose their leader election meanwhile, end and are started anew; these have none, and
    # would wait up to 40 s in their own back-off.
    plane.restart("kube-controller-manager")
    plane.restart("kube-scheduler")
    polled_again(ticking, within=SLOT_SECONDS + SEAM_SECONDS)
    ticking.expect("the operator is ready", lambda: ticking.installation.answers("/readyz"), within=15)
    assert_truth(ticking)
    # The dead node's back-off is at most 60 s; then it has to answer twice.
    recovers(ticking, within=SLOT_SECONDS + 2 * TICK_SECONDS + SEAM_SECONDS)
