"""The Node the process kubelet stands for, and its Lease."""

import asyncio
import logging
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

from dev.kubelet.api import Api, ApiError, Backoff, Manifest
from dev.kubelet.statuses import timestamp

logger = logging.getLogger(__name__)

LEASE_NAMESPACE = "kube-node-lease"
# A real kubelet renews its lease four times in the lease's duration and writes its status every five minutes.
LEASE_RENEWALS = 4
STATUS_SECONDS = 300.0
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class NodeOptions:
    """What the Node says about itself."""

    name: str
    address: str
    cpu: str = "8"
    memory: str = "32Gi"
    pods: int = 110
    lease_seconds: float = 10.0
    """How often the lease is renewed."""

    @property
    def resources(self) -> Mapping[str, str]:
        """Capacity and allocatable resources."""
        return {"cpu": self.cpu, "memory": self.memory, "pods": str(self.pods), "ephemeral-storage": "100Gi"}


def node_manifest(options: NodeOptions) -> Manifest:
    """The Node to register."""
    labels = {
        "kubernetes.io/hostname": options.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": _architecture(),
    }
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": options.name, "labels": labels}, "spec": {}}


def node_status(options: NodeOptions, *, ready: bool, version: str, since: str, now: datetime) -> Manifest:
    """The status of the Node.

    Args:
        options: What the Node says about itself.
        ready: Whether it takes pods.
        version: The server's version, e.g. ``v1.36.3``: a kubelet must not be newer.
        since: When ``ready`` changed, as a Kubernetes timestamp.
        now: The current time.
    """
    pressures = {
        "MemoryPressure": ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        "DiskPressure": ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        "PIDPressure": ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    }
    times = {"lastHeartbeatTime": timestamp(now), "lastTransitionTime": since}
    conditions = [
        {"type": kind, "status": "False", "reason": reason, "message": message, **times}
        for kind, (reason, message) in pressures.items()
    ]
    reason, message = ("KubeletReady", "runs pods as processes") if ready else ("KubeletNotReady", "has been stopped")
    conditions.append({"type": "Ready", "status": str(ready), "reason": reason, "message": message, **times})
    return {
        "capacity": dict(options.resources),
        "allocatable": dict(options.resources),
        "conditions": conditions,
        "addresses": [
            {"type": "InternalIP", "address": options.address},
            {"type": "Hostname", "address": options.name},
        ],
        "nodeInfo": {
            "machineID": options.name,
            "systemUUID": options.name,
            "bootID": options.name,
            "kernelVersion": platform.release(),
            "osImage": "processes of this machine",
            "containerRuntimeVersion": "process://1",
            "kubeletVersion": version,
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": _architecture(),
        },
    }


def lease_manifest(options: NodeOptions, node_uid: str, *, now: datetime) -> Manifest:
    """The Lease that says the Node is alive; it belongs to the Node.

    Source: https://kubernetes.io/docs/concepts/architecture/leases/#node-heart-beats
    """
    owner = {"apiVersion": "v1", "kind": "Node", "name": options.name, "uid": node_uid}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": options.name, "namespace": LEASE_NAMESPACE, "ownerReferences": [owner]},
        "spec": {
            "holderIdentity": options.name,
            "leaseDurationSeconds": max(1, round(LEASE_RENEWALS * options.lease_seconds)),
            "renewTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        },
    }


def _architecture() -> str:
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


class NodeAgent:
    """Registers the Node and keeps it alive."""

    def __init__(self, api: Api, options: NodeOptions) -> None:
        self.options = options
        self._api = api
        self._path = f"/api/v1/nodes/{options.name}"
        self._lease_path = f"/apis/coordination.k8s.io/v1/namespaces/{LEASE_NAMESPACE}/leases"
        self._ready_since = timestamp(datetime.now(UTC))

    async def run(self) -> None:
        """Registers the Node, renews its lease and, now and then, its status, until it is cancelled.

        A Node or Lease that somebody deleted is created again.
        """
        loop = asyncio.get_running_loop()
        backoff = Backoff()
        uid, status_due = "", 0.0
        while True:
            try:
                if not uid or loop.time() >= status_due:
                    uid = await self._register()
                    await self._write_status(ready=True)
                    status_due = loop.time() + STATUS_SECONDS
                await self._renew(uid)
            except ApiError as error:
                uid = "" if not error.passing else uid
                await backoff.pause()
            else:
                backoff.reset()
                await asyncio.sleep(self.options.lease_seconds)

    async def retire(self) -> None:
        """Says that the Node takes no pods any more.

        Raises:
            ApiError: the API server does not answer.
        """
        self._ready_since = timestamp(datetime.now(UTC))
        await self._write_status(ready=False)

    async def _register(self) -> str:
        node = await self._api.find(self._path)
        if node is None:
            node = await self._api.request("POST", "/api/v1/nodes", body=node_manifest(self.options))
            logger.info("registered the node %s", self.options.name)
        return str(node["metadata"]["uid"])

    async def _write_status(self, *, ready: bool) -> None:
        version = str((await self._api.request("GET", "/version"))["gitVersion"])
        status = node_status(self.options, ready=ready, version=version, since=self._ready_since, now=datetime.now(UTC))
        await self._api.request("PATCH", f"{self._path}/status", body={"status": status})

    async def _renew(self, uid: str) -> None:
        lease = lease_manifest(self.options, uid, now=datetime.now(UTC))
        try:
            await self._api.request("PATCH", f"{self._lease_path}/{self.options.name}", body=lease)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            await self._api.request("POST", self._lease_path, body=lease)
