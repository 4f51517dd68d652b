"""Where nothing changes, nothing is written."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

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


def statuses(installation: Installation) -> dict[str, Any]:
    """Return the status of every custom resource."""
    items = json.loads(installation.kubectl("get", "b3lb", "-o", "json"))["items"]
    return {f"{item['kind']}/{item['metadata']['name']}": item.get("status") for item in items}


def patches(installation: Installation) -> dict[str, str]:
    """Return how many PATCH requests to the group b3lb.io the API server has ever seen, by their labels."""
    text = installation.environment.control_plane.kubectl("get", "--raw", "/metrics")
    pattern = r'^apiserver_request_total\{(.*group="b3lb\.io".*verb="(?:PATCH|APPLY)".*)\} (\S+)$'
    return dict(re.findall(pattern, text, re.MULTILINE))


def settle(installation: Installation) -> None:
    """Wait until the start of the Job, which is a change, has reached the statuses: three seconds without a PATCH."""
    deadline, seen = time.monotonic() + 12, patches(installation)
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < 3:
        assert time.monotonic() < deadline, "PATCH requests go on and on"
        time.sleep(0.5)
        now = patches(installation)
        if now != seen:
            seen, quiet_since = now, time.monotonic()


def test_ticks_in_which_nothing_changed_write_no_row_and_send_no_patch(scenario: Scenario) -> None:
    scenario.declare()
    name = scenario.farm.nodes[0].name
    for node in scenario.farm.nodes:
        scenario.expect_condition(node.name, "Ready", "True/Responding", within=5)
    scenario.start_job()
    # A tick that changes nothing is seen by the operator's slow look at the database only.
    within = SEAM_SECONDS + 15
    scenario.expect_condition("default", "MassFailure", "False/BelowShare", within=within, of="bbbcluster")
    # What follows fits before the seam only when it begins early in its minute.
    second = time.time() % 60
    time.sleep(62 - second if second > 20 else 0)
    scenario.farm.control.reset_counters()
    scenario.expect("a tick was done", lambda: scenario.requests(name) >= 2, within=SEAM_SECONDS)
    settle(scenario.installation)
    before, requests = rows(scenario.installation), patches(scenario.installation)
    shown = statuses(scenario.installation)
    scenario.farm.control.reset_counters()
    scenario.expect(
        "two more ticks were done",
        lambda: scenario.requests(name) >= 4,
        within=2 * TICK_SECONDS + 3,
    )
    changed = {table for table, content in rows(scenario.installation).items() if content != before[table]}
    assert changed <= COORDINATION
    assert {"heartbeats", "task_runs"} <= changed
    assert statuses(scenario.installation) == shown
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
    time.sleep(5)
    began, cpu = time.monotonic(), operator.cpu_seconds()
    time.sleep(30)
    share = (operator.cpu_seconds() - cpu) / (time.monotonic() - began)
    assert share <= 0.03, f"{share:.1%} of a core"
    assert operator.resident_bytes() <= 170e6, f"{operator.resident_bytes() / 1e6:.0f} MB"
