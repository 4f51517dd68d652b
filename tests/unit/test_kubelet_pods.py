"""Lives of single pods: real processes, an API server in memory."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.kubelet_pods import Start, starter, until_log


@pytest.fixture
async def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    async with starter(tmp_path, monkeypatch) as begin:
        yield begin


async def test_a_pod_succeeds_when_all_containers_do(start: Start) -> None:
    pod = start("echo one", "sleep 0.1")
    await pod.api.until(lambda: pod.api.phase == "Succeeded")
    assert [status["state"]["terminated"]["exitCode"] for status in pod.api.statuses[-1]["containerStatuses"]] == [0, 0]
    assert pod.api.statuses[0]["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert "Running" in [status["phase"] for status in pod.api.statuses]
    assert pod.api.statuses[-1]["podIP"] == "127.77.0.2"
    assert (pod.worker.root / "c0.log").read_text() == "one\n"


async def test_init_containers_run_one_after_the_other_and_a_failure_ends_the_pod(start: Start) -> None:
    init = [
        {"name": "i0", "image": "sh", "args": ["echo 0 >> order"]},
        {"name": "i1", "image": "sh", "args": ["echo 1 >> order; exit 4"]},
        {"name": "i2", "image": "sh", "args": ["echo 2 >> order"]},
    ]
    pod = start("echo main >> order", initContainers=init)
    await pod.api.until(lambda: pod.api.phase == "Failed")
    assert (pod.worker.root / "order").read_text() == "0\n1\n"
    states = [status["state"] for status in pod.api.statuses[-1]["initContainerStatuses"]]
    assert [list(state) for state in states] == [["terminated"], ["terminated"], ["waiting"]]
    assert pod.api.container()["state"] == {"waiting": {"reason": "PodInitializing"}}


async def test_on_failure_restarts_at_once_first_and_after_a_pause_later(start: Start) -> None:
    pod = start("echo x >> runs; [ $(wc -l < runs) -ge 3 ]", restartPolicy="OnFailure")
    await pod.api.until(lambda: pod.api.phase == "Succeeded")
    status = pod.api.container()
    assert (status["restartCount"], status["lastState"]["terminated"]["exitCode"]) == (2, 1)
    reasons = [item["containerStatuses"][0]["state"].get("waiting", {}).get("reason") for item in pod.api.statuses]
    assert reasons.count("CrashLoopBackOff") == 1


async def test_an_unknown_image_waits_until_the_image_file_has_it(start: Start, tmp_path: Path) -> None:
    pod = start(containers=[{"name": "c", "image": "new:1", "args": ["exit 7"]}])
    await pod.api.until(lambda: pod.api.statuses != [] and "ImagePullBackOff" in json.dumps(pod.api.statuses[-1]))
    waiting = {
        "reason": "ErrImagePull",
        "message": 'image "new:1" is not in images.json',
    }
    assert {"waiting": waiting} in [item["containerStatuses"][0]["state"] for item in pod.api.statuses]
    assert pod.api.phase == "Pending"
    (tmp_path / "images.json").write_text(json.dumps({"new:1": {"entrypoint": ["sh", "-c"]}}))
    await pod.api.until(lambda: pod.api.phase == "Failed")
    assert pod.api.container()["state"]["terminated"]["exitCode"] == 7


async def test_a_missing_secret_waits_until_it_is_there(start: Start) -> None:
    reference = {"secretKeyRef": {"name": "s", "key": "k"}}
    container = {"name": "c", "image": "sh", "args": ["[ $A = a ]"], "env": [{"name": "A", "valueFrom": reference}]}
    pod = start(containers=[container])
    await pod.api.until(lambda: "CreateContainerConfigError" in json.dumps(pod.api.statuses[-1:]))
    assert pod.api.container()["state"]["waiting"]["message"] == 'secret "s" not found in namespace farm'
    pod.api.objects["/api/v1/namespaces/farm/secrets/s"] = {"data": {"k": "YQ=="}}
    await pod.api.until(lambda: pod.api.phase == "Succeeded")


async def test_a_missing_volume_keeps_the_pod_pending_with_the_cause(start: Start) -> None:
    pod = start("true", volumes=[{"name": "v", "configMap": {"name": "c"}}])
    await pod.api.until(lambda: "not found" in json.dumps(pod.api.statuses[-1:]))
    assert pod.api.container()["state"]["waiting"] == {
        "reason": "ContainerCreating",
        "message": 'configmap "c" not found in namespace farm',
    }
    pod.api.objects["/api/v1/namespaces/farm/configmaps/c"] = {"data": {"k": "v"}}
    await pod.api.until(lambda: pod.api.phase == "Succeeded")


TRAP = "trap 'echo stopped; exit 3' TERM; echo up; while :; do sleep 0.05; done"


async def test_deletion_asks_first_and_removes_the_object_at_last(start: Start) -> None:
    pod = start(TRAP)
    await pod.api.until(lambda: pod.api.phase == "Running")
    await until_log(pod, "up")
    pod.delete(grace=20)
    await pod.api.until(lambda: pod.api.deletions != [])
    assert pod.api.deletions == [
        {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "preconditions": {"uid": "u0"}}
    ]
    assert pod.api.phase == "Failed"
    assert pod.api.container()["state"]["terminated"]["exitCode"] == 3
    pod.worker.remove()
    await asyncio.wait_for(pod.task, 2)
    assert not (pod.worker.root / "volumes").exists()
    # As in a container, only the first process is asked: the shell's child is not.
    assert (pod.worker.root / "c0.log").read_text() == "up\nstopped\n"


async def test_a_second_deletion_shortens_the_grace_period(start: Start) -> None:
    pod = start("trap '' TERM; echo up; while :; do sleep 0.05; done")
    await pod.api.until(lambda: pod.api.phase == "Running")
    await until_log(pod, "up")
    pod.delete(grace=60)
    await asyncio.sleep(0.1)
    assert pod.api.deletions == []
    pod.delete(grace=0)
    await pod.api.until(lambda: pod.api.deletions != [])
    assert pod.api.container()["state"]["terminated"]["exitCode"] == 137


async def test_a_pod_deleted_before_its_start_fails_and_goes(start: Start) -> None:
    pod = start(containers=[{"name": "c", "image": "unknown"}])
    await pod.api.until(lambda: "ErrImagePull" in json.dumps(pod.api.statuses[-1:]))
    pod.delete(grace=30)
    await pod.api.until(lambda: pod.api.deletions != [])
    assert pod.api.phase == "Failed"
    assert pod.api.container()["state"]["terminated"]["reason"] == "ContainerStatusUnknown"


async def test_a_pod_removed_without_the_kubelet_is_killed(start: Start) -> None:
    pod = start("echo $$$$ > pid; echo up; exec sleep 60")
    await pod.api.until(lambda: pod.api.phase == "Running")
    await until_log(pod, "up")
    pod.worker.remove()
    await asyncio.wait_for(pod.task, 5)
    assert pod.api.deletions == []
    with pytest.raises(ProcessLookupError):
        os.kill(int((pod.worker.root / "pid").read_text()), 0)


async def test_a_pod_over_its_deadline_fails(start: Start) -> None:
    pod = start("exec sleep 60", activeDeadlineSeconds=1, terminationGracePeriodSeconds=1)
    await pod.api.until(lambda: pod.api.phase == "Failed")
    status = pod.api.statuses[-1]
    assert status["reason"] == "DeadlineExceeded"
    assert status["message"] == "Pod was active on the node longer than the specified deadline"
    assert pod.api.container()["state"]["terminated"]["exitCode"] == 143


async def test_the_end_is_reported_when_the_api_server_is_back(start: Start) -> None:
    pod = start("sleep 0.3; exit 5")
    await pod.api.until(lambda: pod.api.phase == "Running")
    pod.api.away = True
    await asyncio.sleep(0.6)
    assert pod.api.phase == "Running"
    pod.api.away = False
    await pod.api.until(lambda: pod.api.phase == "Failed")
    assert pod.api.container()["state"]["terminated"]["exitCode"] == 5


async def test_a_running_pod_of_an_earlier_kubelet_is_lost(start: Start) -> None:
    states = [{"name": "c0", "state": {"running": {}}, "restartCount": 0, "containerID": "process://old"}]
    status = {
        "phase": "Running",
        "containerStatuses": states,
        "startTime": "2026-01-01T00:00:00Z",
        "podIP": "127.77.0.9",
    }
    pod = start("echo never > ran", status=status)
    await pod.api.until(lambda: pod.api.phase == "Failed")
    last = pod.api.statuses[-1]
    assert (last["reason"], last["startTime"], last["podIP"]) == (
        "KubeletRestarted",
        "2026-01-01T00:00:00Z",
        "127.77.0.9",
    )
    assert pod.api.container()["state"]["terminated"]["reason"] == "ContainerStatusUnknown"
    assert not (pod.worker.root / "ran").exists()


async def test_a_pod_whose_start_was_never_reported_is_lost_too(start: Start, tmp_path: Path) -> None:
    (tmp_path / "pods" / "farm_p_u0").mkdir(parents=True)
    (tmp_path / "pods" / "farm_p_u0" / "started").touch()
    pod = start("true")
    await pod.api.until(lambda: pod.api.phase == "Failed")
    assert pod.api.statuses[-1]["reason"] == "KubeletRestarted"


async def test_a_pod_that_was_over_before_is_left_alone_until_it_is_deleted(start: Start) -> None:
    pod = start("echo never > ran", status={"phase": "Succeeded"})
    await asyncio.sleep(0.1)
    assert pod.api.statuses == []
    pod.delete(grace=30)
    await pod.api.until(lambda: pod.api.deletions != [])
    assert pod.api.statuses == []


async def test_a_shutdown_ends_running_pods_and_leaves_pending_ones_to_the_next_kubelet(start: Start) -> None:
    running = start(TRAP)
    await running.api.until(lambda: running.api.phase == "Running")
    await until_log(running, "up")
    pending = start(containers=[{"name": "c", "image": "unknown"}])
    await asyncio.sleep(0.1)
    for pod in (running, pending):
        pod.worker.shut_down(grace=2)
    await asyncio.wait_for(asyncio.gather(running.task, pending.task), 5)
    failed = [status for status in running.api.statuses if status["phase"] == "Failed"]
    assert [(status["reason"], status["podIP"]) for status in failed] == [("Terminated", "127.77.0.2")]


async def test_a_pod_that_cannot_be_set_up_fails_with_the_cause(start: Start, tmp_path: Path) -> None:
    (tmp_path / "pods").write_text("in the way")
    pod = start("true")
    await pod.api.until(lambda: pod.api.phase == "Failed")
    assert pod.api.statuses[-1]["reason"] == "UnexpectedAdmissionError"
    assert "NotADirectoryError" in pod.api.statuses[-1]["message"]


async def test_a_pod_whose_volume_grows_beyond_its_limit_is_evicted(start: Start) -> None:
    volumes = [{"name": "tmp", "emptyDir": {"sizeLimit": "64Ki"}}, {"name": "other", "emptyDir": {"sizeLimit": "0"}}]
    script = "mkdir volumes/tmp/d; head -c 70000 /dev/zero > volumes/tmp/d/file; while :; do sleep 0.05; done"
    pod = start(script, volumes=volumes)
    await pod.api.until(lambda: pod.api.phase == "Failed")
    status = pod.api.statuses[-1]
    assert (status["reason"], status["message"]) == (
        "Evicted",
        'Usage of EmptyDir volume "tmp" exceeds the limit "64Ki". ',
    )
    assert "DisruptionTarget" not in {condition["type"] for condition in status["conditions"]}


async def test_a_pod_whose_volumes_stay_within_their_limits_lives_on(start: Start) -> None:
    volumes = [{"name": "tmp", "emptyDir": {"sizeLimit": "64Ki"}}, {"name": "other", "emptyDir": {}}]
    script = "head -c 60000 /dev/zero > volumes/tmp/file; head -c 70000 /dev/zero > volumes/other/file; sleep 0.7"
    pod = start(script, volumes=volumes)
    await pod.api.until(lambda: pod.api.phase == "Succeeded")
