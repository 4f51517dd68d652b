"""Asks the servers: the poll that the jobs do, the certificate, and which checksum algorithms they take."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from b3lb.bbb.checksum import ALGORITHMS
from b3lb.bbb.client import NodeClient, NodeTarget
from b3lb.health import Observation, Reason
from b3lb_operator.doctor.certificates import Certificate, read_certificate

POLL_SECONDS = 4.0
"""Longest time for one poll here, whatever the cluster's health.timeoutSeconds."""

_RESERVE_SECONDS = 0.2
HANDSHAKES = 50
"""Certificates that are read at the same time."""

WEAK = "sha1"

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeProbe:
    """What a server answered just now.

    ``target`` is how it was asked. ``observation`` is None where it was not asked to the end. ``others`` are the
    further algorithms that it takes, None where they were not tried. ``meetings`` are its internal meeting IDs.
    """

    namespace: str
    target: NodeTarget
    observation: Observation | None = None
    clock_offset: timedelta = timedelta()
    certificate: Certificate | None = None
    others: tuple[str, ...] | None = None
    meetings: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The BBBNode's name."""
        return self.target.name


async def probe_nodes(
    client: NodeClient, targets: Sequence[tuple[str, NodeTarget]], *, seconds: float
) -> list[NodeProbe]:
    """Ask all servers at the same time; who has not answered after ``seconds`` has no observation.

    Args:
        client: What polls; it bounds the polls under way.
        targets: Namespace and target of each.
        seconds: How long it may take in all.
    """
    if not targets:
        return []
    deadline = asyncio.get_running_loop().time() + seconds
    handshakes = asyncio.Semaphore(HANDSHAKES)
    tasks = [
        asyncio.create_task(_probe(client, namespace, target, deadline=deadline, handshakes=handshakes))
        for namespace, target in targets
    ]
    try:
        await asyncio.wait(tasks, timeout=seconds)
        return [
            _result(task) or NodeProbe(namespace=namespace, target=target)
            for task, (namespace, target) in zip(tasks, targets, strict=True)
        ]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _result(task: asyncio.Task[NodeProbe]) -> NodeProbe | None:
    """Return what a probe found; a bug in one must not cost the others."""
    if not task.done():
        return None
    error = task.exception()
    if error is not None:
        # Its text may quote a signed URL.
        _log.error("a probe failed", error=type(error).__name__)
        return None
    return task.result()


async def _probe(
    client: NodeClient, namespace: str, target: NodeTarget, *, deadline: float, handshakes: asyncio.Semaphore
) -> NodeProbe:
    target = dataclasses.replace(target, timeout_seconds=min(target.timeout_seconds, POLL_SECONDS))
    poll, certificate = await asyncio.gather(client.observe(target), _certificate(target, handshakes))
    listing = poll.listing
    return NodeProbe(
        namespace=namespace,
        target=target,
        observation=poll.observation,
        clock_offset=timedelta() if listing is None else listing.clock_offset,
        certificate=certificate,
        others=await _other_algorithms(client, target, poll.observation, deadline - _RESERVE_SECONDS),
        meetings=frozenset() if listing is None else frozenset(item.internal_id for item in listing.meetings),
    )


async def _certificate(target: NodeTarget, handshakes: asyncio.Semaphore) -> Certificate | None:
    async with handshakes:
        return await read_certificate(target.api_url, seconds=target.timeout_seconds)


async def _other_algorithms(
    client: NodeClient, target: NodeTarget, observation: Observation, deadline: float
) -> tuple[str, ...] | None:
    """Return what else the server takes, where that says what to do: it refuses the algorithm, or it is a weak one."""
    refused = observation.reason is Reason.CHECKSUM_ERROR
    if not refused and not (observation.succeeded and target.algorithm == WEAK):
        return None
    others = [algorithm for algorithm in ALGORITHMS if algorithm != target.algorithm]
    try:
        async with asyncio.timeout_at(deadline):
            polls = await asyncio.gather(
                *(client.observe(dataclasses.replace(target, algorithm=algorithm)) for algorithm in others)
            )
    except TimeoutError:
        return None
    return tuple(algorithm for algorithm, poll in zip(others, polls, strict=True) if poll.observation.succeeded)
