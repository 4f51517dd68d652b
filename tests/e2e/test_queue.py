"""A BBBQueue becomes a CronJob that follows it within seconds, and nobody else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dev.controlplane.plane import KubectlError
from dev.environment import Installation
from dev.scenario import SEAM_SECONDS, Scenario, core_queue

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


@pytest.fixture
def installation(shared_installation: Installation) -> Installation:
    """One release for all tests of this file."""
    return shared_installation


def cron_job(scenario: Scenario) -> dict[str, Any]:
    """Return the CronJob of the core queue."""
    return scenario.get("cronjob", "b3lb-core")


def container(scenario: Scenario) -> dict[str, Any]:
    """Return the container of the CronJob's pods."""
    pod: dict[str, Any] = cron_job(scenario)["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    found: dict[str, Any] = pod["containers"][0]
    return found


def environment_of(scenario: Scenario) -> dict[str, str]:
    """Return the plain environment of the CronJob's container."""
    return {entry["name"]: entry["value"] for entry in container(scenario)["env"] if "value" in entry}


def test_every_field_reaches_the_cron_job_within_five_seconds_without_killing_a_running_pod(scenario: Scenario) -> None:
    scenario.declare(maxInFlight=7)
    name = scenario.start_job()
    scenario.expect("the pod runs", lambda: scenario.get("job", name)["status"].get("active") == 1, within=10)
    pods = scenario.installation.kubectl("get", "pods", "-o", "name")
    changes: dict[str, Any] = {
        "tickSeconds": 30,
        "maxInFlight": 9,
        "suspend": True,
        "timeZone": "Europe/Berlin",
        "successfulJobsHistoryLimit": 1,
        "failedJobsHistoryLimit": 2,
        "image": "b3lb:other",
        "resources": {"limits": {"memory": "300Mi"}, "requests": {"cpu": "50m", "memory": "200Mi"}},
    }
    scenario.patch("bbbqueue", "core", changes)

    def followed() -> bool:
        spec, found = cron_job(scenario)["spec"], container(scenario)
        return (
            (spec["suspend"], spec["timeZone"]) == (True, "Europe/Berlin")
            and (spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) == (1, 2)
            and (found["image"], found["resources"]["limits"]["memory"]) == ("b3lb:other", "300Mi")
            and environment_of(scenario)["B3LB_TICK_SECONDS"] == "30"
            and environment_of(scenario)["B3LB_MAX_IN_FLIGHT"] == "9"
        )

    scenario.expect("the CronJob follows", followed, within=5)
    assert scenario.installation.kubectl("get", "pods", "-o", "name") == pods
    scenario.expect_condition("core", "Ready", "False/Suspended", within=5, of="bbbqueue")


def test_changes_by_hand_to_the_cron_job_are_undone_within_five_seconds(scenario: Scenario) -> None:
    scenario.declare(suspend=True)
    scenario.expect("the CronJob exists", lambda: scenario.exists("cronjob", "b3lb-core"), within=5)
    scenario.patch("cronjob", "b3lb-core", {"suspend": False, "schedule": "0 0 1 1 *"})
    scenario.expect(
        "the CronJob is as the queue says",
        lambda: (cron_job(scenario)["spec"]["suspend"], cron_job(scenario)["spec"]["schedule"]) == (True, "* * * * *"),
        within=5,
    )
    extra = {
        "op": "add",
        "path": "/spec/jobTemplate/spec/template/spec/containers/0/env/-",
        "value": {"name": "X", "value": "1"},
    }
    scenario.installation.kubectl("patch", "cronjob", "b3lb-core", "--type=json", "-p", json.dumps([extra]))
    scenario.expect("the extra variable is gone", lambda: "X" not in environment_of(scenario), within=5)
    scenario.installation.kubectl("delete", "cronjob", "b3lb-core")
    scenario.expect("the CronJob is back", lambda: scenario.exists("cronjob", "b3lb-core"), within=5)


def test_a_deleted_queue_takes_its_cron_job_along(scenario: Scenario) -> None:
    scenario.declare(suspend=True)
    scenario.expect("the CronJob exists", lambda: scenario.exists("cronjob", "b3lb-core"), within=5)
    scenario.installation.kubectl("delete", "bbbqueue", "core", "--timeout=10s")
    # Kubernetes' garbage collector learns of new kinds every 30 s only.
    scenario.expect("the CronJob is gone", lambda: not scenario.exists("cronjob", "b3lb-core"), within=40)


def test_an_unknown_task_is_a_reason_and_heals(scenario: Scenario) -> None:
    scenario.apply(core_queue(tasks=["check-nodse"], suspend=True))
    scenario.expect_condition("core", "Ready", "False/UnknownTask", within=5, of="bbbqueue")
    message = scenario.get("bbbqueue", "core")["status"]["conditions"][0]["message"]
    assert "check-nodse" in message
    assert "check-nodes" in message
    scenario.patch("bbbqueue", "core", {"tasks": ["check-nodes"]})
    scenario.expect_condition("core", "Ready", "False/Suspended", within=5, of="bbbqueue")


def test_ticks_that_the_schedule_cannot_carry_are_refused_at_apply(scenario: Scenario) -> None:
    with pytest.raises(KubectlError, match="tickSeconds"):
        scenario.apply(core_queue(schedule="*/5 * * * *"))


def test_the_cron_job_starts_pods_at_the_full_minute_and_they_tick(scenario: Scenario) -> None:
    """One of the two tests that wait for a real slot."""
    scenario.declare()
    first = scenario.farm.nodes[0].name
    scenario.expect_condition(first, "Ready", "True/Responding", within=5)
    scenario.farm.control.reset_counters()
    scenario.expect("three ticks were done", lambda: scenario.requests(first) >= 6, within=60 + SEAM_SECONDS)
    scenario.expect(
        "a Job succeeded",
        lambda: bool(scenario.get("bbbqueue", "core")["status"].get("lastSuccessTime")),
        within=60 + 10,
    )
    assert scenario.condition("core", "Ready", of="bbbqueue") == "True/Scheduled"
    listed = json.loads(scenario.installation.kubectl("get", "pods", "-o", "json"))["items"]
    ended = [pod for pod in listed if pod["status"]["phase"] == "Succeeded"]
    message = json.loads(ended[0]["status"]["containerStatuses"][0]["state"]["terminated"]["message"])
    assert message["state"] == "SUCCESS"
