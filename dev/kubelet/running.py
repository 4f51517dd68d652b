"""A container that runs: probed, asked to end, and ended."""

import asyncio
import logging
import signal

from dev.kubelet.actions import ActionError, Target, perform
from dev.kubelet.api import Manifest
from dev.kubelet.containers import ContainerProcess, Ending
from dev.kubelet.prober import Prober

logger = logging.getLogger(__name__)

DEFAULT_GRACE_SECONDS = 30.0
KILL_SECONDS = 0.2
# A killed process ends at once, unless the kernel holds it.
LAST_SECONDS = 2.0


class RunningContainer:
    """One run of a container."""

    def __init__(self, process: ContainerProcess, container: Manifest, target: Target, *, grace: float) -> None:
        """Takes a process that has been started.

        Args:
            process: The container's process.
            container: The container of the pod's spec.
            target: Where hooks reach it.
            grace: Seconds from the signal to the kill when a probe has failed and does not say otherwise.
        """
        self._process = process
        self._hook: Manifest | None = (container.get("lifecycle") or {}).get("preStop")
        self._target = target
        self._grace = grace
        self._farewell: asyncio.Task[None] | None = None
        self._label = f"{target.plan.pod_root.name}: container {target.plan.name}"

    def ask_to_end(self) -> None:
        """Runs the ``preStop`` hook, then sends the stop signal; once, however often it is called."""
        if self._farewell is None:
            self._farewell = asyncio.create_task(self._say_goodbye())

    def kill(self) -> None:
        """Kills it."""
        self._process.signal(signal.SIGKILL)

    async def wait(self, prober: Prober | None) -> Ending:
        """Waits for its end, and brings that about if a probe says that it has to be started again."""
        ended = asyncio.create_task(self._process.wait())
        failed = asyncio.create_task(prober.run()) if prober is not None else None
        try:
            await asyncio.wait({ended, failed} if failed else {ended}, return_when=asyncio.FIRST_COMPLETED)
            # A pod that is to end anyway gets its own grace period.
            if failed is not None and failed.done() and not ended.done() and self._farewell is None:
                probe = failed.result()
                logger.warning("%s is ended: its %s probe has failed", self._label, probe.kind)
                self.ask_to_end()
                await asyncio.wait({ended}, timeout=self._grace if probe.grace is None else probe.grace)
                while not ended.done():
                    self.kill()
                    await asyncio.wait({ended}, timeout=KILL_SECONDS)
            return await ended
        finally:
            rest = {task for task in (failed, self._farewell) if task is not None}
            for task in rest:
                task.cancel()
            if not ended.done():
                # This is cancelled: the process must not stay behind, nor unwaited for.
                self.kill()
            await asyncio.wait({ended, *rest}, timeout=LAST_SECONDS)
            ended.cancel()

    async def _say_goodbye(self) -> None:
        if self._hook is not None:
            try:
                # Whoever asks for the end kills the container when its grace period is over, and so ends the hook.
                await perform(self._hook, self._target, purpose="pre-stop", seconds=None)
            except ActionError as error:
                logger.warning("%s: the preStop hook failed: %s", self._label, error)
        self._process.signal(self._target.plan.stop_signal)
