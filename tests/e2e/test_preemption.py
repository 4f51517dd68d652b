"""Who makes room on a full node: the real scheduler, the capacity of the node, and the classes that the chart makes."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from dev.environment import IMAGE
from dev.scenario import Scenario

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

# The node has 8 CPUs, of which the operator asks for 50m.
CPUS = {"requests": {"cpu": "2", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
HOUSEKEEPING = 5
PREEMPTED_SECONDS = 10
WAITING_SECONDS = 10

Manifest = dict[str, Any]


def housekeeping(scenario: Scenario, number: int) -> Manifest:
    """Return a pod as its queue would start it, with the chart's priority class."""
    namespace = scenario.installation.namespace
    container = {
        "name": "task",
        "image": IMAGE,
        "command": ["sleep", "600"],
        "resources": CPUS,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"housekeeping-{number}"},
        "spec": {
            "priorityClassName": f"{namespace}.b3lb-housekeeping",
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 15,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }


def pods(scenario: Scenario) -> dict[str, Manifest]:
    """Return the pods of the release's namespace by name."""
    installation = scenario.installation
    path = f"/api/v1/namespaces/{installation.namespace}/pods"
    items = (installation.environment.control_plane.find(path) or {})["items"]
    return {item["metadata"]["name"]: item for item in items}


def named(scenario: Scenario, prefix: str, *, phase: str) -> dict[str, str]:
    """Return the uids of the pods in a phase, by name, but those that are being deleted."""
    return {
        name: pod["metadata"]["uid"]
        for name, pod in pods(scenario).items()
        if name.startswith(prefix) and pod["status"]["phase"] == phase and "deletionTimestamp" not in pod["metadata"]
    }


def unschedulable(scenario: Scenario) -> set[str]:
    """Return the pods for which the scheduler found no place."""
    return {
        name
        for name, pod in pods(scenario).items()
        for condition in pod["status"].get("conditions", ())
        if (condition["type"], condition.get("reason")) == ("PodScheduled", "Unschedulable")
    }


def start_core(scenario: Scenario) -> str:
    """Start a Job of core's CronJob and return its name; its pod does nothing, for core's own would end at :55."""
    arguments = ("create", "job", "core-now", "--from=cronjob/b3lb-core", "--dry-run=client", "--output=json")
    job: Manifest = json.loads(scenario.installation.kubectl(*arguments))
    for container in job["spec"]["template"]["spec"]["containers"]:
        container["command"], container["args"] = ["sleep", "600"], []
    scenario.apply(job)
    return str(job["metadata"]["name"])


def preempted(scenario: Scenario) -> set[str]:
    """Return the pods that the scheduler took off the node."""
    arguments = ("get", "events", "--field-selector=reason=Preempted", "-o")
    names = "jsonpath={range .items[*]}{.involvedObject.name}{'\\n'}{end}"
    return set(scenario.installation.kubectl(*arguments, names).split())


def test_on_a_full_node_core_replaces_one_housekeeping_pod_within_ten_seconds_and_housekeeping_never_replaces_core(
    scenario: Scenario,
) -> None:
    scenario.declare(suspend=True, resources=CPUS)
    scenario.apply(*(housekeeping(scenario, number) for number in range(HOUSEKEEPING)))

    def full() -> bool:
        running, waiting = named(scenario, "housekeeping", phase="Running"), unschedulable(scenario)
        return bool(waiting) and len(running) + len(waiting) == HOUSEKEEPING

    scenario.expect("the node is full of housekeeping", full, within=20)
    before, operator = (named(scenario, prefix, phase="Running") for prefix in ("housekeeping", "b3lb-operator"))

    began = time.monotonic()
    job = start_core(scenario)
    scenario.expect(
        "the pod of core runs", lambda: bool(named(scenario, job, phase="Running")), within=PREEMPTED_SECONDS
    )
    seconds = time.monotonic() - began
    print(f"\ncore ran on a full node after {seconds:.1f} s")
    assert seconds <= PREEMPTED_SECONDS
    core = named(scenario, job, phase="Running")
    (victim,) = preempted(scenario)
    assert named(scenario, "housekeeping", phase="Running") == {
        name: uid for name, uid in before.items() if name != victim
    }
    assert named(scenario, "b3lb-operator", phase="Running") == operator

    scenario.apply(housekeeping(scenario, HOUSEKEEPING))
    newcomer = f"housekeeping-{HOUSEKEEPING}"
    scenario.expect("housekeeping waits", lambda: newcomer in unschedulable(scenario), within=5)
    time.sleep(WAITING_SECONDS)
    assert newcomer in unschedulable(scenario)
    assert preempted(scenario) == {victim}
    assert core.items() <= {name: pod["metadata"]["uid"] for name, pod in pods(scenario).items()}.items()

    waiting = unschedulable(scenario)
    scenario.installation.kubectl("delete", "job", job, "--wait=true", "--timeout=20s", "--cascade=foreground")
    scenario.expect(
        "housekeeping has the place again",
        lambda: bool(waiting & named(scenario, "housekeeping", phase="Running").keys()),
        within=20,
    )
    scenario.installation.kubectl("delete", "pods", "--selector=!app.kubernetes.io/name", "--grace-period=1")
