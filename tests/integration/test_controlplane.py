"""The control plane behaves like a cluster's: rights, controllers, and faults that a test can cause."""

import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.parse
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.controlplane import ControlPlane, KubectlError
from dev.processes import ProcessError, wait_until
from dev.toolchain import PROGRAMS

# The first use of the programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

CRON_JOB = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "every-minute"},
    "spec": {
        "schedule": "* * * * *",
        "jobTemplate": {
            "spec": {
                "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example"}]}}
            }
        },
    },
}


def get(plane: ControlPlane, path: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(plane.kubectl("get", "--raw", path))
    return answer


def request(plane: ControlPlane, context: ssl.SSLContext, *, timeout: float = 10.0) -> int:
    port = urllib.parse.urlsplit(plane.url).port
    connection = HTTPSConnection("127.0.0.1", port, timeout=timeout, context=context)
    try:
        connection.request("GET", "/api/v1/namespaces", headers={"Authorization": f"Bearer {plane.token}"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_pinned_version_answers(plane: ControlPlane) -> None:
    assert get(plane, "/version")["gitVersion"] == "v1.36.3"


def test_the_server_is_trusted_through_its_own_authority_only(plane: ControlPlane) -> None:
    context = ssl.create_default_context(cafile=str(plane.ca_file))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    assert request(plane, context) == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        request(plane, ssl.create_default_context())


def test_the_kubeconfig_has_the_authority_inside_and_is_private(plane: ControlPlane) -> None:
    cluster = yaml.safe_load(plane.kubeconfig.read_text(encoding="utf-8"))["clusters"][0]["cluster"]
    assert set(cluster) == {"server", "certificate-authority-data"}
    assert plane.kubeconfig.stat().st_mode & 0o077 == 0
    assert plane.token not in repr(vars(plane))


def test_a_service_account_may_do_only_what_a_role_allows(plane: ControlPlane) -> None:
    plane.kubectl("create", "namespace", "rights")
    plane.kubectl("create", "serviceaccount", "reader", "--namespace=rights")
    kubeconfig = plane.kubeconfig_for("rights", "reader")
    with pytest.raises(KubectlError, match=r"(?i)forbidden"):
        plane.kubectl("get", "configmaps", kubeconfig=kubeconfig)
    plane.kubectl("create", "role", "reader", "--verb=list,get", "--resource=configmaps", "--namespace=rights")
    plane.kubectl("create", "rolebinding", "reader", "--role=reader", "--serviceaccount=rights:reader", "-nrights")
    assert wait_until(lambda: plane.kubectl("get", "cm", kubeconfig=kubeconfig, check=False) != "", timeout=10)
    with pytest.raises(KubectlError, match=r"(?i)forbidden"):
        plane.kubectl("create", "configmap", "new", kubeconfig=kubeconfig)


def test_a_token_for_an_unknown_service_account_is_refused(plane: ControlPlane) -> None:
    with pytest.raises(ProcessError, match="not found"):
        plane.kubeconfig_for("default", "nobody")


def test_a_cron_job_with_a_missed_run_gets_its_job_at_once_and_a_pod_waits_for_a_node(plane: ControlPlane) -> None:
    plane.kubectl("create", "namespace", "cron")
    plane.kubectl("create", "-f", "-", "--namespace=cron", input=json.dumps(CRON_JOB))
    missed = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 90))
    status = json.dumps({"status": {"lastScheduleTime": missed}})
    plane.kubectl(
        "patch", "cronjob/every-minute", "-ncron", "--subresource=status", "--type=merge", f"--patch={status}"
    )

    def unschedulable() -> bool:
        pods = get(plane, "/api/v1/namespaces/cron/pods")["items"]
        conditions = [condition for pod in pods for condition in pod["status"].get("conditions", [])]
        return any(condition["reason"] == "Unschedulable" for condition in conditions if "reason" in condition)

    assert wait_until(lambda: bool(get(plane, "/apis/batch/v1/namespaces/cron/jobs")["items"]), timeout=20)
    assert wait_until(unschedulable, timeout=20)


def test_objects_survive_a_killed_api_server_and_a_killed_etcd(plane: ControlPlane) -> None:
    plane.kubectl("create", "configmap", "kept", "--from-literal=answer=42")
    plane.kill("kube-apiserver")
    with pytest.raises(KubectlError, match="refused"):
        plane.kubectl("get", "configmap", "kept")
    plane.kill("etcd")
    plane.restart("etcd")
    plane.restart("kube-apiserver")
    assert plane.kubectl("get", "configmap", "kept", "--output=jsonpath={.data.answer}") == "42"
    assert all(plane.process(part).running for part in PROGRAMS)


def test_a_paused_api_server_does_not_answer_until_it_is_resumed(plane: ControlPlane) -> None:
    context = ssl.create_default_context(cafile=str(plane.ca_file))
    plane.pause("kube-apiserver")
    try:
        with pytest.raises(TimeoutError):
            request(plane, context, timeout=0.5)
    finally:
        plane.resume("kube-apiserver")
    assert request(plane, context) == 200


def test_after_a_compaction_a_watch_from_an_older_version_is_gone(plane: ControlPlane) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    version = get(plane, path)["metadata"]["resourceVersion"]
    plane.kubectl("create", "configmap", "newer")
    watch = f"{path}?watch=1&timeoutSeconds=1&resourceVersion={version}"
    # Of a young control plane others create objects as well.
    first = json.loads(plane.kubectl("get", "--raw", watch).splitlines()[0])
    assert first["type"] == "ADDED"
    assert plane.compact() > int(version)
    event = get(plane, watch)
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


def test_all_that_is_stored_is_read_however_many_pages_it_takes(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"large-{number}", "namespace": "default"},
            "data": {"text": str(number) * 500_000},
        }
        for number in range(3)
    ]
    plane.kubectl("create", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": large}))
    whole = plane.stored("/registry/configmaps/")
    monkeypatch.setattr("dev.controlplane.plane._KEYS_PER_PAGE", 2)
    paged = plane.stored("/registry/configmaps/")
    assert [key for key in paged if "/default/large-" in key] == [
        f"/registry/configmaps/default/large-{number}" for number in range(3)
    ]
    assert set(paged) == set(whole)
    assert b"2" * 500_000 in paged["/registry/configmaps/default/large-2"]


def test_an_unknown_part_is_refused_with_the_names_of_the_parts(plane: ControlPlane) -> None:
    with pytest.raises(ProcessError, match=r"'apiserver'.*kube-apiserver"):
        plane.kill("apiserver")


def test_a_part_that_does_not_start_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    for name in PROGRAMS:
        program = tmp_path / "programs" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\necho {name} has no memory\nexit 4\n", encoding="ascii")
        program.chmod(0o755)
    plane = ControlPlane(tmp_path / "plane", assets=tmp_path / "programs")
    with pytest.raises(ProcessError, match=r"(?s)etcd ended with code 4.*etcd has no memory"):
        plane.start()


def test_a_second_control_plane_in_the_same_directory_is_refused_and_harms_nothing(plane: ControlPlane) -> None:
    directory = plane.kubeconfig.parent.parent
    with pytest.raises(ProcessError, match="runs already"):
        ControlPlane(directory).start()
    with pytest.raises(ProcessError, match="runs already"):
        plane.start()
    assert plane.kubectl("get", "--raw", "/readyz") == "ok"


def test_a_control_plane_that_was_not_started_can_be_stopped_but_not_disturbed(tmp_path: Path) -> None:
    plane = ControlPlane(tmp_path)
    plane.stop()
    with pytest.raises(ProcessError, match="not started"):
        plane.pause("etcd")


def test_the_command_keeps_objects_between_runs_and_ends_on_sigterm(assets: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dev.controlplane", "--directory", str(tmp_path)]
    environment = {**os.environ, "KUBEBUILDER_ASSETS": str(assets)}
    uids = []
    for _ in range(2):
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            kubeconfig = Path(process.stdout.readline().strip())
            namespace = ControlPlane(tmp_path).kubectl("get", "ns", "default", "-ojson", kubeconfig=kubeconfig)
            uids.append(json.loads(namespace)["metadata"]["uid"])
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
    assert uids[0] == uids[1]
