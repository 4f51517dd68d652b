"""Pods that are probed, restarted and asked to end: real processes, an API server in memory."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dev.kubelet.api import Manifest
from dev.processes import wait_until
from tests.unit.kubelet_pods import Start, starter, until_log


@pytest.fixture
async def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    async with starter(tmp_path, monkeypatch) as begin:
        yield begin


async def test_the_stop_signal_is_the_images(start: Start, tmp_path: Path) -> None:
    images = {"sh": {"entrypoint": ["sh", "-c"], "stopSignal": "SIGINT", "env": {"ADDRESS": "at $(POD_IP)"}}}
    (tmp_path / "images.json").write_text(json.dumps(images))
    pod = start("trap 'echo $ADDRESS; exit 4' INT; echo up; while :; do sleep 0.05; done")
    await until_log(pod, "up")
    pod.delete(grace=20)
    await pod.api.until(lambda: pod.api.deletions != [])
    assert pod.api.container()["state"]["terminated"]["exitCode"] == 4
    assert (pod.worker.root / "c0.log").read_text() == "up\nat 127.77.0.2\n"


def hooked(script: str, hook: Manifest) -> Manifest:
    return {"name": "c0", "image": "sh", "args": [script], "lifecycle": {"preStop": hook}}


WAITING = "trap 'cat hook; exit 3' TERM; echo up; while :; do sleep 0.05; done"


async def test_the_hook_comes_before_the_signal(start: Start) -> None:
    hook = {"exec": {"command": ["sh", "-c", "sleep 0.2; echo hooked > hook"]}}
    pod = start(containers=[hooked(WAITING, hook)])
    await until_log(pod, "up")
    pod.delete(grace=20)
    await pod.api.until(lambda: pod.api.deletions != [])
    assert pod.api.container()["state"]["terminated"]["exitCode"] == 3
    assert (pod.worker.root / "c0.log").read_text() == "up\nhooked\n"


async def test_a_hook_that_fails_only_delays_the_signal(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    pod = start(containers=[hooked(WAITING, {"exec": {"command": ["false"]}})])
    await until_log(pod, "up")
    pod.delete(grace=20)
    await pod.api.until(lambda: pod.api.deletions != [])
    assert pod.api.container()["state"]["terminated"]["exitCode"] == 3
    assert "the preStop hook failed: false ended with code 1" in caplog.text


async def test_a_hook_has_no_more_than_the_grace_period(start: Start) -> None:
    pod = start(containers=[hooked(WAITING, {"sleep": {"seconds": 60}})])
    await until_log(pod, "up")
    pod.delete(grace=1)
    await pod.api.until(lambda: pod.api.deletions != [])
    assert pod.api.container()["state"]["terminated"]["exitCode"] == 137


def probed(script: str, **probes: Manifest) -> Manifest:
    added = {f"{kind}Probe": {"periodSeconds": 1, "failureThreshold": 1, **probe} for kind, probe in probes.items()}
    return {"name": "c0", "image": "sh", "args": [script], **added}


async def test_a_container_that_ignores_its_failed_liveness_probe_is_killed_and_started_again(start: Start) -> None:
    script = "trap '' TERM; echo run; while :; do sleep 0.05; done"
    liveness = {"exec": {"command": ["sh", "-c", "[ $(wc -l < c0.log) != 1 ]"]}, "terminationGracePeriodSeconds": 0}
    pod = start(containers=[probed(script, liveness={**liveness, "initialDelaySeconds": 1})], restartPolicy="Always")
    await pod.api.until(lambda: pod.api.statuses != [] and pod.api.container()["restartCount"] == 1)
    assert pod.api.container()["lastState"]["terminated"]["exitCode"] == 137
    assert pod.api.phase == "Running"


async def test_a_failed_liveness_probe_fails_a_pod_that_is_never_restarted(start: Start) -> None:
    pod = start(containers=[probed("exec sleep 60", liveness={"exec": {"command": ["false"]}})])
    await pod.api.until(lambda: pod.api.phase == "Failed")
    assert pod.api.container()["state"]["terminated"]["exitCode"] == 143


async def test_readiness_is_in_the_status(start: Start) -> None:
    pod = start(containers=[probed("sleep 0.5; touch ok; sleep 60", readiness={"exec": {"command": ["ls", "ok"]}})])
    await pod.api.until(lambda: pod.api.phase == "Running")
    assert (pod.api.container()["started"], pod.api.container()["ready"]) == (True, False)
    await pod.api.until(lambda: bool(pod.api.container()["ready"]))
    conditions = {item["type"]: item["status"] for item in pod.api.statuses[-1]["conditions"]}
    assert (conditions["Ready"], conditions["ContainersReady"]) == ("True", "True")


async def test_a_pod_that_always_runs_is_started_again_after_a_success_too(start: Start) -> None:
    pod = start("echo x", restartPolicy="Always")
    await pod.api.until(lambda: "CrashLoopBackOff" in json.dumps(pod.api.statuses[-1:]))
    assert pod.api.container()["lastState"]["terminated"]["exitCode"] == 0
    await pod.api.until(lambda: pod.api.container()["restartCount"] == 2)


async def test_volumes_follow_their_secrets_while_the_pod_runs(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dev.kubelet.pods.REFRESH_SECONDS", 0.1)
    pod = start("exec sleep 60", volumes=[{"name": "v", "secret": {"secretName": "s"}}])
    path = "/api/v1/namespaces/farm/secrets/s"
    pod.api.objects[path] = {"data": {"k": "YQ=="}}
    await pod.api.until(lambda: pod.api.phase == "Running")
    file = pod.worker.root / "volumes" / "v" / "k"
    assert file.read_text() == "a"
    pod.api.objects[path] = {"data": {"k": "Yg=="}}
    assert await asyncio.to_thread(wait_until, lambda: file.read_text() == "b", timeout=5)
    del pod.api.objects[path]
    await asyncio.sleep(0.3)
    assert (file.read_text(), pod.api.phase) == ("b", "Running")
