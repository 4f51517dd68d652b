"""The process kubelet itself: a worker for every pod that is bound to its node."""

import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from dev.kubelet.api import Api, ApiError, Manifest
from dev.kubelet.containers import ContainerProcess, Plan, kill_leftovers
from dev.kubelet.host import Host
from dev.kubelet.mounts import Mount
from dev.kubelet.node import NodeAgent
from dev.kubelet.pods import PodWorker

logger = logging.getLogger(__name__)

SHUTDOWN_GRACE_SECONDS = 2.0
SHUTDOWN_SECONDS = 5.0
RETIRE_SECONDS = 2.0
# Directories of removed pods are kept for their logs, but not for ever.
KEPT_DIRECTORIES = 200


class DirectoryInUseError(RuntimeError):
    """Another kubelet uses the directory."""


@contextlib.contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Holds a directory against other kubelets; a kubelet that is killed lets go of it.

    Raises:
        DirectoryInUseError: another one has it.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DirectoryInUseError(f"another kubelet uses {directory}") from None
        yield


async def private_mounts_work(directory: Path) -> bool:
    """Whether containers can have private mounts here: this takes root, and a kernel that allows it."""
    if os.geteuid() != 0:
        return False
    root = directory / "probe"
    (root / "internal").mkdir(parents=True, exist_ok=True)
    source = root / "source"
    source.write_text("visible", encoding="ascii")
    plan = Plan(
        name="probe",
        command=["cat", "/b3lb-probe/file"],
        environment={"PATH": os.defpath},
        working_directory="/",
        pod_root=root,
        mounts=[Mount(str(source), "/b3lb-probe/file", read_only=True)],
        hostname="probe",
        private_mounts=True,
        termination_log=root / "internal" / "termination-log",
        log_fallback=True,
    )
    ending = await (await ContainerProcess.start(plan)).wait()
    if ending.exit_code != 0:
        logger.warning("private mounts do not work here, paths are rewritten instead: %s", ending.message)
    return ending.exit_code == 0


class Kubelet:
    """Runs the pods of one node."""

    def __init__(self, api: Api, agent: NodeAgent, host: Host) -> None:
        self._api = api
        self._agent = agent
        self._host = host
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._removed: deque[Path] = deque()
        self._first_list = True

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until it is told to stop; then ends all pods and reports that, for some seconds at most."""
        self._host.directory.mkdir(parents=True, exist_ok=True)
        killed = kill_leftovers(self._host.directory)
        if killed:
            logger.warning("killed %d processes of an earlier kubelet", killed)
        selector = f"spec.nodeName={self._agent.options.name}"
        duties = [
            asyncio.create_task(self._agent.run()),
            asyncio.create_task(self._host.memory.run()),
            asyncio.create_task(
                self._api.follow("/api/v1/pods", field_selector=selector, replace=self._replace, change=self._change)
            ),
            asyncio.create_task(self._host.services.run(self._api, changed=self._write_hosts)),
        ]
        stopping = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait({stopping, *duties}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (stopping, *duties):
                task.cancel()
            await self._shut_down()

    def _replace(self, pods: list[Manifest]) -> None:
        if self._first_list:
            self._first_list = False
            present = {self._host.pod_directory(pod) for pod in pods}
            for path in sorted(set(self._host.directory.iterdir()) - present):
                self._retire(path)
        for pod in pods:
            self._change("MODIFIED", pod)
        for uid in self._workers.keys() - {pod["metadata"]["uid"] for pod in pods}:
            self._workers[uid].remove()

    def _change(self, kind: str, pod: Manifest) -> None:
        uid = pod["metadata"]["uid"]
        worker = self._workers.get(uid)
        if worker is not None:
            if kind == "DELETED":
                worker.remove()
            else:
                worker.update(pod)
        elif kind != "DELETED":
            worker = self._workers[uid] = PodWorker(self._host, pod)
            task = self._tasks[uid] = asyncio.create_task(worker.run())
            task.add_done_callback(lambda task: self._done(uid, task))

    def _write_hosts(self) -> None:
        for worker in self._workers.values():
            worker.write_hosts()

    def _done(self, uid: str, task: asyncio.Task[None]) -> None:
        worker = self._workers.pop(uid)
        del self._tasks[uid]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s: the kubelet has a fault", worker.label, exc_info=error)
        self._retire(worker.root)

    def _retire(self, path: Path) -> None:
        self._removed.append(path)
        while len(self._removed) > KEPT_DIRECTORIES:
            shutil.rmtree(self._removed.popleft(), ignore_errors=True)

    async def _shut_down(self) -> None:
        logger.info("stopping with %d pods", len(self._tasks))
        for worker in self._workers.values():
            worker.shut_down(grace=SHUTDOWN_GRACE_SECONDS)
        tasks = set(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=SHUTDOWN_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        with contextlib.suppress(ApiError, TimeoutError):
            await asyncio.wait_for(self._agent.retire(), RETIRE_SECONDS)
