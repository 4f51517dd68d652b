"""Statuses of pods as the process kubelet writes them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from dev.kubelet.containers import Ending
from dev.kubelet.statuses import (
    ContainerRecord,
    PodFacts,
    container_status,
    new_records,
    pod_phase,
    pod_status,
    records_from_status,
)

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
END = datetime(2026, 1, 2, 3, 5, 6, tzinfo=UTC)
NOW = datetime(2026, 1, 2, 3, 5, 7, tzinfo=UTC)


def ending(code: int = 0, reason: str = "Completed", message: str = "") -> Ending:
    return Ending(code, reason, message, started_at=START, finished_at=END, container_id="process://1")


def waiting(reason: str = "ContainerCreating") -> ContainerRecord:
    return ContainerRecord("c", "image", {"waiting": {"reason": reason}})


def running() -> ContainerRecord:
    record = waiting()
    record.run("process://1", START)
    return record


def ended(code: int) -> ContainerRecord:
    record = running()
    record.end(ending(code, "Completed" if code == 0 else "Error"))
    return record


def restarting(code: int) -> ContainerRecord:
    record = ended(code)
    record.wait("CrashLoopBackOff", "back-off 10s")
    return record


def facts(**changes: Any) -> PodFacts:
    values: dict[str, Any] = {
        "init": [],
        "main": [running()],
        "host_ip": "127.77.0.1",
        "pod_ip": "127.77.0.2",
        "started_at": START,
        "sandbox": True,
    }
    return PodFacts(**(values | changes))


def test_the_whole_status_of_a_running_pod() -> None:
    pod = {
        "metadata": {"generation": 2},
        "spec": {"restartPolicy": "Never"},
        "status": {
            "conditions": [
                {"type": "Initialized", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            ]
        },
    }
    none = {"reason": None, "message": None, "observedGeneration": 2}
    assert pod_status(pod, facts(), now=NOW) == {
        "phase": "Running",
        "reason": None,
        "message": None,
        "hostIP": "127.77.0.1",
        "hostIPs": [{"$patch": "replace"}, {"ip": "127.77.0.1"}],
        "podIP": "127.77.0.2",
        "podIPs": [{"$patch": "replace"}, {"ip": "127.77.0.2"}],
        "startTime": "2026-01-02T03:04:05Z",
        "observedGeneration": 2,
        "conditions": [
            {
                "type": "PodReadyToStartContainers",
                "status": "True",
                "observedGeneration": 2,
                "lastTransitionTime": "2026-01-02T03:05:07Z",
            },
            {"type": "Initialized", "status": "True", **none, "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "Ready", "status": "True", **none, "lastTransitionTime": "2026-01-02T03:05:07Z"},
            {"type": "ContainersReady", "status": "True", **none, "lastTransitionTime": "2026-01-02T03:05:07Z"},
        ],
        "containerStatuses": [
            {
                "name": "c",
                "image": "image",
                "imageID": "process://image",
                "containerID": "process://1",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": "2026-01-02T03:04:05Z"}},
                "lastState": {},
            }
        ],
    }


def test_the_whole_status_of_a_container_that_failed() -> None:
    record = running()
    record.end(ending(65, "Error", "bad input"))
    assert container_status(record) == {
        "name": "c",
        "image": "image",
        "imageID": "process://image",
        "containerID": "process://1",
        "ready": False,
        "started": False,
        "restartCount": 0,
        "state": {
            "terminated": {
                "exitCode": 65,
                "reason": "Error",
                "message": "bad input",
                "startedAt": "2026-01-02T03:04:05Z",
                "finishedAt": "2026-01-02T03:05:06Z",
                "containerID": "process://1",
            }
        },
        "lastState": {},
    }


def test_a_container_that_was_never_started_has_no_ids() -> None:
    record = waiting()
    record.wait("ErrImagePull", "unknown")
    status = container_status(record)
    assert (status["imageID"], status["containerID"], status["ready"], status["started"]) == ("", "", False, False)
    assert status["state"] == {"waiting": {"reason": "ErrImagePull", "message": "unknown"}}


def test_a_restart_keeps_the_last_end_and_is_counted() -> None:
    record = restarting(3)
    assert record.restart_count == 0
    record.run("process://2", START)
    assert (record.restart_count, record.container_id) == (1, "process://2")
    assert record.last_state["terminated"]["exitCode"] == 3
    record.end(ending(4, "Error"))
    record.run("process://3", START)
    assert (record.restart_count, record.last_state["terminated"]["exitCode"]) == (2, 4)


def test_an_init_container_is_ready_once_it_has_succeeded() -> None:
    assert container_status(ended(0), initial=True)["ready"] is True
    assert container_status(ended(1), initial=True)["ready"] is False
    assert container_status(running(), initial=True)["ready"] is False


@pytest.mark.parametrize(
    ("init", "main", "over", "phase"),
    [
        ([], [waiting()], False, "Pending"),
        ([], [running(), waiting("ErrImagePull")], False, "Pending"),
        ([], [running(), ended(1)], False, "Running"),
        ([], [ended(1)], False, "Running"),
        ([], [restarting(1)], False, "Running"),
        ([], [ended(0), ended(0)], True, "Succeeded"),
        ([], [ended(0), ended(1)], True, "Failed"),
        ([], [waiting()], True, "Failed"),
        ([running()], [waiting()], False, "Pending"),
        ([restarting(1)], [waiting()], False, "Pending"),
        ([ended(0)], [running()], False, "Running"),
        ([ended(1)], [waiting()], True, "Failed"),
    ],
)
def test_phases(init: list[ContainerRecord], main: list[ContainerRecord], over: bool, phase: str) -> None:
    assert pod_phase(init=init, main=main, over=over) == phase


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str | None, str | None]]:
    return {item["type"]: (item["status"], item.get("reason"), item.get("message")) for item in status["conditions"]}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"main": [waiting()], "sandbox": False},
            {
                "PodReadyToStartContainers": ("False", None, None),
                "Initialized": ("True", None, None),
                "Ready": ("False", "ContainersNotReady", "containers with unready status: [c]"),
            },
        ),
        (
            {"main": [waiting()], "init": [running()]},
            {
                "PodReadyToStartContainers": ("True", None, None),
                "Initialized": ("False", "ContainersNotInitialized", "containers with incomplete status: [c]"),
                "Ready": ("False", "ContainersNotReady", "containers with unready status: [c]"),
            },
        ),
        (
            {"main": [ended(0)], "over": True},
            {
                "PodReadyToStartContainers": ("False", None, None),
                "Initialized": ("True", "PodCompleted", None),
                "Ready": ("False", "PodCompleted", None),
            },
        ),
        (
            {"main": [ended(1)], "over": True},
            {
                "PodReadyToStartContainers": ("False", None, None),
                "Initialized": ("True", None, None),
                "Ready": ("False", "PodFailed", None),
            },
        ),
    ],
)
def test_conditions_of_each_part_of_a_life(
    changes: dict[str, Any], expected: dict[str, tuple[str, str | None, str | None]]
) -> None:
    found = conditions(pod_status({"metadata": {}, "spec": {"restartPolicy": "Never"}}, facts(**changes), now=NOW))
    assert found == expected | {"ContainersReady": expected["Ready"]}


def test_a_failure_of_the_pod_counts_more_than_its_containers() -> None:
    failed = facts(main=[ended(0)], over=True, failure=("DeadlineExceeded", "too long"))
    status = pod_status({"metadata": {}, "spec": {"restartPolicy": "Never"}}, failed, now=NOW)
    assert (status["phase"], status["reason"], status["message"]) == ("Failed", "DeadlineExceeded", "too long")
    assert "observedGeneration" not in status


def test_containers_of_an_earlier_kubelet_count_as_failed_unless_their_end_is_known() -> None:
    containers = [{"name": "a", "image": "x"}, {"name": "b", "image": "x"}, {"name": "new", "image": "x"}]
    end = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    statuses = [
        {"name": "a", "state": {"running": {}}, "restartCount": 2, "containerID": "process://a"},
        {"name": "b", "state": end, "restartCount": 0, "containerID": "process://b"},
    ]
    records = records_from_status(containers, statuses)
    for record in records:
        record.lose()
    lost = {
        "terminated": {
            "exitCode": 137,
            "reason": "ContainerStatusUnknown",
            "message": "The container could not be located when the pod was terminated",
            "startedAt": None,
            "finishedAt": None,
        }
    }
    assert [(record.state, record.restart_count) for record in records] == [(lost, 2), (end, 0), (lost, 0)]


def test_a_container_lost_while_it_waits_for_its_restart_keeps_its_last_end() -> None:
    record = restarting(3)
    record.lose()
    assert record.exit_code == 3


def test_records_of_no_containers_are_empty() -> None:
    assert new_records(None, reason="x") == []
    assert records_from_status(None, None) == []
