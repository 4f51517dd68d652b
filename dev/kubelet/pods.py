"""The life of one pod: from its binding to its removal."""

import asyncio
import contextlib
import logging
import math
import shutil
from datetime import UTC, datetime

from dev.kubelet.api import ApiError, Manifest
from dev.kubelet.containers import kill_leftovers
from dev.kubelet.disk import REASON, SAMPLE_SECONDS, excess, limits
from dev.kubelet.fields import ConfigurationError
from dev.kubelet.host import Host
from dev.kubelet.plans import hosts_file
from dev.kubelet.reports import StatusReporter
from dev.kubelet.running import DEFAULT_GRACE_SECONDS, KILL_SECONDS
from dev.kubelet.runs import RETRY_SECONDS, ContainerRuns, Stopped
from dev.kubelet.services import rewrite_file
from dev.kubelet.statuses import FINAL_PHASES, PodFacts, new_records, pod_status, records_from_status
from dev.kubelet.volumes import materialise

logger = logging.getLogger(__name__)

# How old the Secrets, ConfigMaps and tokens in a pod's volumes may be.
REFRESH_SECONDS = 60.0
# What a pod gets whose object somebody removed without waiting for the kubelet.
REMOVED_GRACE_SECONDS = 1.0
EVICTED_GRACE_SECONDS = 1.0


class PodWorker:
    """Runs one pod. The methods that are not coroutines only say what happened; :meth:`run` acts on it."""

    def __init__(self, host: Host, pod: Manifest) -> None:
        metadata, spec = pod["metadata"], pod["spec"]
        self.pod = pod
        self.label = f"{metadata['namespace']}/{metadata['name']}"
        self.root = host.pod_directory(pod)
        self._host = host
        self._reporter = StatusReporter(host.api, pod)
        self._reason = "PodInitializing" if spec.get("initContainers") else "ContainerCreating"
        self._init = new_records(spec.get("initContainers"), reason=self._reason)
        self._main = new_records(spec["containers"], reason=self._reason)
        self._started_at = datetime.now(UTC)
        self._address = ""
        self._sandbox = False
        self._over = False
        self._failure: tuple[str, str] | None = None
        self._stop = asyncio.Event()
        self._runs = ContainerRuns(host, root=self.root, view=self._view, report=self._report, stop=self._stop)
        self._kill_at = math.inf
        self._wake = asyncio.Event()
        self._removed = False
        self._leaving = False

    def update(self, pod: Manifest) -> None:
        """The pod's object has changed."""
        self.pod = pod
        if "deletionTimestamp" in pod["metadata"]:
            self._end(grace=pod["metadata"].get("deletionGracePeriodSeconds", 0))
        self._wake.set()

    def remove(self) -> None:
        """The pod's object does not exist any more."""
        self._removed = True
        self._end(grace=REMOVED_GRACE_SECONDS)

    def shut_down(self, *, grace: float) -> None:
        """The kubelet ends."""
        self._leaving = True
        self._end(grace=grace, failure=("Terminated", "Pod was terminated in response to imminent node shutdown."))

    def _end(self, *, grace: float, failure: tuple[str, str] | None = None) -> None:
        self._kill_at = min(self._kill_at, asyncio.get_running_loop().time() + grace)
        if failure is not None and not self._stop.is_set():
            self._failure = failure
        self._stop.set()
        self._wake.set()

    async def run(self) -> None:
        """Runs the pod until its object is removed or the kubelet ends."""
        phase = self.pod.get("status", {}).get("phase")
        try:
            # The object may be on its way out since before this kubelet saw it.
            self.update(self.pod)
            if phase == "Running" or (phase not in FINAL_PHASES and self._runs.marker.exists()):
                self._lose()
            elif phase not in FINAL_PHASES:
                await self._live()
            await self._reporter.flush()
            await self._leave()
        finally:
            self._reporter.cancel()
        if self._removed:
            shutil.rmtree(self.root / "volumes", ignore_errors=True)

    def _lose(self) -> None:
        status = self.pod["status"]
        spec = self.pod["spec"]
        self._init = records_from_status(spec.get("initContainers"), status.get("initContainerStatuses"))
        self._main = records_from_status(spec["containers"], status.get("containerStatuses"))
        if "startTime" in status:
            self._started_at = datetime.fromisoformat(status["startTime"])
        self._address = status.get("podIP", "")
        self._failure = ("KubeletRestarted", "The kubelet was restarted and does not know the pod's processes.")
        self._finish(lost=True)
        logger.warning("%s is lost: its processes were those of an earlier kubelet", self.label)

    async def _live(self) -> None:
        work = asyncio.create_task(self._work())
        disk = asyncio.create_task(self._watch_disk())
        try:
            await self._supervise(work)
        finally:
            disk.cancel()
            # Also when this task is cancelled: nothing of the pod may stay behind.
            self._runs.kill()
            work.cancel()
            await asyncio.wait({work})
            kill_leftovers(self.root)
            self._host.addresses.give_back(self._address)
        if self._leaving and not self._runs.marker.exists():
            return
        try:
            work.result()
        except (OSError, LookupError) as error:
            logger.exception("%s cannot be run", self.label)
            self._failure = ("UnexpectedAdmissionError", f"{type(error).__name__}: {error}")
        self._finish(lost=self._stop.is_set() or self._failure is not None)
        logger.info("%s has ended", self.label)

    async def _watch_disk(self) -> None:
        """Ends the pod if one of its volumes becomes larger than it may."""
        sizes = limits(self.pod)
        while sizes:
            await asyncio.sleep(SAMPLE_SECONDS)
            message = await asyncio.to_thread(excess, sizes, self.root / "volumes")
            if message is not None:
                self._end(grace=EVICTED_GRACE_SECONDS, failure=(REASON, message))
                return

    async def _supervise(self, work: asyncio.Task[None]) -> None:
        """Waits for the end of the containers, and brings it about when the pod is to end."""
        loop = asyncio.get_running_loop()
        while not work.done() and not self._stop.is_set():
            if (seconds := self._seconds_left()) <= 0:
                message = "Pod was active on the node longer than the specified deadline"
                grace = self.pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS)
                self._end(grace=grace, failure=("DeadlineExceeded", message))
                break
            await self._wait(work, seconds)
        if work.done():
            return
        self._runs.ask_to_end()
        while not work.done() and (seconds := self._kill_at - loop.time()) > 0:
            await self._wait(work, seconds)
        while not work.done():
            # Repeated for a container that is just being started.
            self._runs.kill()
            await asyncio.wait({work}, timeout=KILL_SECONDS)

    async def _wait(self, work: asyncio.Task[None], seconds: float) -> None:
        """Waits until the work is done, something has changed, or the time is over."""
        self._wake.clear()
        change = asyncio.create_task(self._wake.wait())
        timeout = None if seconds == math.inf else seconds
        await asyncio.wait({work, change}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        change.cancel()

    def _seconds_left(self) -> float:
        deadline = self.pod["spec"].get("activeDeadlineSeconds")
        if deadline is None:
            return math.inf
        return float(deadline) - (datetime.now(UTC) - self._started_at).total_seconds()

    async def _leave(self) -> None:
        """Waits for the removal of the pod's object, and allows it as soon as somebody wants it."""
        allowed = False
        while not self._removed and not self._leaving:
            self._wake.clear()
            if "deletionTimestamp" in self.pod["metadata"] and not allowed:
                allowed = True
                await self._reporter.delete()
            else:
                await self._wake.wait()

    async def _work(self) -> None:
        """Everything from setting the pod up to the end of its last container."""
        with contextlib.suppress(Stopped):
            await self._runs.unless_stopped(self._set_up())
            spec = self.pod["spec"]
            for container, record in zip(spec.get("initContainers") or [], self._init, strict=True):
                if not await self._runs.run(container, record, initial=True):
                    return
            pairs = zip(spec["containers"], self._main, strict=True)
            refresh = asyncio.create_task(self._keep_volumes_fresh())
            try:
                await asyncio.gather(*(self._runs.run(container, record) for container, record in pairs))
            finally:
                refresh.cancel()

    async def _set_up(self) -> None:
        host = self._host
        self._address = host.address if self.pod["spec"].get("hostNetwork") else host.addresses.take()
        self._report()
        await asyncio.sleep(host.start_delay)
        # Its volumes may show Secrets.
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.root / "internal").mkdir(exist_ok=True)
        self.write_hosts()
        while True:
            message = ""
            try:
                await self._materialise()
                break
            except ConfigurationError as error:
                message = str(error)
            except ApiError as error:
                message = "" if error.passing else str(error)
            for record in (*self._init, *self._main):
                record.wait(self._reason, message)
            self._report()
            await asyncio.sleep(RETRY_SECONDS)
        for record in (*self._init, *self._main):
            record.wait(self._reason)
        self._sandbox = True

    async def _materialise(self) -> None:
        host = self._host
        await materialise(host.api, self._view(), self.root / "volumes", allocatable=host.node.allocatable)

    async def _keep_volumes_fresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            # What is gone meanwhile, or cannot be asked for, stays as it was.
            with contextlib.suppress(ApiError, ConfigurationError):
                await self._materialise()

    def write_hosts(self) -> None:
        """Writes the pod's ``/etc/hosts`` with the Services as they are now, if the pod has got that far."""
        directory = self.root / "internal"
        if self._address and directory.exists():
            services = self._host.services.lines(self.pod["metadata"]["namespace"])
            rewrite_file(directory / "hosts", hosts_file(self._view()) + services)

    def _view(self) -> Manifest:
        """The pod's object with its addresses, as the downward API shows it."""
        addresses = {"podIP": self._address, "hostIP": self._host.address}
        return {**self.pod, "status": {**self.pod.get("status", {}), **addresses}}

    def _finish(self, *, lost: bool) -> None:
        if lost:
            doubtful = [record for record in self._init if "running" in record.state]
            if all(record.exit_code == 0 for record in self._init):
                doubtful += self._main
            for record in doubtful:
                record.lose()
        self._over = True
        self._report()

    def _report(self) -> None:
        known = self._reporter.conditions
        pod = self.pod if known is None else {**self.pod, "status": {"conditions": known}}
        facts = PodFacts(
            init=self._init,
            main=self._main,
            host_ip=self._host.address,
            pod_ip=self._address,
            started_at=self._started_at,
            sandbox=self._sandbox,
            over=self._over,
            failure=self._failure if self._over else None,
        )
        self._reporter.report(pod_status(pod, facts, now=datetime.now(UTC)))
