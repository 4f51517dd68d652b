"""Pods of a real control plane run as processes and are reported as a real kubelet reports them.

Not shown here, because processes are no containers: images, cgroup limits, seccomp, users and groups, eviction, DNS,
Service addresses and NetworkPolicy.
"""

import asyncio
import json
import os
import time

import pytest

from dev.controlplane import ControlPlane
from dev.kubelet.api import ApiError, Manifest
from dev.processes import ManagedProcess, wait_until
from tests.integration.kubelet_cluster import REPOSITORY, Cluster, Node, state

# The first use of the programs builds them.
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

LIST_PODS = """
import json, os, pathlib, ssl, sys, urllib.request
directory = pathlib.Path(os.environ.get("B3LB_SERVICE_ACCOUNT_DIRECTORY", sys.argv[1]))
address = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
namespace = (directory / "namespace").read_text()
request = urllib.request.Request(
    f"{address}/api/v1/namespaces/{namespace}/pods",
    headers={"Authorization": f"Bearer {(directory / 'token').read_text()}"},
)
context = ssl.create_default_context(cafile=directory / "ca.crt")
names = [item["metadata"]["name"] for item in json.load(urllib.request.urlopen(request, context=context))["items"]]
message = json.dumps([os.environ["PASSWORD"], os.environ["LABEL"], os.environ["POD"] in names])
pathlib.Path(os.environ.get("B3LB_TERMINATION_LOG", "/dev/termination-log")).write_text(message)
"""
HOG = "b = bytearray(120_000_000); import time; time.sleep(60)"


async def test_an_indexed_job_completes_on_the_registered_node(cluster: Cluster, node: Node) -> None:
    index = {"fieldRef": {"fieldPath": "metadata.labels['batch.kubernetes.io/job-completion-index']"}}
    address = {"fieldRef": {"fieldPath": "status.podIP"}}
    await cluster.job(
        "echo $INDEX $ADDRESS $(hostname)",
        container={"env": [{"name": "INDEX", "valueFrom": index}, {"name": "ADDRESS", "valueFrom": address}]},
        completions=2,
        parallelism=2,
        completionMode="Indexed",
    )
    await cluster.finished_job("Complete")
    pods = await cluster.job_pods()
    lines = [node.log(pod).split() for pod in pods]
    address_of_node = (await cluster.api.request("GET", "/api/v1/nodes/main"))["status"]["addresses"][0]["address"]
    assert sorted(line[0] for line in lines) == ["0", "1"]
    assert {line[1] for line in lines} == {pod["status"]["podIP"] for pod in pods}
    assert len({line[1] for line in lines}) == 2
    for pod in pods:
        assert pod["status"]["phase"] == "Succeeded"
        assert pod["status"]["hostIP"] == address_of_node
        assert {item["type"] for item in pod["status"]["conditions"]} == {
            "PodScheduled",
            "PodReadyToStartContainers",
            "Initialized",
            "ContainersReady",
            "Ready",
        }
    lease = await cluster.api.request("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/main")
    assert lease["spec"]["leaseDurationSeconds"] == 4


async def test_an_exit_code_of_the_failure_policy_fails_the_job_at_once(cluster: Cluster) -> None:
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [65]}}
    started = time.monotonic()
    await cluster.job("echo bad input >&2; exit 65", backoffLimit=6, podFailurePolicy={"rules": [rule]})
    condition = await cluster.finished_job("Failed")
    assert condition["reason"] == "PodFailurePolicy"
    assert len(await cluster.job_pods()) == 1
    assert time.monotonic() - started < 8


async def prepare_rights(cluster: Cluster) -> Manifest:
    """Lets the default service account list pods, stores a password, and returns the container's environment."""
    rights = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{cluster.namespace}"
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    await cluster.create("Role", f"{rights}/roles", "reader", rules=rules)
    await cluster.create(
        "RoleBinding",
        f"{rights}/rolebindings",
        "reader",
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        subjects=[{"kind": "ServiceAccount", "name": "default"}],
    )
    await cluster.create(
        "Secret", f"/api/v1/namespaces/{cluster.namespace}/secrets", "database", stringData={"password": "geheim"}
    )
    password = {"secretKeyRef": {"name": "database", "key": "password"}}
    return {
        "env": [
            {"name": "PASSWORD", "valueFrom": password},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "LABEL", "value": "is-$(POD)"},
        ],
        "args": [LIST_PODS, "/var/run/secrets/kubernetes.io/serviceaccount"],
    }


async def test_a_pod_uses_its_secrets_and_its_token_and_leaves_a_message(cluster: Cluster) -> None:
    await cluster.pod("", image="python", **await prepare_rights(cluster))
    pod = await cluster.until_phase("Succeeded")
    assert json.loads(state(pod)["terminated"]["message"]) == ["geheim", "is-p", True]


async def test_the_same_works_without_private_mounts(cluster: Cluster, second_node: Node) -> None:
    await cluster.pod("", image="python", node=second_node.name, **await prepare_rights(cluster))
    pod = await cluster.until_phase("Succeeded")
    assert json.loads(state(pod)["terminated"]["message"]) == ["geheim", "is-p", True]


async def test_the_end_of_the_log_explains_a_failure_without_message(cluster: Cluster) -> None:
    await cluster.pod("echo no route; exit 3", terminationMessagePolicy="FallbackToLogsOnError")
    pod = await cluster.until_phase("Failed")
    terminated = state(pod)["terminated"]
    assert (terminated["exitCode"], terminated["reason"], terminated["message"]) == (3, "Error", "no route\n")


async def test_a_deleted_pod_is_asked_first_and_killed_after_its_grace_period(cluster: Cluster, node: Node) -> None:
    await cluster.pod("trap 'echo asked' TERM; echo up; while :; do sleep 0.1; done")
    pod = await cluster.until_phase("Running")
    assert await asyncio.to_thread(wait_until, lambda: "up" in node.log(pod), timeout=5)
    started = time.monotonic()
    await cluster.api.request("DELETE", f"{cluster.pods}/p")

    async def gone() -> Manifest | None:
        return {} if await cluster.api.find(f"{cluster.pods}/p") is None else None

    await cluster.until(gone)
    assert 0.9 < time.monotonic() - started < 5
    assert "asked" in node.log(pod)


async def test_a_container_above_its_memory_limit_is_killed(cluster: Cluster) -> None:
    await cluster.pod(HOG, image="python", resources={"limits": {"memory": "64Mi"}})
    pod = await cluster.until_phase("Failed")
    terminated = state(pod)["terminated"]
    assert (terminated["exitCode"], terminated["reason"]) == (137, "OOMKilled")


async def test_an_unknown_image_is_never_started(cluster: Cluster) -> None:
    await cluster.pod("true", image="registry.example/b3lb:none")
    pod = await cluster.until_pod(
        lambda pod: pod["status"].get("containerStatuses") and state(pod)["waiting"]["reason"] == "ImagePullBackOff"
    )
    assert pod["status"]["phase"] == "Pending"
    assert state(pod)["waiting"]["message"] == 'image "registry.example/b3lb:none" is not in main.json'


async def test_a_pod_starts_when_its_missing_secret_appears(cluster: Cluster) -> None:
    reference = {"secretKeyRef": {"name": "late", "key": "k"}}
    await cluster.pod('[ "$LATE" = here ]', env=[{"name": "LATE", "valueFrom": reference}])
    await cluster.until_pod(lambda pod: "CreateContainerConfigError" in json.dumps(pod["status"]))
    await cluster.create("Secret", f"/api/v1/namespaces/{cluster.namespace}/secrets", "late", stringData={"k": "here"})
    await cluster.until_phase("Succeeded")


async def test_a_pod_that_ends_while_the_api_server_is_away_is_reported_later(
    cluster: Cluster, plane: ControlPlane, node: Node
) -> None:
    await cluster.job("sleep 1; exit 5")
    await cluster.until(lambda: _first_running(cluster))
    await asyncio.to_thread(plane.kill, "kube-apiserver")
    await asyncio.sleep(2)
    # The history is compacted too, so the kubelet's watch cannot go on where it was.
    await asyncio.to_thread(plane.compact)
    await cluster.finished_job("Failed")
    [pod] = await cluster.job_pods()
    assert state(pod)["terminated"]["exitCode"] == 5
    # New pods still arrive.
    await cluster.pod("true")
    await cluster.until_phase("Succeeded")
    assert "answers again" in node.process.log.read_text()


async def _first_running(cluster: Cluster) -> Manifest | None:
    return next((pod for pod in await cluster.job_pods() if pod["status"]["phase"] == "Running"), None)


async def test_pods_of_a_killed_kubelet_are_reported_as_failed_by_the_next_one(
    cluster: Cluster, second_node: Node
) -> None:
    await cluster.pod("setsid sleep 60 & sleep 60 & echo $$$$; wait", node=second_node.name)
    pod = await cluster.until_phase("Running")
    assert await asyncio.to_thread(wait_until, lambda: second_node.log(pod).strip() != "", timeout=5)
    second_node.kill_alone()
    assert await asyncio.to_thread(wait_until, lambda: not _runs(second_node.log(pod)), timeout=5)
    await asyncio.to_thread(second_node.start)
    pod = await cluster.until_phase("Failed")
    assert pod["status"]["reason"] == "KubeletRestarted"
    assert state(pod)["terminated"]["reason"] == "ContainerStatusUnknown"
    # The shell died with the kubelet; its two children did not, and one of them has left the process group.
    assert "killed 2 processes of an earlier kubelet" in second_node.process.log.read_text()


async def test_a_stopped_kubelet_ends_its_pods_and_says_so(cluster: Cluster, second_node: Node) -> None:
    await cluster.pod("echo $$$$; exec sleep 60", node=second_node.name)
    pod = await cluster.until_phase("Running")
    assert await asyncio.to_thread(wait_until, lambda: second_node.log(pod).strip() != "", timeout=5)
    await asyncio.to_thread(second_node.process.stop)
    assert second_node.process.exit_code == 0
    assert not _runs(second_node.log(pod))
    pod = await cluster.until_phase("Failed")
    assert (pod["status"]["reason"], state(pod)["terminated"]["exitCode"]) == ("Terminated", 143)
    status = (await cluster.api.request("GET", f"/api/v1/nodes/{second_node.name}"))["status"]
    assert {item["type"]: item["status"] for item in status["conditions"]}["Ready"] == "False"


def _runs(log: str) -> bool:
    try:
        os.kill(int(log.split(maxsplit=1)[0]), 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_second_kubelet_may_not_use_the_same_directory(plane: ControlPlane, node: Node) -> None:
    other = Node(plane, node.directory.parent, "main")
    process = ManagedProcess(
        "other", other.process.command, log=node.directory.parent / "other.log", directory=REPOSITORY
    )
    process.start()
    assert await asyncio.to_thread(process.wait, 10)
    assert process.exit_code == 1
    assert "another kubelet uses" in process.log.read_text()


async def test_the_kubelet_never_logs_a_secret(cluster: Cluster, plane: ControlPlane, node: Node) -> None:
    await cluster.pod("echo $S; exit 1", env=[{"name": "S", "value": "geheim"}])
    await cluster.until_phase("Failed")
    log = node.process.log.read_text()
    assert plane.token not in log
    assert "geheim" not in log
    assert "has a fault" not in log
    with pytest.raises(ApiError):
        await cluster.api.request("GET", f"{cluster.pods}/none")
