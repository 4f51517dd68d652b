"""The runs of a pod's containers: preparing, starting, waiting for the end, and starting again."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TypeVar

from dev.kubelet.actions import Target, named_ports
from dev.kubelet.api import ApiError, Manifest
from dev.kubelet.containers import ContainerProcess, Ending, Plan, start_error
from dev.kubelet.fields import ConfigurationError
from dev.kubelet.host import Host
from dev.kubelet.plans import container_plan, memory_limit
from dev.kubelet.prober import Prober
from dev.kubelet.running import DEFAULT_GRACE_SECONDS, RunningContainer
from dev.kubelet.statuses import ContainerRecord

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 300.0
# A container that has run that long is started again at once, as if it had never failed.
FORGIVING_SECONDS = 600.0

_Result = TypeVar("_Result")


class Stopped(Exception):  # noqa: N818  # nothing went wrong
    """The pod is to end, so the interrupted step is not needed any more."""


class ContainerRuns:
    """Runs the containers of one pod until its stop event is set: then nothing is started any more."""

    def __init__(
        self, host: Host, *, root: Path, view: Callable[[], Manifest], report: Callable[[], None], stop: asyncio.Event
    ) -> None:
        """Takes what the pod's containers have in common.

        Args:
            host: What all pods share.
            root: The pod's directory.
            view: Gives the pod's object as it is now, with its addresses.
            report: Called whenever the record of a container has changed.
            stop: Set when the pod is to end.
        """
        self._host = host
        self._root = root
        self._view = view
        self._report = report
        self._stop = stop
        self._running: dict[str, RunningContainer] = {}

    @property
    def marker(self) -> Path:
        """A file that says that a container of this pod has been started, by this kubelet or an earlier one."""
        return self._root / "started"

    def ask_to_end(self) -> None:
        """Asks all running containers to end, with their hooks and stop signals."""
        for running in self._running.values():
            running.ask_to_end()

    def kill(self) -> None:
        """Kills all running containers."""
        for running in self._running.values():
            running.kill()

    async def run(self, container: Manifest, record: ContainerRecord, *, initial: bool = False) -> bool:
        """Runs a container as often as the restart policy says.

        Args:
            container: The container of the pod's spec.
            record: What is reported about it.
            initial: Whether it is an init container.

        Returns:
            Whether it succeeded in the end; False if it was not started because the pod is to end.
        """
        policy = self._view()["spec"].get("restartPolicy", "Always")
        backoff = 0.0
        try:
            while True:
                plan = await self.unless_stopped(self._plan(container, record))
                ending = await self._run_once(plan, container, record, initial=initial)
                succeeded = ending.exit_code == 0
                if (ending.finished_at - ending.started_at).total_seconds() >= FORGIVING_SECONDS:
                    backoff = 0.0
                if policy == "Never" or (succeeded and (initial or policy != "Always")) or self._stop.is_set():
                    return succeeded
                if backoff:
                    record.wait("CrashLoopBackOff", f"back-off {backoff:g}s restarting failed container={record.name}")
                    self._report()
                await self.unless_stopped(asyncio.sleep(backoff))
                # As with the real kubelet, the first restart follows at once.
                backoff = min(2 * backoff or self._host.restart_backoff, LONGEST_BACKOFF_SECONDS)
        except Stopped:
            return False

    async def unless_stopped(self, step: Coroutine[object, object, _Result]) -> _Result:
        """The result of a step, which is cancelled when the pod is to end.

        Raises:
            Stopped: it was cancelled.
        """
        task = asyncio.create_task(step)
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
        finally:
            stop.cancel()
            task.cancel()
        raise Stopped

    async def _plan(self, container: Manifest, record: ContainerRecord) -> Plan:
        host, name = self._host, container["image"]
        while True:
            image = host.images.find(name)
            if image is None:
                again = record.state.get("waiting", {}).get("reason") in {"ErrImagePull", "ImagePullBackOff"}
                message = f'image "{name}" is not in {host.images.path.name}'
                record.wait("ImagePullBackOff" if again else "ErrImagePull", message)
            else:
                pod = self._view()
                try:
                    return await container_plan(host.api, pod, container, image=image, root=self._root, node=host.node)
                except ConfigurationError as error:
                    record.wait("CreateContainerConfigError", str(error))
                except ApiError as error:
                    if not error.passing:
                        record.wait("CreateContainerConfigError", str(error))
            self._report()
            await asyncio.sleep(RETRY_SECONDS)

    async def _run_once(self, plan: Plan, container: Manifest, record: ContainerRecord, *, initial: bool) -> Ending:
        self.marker.touch()
        try:
            process = await ContainerProcess.start(plan)
        except (OSError, ValueError) as error:
            ending = start_error(error)
        else:
            ending = await self._accompany(process, plan, container, record, probed=not initial)
        record.end(ending)
        logger.info("%s: container %s ended with code %d", self._root.name, record.name, ending.exit_code)
        self._report()
        return ending

    async def _accompany(
        self, process: ContainerProcess, plan: Plan, container: Manifest, record: ContainerRecord, *, probed: bool
    ) -> Ending:
        pod = self._view()
        target = Target(plan=plan, address=pod["status"]["podIP"], ports=named_ports(container))
        grace = pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS)
        label = f"{self._root.name}: container {record.name}"
        prober = Prober(container, target, record, label=label, report=self._report) if probed else None
        running = self._running[record.name] = RunningContainer(process, container, target, grace=grace)
        if self._stop.is_set():
            running.ask_to_end()
        record.run(
            process.container_id,
            process.started_at,
            started=prober is None or not prober.waits_for_start,
            ready=prober is None or not prober.waits_for_readiness,
        )
        self._report()
        try:
            with self._host.memory.watch(process.pid, limit=memory_limit(container), kill=process.kill_for_memory):
                return await running.wait(prober)
        finally:
            del self._running[record.name]
