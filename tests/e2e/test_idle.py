"""Where nothing changes, nothing is written."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import psycopg
import pytest
from psycopg import sql

from dev.environment import Installation
from dev.farm.process import Farm
from dev.scenario import SEAM_SECONDS, TICK_SECONDS, Scenario

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

COORDINATION = {"heartbeats", "task_runs", "leases"}


def rows(installation: Installation) -> dict[str, list[tuple[str, str]]]:
    """Return where the rows of each table lie and which transactions wrote them: every write changes that."""
    with psycopg.connect(installation.database_url) as connection:
        names = [row[0] for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        statement = "SELECT ctid::text, xmin::text FROM {} ORDER BY ctid"
        return {name: connection.execute(sql.SQL(statement).format(sql.Identifier(name))).fetchall() for name in names}


def patches(installation: Installation) -> int:
    """Return how many PATCH requests to resources of the group b3lb.io the API server has ever seen."""
    text = installation.environment.control_plane.kubectl("get", "--raw", "/metrics")
    lines = re.findall(
        r'^apiserver_request_total\{.*group="b3lb\.io".*verb="(?:PATCH|APPLY)".*\} (\S+)$', text, re.MULTILINE
    )
    return sum(int(float(number)) for number in lines)


def test_ticks_in_which_nothing_changed_write_no_row_and_send_no_patch(scenario: Scenario) -> None:
    scenario.declare()
    name = scenario.farm.nodes[0].name
    for node in scenario.farm.nodes:
        scenario.expect_condition(node.name, "Ready", "True/Responding", within=5)
    # Two ticks fit before the seam only when the pod starts early in its minute.
    time.sleep(max(0.0, 62 - time.time() % 60) if time.time() % 60 > 20 else 0)
    scenario.start_job()
    scenario.farm.control.reset_counters()
    scenario.expect("the first tick was done", lambda: scenario.requests(name) >= 2, within=SEAM_SECONDS)
    time.sleep(3)
    before, requests = rows(scenario.installation), patches(scenario.installation)
    scenario.farm.control.reset_counters()
    scenario.expect(
        "two more ticks were done",
        lambda: scenario.requests(name) >= 4,
        within=2 * TICK_SECONDS + 3,
    )
    changed = {table for table, content in rows(scenario.installation).items() if content != before[table]}
    assert changed <= COORDINATION
    assert {"heartbeats", "task_runs"} <= changed
    assert patches(scenario.installation) == requests


def test_the_operator_with_three_hundred_idle_nodes_stays_small(
    installation: Installation, start_farm: Callable[..., Farm]
) -> None:
    """At most 170 MB of memory and 3 % of a core."""
    scenario = Scenario(installation, start_farm(nodes=300, meetings=1, attendees=1, frozen=True))
    scenario.declare(suspend=True)
    last = scenario.farm.nodes[-1].name
    scenario.expect_condition(last, "Ready", "True/Responding", within=40)
    scenario.expect("all are Ready", lambda: installation.kubectl("get", "bbbnodes").count(" True ") >= 300, within=40)
    operator = installation.operator
    assert operator is not None
    time.sleep(5)
    began, cpu = time.monotonic(), operator.cpu_seconds()
    time.sleep(30)
    share = (operator.cpu_seconds() - cpu) / (time.monotonic() - began)
    assert share <= 0.03, f"{share:.1%} of a core"
    assert operator.resident_bytes() <= 170e6, f"{operator.resident_bytes() / 1e6:.0f} MB"
