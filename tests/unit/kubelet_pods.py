"""Single pods on an API server in memory."""

import asyncio
import contextlib
import copy
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from dev.kubelet import runs
from dev.kubelet.addresses import AddressPool
from dev.kubelet.api import Api, ApiError, Credentials, Manifest
from dev.kubelet.host import Host
from dev.kubelet.images import ImageFile
from dev.kubelet.memory import MemoryGuard
from dev.kubelet.plans import NodeFacts
from dev.kubelet.pods import PodWorker
from dev.processes import wait_until


class MemoryApi(Api):
    """Keeps the statuses that are written, and has a few objects."""

    def __init__(self) -> None:
        super().__init__(Credentials(URL("http://127.0.0.1:1"), "geheim"))
        self.statuses: list[Manifest] = []
        self.deletions: list[Manifest] = []
        self.objects: dict[str, Manifest] = {}
        self.away = False
        self.changed = asyncio.Event()

    async def request(
        self, method: str, path: str, *, body: Manifest | None = None, parameters: Mapping[str, str] | None = None
    ) -> Manifest:
        assert parameters is None
        await asyncio.sleep(0)
        if self.away:
            raise ApiError("away")
        if method == "PATCH" and body is not None:
            self.statuses.append(copy.deepcopy(body["status"]))
        elif method == "DELETE" and body is not None:
            self.deletions.append(body)
        elif path in self.objects:
            return self.objects[path]
        else:
            raise ApiError("not found", status=404)
        self.changed.set()
        return {}

    async def until(self, check: Callable[[], bool]) -> None:
        async with asyncio.timeout(8):
            while not check():
                self.changed.clear()
                await self.changed.wait()

    def container(self, index: int = 0) -> Manifest:
        status: Manifest = self.statuses[-1]["containerStatuses"][index]
        return status

    @property
    def phase(self) -> str:
        return str(self.statuses[-1]["phase"]) if self.statuses else ""


class Running:
    """A pod with its worker."""

    def __init__(self, host: Host, api: MemoryApi, pod: Manifest) -> None:
        self.api = api
        self.pod = pod
        self.worker = PodWorker(host, pod)
        self.task = asyncio.create_task(self.worker.run())

    def delete(self, grace: int) -> None:
        metadata = {**self.pod["metadata"], "deletionTimestamp": "now", "deletionGracePeriodSeconds": grace}
        self.worker.update({**self.pod, "metadata": metadata})


Start = Callable[..., Running]


@contextlib.asynccontextmanager
async def starter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Gives a function that starts a pod of shell scripts or of the containers in its spec."""
    monkeypatch.setattr(runs, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr("dev.kubelet.pods.RETRY_SECONDS", 0.05)
    api = MemoryApi()
    images = tmp_path / "images.json"
    images.write_text(json.dumps({"sh": {"entrypoint": ["sh", "-c"]}}))
    host = Host(
        api=api,
        node=NodeFacts(allocatable={}, services={}, private_mounts=False),
        address="127.77.0.1",
        images=ImageFile(images),
        memory=MemoryGuard(),
        addresses=AddressPool("127.77.0.0/24"),
        directory=tmp_path / "pods",
        restart_backoff=0.2,
    )
    running: list[Running] = []

    def begin(*scripts: str, status: Manifest | None = None, **spec: Any) -> Running:
        containers = [{"name": f"c{index}", "image": "sh", "args": [text]} for index, text in enumerate(scripts)]
        pod = {
            "metadata": {"name": "p", "namespace": "farm", "uid": f"u{len(running)}"},
            "spec": {"containers": containers, "restartPolicy": "Never", **spec},
            "status": status or {"phase": "Pending"},
        }
        running.append(Running(host, api, pod))
        return running[-1]

    yield begin
    for item in running:
        item.task.cancel()
    await asyncio.gather(*(item.task for item in running), return_exceptions=True)


async def until_log(pod: Running, text: str) -> None:
    """Waits until the first container has said something."""
    log = pod.worker.root / "c0.log"
    found = await asyncio.to_thread(
        wait_until, lambda: log.exists() and text in log.read_text(), timeout=5, interval=0.02
    )
    assert found
