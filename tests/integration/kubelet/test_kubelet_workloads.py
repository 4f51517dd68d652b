"""Deployments and StatefulSets of a real control plane run as processes: probes, restarts, roll-outs and volumes.

Not shown here, because processes are no containers: DNS, cluster addresses, users, a read-only root and the sizes of
volumes.
"""

import asyncio
import json
import os
import time
from typing import Any

import psycopg
import pytest

from dev import postgres_image
from dev.controlplane import ControlPlane
from dev.kubelet.api import Manifest
from dev.kubelet.storage import volume_manifests
from tests.integration.kubelet_cluster import Cluster, Node, state

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

AVAILABLE_SECONDS = 10
# Only root has private mounts, and only with them a pod has an /etc/hosts of its own.
needs_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="private mounts need root")
SERVER = """
import http.server, os, pathlib
pathlib.Path("ready").touch()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if pathlib.Path(self.path[1:]).exists() else 503)
        self.end_headers()
http.server.HTTPServer((os.environ["POD_IP"], 8080), Handler).serve_forever()
"""
POD_IP = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


class Workload:
    """A Deployment or StatefulSet named w with the label app=w."""

    def __init__(self, cluster: Cluster, kind: str) -> None:
        self.cluster = cluster
        self.kind = kind
        self.collection = f"/apis/apps/v1/namespaces/{cluster.namespace}/{kind.lower()}s"
        self.path = f"{self.collection}/w"

    async def create(self, container: Manifest, *, pod: Manifest | None = None, **spec: Any) -> None:
        containers = [{"name": "main", **container}]
        template = {
            "metadata": {"labels": {"app": "w"}},
            "spec": {"terminationGracePeriodSeconds": 5, "containers": containers, **(pod or {})},
        }
        content = {"selector": {"matchLabels": {"app": "w"}}, "template": template, **spec}
        await self.cluster.create(self.kind, self.collection, "w", spec=content)

    async def change(self, **container: Any) -> None:
        template = {"spec": {"containers": [{"name": "main", **container}]}}
        await self.cluster.api.request("PATCH", self.path, body={"spec": {"template": template}})

    async def until(self, *, ready: int, seconds: float = 20) -> Manifest:
        """Waits until the roll-out is complete and so many replicas are ready; at no moment more than wanted."""

        async def probe() -> Manifest | None:
            found = await self.cluster.api.request("GET", self.path)
            status = found["status"]
            observed = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
            wanted = (status.get("readyReplicas", 0), status.get("updatedReplicas", 0), status.get("replicas", 0))
            return (
                found if observed and wanted == (ready, found["spec"]["replicas"], found["spec"]["replicas"]) else None
            )

        return await self.cluster.until(probe, seconds=seconds)

    async def pods(self) -> list[Manifest]:
        listing = await self.cluster.api.request("GET", self.cluster.pods, parameters={"labelSelector": "app=w"})
        return list(listing["items"])

    async def pod(self) -> Manifest:
        [pod] = await self.pods()
        return pod

    async def until_pod(self, check: Any) -> Manifest:
        """The only pod, as soon as the check holds for its container's status."""

        async def probe() -> Manifest | None:
            for pod in await self.pods():
                if any(check(status) for status in pod["status"].get("containerStatuses") or []):
                    return pod
            return None

        return await self.cluster.until(probe)

    async def until_successor(self, before: Manifest) -> Manifest:
        """The pod that has come for another one, as soon as it is ready."""

        async def probe() -> Manifest | None:
            for pod in await self.pods():
                ready = any(status["ready"] for status in pod["status"].get("containerStatuses") or [])
                if pod["metadata"]["uid"] != before["metadata"]["uid"] and ready:
                    return pod
            return None

        return await self.cluster.until(probe)


@pytest.fixture
def deployment(cluster: Cluster) -> Workload:
    return Workload(cluster, "Deployment")


@pytest.fixture
def stateful(cluster: Cluster, plane: ControlPlane, node: Node) -> Workload:
    manifests = volume_manifests(node.directory / "volumes", count=1)
    plane.kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))
    return Workload(cluster, "StatefulSet")


def probe(command: str, **times: int) -> Manifest:
    return {"exec": {"command": ["sh", "-c", command]}, "periodSeconds": 1, "failureThreshold": 1, **times}


async def test_a_deployment_becomes_available_within_seconds_and_is_asked_over_http(deployment: Workload) -> None:
    get = {"path": "/ready", "port": "http"}
    started = time.monotonic()
    await deployment.create(
        {
            "image": "python",
            "args": [SERVER],
            "env": [POD_IP],
            "ports": [{"name": "http", "containerPort": 8080}],
            "readinessProbe": {"httpGet": get, "periodSeconds": 1},
            "livenessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        },
        replicas=2,
    )
    found = await deployment.until(ready=2)
    assert time.monotonic() - started < AVAILABLE_SECONDS
    conditions = {item["type"]: item["status"] for item in found["status"]["conditions"]}
    assert conditions["Available"] == "True"
    # Both listen on the same port.
    assert len({pod["status"]["podIP"] for pod in await deployment.pods()}) == 2


async def test_a_container_is_restarted_when_its_liveness_probe_fails(deployment: Workload, node: Node) -> None:
    script = (
        "trap 'echo asked; exit 7' TERM; rm -f sick; echo up; [ -e old ] || sleep 1; [ -e old ] || touch old sick; "
    )
    await deployment.create(
        {
            "image": "sh",
            "args": [f"{script} while :; do sleep 0.1; done"],
            "livenessProbe": probe("[ ! -e sick ]", initialDelaySeconds=1),
        }
    )
    pod = await deployment.until_pod(lambda status: status["restartCount"] == 1 and status["ready"])
    last = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert last["exitCode"] == 7
    await deployment.cluster.until_log(lambda: node.log(pod), "up\nasked\nup\n")
    assert "its liveness probe has failed" in node.process.log.read_text()


async def test_a_container_is_not_ready_while_its_readiness_probe_fails(deployment: Workload) -> None:
    script = "echo no > ready; sleep 2; echo yes > ready; sleep 2; echo no > ready; sleep 60"
    await deployment.create({"image": "sh", "args": [script], "readinessProbe": probe("grep -q yes ready")})
    pod = await deployment.until_pod(lambda status: "running" in status["state"])
    assert not pod["status"]["containerStatuses"][0]["ready"]
    conditions = {item["type"]: item for item in pod["status"]["conditions"]}
    assert conditions["Ready"]["message"] == "containers with unready status: [main]"
    await deployment.until(ready=1)
    await deployment.until(ready=0)
    assert (await deployment.pod())["status"]["containerStatuses"][0]["restartCount"] == 0


async def test_a_startup_probe_gives_a_slow_program_its_time(deployment: Workload) -> None:
    script = "rm -f up; sleep 2.5; touch up; sleep 60"
    await deployment.create(
        {
            "image": "sh",
            "args": [script],
            "startupProbe": probe("[ -e up ]", failureThreshold=30),
            "livenessProbe": probe("[ -e up ]"),
        }
    )
    pod = await deployment.until_pod(lambda status: "running" in status["state"])
    assert not pod["status"]["containerStatuses"][0]["started"]
    await deployment.until(ready=1)
    status = (await deployment.pod())["status"]["containerStatuses"][0]
    assert (status["started"], status["restartCount"]) == (True, 0)


async def test_a_program_that_keeps_ending_is_started_again_with_growing_pauses(deployment: Workload) -> None:
    await deployment.create({"image": "sh", "args": ["echo run; exit 3"]})
    pod = await deployment.until_pod(
        lambda status: status["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"
    )
    status = pod["status"]["containerStatuses"][0]
    assert (status["restartCount"], status["lastState"]["terminated"]["exitCode"]) == (1, 3)
    assert state(pod)["waiting"]["message"] == "back-off 10s restarting failed container=main"
    assert pod["status"]["phase"] == "Running"


SERVE = "trap 'sleep 0.5; date +%s.%N; exit 0' TERM; date +%s.%N; while :; do sleep 0.1; done"


async def roll_out(deployment: Workload, node: Node, strategy: Manifest) -> tuple[list[float], list[float]]:
    """Changes a Deployment; returns when its first and its second pod began and ended (the second has not)."""
    container = {"image": "sh", "args": [SERVE], "readinessProbe": probe("true")}
    await deployment.create(container, strategy=strategy)
    await deployment.until(ready=1)
    first = await deployment.pod()
    await deployment.change(env=[{"name": "VERSION", "value": "2"}])
    await deployment.until(ready=1)
    [second] = [pod for pod in await deployment.pods() if pod["metadata"]["uid"] != first["metadata"]["uid"]]

    async def ended() -> Manifest | None:
        return {} if len(node.log(first).split()) == 2 else None

    await deployment.cluster.until(ended)
    return [float(line) for line in node.log(first).split()], [float(line) for line in node.log(second).split()]


async def test_a_rolling_update_starts_the_new_pod_first(deployment: Workload, node: Node) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    first, second = await roll_out(deployment, node, strategy)
    assert second[0] < first[1]


async def test_recreate_never_runs_two_pods_at_a_time(deployment: Workload, node: Node) -> None:
    first, second = await roll_out(deployment, node, {"type": "Recreate"})
    assert first[1] < second[0]


async def test_a_hook_runs_before_the_signal(deployment: Workload, node: Node) -> None:
    script = "trap 'cat hook; exit 0' TERM; echo up; while :; do sleep 0.1; done"
    hook = {"exec": {"command": ["sh", "-c", "echo hooked > hook"]}}
    await deployment.create({"image": "sh", "args": [script], "lifecycle": {"preStop": hook}})
    pod = await deployment.until_pod(lambda status: status["ready"])
    await asyncio.sleep(0.3)
    await deployment.cluster.api.request("DELETE", f"{deployment.cluster.pods}/{pod['metadata']['name']}")

    await deployment.cluster.until_log(lambda: node.log(pod), "up\nhooked\n")


def claim(size: str = "1Gi") -> Manifest:
    return {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    }


async def test_a_stateful_set_keeps_its_volume_over_a_deleted_pod(stateful: Workload, node: Node) -> None:
    script = "echo $HOSTNAME >> $DIR/seen; cat $DIR/seen; exec sleep 60"
    mount = {"name": "data", "mountPath": "/b3lb-data"}
    await stateful.create(
        {"image": "sh", "args": [script], "env": [{"name": "DIR", "value": "/b3lb-data"}], "volumeMounts": [mount]},
        serviceName="w",
        volumeClaimTemplates=[claim()],
    )
    await stateful.until(ready=1)
    before = await stateful.pod()
    await stateful.cluster.until_log(lambda: node.log(before), "w-0\n")
    await stateful.cluster.api.request("DELETE", f"{stateful.cluster.pods}/w-0")

    after = await stateful.until_successor(before)

    await stateful.cluster.until_log(lambda: node.log(after), "w-0\nw-0\n")


async def start_postgres(stateful: Workload) -> None:
    """A database as the chart has it, with the Service w."""
    cluster = stateful.cluster
    ready = {"exec": {"command": ["pg_isready", "--host=127.0.0.1", "--username=b3lb", "--dbname=b3lb"]}}
    service = {"clusterIP": "None", "selector": {"app": "w"}, "ports": [{"port": 5432}]}
    await cluster.create("Service", f"/api/v1/namespaces/{cluster.namespace}/services", "w", spec=service)
    secrets = f"/api/v1/namespaces/{cluster.namespace}/secrets"
    await cluster.create("Secret", secrets, "database", stringData={"password": "geheim"})
    password = {"secretKeyRef": {"name": "database", "key": "password"}}
    await stateful.create(
        {
            "image": postgres_image.IMAGE,
            "env": [
                {"name": "POSTGRES_USER", "value": "b3lb"},
                {"name": "POSTGRES_DB", "value": "b3lb"},
                {"name": "POSTGRES_PASSWORD", "valueFrom": password},
            ],
            "readinessProbe": {**ready, "periodSeconds": 1, "timeoutSeconds": 5},
            "volumeMounts": [
                {"name": "data", "mountPath": "/var/lib/postgresql"},
                {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - in the pod
            ],
        },
        pod={"terminationGracePeriodSeconds": 20, "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "16Mi"}}]},
        serviceName="w",
        volumeClaimTemplates=[claim()],
    )
    await stateful.until(ready=1, seconds=60)


def execute(address: str, statement: str) -> Any:
    url = f"postgresql://b3lb:geheim@{address}:5432/b3lb"
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else None


@needs_mounts
async def test_a_database_pod_keeps_its_data_when_it_is_killed_and_when_it_is_replaced(
    stateful: Workload, node: Node
) -> None:
    await start_postgres(stateful)
    pod = await stateful.pod()
    address = pod["status"]["podIP"]
    execute(address, "CREATE TABLE meetings AS SELECT 1 AS id")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"postgresql://b3lb:falsch@{address}:5432/b3lb", connect_timeout=5)
    [[main]] = execute(address, "SELECT pg_read_file('postmaster.pid')")
    os.kill(int(main.split()[0]), 9)
    pod = await stateful.until_pod(lambda status: status["restartCount"] == 1 and status["ready"])
    assert pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"] == 137
    assert execute(address, "SELECT id FROM meetings") == [(1,)]
    await stateful.cluster.api.request("DELETE", f"{stateful.cluster.pods}/w-0")
    pod = await stateful.until_pod(lambda status: status["restartCount"] == 0 and status["ready"])
    assert execute(pod["status"]["podIP"], "SELECT id FROM meetings") == [(1,)]
    logs = sorted(node.directory.glob(f"pods/{stateful.cluster.namespace}_w-0_*/main.log"))
    text = "".join(log.read_text() for log in logs)
    # The stop signal of the image: connections do not hold it up.
    assert "received fast shutdown request" in text
    assert "geheim" not in text


RESOLVE = """
import os, socket, sys, time
while True:
    for name in ("w", f"w.{os.environ['N']}", f"w-0.w.{os.environ['N']}.svc.cluster.local"):
        try:
            print(name, socket.gethostbyname(name), flush=True)
        except OSError:
            pass
    time.sleep(0.2)
"""


@needs_mounts
async def test_the_names_of_a_service_lead_to_its_ready_pod(stateful: Workload, node: Node) -> None:
    cluster = stateful.cluster
    namespace = {"fieldRef": {"fieldPath": "metadata.namespace"}}
    await cluster.pod(RESOLVE, image="python", env=[{"name": "N", "valueFrom": namespace}])
    reader = await cluster.until_phase("Running")
    service = {"clusterIP": "None", "selector": {"app": "w"}, "ports": [{"port": 80}]}
    await cluster.create("Service", f"/api/v1/namespaces/{cluster.namespace}/services", "w", spec=service)
    await stateful.create({"image": "sh", "args": ["exec sleep 60"]}, serviceName="w")
    first = await stateful.until_pod(lambda status: status["ready"])
    names = ("w", f"w.{cluster.namespace}", f"w-0.w.{cluster.namespace}.svc.cluster.local")

    async def until_resolved(pod: Manifest) -> None:
        for name in names:
            await cluster.until_log(lambda: node.log(reader), f"{name} {pod['status']['podIP']}\n")

    await until_resolved(first)
    await cluster.api.request("DELETE", f"{cluster.pods}/w-0")
    await until_resolved(await stateful.until_successor(first))
