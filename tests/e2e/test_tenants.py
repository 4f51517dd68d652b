"""Tenants and their API secrets: what each sees is what its meetings on the farm are, within a tick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from dev.environment import Installation
from dev.farm.process import Farm
from dev.scenario import SEAM_SECONDS, TICK_SECONDS, Scenario, bbb_secret, bbb_tenant, core_queue, queue

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

PLACES = (("UNIA", 0), ("UNIA", 1), ("UNIA", 2), ("UNIB", 1))
# A tick, the seam between two pods, and the operator's look at the database.
NEXT_TICK = TICK_SECONDS + SEAM_SECONDS
GAUGES = ("meetings", "attendees", "listeners", "voices", "videos", "moderators")


@pytest.fixture
def tenants(installation: Installation, start_farm: Callable[..., Farm]) -> Scenario:
    """A farm with the meetings of two tenants, polled by a running pod; every secret is accepted."""
    scenario = Scenario(installation, start_farm(nodes=3, meetings=8, attendees=6, tenants=PLACES))
    scenario.apply(*(bbb_tenant(slug) for slug in ("UNIA", "UNIB")), *(bbb_secret(*place) for place in PLACES))
    scenario.declare()
    for name in ("unia-000", "unia-001", "unia-002", "unib-001"):
        scenario.expect_condition(name, "Accepted", "True/Accepted", of="bbbsecret", within=10)
    scenario.start_job()
    scenario.expect("the lists are there", lambda: bool(scenario.meetings("unia-000")), within=NEXT_TICK)
    return scenario


def truth(scenario: Scenario, secret: str) -> dict[str, Any]:
    """Return what the farm knows of a secret's meetings, of the whole tenant's for sub-id 000."""
    slug, sub_id = secret.upper().split("-")
    control = scenario.farm.control
    found = control.tenant(slug) if sub_id == "000" else control.secret(slug, int(sub_id))
    return {gauge: getattr(found, gauge) for gauge in GAUGES}


def listed(scenario: Scenario, secret: str) -> dict[str, int]:
    """Return what the list of a secret adds up to."""
    meetings = scenario.meetings(secret)
    return {"meetings": len(meetings), "attendees": sum(meeting["attendees"] for meeting in meetings)}


def usage(scenario: Scenario, name: str, kind: str = "bbbsecret") -> dict[str, int]:
    """Return the usage in a status."""
    found: dict[str, int] = scenario.get(kind, name).get("status", {}).get("usage", {})
    return found


def test_lists_and_usage_follow_the_farm_within_a_tick(tenants: Scenario) -> None:
    names = ("unia-000", "unia-001", "unia-002", "unib-001")
    for _ in range(2):
        tenants.farm.control.step(3)
        for name in names:
            known = truth(tenants, name)
            expected = {gauge: known[gauge] for gauge in ("meetings", "attendees")}
            tenants.expect(f"the list of {name}", lambda: listed(tenants, name) == expected, within=NEXT_TICK)  # noqa: B023 - called at once
    # Statuses are written at most every 30 s.
    for name in names:
        tenants.expect(f"usage of {name}", lambda: usage(tenants, name) == truth(tenants, name), within=45)  # noqa: B023 - called at once
    tenants.expect(
        "usage of unia", lambda: usage(tenants, "unia", "bbbtenant") == truth(tenants, "unia-000"), within=45
    )


def test_a_disabled_secret_sees_nothing_after_a_tick_while_its_nodes_keep_their_load(tenants: Scenario) -> None:
    nodes = [node.name for node in tenants.farm.nodes]
    before = [tenants.get("bbbnode", name)["status"]["attendees"] for name in nodes]
    tenants.patch("bbbsecret", "unia-001", {"enabled": False})
    tenants.expect_condition("unia-001", "Accepted", "False/Disabled", of="bbbsecret", within=5)
    tenants.expect("its list is empty", lambda: tenants.meetings("unia-001") == [], within=NEXT_TICK)
    tenants.expect("its usage is 0", lambda: set(usage(tenants, "unia-001").values()) == {0}, within=45)
    assert tenants.meetings("unia-002")
    tenants.patch("bbbtenant", "unia", {"enabled": False})
    tenants.expect_condition("unia", "Accepted", "False/Disabled", of="bbbtenant", within=5)
    tenants.expect_condition("unia-002", "Accepted", "False/TenantDisabled", of="bbbsecret", within=5)
    tenants.expect("all lists are empty", lambda: tenants.meetings("unia-000") == [], within=NEXT_TICK)
    assert tenants.meetings("unib-001")
    assert [tenants.get("bbbnode", name)["status"]["attendees"] for name in nodes] == before
    tenants.patch("bbbtenant", "unia", {"enabled": True})
    tenants.expect("they are back", lambda: bool(tenants.meetings("unia-002")), within=NEXT_TICK)


def test_meetings_of_a_dead_node_are_hidden_and_come_back_with_it(tenants: Scenario) -> None:
    everything = truth(tenants, "unia-000")["meetings"]
    lost = tenants.farm.nodes[0].name
    tenants.farm.control.set_behaviour(lost, "refused")
    tenants.expect_condition(lost, "Ready", "False/Refused", within=3 * TICK_SECONDS + SEAM_SECONDS + 10)
    tenants.expect("hidden", lambda: 0 < len(tenants.meetings("unia-000")) < everything, within=TICK_SECONDS)
    tenants.farm.control.set_behaviour(lost, "ok")
    tenants.expect(
        "all back", lambda: len(tenants.meetings("unia-000")) == everything, within=4 * TICK_SECONDS + SEAM_SECONDS
    )


def test_a_task_moved_to_another_queue_by_editing_two_resources_runs_there_in_its_next_slot(tenants: Scenario) -> None:
    tenants.apply(core_queue(tasks=["check-nodes"]), queue("lists", ["update-secrets-lists"]))
    tenants.expect_condition("lists", "Ready", "True/Scheduled", of="bbbqueue", within=10)
    tenants.expect_condition("core", "Ready", "True/Scheduled", of="bbbqueue", within=10)
    # The next slot is the next full minute; a pod that runs still has both tasks until its minute is over.
    tenants.expect("it ran in its new queue", lambda: "lists" in queues(tenants), within=70)
    tenants.farm.control.step(3)
    # Only the task moves a list's version and the usage.
    tenants.expect("usage follows", lambda: usage(tenants, "unib-001") == truth(tenants, "unib-001"), within=70)
    tenants.installation.kubectl("delete", "bbbqueue", "lists")
    tenants.apply(core_queue())
    before = versions(tenants)
    tenants.farm.control.step(3)
    tenants.expect("it moved back", lambda: versions(tenants) > before, within=75)
    tenants.expect("usage follows", lambda: usage(tenants, "unib-001") == truth(tenants, "unib-001"), within=45)


def versions(scenario: Scenario) -> int:
    """Return how often lists have changed."""
    with psycopg.connect(scenario.installation.database_url) as connection:
        row = connection.execute("SELECT sum(list_version) FROM secret_states").fetchone()
    assert row is not None
    return int(row[0])


def queues(scenario: Scenario) -> set[str]:
    """Return the queues in which `update-secrets-lists` has begun to run."""
    statement = "SELECT DISTINCT queue FROM task_runs WHERE task = 'update-secrets-lists' AND ticks > 0"
    with psycopg.connect(scenario.installation.database_url) as connection:
        return {row[0] for row in connection.execute(statement)}
