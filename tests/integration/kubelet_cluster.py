"""A process kubelet and a namespace on a real control plane."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from dev import postgres_image
from dev.controlplane import ControlPlane
from dev.kubelet.api import Api, Manifest
from dev.processes import ManagedProcess

REPOSITORY = Path(__file__).resolve().parents[2]


class Node:
    """A process kubelet with its directory."""

    def __init__(self, plane: ControlPlane, directory: Path, name: str, *options: str) -> None:
        self.name = name
        self.directory = directory / name
        self.images = directory / f"{name}.json"
        python = {"path": [str(Path(sys.executable).parent)], "entrypoint": ["python", "-c"]}
        images = {"sh": {"entrypoint": ["sh", "-c"]}, "python": python}
        self.images.write_text(json.dumps({**images, postgres_image.IMAGE: postgres_image.image_entry()}))
        command = [sys.executable, "-m", "dev.kubelet", "--kubeconfig", str(plane.kubeconfig), "--node", name]
        command += ["--directory", str(self.directory), "--images", str(self.images), "--lease-seconds", "1", *options]
        self.process = ManagedProcess(name, command, log=directory / f"{name}.log", directory=REPOSITORY)
        self._ready = lambda: (
            plane.kubectl("get", "node", name, "-o", "jsonpath={.status.conditions[3].status}", check=False) == "True"
        )

    def start(self) -> None:
        self.process.start()
        self.process.wait_ready(self._ready, timeout=20, interval=0.2)

    def kill_alone(self) -> None:
        """Kills the kubelet and none of its descendants."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        assert self.process.wait(5)

    def log(self, pod: Manifest, container: str = "main") -> str:
        metadata = pod["metadata"]
        directory = f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"
        return (self.directory / "pods" / directory / f"{container}.log").read_text()


class Cluster:
    """What a test does in a namespace of its own."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api = api
        self.namespace = namespace
        self.pods = f"/api/v1/namespaces/{namespace}/pods"
        self.jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"

    async def create(self, kind: str, path: str, name: str, **content: Any) -> None:
        """Creates an object; what only takes a moment to be there is waited for."""
        body = {"kind": kind, "metadata": {"name": name}, **content}
        await self.api.request("POST", path, body=body)

    async def pod(self, script: str, *, image: str = "sh", node: str | None = None, **container: Any) -> None:
        spec = pod_spec(script, image=image, **container)
        if node is not None:
            spec["nodeName"] = node
        await self.create("Pod", self.pods, "p", spec=spec)

    async def job(self, script: str, *, image: str = "sh", container: Manifest | None = None, **spec: Any) -> None:
        template = {"metadata": {"labels": {"app": "b3lb"}}, "spec": pod_spec(script, image=image, **(container or {}))}
        await self.create("Job", self.jobs, "j", spec={"backoffLimit": 0, "template": template, **spec})

    async def until(self, check: Callable[[], Awaitable[Manifest | None]], *, seconds: float = 20) -> Manifest:
        async with asyncio.timeout(seconds):
            while True:
                found = await check()
                if found is not None:
                    return found
                await asyncio.sleep(0.1)

    async def until_log(self, read: Callable[[], str], text: str) -> None:
        """Waits until a log contains a text."""

        async def probe() -> Manifest | None:
            return {} if text in read() else None

        await self.until(probe)

    async def until_exists(self, path: str) -> Manifest:
        return await self.until(lambda: self.api.find(path))

    async def until_pod(self, check: Callable[[Manifest], Any], *, name: str = "p") -> Manifest:
        """The pod as soon as the check holds for it."""

        async def probe() -> Manifest | None:
            pod = await self.api.find(f"{self.pods}/{name}")
            return pod if pod is not None and check(pod) else None

        return await self.until(probe)

    async def until_phase(self, phase: str) -> Manifest:
        return await self.until_pod(lambda pod: pod["status"]["phase"] == phase)

    async def finished_job(self, condition: str) -> Manifest:
        async def probe() -> Manifest | None:
            conditions = (await self.api.request("GET", f"{self.jobs}/j"))["status"].get("conditions") or []
            return next((item for item in conditions if item["type"] == condition), None)

        return await self.until(probe)

    async def job_pods(self) -> list[Manifest]:
        selector = {"labelSelector": "batch.kubernetes.io/job-name=j"}
        items: list[Manifest] = (await self.api.request("GET", self.pods, parameters=selector))["items"]
        return items


def pod_spec(script: str, *, image: str, **container: Any) -> Manifest:
    main = {"name": "main", "image": image, "args": [script], **container}
    return {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [main]}


def state(pod: Manifest) -> Manifest:
    found: Manifest = pod["status"]["containerStatuses"][0]["state"]
    return found
