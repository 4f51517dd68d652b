"""Probing one run of a container."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from dev.kubelet.actions import ActionError, Target, perform
from dev.kubelet.api import Manifest
from dev.kubelet.probes import Probe, ProbeKind, Verdict, container_probe
from dev.kubelet.statuses import ContainerRecord

logger = logging.getLogger(__name__)


class Prober:
    """Keeps a container's record true, and finds out when the container has to be started again."""

    def __init__(
        self, container: Manifest, target: Target, record: ContainerRecord, *, label: str, report: Callable[[], None]
    ) -> None:
        """Takes the container, which has just been started.

        Args:
            container: The container of the pod's spec.
            target: Where it is asked.
            record: What is reported about it.
            label: What the log calls it.
            report: Called whenever the record has changed.
        """
        self._probes = {kind: container_probe(container, kind) for kind in ProbeKind}
        self._target = target
        self._record = record
        self._label = label
        self._report = report
        self._started_at = asyncio.get_running_loop().time()

    @property
    def waits_for_start(self) -> bool:
        """Whether the container counts as started only when a probe says so."""
        return self._probes[ProbeKind.STARTUP] is not None

    @property
    def waits_for_readiness(self) -> bool:
        """Whether the container counts as ready only when a probe says so."""
        return self._probes[ProbeKind.READINESS] is not None

    async def run(self) -> Probe:
        """Probes until the container has to be started again; returns the probe that says so."""
        startup, liveness, readiness = (self._probes[kind] for kind in ProbeKind)
        if startup is not None:
            if not await self._first_verdict(startup):
                return startup
            self._record.has_started(ready=readiness is None)
            self._report()
        # The first one never ends: a container without probes is never started again because of them.
        waiting: list[asyncio.Future[Probe]] = [asyncio.get_running_loop().create_future()]
        waiting += [asyncio.create_task(self._watch(probe)) for probe in (liveness, readiness) if probe is not None]
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for future in waiting:
                future.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _watch(self, probe: Probe) -> Probe:
        async with aclosing(self._verdicts(probe)) as verdicts:
            while True:
                success = await anext(verdicts)
                if probe.kind is ProbeKind.LIVENESS and not success:
                    return probe
                if probe.kind is ProbeKind.READINESS and self._record.ready != success:
                    self._record.ready = success
                    self._report()

    async def _first_verdict(self, probe: Probe) -> bool:
        async with aclosing(self._verdicts(probe)) as verdicts:
            return await anext(verdicts)

    async def _verdicts(self, probe: Probe) -> AsyncGenerator[bool, None]:
        loop = asyncio.get_running_loop()
        verdict = Verdict(probe)
        due = max(loop.time(), self._started_at + probe.initial_delay)
        while True:
            await asyncio.sleep(due - loop.time())
            decided = verdict.note(success=await self._try(probe))
            if decided is not None:
                yield decided
            # A slow try makes the next one late, not two of them close together.
            due = max(due + probe.period, loop.time())

    async def _try(self, probe: Probe) -> bool:
        try:
            await perform(probe.action, self._target, purpose=f"{probe.kind}-probe", seconds=probe.timeout)
        except ActionError as error:
            logger.info("%s: the %s probe failed: %s", self._label, probe.kind, error)
            return False
        return True
